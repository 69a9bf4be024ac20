"""A response that nobody has any more, or whose client is closed, is closed: also in the log, also unread."""

from __future__ import annotations

import asyncio
import gc
import importlib

import aiohttp
import loopback
import openai
import pytest
from taping import CHUNKED, libraries

from fakellm import FakeProvider
from fakellm.cassette import Tape
from fakellm.http import intercept, playing, transport

URL = "https://api.openai.com/v1/chat/completions"
ASKED = {"model": "m", "messages": [{"role": "user", "content": "?"}], "stream": True}

pytestmark = pytest.mark.usefixtures("frozen")  # each test collects garbage several times


def states(log):
    gc.collect()  # a response of httpx and its stream hold each other
    return [call.state for call in log.calls]


@libraries
@pytest.mark.parametrize("own", [False, True], ids=["intercepted", "transport"])
def test_a_response_that_is_dropped_unread_is_closed(library, own):
    module = importlib.import_module(library)
    source = []

    def tell(request):
        try:
            yield "Hel"
            yield "lo"
        finally:
            source.append("closed")

    fake = FakeProvider("openai").otherwise(tell)
    with intercept(fake), module.Client(**({"transport": transport(fake, module)} if own else {})) as client:
        response = client.send(client.build_request("POST", URL, json=ASKED), stream=True)
        assert states(fake) == ["running"]
        del response
        assert states(fake) == ["closed"]
        assert source == ["closed"]
        assert fake.calls[0].delivered == 0

        kept = client.send(client.build_request("POST", URL, json=ASKED), stream=True)
        client.close()
        assert states(fake) == ["closed", "closed"]
        del kept


@pytest.mark.exhaustive
@libraries
@pytest.mark.filterwarnings("ignore:Unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_asynchronous_one_is_closed_too(library):
    module = importlib.import_module(library)
    fake = FakeProvider("openai").otherwise("Hello")

    async def main():
        async with module.AsyncClient() as client:
            response = await client.send(client.build_request("POST", URL, json=ASKED), stream=True)
            del response
            assert states(fake) == ["closed"]
        async with openai.AsyncOpenAI() as client:
            stream = await client.chat.completions.create(**ASKED)
            del stream
            assert states(fake) == ["closed"] * 2
        async with aiohttp.ClientSession() as session:
            await session.post(URL, json=ASKED)
        assert states(fake) == ["closed"] * 3

    with intercept(fake):
        asyncio.run(main())


@libraries
@pytest.mark.parametrize("ends", ["dropped", "its client is closed"])
@pytest.mark.exhaustive
def test_one_that_is_recorded_or_played_is_closed_too(tmp_path, library, ends):
    module = importlib.import_module(library)
    with loopback.Pieces([b"Hel", b"lo"], headers=CHUNKED) as server:
        for mode in ("once", "none"):
            with playing(Tape(tmp_path / "tape.yaml", mode=mode)) as tape, module.Client() as client:
                response = client.send(client.build_request("GET", server.url), stream=True)
                assert states(tape) == ["running"]
                if ends == "dropped":
                    del response
                else:
                    client.close()
                assert states(tape) == ["closed"]
