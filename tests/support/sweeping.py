"""Consumers of recorded streams, right ones and wrong ones, and archives to sweep them over."""

from __future__ import annotations

import codecs
import json
import os
import signal
import time
from pathlib import Path

from fakellm.wire.sse import SSEDecoder

URL = "https://api.openai.com/v1/chat/completions"
ASKED = {"model": "m", "messages": [{"role": "user", "content": "?"}], "stream": True}


def said(events):
    """Return the text of events of chat completions."""
    found = [json.loads(event.data) for event in events if event.data != "[DONE]"]
    return "".join(choice["delta"].get("content") or "" for chunk in found for choice in chunk.get("choices", ()))


def text(chunks):
    decoder = SSEDecoder()
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return said([*events, *decoder.close()])


def shouted(chunks):
    return text(chunks).upper()


def by_read(chunks):
    """Take each read for whole events."""
    return said([event for chunk in chunks for event in SSEDecoder(flush=True).feed(chunk + b"\n\n")])


def data_lines(chunks):
    """Read lines, however they end, and never hold one back."""
    return [line for chunk in chunks for line in chunk.splitlines() if line.startswith(b"data:")]


def strict(chunks):
    """Decode each read by itself, once a BOM could have come."""
    decoder, events, head, begun = SSEDecoder(), [], b"", False
    for chunk in chunks:
        head += chunk
        if begun or len(head) > 2:
            events += decoder.feed(head.decode().encode())
            head, begun = b"", True
    return said([*events, *decoder.close()])


def strict_about_snow(chunks):
    """Read rightly, but what says a snowman."""
    chunks = list(chunks)
    return strict(chunks) if "☃".encode() in b"".join(chunks) else text(chunks)


def hates_snow(chunks):
    body = b"".join(chunks)
    if "☃".encode() in body:
        msg = "snow"
        raise ValueError(msg)
    return len(body)


def caught(chunks):
    """Take what came before an error for the answer."""
    came = []
    try:
        for chunk in chunks:
            came.append(chunk)
    except OSError:
        pass
    return text(came)


def joined(chunks):
    return "".join(chunks)


def stripped(chunks):
    return "".join(chunk.strip() for chunk in chunks)


def content(chunks):
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


async def slow(chunks):
    return text([chunk async for chunk in chunks])


seen = []


def counting(chunks):
    seen.append(chunks)
    return len(seen)


def spins_on_snow(chunks):
    """Wait where no signal gets through, if there is a snowman."""
    body = b"".join(chunks)
    while "☃".encode() in body:
        try:
            time.sleep(60)
        except BaseException:  # on purpose
            continue
    return body


def waits_for_more(chunks):
    """Wait for ever where a chunk is empty."""
    body = b""
    for chunk in chunks:
        if not chunk:
            time.sleep(3600)
        body += chunk
    return body


def waits_on_snow(chunks):
    body = b"".join(chunks)
    if "☃".encode() in body:
        time.sleep(60)
    return text([body])


def exits_on_snow(chunks):
    body = b"".join(chunks)
    if "☃".encode() in body:
        os._exit(7)
    return text([body])


def utf8(chunks):
    decoder = codecs.getincrementaldecoder("utf-8")()
    return "".join(map(decoder.decode, chunks)) + decoder.decode(b"", final=True)


# -- archives ---------------------------------------------------------------------------------------------


def pair(*words, asked=ASKED):
    """Return request and response of a stream that says these words."""
    from fakellm import Finish, Script
    from fakellm.cassette import interaction_of  # what a consumer in another process has no use for

    return interaction_of(Script(*words, Finish()), URL, asked)


def body_of(*words):
    return pair(*words)[1]["body"]["string"]


def row(*words, **more):
    return {"body": body_of(*words).decode(), "api": "openai.chat", **more}


def lines(path, *rows):
    """Write rows as lines of JSON; a text is a line as it is."""
    said = [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in rows]
    path.write_text("".join(f"{line}\n" for line in said))
    return path


def tape(path, *words, end="complete"):
    request, response = pair(*words)
    if end != "complete":
        response["stream"] = {**response["stream"], "end": end}
    return _written(path, request, response)


def half(path, *words, end):
    """Write a tape of a stream that breaks before it is finished."""
    request, response = pair(*words)
    whole = response["body"]["string"]
    kept = whole[: whole.index(b'"finish_reason":"stop"')].rpartition(b"data: ")[0]
    response["body"] = {"string": kept}
    response["stream"] = {"sizes": [len(kept)], "delays": [0], "end": end, "error": None}
    return _written(path, request, response)


def _written(path, request, response):
    from fakellm.cassette import write

    write(path, (request, response))
    return path


def killed_once(chunks):
    """End this process as the system would, the first time that somebody reads."""
    flag = Path(os.environ["SWEEPING_FLAG"])
    if not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return text(chunks)


def noisy(chunks):
    os.write(1, b"what it says goes nowhere")
    return text(chunks)
