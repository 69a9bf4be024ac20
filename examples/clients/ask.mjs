// Asks a fake with a client of node: `node ask.mjs CLIENT URL CASE...` prints a line of JSON for each case, as ask.py does.
// A driver asks the client's own way and yields what each chunk says; the prompt names the case. None tries again.

import { readFileSync } from "node:fs";

const SECONDS = 5;
const PATIENCE = 15_000; // of us, until a case hangs
const LOADING = 300_000; // the first has more, since the client is imported in it
const MARK = "overloaded_by_fakellm";
const NAME = "get_weather";
const WHAT = "The weather in a city";
const SCHEMA = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const TOOLS = [{ type: "function", function: { name: NAME, description: WHAT, parameters: SCHEMA } }];
const said = (prompt) => [{ role: "user", content: prompt }];
const asked = (prompt) => ({ model: "m", messages: said(prompt), tools: TOOLS, stream: true });
const counted = (prompt) => ({ ...asked(prompt), stream_options: { include_usage: true } });

/** What a chunk of chat completions says, whichever way its client spells it. */
function* ofChat(chunk) {
  for (const choice of chunk?.choices ?? []) {
    yield ["text", choice?.delta?.content];
    for (const call of choice?.delta?.tool_calls ?? choice?.delta?.toolCalls ?? [])
      yield ["call", call.index ?? 0, call.function?.name, call.function?.arguments];
    yield ["finish", choice?.finish_reason ?? choice?.finishReason];
  }
  const usage = chunk?.usage;
  if (usage) yield ["usage", usage.prompt_tokens ?? usage.promptTokens, usage.completion_tokens ?? usage.completionTokens];
}

async function* each(stream, read) {
  for await (const chunk of stream) yield [chunk, [...read(chunk)]];
}

const CLIENTS = {
  async *openai(url, prompt) {
    const { default: OpenAI } = await import("openai");
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0, timeout: 1000 * SECONDS });
    yield* each(await client.chat.completions.create(counted(prompt)), ofChat);
  },

  async *"openai responses"(url, prompt) {
    const { default: OpenAI } = await import("openai");
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0, timeout: 1000 * SECONDS });
    const tools = [{ type: "function", name: NAME, description: WHAT, parameters: SCHEMA, strict: false }];
    const stream = await client.responses.create({ model: "m", input: prompt, tools, stream: true });
    yield* each(stream, function* (event) {
      if (event.type === "response.output_text.delta") yield ["text", event.delta];
      if (event.type === "response.output_item.added") yield ["call", event.output_index, event.item?.name, ""];
      if (event.type === "response.function_call_arguments.delta") yield ["call", event.output_index, "", event.delta];
      if (event.type === "response.completed") yield ["finish", event.response?.status];
      const usage = event.response?.usage;
      if (usage) yield ["usage", usage.input_tokens, usage.output_tokens];
    });
  },

  async *"groq-sdk"(url, prompt) {
    const { default: Groq } = await import("groq-sdk");
    const client = new Groq({ baseURL: url, apiKey: "none", maxRetries: 0, timeout: 1000 * SECONDS });
    yield* each(await client.chat.completions.create(counted(prompt)), ofChat);
  },

  async *"@mistralai/mistralai"(url, prompt) {
    const { Mistral } = await import("@mistralai/mistralai");
    const client = new Mistral({ serverURL: url, apiKey: "none", timeoutMs: 1000 * SECONDS });
    const stream = await client.chat.stream({ model: "m", messages: said(prompt), tools: TOOLS });
    yield* each(stream, (event) => ofChat(event.data));
  },

  async *"cohere-ai"(url, prompt) {
    const { CohereClientV2 } = await import("cohere-ai");
    const client = new CohereClientV2({ environment: url, token: "none" });
    const options = { maxRetries: 0, timeoutInSeconds: SECONDS };
    const stream = await client.chatStream({ model: "m", messages: said(prompt), tools: TOOLS }, options);
    yield* each(stream, function* (event) {
      if (event?.type === "content-delta") yield ["text", event.delta?.message?.content?.text];
      const call = event?.delta?.message?.toolCalls;
      if (call) yield ["call", event.index, call.function?.name, call.function?.arguments];
      if (event?.type === "message-end") yield ["finish", event.delta?.finishReason];
      const tokens = event?.delta?.usage?.tokens;
      if (tokens) yield ["usage", tokens.inputTokens, tokens.outputTokens];
    });
  },

  async *"@openrouter/sdk"(url, prompt) {
    const { OpenRouter } = await import("@openrouter/sdk");
    const retryConfig = { strategy: "none" };
    const client = new OpenRouter({ serverURL: `${url}/v1`, apiKey: "none", retryConfig, timeoutMs: 1000 * SECONDS });
    const chatRequest = { ...asked(prompt), streamOptions: { includeUsage: true } };
    yield* each(await client.chat.send({ chatRequest }), ofChat);
  },

  async *"@huggingface/inference"(url, prompt) {
    const { InferenceClient } = await import("@huggingface/inference");
    const client = new InferenceClient("none", { endpointUrl: `${url}/v1` });
    yield* each(client.chatCompletionStream(counted(prompt)), ofChat);
  },

  async *ollama(url, prompt) {
    const { Ollama } = await import("ollama");
    const stream = await new Ollama({ host: url }).chat(asked(prompt));
    yield* each(stream, function* (part) {
      yield ["text", part.message?.content];
      for (const call of part.message?.tool_calls ?? [])
        yield ["call", call.function.name, call.function.name, JSON.stringify(call.function.arguments)];
      yield ["finish", part.done_reason];
      if (part.done) yield ["usage", part.prompt_eval_count, part.eval_count];
    });
  },

  async *ai(url, prompt) {
    const { jsonSchema, streamText, tool } = await import("ai");
    const { createOpenAICompatible } = await import("@ai-sdk/openai-compatible");
    const made = createOpenAICompatible({ name: "fake", baseURL: `${url}/v1`, apiKey: "none", includeUsage: true });
    const tools = { [NAME]: tool({ description: WHAT, inputSchema: jsonSchema(SCHEMA) }) };
    const model = made.chatModel("m");
    const result = streamText({ model, prompt, tools, maxRetries: 0, onError: () => {} }); // errors are parts, too
    yield* each(result.fullStream, function* (part) {
      if (part.type === "error") throw part.error;
      if (part.type === "text-delta") yield ["text", part.text];
      if (part.type === "tool-call") yield ["call", part.toolCallId, part.toolName, JSON.stringify(part.input)];
      if (part.type === "finish") {
        yield ["finish", part.finishReason];
        yield ["usage", part.totalUsage.inputTokens, part.totalUsage.outputTokens];
      }
    });
  },

  async *"@anthropic-ai/sdk"(url, prompt) {
    const { default: Anthropic } = await import("@anthropic-ai/sdk");
    const client = new Anthropic({ baseURL: url, apiKey: "none", maxRetries: 0, timeout: 1000 * SECONDS });
    const tools = [{ name: NAME, description: WHAT, input_schema: SCHEMA }];
    const stream = await client.messages.create({
      model: "m", max_tokens: 99, messages: said(prompt), tools, stream: true,
    }); // prettier-ignore
    yield* each(stream, function* (event) {
      if (event?.type === "message_start") yield ["usage", event.message?.usage?.input_tokens, null];
      if (event?.type === "content_block_start") yield ["call", event.index, event.content_block?.name, ""];
      if (event?.type === "content_block_delta") {
        yield ["text", event.delta?.text];
        yield ["call", event.index, "", event.delta?.partial_json];
      }
      if (event?.type === "message_delta") {
        yield ["finish", event.delta?.stop_reason];
        yield ["usage", null, event.usage?.output_tokens];
      }
    });
  },

  async *"@google/genai"(url, prompt) {
    const { GoogleGenAI } = await import("@google/genai");
    const httpOptions = { baseUrl: url, timeout: 1000 * SECONDS };
    const client = new GoogleGenAI({ apiKey: "none", httpOptions });
    const functions = [{ name: NAME, description: WHAT, parametersJsonSchema: SCHEMA }];
    const config = { tools: [{ functionDeclarations: functions }] };
    yield* each(await client.models.generateContentStream({ model: "m", contents: prompt, config }), function* (chunk) {
      for (const candidate of chunk.candidates ?? []) {
        for (const part of candidate?.content?.parts ?? []) {
          yield ["text", part.text];
          const call = part.functionCall;
          if (call) yield ["call", call.name, call.name, JSON.stringify(call.args)];
        }
        yield ["finish", candidate?.finishReason];
      }
      const usage = chunk.usageMetadata;
      if (usage) yield ["usage", usage.promptTokenCount, usage.candidatesTokenCount];
    });
  },
};

/** A text as it is, or how long it is and what its characters are. */
const shortened = (text) => {
  const points = [...text];
  return points.length <= 200 ? text : `${points.slice(0, 40).join("")} and ${points.length - 40} more`;
};

class Seen {
  constructor(name) {
    this.found = { case: name, text: "", calls: [], finish: null, usage: null, chunks: 0, handed: false, error: null };
    this.calls = new Map();
  }

  add(chunk, facts) {
    const found = this.found;
    found.chunks += 1;
    found.handed ||= (JSON.stringify(chunk) ?? "").includes(MARK);
    for (const [kind, ...what] of facts) {
      if (kind === "text" && typeof what[0] === "string") found.text += what[0];
      if (kind === "call" && (what[1] || what[2])) {
        if (!this.calls.has(what[0])) this.calls.set(what[0], ["", ""]);
        const call = this.calls.get(what[0]);
        call[0] += what[1] ?? "";
        call[1] += what[2] ?? "";
      }
      if (kind === "finish" && what[0]) found.finish = String(what[0]);
      if (kind === "usage") found.usage = what.map((value, n) => value ?? found.usage?.[n] ?? null);
    }
  }

  line(error) {
    return JSON.stringify({ ...this.found, text: shortened(this.found.text), calls: [...this.calls.values()], error });
  }
}

async function ask(client, url, name, seen) {
  try {
    for await (const [chunk, facts] of CLIENTS[client](url, `case ${name}.`)) seen.add(chunk, facts);
    return null;
  } catch (error) {
    return [error?.constructor?.name ?? typeof error, String(error?.message ?? error).slice(0, 300)];
  }
}

const [client, url, ...cases] = process.argv.slice(2);
const installed = client.startsWith("openai ") ? "openai" : client;
const described = JSON.parse(readFileSync(new URL(`node_modules/${installed}/package.json`, import.meta.url)));
console.log(JSON.stringify({ client, version: described.version }));
for (const [number, name] of cases.entries()) {
  const seen = new Seen(name);
  const late = new Promise((resolve) => setTimeout(() => resolve("hangs"), number ? PATIENCE : LOADING));
  console.log(seen.line(await Promise.race([ask(client, url, name, seen), late])));
}
process.exit(0); // a connection that is kept alive keeps node alive
