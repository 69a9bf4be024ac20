#!/usr/bin/env bash
# openai 6.49.0, @anthropic-ai/sdk 1.14.0, cohere-ai 8.1.0, @google/genai 2.32.0 in node: whose `timeout` ends a silent stream.
#
# Guessed: the option `timeout` of all four ends a stream that is silent for longer, as it does in the SDKs' Python versions,
# where it is also the longest wait for the next bytes.
# Seen: the timer of openai, anthropic and cohere runs until the head of the answer has come. With a timeout of one second
# a stream that pauses for three, after its first event, ends in order: no wait inside of a stream has a bound. Google's
# covers the body.
#
# Installs its packages into a temporary folder and asks a server on loopback; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit --ignore-scripts \
    openai@6.49.0 @anthropic-ai/sdk@1.14.0 cohere-ai@8.1.0 @google/genai@2.32.0
cat > ask.mjs <<'JAVASCRIPT'
import http from "node:http";
import OpenAI from "openai";
import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import { CohereClientV2 } from "cohere-ai";

const event = (data, name) => (name ? `event: ${name}\n` : "") + `data: ${JSON.stringify(data)}\n\n`;
const chat = { id: "1", object: "chat.completion.chunk", created: 1, model: "m" };
const usage = { input_tokens: 1, output_tokens: 1 };
const message = { id: "1", type: "message", role: "assistant", model: "m", content: [], stop_reason: null, stop_sequence: null, usage };
const said = (text, more) => ({ candidates: [{ content: { role: "model", parts: [{ text }] }, index: 0, ...more }] });
const typed = (data) => event(data, data.type);
const answers = [
  [/chat\/completions/, event({ ...chat, choices: [{ index: 0, delta: { content: "a" }, finish_reason: null }] }),
    event({ ...chat, choices: [{ index: 0, delta: {}, finish_reason: "stop" }] }) + "data: [DONE]\n\n"],
  [/messages/, typed({ type: "message_start", message }),
    typed({ type: "message_delta", delta: { stop_reason: "end_turn", stop_sequence: null }, usage }) + typed({ type: "message_stop" })],
  [/streamGenerateContent/, event(said("a")), event(said("b", { finishReason: "STOP" }))],
  [/v2\/chat/, typed({ type: "message-start", id: "1", delta: { message: { role: "assistant" } } }),
    typed({ type: "message-end", delta: { finish_reason: "COMPLETE" } })],
];
const server = http.createServer((request, response) => {
  request.resume();
  const [, first, rest] = answers.find(([path]) => path.test(request.url));
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.write(first);
  setTimeout(() => response.end(rest), 3000);
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const base = `http://127.0.0.1:${server.address().port}`;
const messages = [{ role: "user", content: "?" }];
const clients = {
  openai: () => new OpenAI({ apiKey: "none", baseURL: base + "/v1", timeout: 1000, maxRetries: 0 })
    .chat.completions.create({ model: "m", messages, stream: true }),
  anthropic: () => new Anthropic({ apiKey: "none", baseURL: base, timeout: 1000, maxRetries: 0 })
    .messages.create({ model: "m", messages, max_tokens: 9, stream: true }),
  google: () => new GoogleGenAI({ apiKey: "none", httpOptions: { baseUrl: base, timeout: 1000 } })
    .models.generateContentStream({ model: "m", contents: "?" }),
  cohere: () => new CohereClientV2({ token: "none", environment: base, timeoutInSeconds: 1, maxRetries: 0 })
    .chatStream({ model: "m", messages }),
};
for (const [name, ask] of Object.entries(clients)) {
  let events = 0;
  try {
    for await (const one of await ask()) events++;
    console.log(`${name}: ended in order after ${events} events`);
  } catch (error) {
    console.log(`${name}: ${error.name ?? error.constructor.name} after ${events} events`);
  }
}
server.close();
server.closeAllConnections();
JAVASCRIPT
node ask.mjs | tee out
diff out - <<'EXPECTED'
openai: ended in order after 2 events
anthropic: ended in order after 3 events
google: AbortError after 1 events
cohere: ended in order after 2 events
EXPECTED
