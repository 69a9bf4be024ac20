"""Records the cassettes of this folder anew from a real inference server: `python cassettes/record.py`.

Needs the SDKs (`pip install -e . openai anthropic google-genai`) and a server, whose addresses are in OPENAI_BASE_URL
(chat completions, legacy completions, Responses), ANTHROPIC_BASE_URL and GEMINI_BASE_URL; MODEL names the model.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import anthropic
import openai
from google import genai

from fakellm.cassette import Tape
from fakellm.http import Interception

HERE = Path(__file__).parent
MODEL = os.environ.get("MODEL", "tiny-llama")
OPENAI = os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8123/v1")
ANTHROPIC = os.environ.get("ANTHROPIC_BASE_URL", "http://127.0.0.1:8124")
GEMINI = os.environ.get("GEMINI_BASE_URL", "http://127.0.0.1:8124")
SONG = "Write me a song about sparkling water."
HELLO = [{"role": "user", "content": "Say hello in five languages."}]
RELAY = 8125
"""The port of the relay that breaks a connection; the same at each recording, since it is in the tape."""


def client(url: str = OPENAI) -> openai.OpenAI:
    return openai.OpenAI(api_key="none", base_url=url, max_retries=0)


def sparkling_water() -> None:
    for _ in client().completions.create(model=MODEL, prompt=SONG, stream=True, max_tokens=160):
        pass


def chat() -> None:
    for _ in client().chat.completions.create(model=MODEL, messages=HELLO, stream=True, max_tokens=60):
        pass


def document() -> None:
    client().chat.completions.create(model=MODEL, messages=HELLO, max_tokens=60)


def responses() -> None:
    for _ in client().responses.create(model=MODEL, input="Count from one to ten.", stream=True, max_output_tokens=40):
        pass


def messages() -> None:
    claude = anthropic.Anthropic(api_key="none", base_url=ANTHROPIC, max_retries=0)
    with claude.messages.stream(model=MODEL, max_tokens=60, messages=HELLO) as stream:
        stream.get_final_message()


def gemini() -> None:
    google = genai.Client(api_key="none", http_options={"base_url": GEMINI, "api_version": "v1beta"})
    for _ in google.models.generate_content_stream(model=MODEL, contents="Say hello in five languages."):
        pass


def dropped() -> None:
    with relay(after=1500) as url, contextlib.suppress(openai.APIConnectionError):
        for _ in client(url).chat.completions.create(model=MODEL, messages=HELLO, stream=True, max_tokens=60):
            pass


def error() -> None:
    with contextlib.suppress(openai.APIStatusError):
        client().chat.completions.create(model="no/such-model", messages=HELLO, stream=True)


@contextlib.contextmanager
def relay(*, after: int) -> Iterator[str]:
    """Yield the URL of a relay to the server that resets the connection after so many bytes of the answer."""
    target = urlsplit(OPENAI)

    def serve(listener: socket.socket) -> None:
        near, _ = listener.accept()
        far = socket.create_connection((target.hostname, target.port))
        asked = b""
        while not asked.endswith(b"}"):  # the end of the request's JSON
            asked += near.recv(4096)
        far.sendall(asked)
        sent = 0
        while sent < after and (data := far.recv(4096)):
            near.sendall(data)
            sent += len(data)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        near.close()
        far.close()

    with socket.create_server(("127.0.0.1", RELAY)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{RELAY}{target.path}"


SESSIONS: dict[str, Callable[[], None]] = {
    "sparkling_water.yaml": sparkling_water,
    "chat.yaml": chat,
    "document.yaml": document,
    "responses.yaml": responses,
    "messages.yaml": messages,
    "gemini.yaml": gemini,
    "dropped.yaml": dropped,
    "error.yaml": error,
}


def main() -> None:
    for name, session in SESSIONS.items():
        (HERE / name).unlink(missing_ok=True)
        interception = Interception()
        tape = Tape(HERE / name, mode="all")
        with tape.open(), interception.on():
            interception.tape = tape
            session()
            print(f"{name}: {tape.recorded} recorded")


if __name__ == "__main__":
    main()
