#!/usr/bin/env bash
# @google/genai 3.3.0 in node: an event with an `id:` before its data is dropped, and the answer ends in order without it.
#
# Guessed: fields of an event that the client has no use for are ignored, as the standard of server-sent events says, and
# its data is read.
# Seen: a block of the stream is read if it begins with `data:`. If an id, a name or `retry:` stands first, as some servers
# and proxies write them, the block is dropped with its piece of the text, and nothing is said. Behind its data an id is no
# better: the rest of the block is read as one JSON document, and raises.
#
# Installs its packages into a temporary folder and asks a server on loopback; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit --ignore-scripts @google/genai@3.3.0
cat > ask.mjs <<'JAVASCRIPT'
import http from "node:http";
import { GoogleGenAI } from "@google/genai";

const data = (text, more) =>
  `data: ${JSON.stringify({ candidates: [{ content: { role: "model", parts: [{ text }] }, index: 0, ...more }] })}\n`;
const pieces = [data("One "), data("two "), data("three.", { finishReason: "STOP" })];
const streams = {
  plain: pieces.map((piece) => `${piece}\n`),
  "an id before each": pieces.map((piece, n) => `id: ${n}\n${piece}\n`),
  "a name before the second": pieces.map((piece, n) => `${n === 1 ? "event: message\n" : ""}${piece}\n`),
  "an id behind each": pieces.map((piece, n) => `${piece}id: ${n}\n\n`),
};

let body = "";
const server = http.createServer((request, response) => {
  request.resume();
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.end(body);
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const baseUrl = `http://127.0.0.1:${server.address().port}`;
const client = new GoogleGenAI({ apiKey: "none", httpOptions: { baseUrl } });
for (const [name, blocks] of Object.entries(streams)) {
  body = blocks.join("");
  let text = "";
  try {
    for await (const chunk of await client.models.generateContentStream({ model: "m", contents: "?" })) text += chunk.text;
    console.log(`${name}: ${JSON.stringify(text)}`);
  } catch (error) {
    console.log(`${name}: ${error.name}`);
  }
}
server.close();
server.closeAllConnections();
JAVASCRIPT
node ask.mjs 2>/dev/null | tee out
diff out - <<'EXPECTED'
plain: "One two three."
an id before each: ""
a name before the second: "One three."
an id behind each: SyntaxError
EXPECTED
