#!/usr/bin/env bash
# boto3 1.44.8: an event stream that ends in the middle of a frame is a stream that has ended.
#
# Guessed: a frame begins with its length and ends with a checksum, so a body that stops inside of one raises, as a wrong
# checksum does (`ChecksumMismatch`); the format was made so that a reader can tell.
# Seen: what came of the last frame waits in a buffer for more, and nobody looks at it when there is no more. The loop over
# `converse_stream` ends in order, without `messageStop`: half an answer, no exception. A proxy that ends a chunked body
# properly when the service behind it is gone sends exactly this.
#
# Installs its packages into a temporary folder and asks a server on loopback; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check "boto3==1.44.8" "botocore==1.44.8"
cat > "$work/ask.py" <<'PYTHON'
import json
import struct
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
from botocore.config import Config


def frame(kind, payload):
    said = json.dumps(payload).encode()
    names = {":message-type": "event", ":event-type": kind, ":content-type": "application/json"}
    headers = b"".join(
        struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", 7, len(value)) + value.encode()
        for name, value in names.items()
    )
    prelude = struct.pack(">II", 16 + len(headers) + len(said), len(headers))
    body = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + said
    return body + struct.pack(">I", zlib.crc32(body))


FRAMES = [
    frame("messageStart", {"role": "assistant"}),
    frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Pay "}}),
    frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "nothing."}}),
    frame("contentBlockStop", {"contentBlockIndex": 0}),
    frame("messageStop", {"stopReason": "end_turn"}),
]


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        cut = FRAMES[2][:-20]
        self.send_response(200)
        self.send_header("content-type", "application/vnd.amazon.eventstream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for piece in FRAMES if "whole" in self.path else [*FRAMES[:2], cut]:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = boto3.client(
    "bedrock-runtime",
    region_name="us-east-1",
    aws_access_key_id="none",
    aws_secret_access_key="none",
    endpoint_url=f"http://127.0.0.1:{server.server_port}",
    config=Config(retries={"total_max_attempts": 1}),
)
for model in ("whole", "cut"):
    said = client.converse_stream(modelId=model, messages=[{"role": "user", "content": [{"text": "?"}]}])
    names = [name for event in said["stream"] for name in event]
    print(f"{model}: {', '.join(names)}; ended in order")
PYTHON
"$work/env/bin/python" "$work/ask.py" | tee "$work/out"
diff "$work/out" - <<'EXPECTED'
whole: messageStart, contentBlockDelta, contentBlockDelta, contentBlockStop, messageStop; ended in order
cut: messageStart, contentBlockDelta; ended in order
EXPECTED
