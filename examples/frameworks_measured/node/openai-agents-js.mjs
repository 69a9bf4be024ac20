import { Agent, OpenAIChatCompletionsModel, run, setTracingDisabled, tool } from "@openai/agents";
import OpenAI from "openai";

export const packages = ["@openai/agents", "openai"];

export async function ask(seen, url, model, withTools) {
  setTracingDisabled(true);
  const chat = new OpenAIChatCompletionsModel(new OpenAI({ baseURL: url, maxRetries: 0 }), model);
  const tools = Object.entries(seen.parameters).map(([name, parameters]) =>
    tool({ name, description: name, parameters, strict: false, execute: (input) => seen.run(name, input) }),
  );
  const result = await run(new Agent({ name: "app", model: chat, tools: withTools ? tools : [] }), "Go on.", { stream: true });
  try {
    for await (const event of result) {
      if (event.type !== "raw_model_stream_event") continue;
      if (event.data.type === "output_text_delta") seen.text(event.data.delta);
      if (event.data.type === "response_done") {
        const thoughts = event.data.response.output.filter((item) => item.type === "reasoning");
        for (const part of thoughts.flatMap((item) => item.rawContent ?? item.content)) seen.reasoning(part.text);
      }
      if (event.data.type === "model") {
        for (const choice of event.data.event?.choices ?? []) seen.finish(choice.finish_reason);
      }
    }
    await result.completed;
  } finally {
    const usage = result.state?.usage ?? result.state?._context?.usage;
    if (usage) seen.usage(usage.inputTokens, usage.outputTokens);
  }
}
