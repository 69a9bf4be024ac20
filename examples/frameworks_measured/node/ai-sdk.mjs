import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { isStepCount, jsonSchema, stepCountIs, streamText, tool } from "ai";

export const packages = ["ai", "@ai-sdk/openai-compatible"];

export async function ask(seen, url, model, withTools) {
  const provider = createOpenAICompatible({ name: "server", baseURL: url, apiKey: "none", includeUsage: true });
  const tools = Object.entries(seen.parameters).map(([name, schema]) => [
    name,
    tool({ description: name, inputSchema: jsonSchema(schema), execute: (input) => seen.run(name, input) }),
  ]);
  const result = streamText({
    model: provider(model),
    prompt: "Go on.",
    maxRetries: 0,
    stopWhen: (isStepCount ?? stepCountIs)(5),
    ...(withTools ? { tools: Object.fromEntries(tools) } : {}),
    onError: () => {},
  });
  for await (const part of result.fullStream) {
    if (part.type === "text-delta") seen.text(part.text);
    if (part.type === "reasoning-delta") seen.reasoning(part.text);
    if (part.type === "finish") {
      seen.finish(part.finishReason);
      seen.usage(part.totalUsage.inputTokens, part.totalUsage.outputTokens);
    }
    if (part.type === "error") throw part.error;
  }
}
