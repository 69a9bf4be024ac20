#!/usr/bin/env bash
# google-genai 3.6.1: `aclose()` of a stream that was left early closes the generator, and not the answer of the server.
#
# Guessed: `await stream.aclose()`, which the returned asynchronous generator has, ends the response, as `close()` of the
# streams of other SDKs does; the server then sees its reader go.
# Seen: the server goes on sending and the model goes on writing; the connection ends only when the client itself is closed
# (`await client.aio.aclose()`). With httpx2, which comes with it, and with aiohttp, which it uses where it is installed, alike.
#
# Installs its packages into a temporary folder and asks a server on loopback; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check "google-genai==3.6.1"
cat > "$work/ask.py" <<'PYTHON'
import asyncio
import importlib.util

from google import genai
from google.genai import types

CHUNK = b'data: {"candidates":[{"content":{"parts":[{"text":"a"}],"role":"model"}}]}\r\n\r\n'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


async def main():
    gone = asyncio.Event()

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        try:
            while True:
                writer.write(b"%x\r\n%b\r\n" % (len(CHUNK), CHUNK))
                await writer.drain()
                await asyncio.sleep(0.01)
        except OSError:
            gone.set()

    async def is_gone():
        try:
            await asyncio.wait_for(gone.wait(), 1)
        except TimeoutError:
            return "the server still sends"
        return "the server's reader has gone"

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    client = genai.Client(api_key="none", http_options=types.HttpOptions(base_url=url))
    stream = await client.aio.models.generate_content_stream(model="m", contents="?")
    print("with aiohttp" if importlib.util.find_spec("aiohttp") else "with httpx2", type(stream).__name__)
    async for chunk in stream:
        print("chunk:", chunk.text)
        break
    await stream.aclose()
    print("after stream.aclose():", await is_gone())
    await client.aio.aclose()
    print("after client.aio.aclose():", await is_gone())


asyncio.run(main())
PYTHON
"$work/env/bin/python" "$work/ask.py" | tee "$work/out"
"$work/env/bin/pip" install --quiet --disable-pip-version-check "aiohttp==3.14.5"
"$work/env/bin/python" "$work/ask.py" | tee -a "$work/out"
diff "$work/out" - <<'EXPECTED'
with httpx2 async_generator
chunk: a
after stream.aclose(): the server still sends
after client.aio.aclose(): the server's reader has gone
with aiohttp async_generator
chunk: a
after stream.aclose(): the server still sends
after client.aio.aclose(): the server's reader has gone
EXPECTED
