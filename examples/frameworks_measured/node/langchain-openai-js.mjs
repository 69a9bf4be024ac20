import { ToolMessage } from "@langchain/core/messages";
import { ChatOpenAI } from "@langchain/openai";

export const packages = ["@langchain/openai", "@langchain/core", "openai"];

export async function ask(seen, url, model, withTools) {
  const options = { model, apiKey: "none", maxRetries: 0, streamUsage: true, configuration: { baseURL: url } };
  const chat = new ChatOpenAI(options).withConfig(withTools ? { tools: seen.specs } : {});
  const messages = [["user", "Go on."]];
  const used = [0, 0];
  for (let calls = true; calls; ) {
    let whole;
    for await (const chunk of await chat.stream(messages)) {
      whole = whole ? whole.concat(chunk) : chunk;
      seen.text(chunk.text);
      seen.reasoning(chunk.additional_kwargs?.reasoning_content);
      seen.finish(chunk.response_metadata?.finish_reason);
    }
    if (whole?.usage_metadata) {
      used[0] += whole.usage_metadata.input_tokens;
      used[1] += whole.usage_metadata.output_tokens;
      seen.usage(...used);
    }
    calls = whole?.tool_calls?.length;
    messages.push(whole);
    for (const call of whole?.tool_calls ?? [])
      messages.push(new ToolMessage({ content: seen.run(call.name, call.args), tool_call_id: call.id }));
  }
}
