// Asks a provider with a client of node: `node ask.mjs openai text tools limited`. Each case is answered on a line of
// JSON: what came, and how it failed, as the names of the error and of what caused it.
// The environment says where: `fakellm serve fakes.py -- node ask.mjs openai text`.

const { env } = process;
const TIMEOUT = 700;
const PATIENCE = 3 * TIMEOUT; // of us with clients whose timeout does not cover the body of an answer
const NAME = "get_weather";
const WHAT = "The weather in a city";
const SCHEMA = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };

const CLIENTS = {
  async openai(found, prompt) {
    const { default: OpenAI } = await import("openai");
    const client = new OpenAI({ maxRetries: 0, timeout: TIMEOUT });
    const stream = await client.chat.completions.create({
      model: "m",
      messages: [{ role: "user", content: prompt }],
      tools: [{ type: "function", function: { name: NAME, description: WHAT, parameters: SCHEMA } }],
      stream: true,
      stream_options: { include_usage: true },
    });
    for await (const chunk of stream) {
      const delta = chunk.choices[0]?.delta;
      found.text += delta?.content ?? "";
      for (const call of delta?.tool_calls ?? []) {
        const calls = (found.calls[call.index] ??= ["", ""]);
        calls[0] += call.function?.name ?? "";
        calls[1] += call.function?.arguments ?? "";
      }
      if (chunk.usage) found.usage = [chunk.usage.prompt_tokens, chunk.usage.completion_tokens];
    }
  },

  async responses(found, prompt) {
    const { default: OpenAI } = await import("openai");
    const client = new OpenAI({ maxRetries: 0, timeout: TIMEOUT });
    const stream = await client.responses.create({
      model: "m",
      input: prompt,
      tools: [{ type: "function", name: NAME, description: WHAT, parameters: SCHEMA, strict: false }],
      stream: true,
    });
    for await (const event of stream) {
      if (event.type === "response.output_text.delta") found.text += event.delta;
      if (event.type === "response.output_item.done" && event.item.type === "function_call")
        found.calls.push([event.item.name, event.item.arguments]);
      if (event.response?.usage) found.usage = [event.response.usage.input_tokens, event.response.usage.output_tokens];
    }
  },

  async anthropic(found, prompt) {
    const { default: Anthropic } = await import("@anthropic-ai/sdk");
    const client = new Anthropic({ maxRetries: 0, timeout: TIMEOUT });
    const stream = client.messages.stream({
      model: "m",
      max_tokens: 100,
      messages: [{ role: "user", content: prompt }],
      tools: [{ name: NAME, description: WHAT, input_schema: SCHEMA }],
    });
    stream.on("text", (text) => (found.text += text));
    const message = await stream.finalMessage();
    for (const block of message.content)
      if (block.type === "tool_use") found.calls.push([block.name, JSON.stringify(block.input)]);
    found.usage = [message.usage.input_tokens, message.usage.output_tokens];
  },

  async gemini(found, prompt) {
    const { GoogleGenAI } = await import("@google/genai");
    const client = new GoogleGenAI({ httpOptions: { timeout: TIMEOUT } });
    const stream = await client.models.generateContentStream({
      model: "m",
      contents: prompt,
      config: { tools: [{ functionDeclarations: [{ name: NAME, description: WHAT, parametersJsonSchema: SCHEMA }] }] },
    });
    for await (const chunk of stream) {
      for (const part of chunk.candidates?.[0]?.content?.parts ?? []) found.text += part.text ?? "";
      for (const call of chunk.functionCalls ?? []) found.calls.push([call.name, JSON.stringify(call.args)]);
      const usage = chunk.usageMetadata;
      if (usage) found.usage = [usage.promptTokenCount, usage.candidatesTokenCount];
    }
  },

  async ollama(found, prompt) {
    const { Ollama } = await import("ollama");
    const client = new Ollama({ host: env.OLLAMA_HOST }); // this one reads no variable
    const stream = await client.chat({
      model: "m",
      messages: [{ role: "user", content: prompt }],
      tools: [{ type: "function", function: { name: NAME, description: WHAT, parameters: SCHEMA } }],
      stream: true,
    });
    for await (const part of stream) {
      found.text += part.message?.content ?? "";
      for (const call of part.message?.tool_calls ?? [])
        found.calls.push([call.function.name, JSON.stringify(call.function.arguments)]);
      if (part.done) found.usage = [part.prompt_eval_count, part.eval_count];
    }
  },

  async cohere(found, prompt) {
    const { CohereClientV2 } = await import("cohere-ai");
    const client = new CohereClientV2({ environment: env.CO_API_URL }); // nor does this one
    const stream = await client.chatStream(
      {
        model: "m",
        messages: [{ role: "user", content: prompt }],
        tools: [{ type: "function", function: { name: NAME, description: WHAT, parameters: SCHEMA } }],
      },
      { maxRetries: 0, timeoutInSeconds: TIMEOUT / 1000 },
    );
    for await (const event of stream) {
      if (event.type === "content-delta") found.text += event.delta?.message?.content?.text ?? "";
      const call = event.delta?.message?.toolCalls;
      if (event.type === "tool-call-start") found.calls.push([call.function.name, call.function.arguments ?? ""]);
      if (event.type === "tool-call-delta") found.calls.at(-1)[1] += call.function.arguments;
      const usage = event.delta?.usage?.tokens;
      if (usage) found.usage = [usage.inputTokens, usage.outputTokens];
    }
  },

  async ai(found, prompt) {
    const { jsonSchema, streamText, tool } = await import("ai");
    const { createOpenAI } = await import("@ai-sdk/openai");
    const result = streamText({
      model: createOpenAI({}).chat("m"),
      prompt,
      tools: { [NAME]: tool({ description: WHAT, inputSchema: jsonSchema(SCHEMA) }) },
      maxRetries: 0,
      abortSignal: AbortSignal.timeout(TIMEOUT),
      onError: () => {}, // errors come as parts, too
    });
    for await (const part of result.fullStream) {
      if (part.type === "text-delta") found.text += part.text;
      if (part.type === "tool-call") found.calls.push([part.toolName, JSON.stringify(part.input)]);
      if (part.type === "finish") found.usage = [part.totalUsage.inputTokens, part.totalUsage.outputTokens];
      if (part.type === "error") throw part.error;
      if (part.type === "abort") throw new DOMException("the stream was aborted", "AbortError");
    }
  },
};

/** The names of an error and of what caused it, each with its status or code. */
function worded(error) {
  const names = [];
  for (let at = error; at && names.length < 5; at = at.cause) {
    const name = at.constructor?.name === "DOMException" ? at.name : (at.constructor?.name ?? typeof at);
    const more = at.status ?? at.statusCode ?? at.status_code ?? at.code;
    names.push(more === undefined || more === null ? name : `${name} ${more}`);
  }
  return names.join(" < ");
}

class Waits extends Error {}

/** Fail where a client waits on and on. */
function impatient() {
  return new Promise((_, reject) => setTimeout(() => reject(new Waits("it still waits")), PATIENCE));
}

const [client, ...cases] = process.argv.slice(2);
for (const name of cases) {
  const found = { case: name, text: "", calls: [], usage: null, error: null };
  try {
    await Promise.race([CLIENTS[client](found, `case ${name}.`), impatient()]);
  } catch (error) {
    found.error = worded(error);
    found.message = String(error?.message ?? error).slice(0, 200);
  }
  console.log(JSON.stringify(found));
}
process.exit(0); // a connection that is kept alive keeps node alive
