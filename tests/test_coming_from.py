"""What docs/coming-from.md says about other tools, measured. Its blocks are run by test_docs.py."""

from __future__ import annotations

import re
import warnings
from contextlib import contextmanager
from functools import reduce
from importlib import metadata
from importlib.util import find_spec
from operator import add
from unittest.mock import patch

import httpx
import openai
import pytest
import respx
import sdks
import vcr
from langchain_core.language_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage
from loopback import Pieces
from places import ROOT
from vectors import each

from fakellm import (  # some for the table, whose right side is evaluated here
    FakeChatModel,
    FakeLLM,
    FakeProvider,
    Finish,
    Pause,  # noqa: F401
    Script,  # noqa: F401
    ToolCall,
    Usage,
    disconnect,  # noqa: F401
    stall,  # noqa: F401
)
from fakellm.cassette.tape import Tape
from fakellm.http.interception import Interception
from fakellm.integrations.langchain.adapters import as_langchain_chat_model, as_langchain_llm

PAGE = ROOT / "docs" / "coming-from.md"
CHAT = ROOT / "cassettes" / "chat.yaml"
SERVER = "http://127.0.0.1:8123/v1/chat/completions"
ASKED = {"model": "m", "messages": [{"role": "user", "content": "?"}]}

sees_httpx = pytest.mark.skipif(sdks.http_of("openai") is not httpx, reason="this openai speaks through httpx2")
sees_httpx2 = pytest.mark.skipif(sdks.http_of("openai") is httpx, reason="this openai speaks through httpx")


def client(**options):
    return openai.OpenAI(api_key="k", max_retries=0, **options)


# -- hand-written mocks -------------------------------------------------------------------------------


def test_a_mock_takes_an_argument_that_is_misspelt(fake_openai):
    def ask():
        return openai.OpenAI(api_key="k").chat.completions.create(**ASKED, streem=True)

    with patch("openai.OpenAI"):
        ask()
    with pytest.raises(TypeError, match="streem"):
        ask()


# -- respx --------------------------------------------------------------------------------------------


@sees_httpx2
def test_respx_lets_openai_3_pass_to_the_network():
    with Pieces([b"{}"]) as server, respx.mock(assert_all_called=False) as router:
        route = router.route().respond(500)
        client(base_url=server.url).chat.completions.create(**ASKED)

    assert (len(server.seen), route.call_count) == (1, 0)


@sees_httpx
def test_respx_answers_a_request_without_a_route_as_a_lost_connection():
    with pytest.raises(openai.APIConnectionError), respx.mock:
        client().chat.completions.create(**ASKED)


# -- openai-responses ---------------------------------------------------------------------------------


@pytest.fixture
def openai_responses():
    return pytest.importorskip("openai_responses", reason="openai-responses is not installed")


def test_openai_responses_takes_openai_2(openai_responses):
    (needed,) = (line for line in metadata.requires("openai-responses") if line.startswith("openai"))
    assert "<3" in needed


def test_openai_responses_does_not_have_responses(openai_responses):
    @openai_responses.mock()
    def ask():
        client().responses.create(model="m", input="?")

    with pytest.raises(openai.APIConnectionError):
        ask()


def test_openai_responses_gives_a_document_to_who_wants_a_stream(openai_responses):
    message = {"role": "assistant", "content": "Hello"}

    @openai_responses.mock()
    def ask(openai_mock):
        create = openai_mock.chat.completions.create
        create.response = {"choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
        chunks = list(client().chat.completions.create(**ASKED, stream=True))
        return chunks, create.route.calls[0].response.status_code

    assert ask() == ([], 201)


def test_openai_responses_does_not_miss_a_reply_that_is_never_asked_for(openai_responses):
    @openai_responses.mock()
    def ask(openai_mock):
        openai_mock.chat.completions.create.response = {"choices": []}

    ask()


# -- vcrpy --------------------------------------------------------------------------------------------


class Logged(Pieces):
    """Logs that a piece is about to be sent."""

    log = ()

    def body(self, call):
        for piece in super().body(call):
            self.log.append("sent")
            yield piece


@contextmanager
def ours(path, mode="all"):
    """Put a tape between the clients and the network, as the marker does."""
    tape, interception = Tape(path, mode=mode), Interception()
    interception.tape = tape
    with tape.open(), interception.on():
        yield tape


def received(url, **options):
    """Yield the pieces of an answer as they come."""
    with httpx.Client() as http, http.stream("POST", url, json=ASKED, **options) as answer:
        yield from answer.iter_raw()


def test_vcrpy_reads_to_the_end_before_the_app_gets_a_byte(tmp_path):
    log = []
    with Logged([b"a", b"b", b"c"]) as server, vcr.use_cassette(str(tmp_path / "tape.yaml")):
        server.log = log
        for _ in received(server.url):
            log.append("got")

    assert log == ["sent", "sent", "sent", "got"]


def test_ours_hands_on_what_comes(tmp_path):
    with Pieces([b"a", b"b", b"c"], gated=True) as server, ours(tmp_path / "tape.yaml"):
        server.release()
        got = []
        for piece in received(server.url):
            got.append(piece)
            server.release()  # only now the server sends the next

    assert got == [b"a", b"b", b"c"]


def test_vcrpy_plays_one_piece_and_ours_what_there_were():
    asked = {
        "model": "tiny-llama",
        "stream": True,
        "messages": [{"role": "user", "content": "Say hello in five languages."}],
        "max_tokens": 60,
    }
    with vcr.use_cassette(str(CHAT), record_mode="none"):
        assert len(list(received(SERVER))) == 1
    with ours(CHAT, "none"), httpx.Client() as http, http.stream("POST", SERVER, json=asked) as answer:
        assert len(list(answer.iter_raw())) == 19


def test_vcrpy_keeps_nothing_of_a_connection_that_breaks(tmp_path):
    seen = []
    with Pieces([b"a", b"b"], end="reset") as server:
        with pytest.raises(httpx.ReadError), vcr.use_cassette(str(tmp_path / "theirs.yaml")):
            seen.extend(received(server.url))
        assert (seen, list(tmp_path.iterdir())) == ([], [])

        with ours(tmp_path / "ours.yaml"), pytest.raises(httpx.ReadError):
            for piece in received(server.url):
                seen.append(piece)
    assert "end: dropped" in (tmp_path / "ours.yaml").read_text()
    assert b"".join(seen) == b"ab"


def test_vcrpy_matches_whatever_the_prompt():
    with vcr.use_cassette(str(CHAT), record_mode="none"):
        assert b"data:" in b"".join(received(SERVER))  # ASKED is not what was recorded


def test_vcrpy_writes_the_key(tmp_path):
    headers = {"authorization": "Bearer a-secret-of-mine"}
    with Pieces([b"a"]) as server:
        with vcr.use_cassette(str(tmp_path / "theirs.yaml")):
            list(received(server.url, headers=headers))
        with ours(tmp_path / "ours.yaml"):
            list(received(server.url, headers=headers))

    assert "a-secret-of-mine" in (tmp_path / "theirs.yaml").read_text()
    assert "a-secret-of-mine" not in (tmp_path / "ours.yaml").read_text()


# -- LangChain's fakes --------------------------------------------------------------------------------

USAGE = {"input_tokens": 12, "output_tokens": 9, "total_tokens": 21}


def test_the_generic_fake_loses_tool_calls_usage_and_finish_reason():
    said = AIMessage(
        "Look it up.",
        tool_calls=[{"name": "weather", "args": {"city": "Paris"}, "id": "1"}],
        usage_metadata=USAGE,
        response_metadata={"finish_reason": "tool_calls"},
    )
    chunks = list(GenericFakeChatModel(messages=iter([said])).stream("?"))

    assert [chunk.content for chunk in chunks] == ["Look", " ", "it", " ", "up."]
    whole = reduce(add, chunks)
    assert (whole.tool_calls, whole.usage_metadata, whole.response_metadata) == ([], None, {})


def test_ours_keeps_them():
    fake = FakeChatModel("Look it ", "up.", ToolCall("weather", {"city": "Paris"}), Usage(12, 9), Finish("tool_calls"))
    whole = reduce(add, as_langchain_chat_model(fake).stream("?"))

    assert (whole.content, whole.tool_calls[0]["args"]) == ("Look it up.", {"city": "Paris"})
    assert whole.usage_metadata == USAGE
    assert whole.response_metadata["finish_reason"] == "tool_calls"


def test_the_list_fake_says_characters_and_begins_anew():
    model = FakeListChatModel(responses=["ab", "cd"])

    assert [chunk.content for chunk in model.stream("?")] == ["a", "b"]
    assert [model.invoke("?").content for _ in range(3)] == ["cd", "ab", "cd"]


@pytest.mark.parametrize(
    "model", [FakeListChatModel(responses=["a"]), GenericFakeChatModel(messages=iter(["a"]))], ids=["list", "generic"]
)
def test_neither_takes_tools(model):
    with pytest.raises(NotImplementedError):
        model.bind_tools([])


# -- pytest-recording ---------------------------------------------------------------------------------


@pytest.mark.skipif(not find_spec("pytest_recording"), reason="pytest-recording is not installed")
def test_pytest_recording_records_nothing_unless_told(pytester):
    pytester.makepyfile('def test_mode(record_mode):\n    assert record_mode == "none"')
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # vcrpy was loaded before the plugin
        pytester.runpytest("-p", "no:cacheprovider", "-p", "no:asyncio").assert_outcomes(passed=1)


# -- the table ----------------------------------------------------------------------------------------

RIGHT = [
    code
    for line in PAGE.read_text().partition("## You wrote")[2].splitlines()
    for code in re.findall(r"`([^`]+)`", line.removesuffix(" |").rpartition(" | ")[2])
    if line.startswith("|") and not code.startswith("--") and code != "Hel"
]


@each("code", RIGHT)
def test_what_you_write_can_be_written(code):
    fake_openai = FakeProvider("openai")
    fake_openai.otherwise("first")
    if ".calls[0]" in code:
        fake_openai.handle("POST", "https://api.openai.com/v1/chat/completions", {}, b'{"model": "m", "messages": []}')

    assert eval(code.removeprefix("@"), {**globals(), "fake_openai": fake_openai, "text": "It rains."})


def test_a_text_model_says_the_answers_of_the_list():
    model = as_langchain_llm(FakeLLM.replies("a", "b"))
    assert [model.invoke("?"), model.invoke("?")] == ["a", "b"]
