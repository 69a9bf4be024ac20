"""The official clients, each called as an app calls it; `api=` puts a scripted provider in the network's place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from functools import cache
from typing import Any

from finding import finding
from of_readers import without_bom
from serving import arriving, openai_client, reading

from fakellm.contracts import Report, check_consumer, check_stream

ASKED: dict[str, Any] = {"model": "m", "messages": []}
OPENAI, ANTHROPIC, GEMINI = ("openai", "3.57.0"), ("anthropic", "2.13.0"), ("google-genai", "3.6.1")


class IncompleteAnswerError(Exception):
    """The stream ended, and the provider had not said that the answer is complete."""


def chat() -> Callable[[str], Any]:
    import openai

    client = openai.OpenAI(api_key="none")
    return lambda prompt: client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": prompt}], stream=True
    )


def responses() -> Callable[[str], Any]:
    import openai

    client = openai.OpenAI(api_key="none")
    return lambda prompt: client.responses.create(model="m", input=prompt, stream=True)


def messages() -> Callable[[str], Any]:
    import anthropic

    client = anthropic.Anthropic(api_key="none")
    return lambda prompt: client.messages.create(
        model="m", max_tokens=9, messages=[{"role": "user", "content": prompt}], stream=True
    )


def contents() -> Callable[[str], Any]:
    from google import genai

    client = genai.Client(api_key="none")
    return lambda prompt: client.models.generate_content_stream(model="m", contents=prompt)


# -- half an answer is taken for a whole one ------------------------------------------------------------------


def is_end_of_chat(chunk: Any) -> bool:
    return any(choice.finish_reason for choice in chunk.choices)


def is_end_of_response(event: Any) -> bool:
    if event.type in ("error", "response.failed"):
        raise IncompleteAnswerError(event)
    return event.type in ("response.completed", "response.incomplete")


def is_end_of_message(event: Any) -> bool:
    return event.type == "message_stop"


def is_end_of_contents(chunk: Any) -> bool:
    return any(candidate.finish_reason for candidate in chunk.candidates or ())


def careful(make: Callable[[], Callable[[str], Any]], is_end: Callable[[Any], bool]) -> Callable[[], Any]:
    """Return the maker of an app that looks for the end: the whole remedy, three lines."""

    def made() -> Callable[[str], Iterator[Any]]:
        ask = make()

        def read(prompt: str) -> Iterator[Any]:
            ended = False
            for chunk in ask(prompt):
                ended = is_end(chunk) or ended
                yield chunk
            if not ended:
                raise IncompleteAnswerError

        return read

    return made


@finding("truncation", *OPENAI)
def openai_chat_truncation() -> Report:
    return check_stream(chat, api="openai", contracts=["truncation"])


@openai_chat_truncation.kept
def _() -> Report:
    return check_stream(careful(chat, is_end_of_chat), api="openai", contracts=["truncation"])


@finding("truncation", *OPENAI)
def openai_responses_truncation() -> Report:
    return check_stream(responses, api="openai", contracts=["truncation"])


@openai_responses_truncation.kept
def _() -> Report:
    return check_stream(careful(responses, is_end_of_response), api="openai", contracts=["truncation"])


@finding("truncation", *ANTHROPIC)
def anthropic_truncation() -> Report:
    return check_stream(messages, api="anthropic", contracts=["truncation"])


@anthropic_truncation.kept
def _() -> Report:
    return check_stream(careful(messages, is_end_of_message), api="anthropic", contracts=["truncation"])


@finding("truncation", *GEMINI)
def gemini_truncation() -> Report:
    return check_stream(contents, api="gemini", contracts=["truncation"])


@gemini_truncation.kept
def _() -> Report:
    return check_stream(careful(contents, is_end_of_contents), api="gemini", contracts=["truncation"])


# -- an error is handed on as an event ------------------------------------------------------------------------


@finding("in_band_error", *OPENAI)
def openai_responses_in_band_error() -> Report:
    return check_stream(responses, api="openai", contracts=["in_band_error"])


@openai_responses_in_band_error.kept
def _() -> Report:
    return check_stream(careful(responses, is_end_of_response), api="openai", contracts=["in_band_error"])


# -- the client's retries end before the first chunk ----------------------------------------------------------


def retried(make: Callable[[], Callable[[str], Any]]) -> Callable[[], Any]:
    """Return the maker of an app whose retry covers the first chunk, and no later one."""

    def made() -> Callable[[str], Iterator[Any]]:
        ask = make()

        def opened(prompt: str) -> tuple[Any, Iterator[Any]]:
            stream = iter(ask(prompt))
            return next(stream), stream

        def read(prompt: str) -> Iterator[Any]:
            try:
                first, rest = opened(prompt)
            except Exception:  # noqa: BLE001 - an app knows which of its client's errors may pass
                first, rest = opened(prompt)
            yield first
            yield from rest

        return read

    return made


@finding("lazy_error", *OPENAI)
def openai_lazy_error() -> Report:
    return check_stream(chat, api="openai", contracts=["lazy_error"])


@openai_lazy_error.kept
def _() -> Report:
    return check_stream(retried(chat), api="openai", contracts=["lazy_error", "retry_midstream"])


@finding("lazy_error", *ANTHROPIC)
def anthropic_lazy_error() -> Report:
    return check_stream(messages, api="anthropic", contracts=["lazy_error"])


@anthropic_lazy_error.kept
def _() -> Report:
    return check_stream(retried(messages), api="anthropic", contracts=["lazy_error", "retry_midstream"])


# -- a second iteration is silently empty ---------------------------------------------------------------------


class Once:
    """A stream that says so when it is read twice."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._read = stream, False

    def __iter__(self) -> Iterator[Any]:
        if self._read:
            raise RuntimeError("this stream was read already; keep its chunks in a list to read them twice")
        self._read = True
        return iter(self._stream)

    def close(self) -> None:
        self._stream.close()


def once(make: Callable[[], Callable[[str], Any]]) -> Callable[[], Any]:
    def made() -> Callable[[str], Once]:
        ask = make()
        return lambda prompt: Once(ask(prompt))

    return made


@finding("one_shot", *OPENAI)
def openai_one_shot() -> Report:
    return check_stream(chat, api="openai", contracts=["one_shot"])


@openai_one_shot.kept
def _() -> Report:
    return check_stream(once(chat), api="openai", contracts=["one_shot"])


@finding("one_shot", *ANTHROPIC)
def anthropic_one_shot() -> Report:
    return check_stream(messages, api="anthropic", contracts=["one_shot"])


@anthropic_one_shot.kept
def _() -> Report:
    return check_stream(once(messages), api="anthropic", contracts=["one_shot"])


# -- a connection that nobody closes --------------------------------------------------------------------------


@finding("close", *GEMINI)
def gemini_async_close() -> Report:
    from google import genai

    def make() -> Callable[[str], Any]:
        client = genai.Client(api_key="none")

        async def ask(prompt: str) -> Any:
            return await client.aio.models.generate_content_stream(model="m", contents=prompt)

        return ask

    return check_stream(make, api="gemini", contracts=["close"])


@gemini_async_close.kept
def _() -> Report:
    from google import genai

    async def ask(prompt: str) -> AsyncIterator[Any]:
        client = genai.Client(api_key="none").aio
        try:
            async with aclosing(await client.models.generate_content_stream(model="m", contents=prompt)) as stream:
                async for chunk in stream:
                    yield chunk
        finally:
            await client.aclose()  # with the connections of all its streams

    return check_stream(lambda: ask, api="gemini", contracts=["close"])


# -- the client's own accumulator -----------------------------------------------------------------------------


def helper_events(chunks: Any) -> Any:
    """Return what the helper says of calls: the arguments as they were when each was done."""
    with openai_client(chunks).chat.completions.stream(**ASKED) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
    return sorted((event.index, event.name, event.arguments) for event in done)


def helper_answer(chunks: Any) -> Any:
    """Return the calls of the helper's final completion."""
    with openai_client(chunks).chat.completions.stream(**ASKED) as stream:
        calls = stream.get_final_completion().choices[0].message.tool_calls or []
    return [(call.function.name, call.function.arguments) for call in calls]


@finding("tool_calls", *OPENAI)
def openai_helper_tool_calls() -> Report:
    return check_consumer(helper_events, contracts=["tool_calls"])


@openai_helper_tool_calls.kept
def _() -> Report:
    return check_consumer(helper_answer, contracts=["tool_calls"])


# -- the bytes of a stream ------------------------------------------------------------------------------------

CHUNK = b'{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{%b}}]}'
CHAT = b"".join(b"data: %b\n\n" % data for data in (CHUNK % b'"content":"Caf\xc3\xa9"', CHUNK % b"", b"[DONE]"))
READING = ["framing", "line_ends", "control_blocks", "utf8_split"]


@cache
def openai_of_reads() -> Any:
    import openai

    return openai.OpenAI(api_key="none", max_retries=0, http_client=reading("openai"))


def openai_reads(reads: Any) -> list[Any]:
    """Return what the client makes of an event stream that arrives in these reads."""
    with arriving(reads):
        stream = openai_of_reads().chat.completions.create(**ASKED, stream=True)
        return [chunk.choices[0].delta.content for chunk in stream]


@cache
def anthropic_of_reads() -> Any:
    import anthropic

    return anthropic.Anthropic(api_key="none", max_retries=0, http_client=reading("anthropic"))


def anthropic_reads(reads: Any) -> list[Any]:
    """Return which events the client makes of an event stream that arrives in these reads."""
    with arriving(reads):
        stream = anthropic_of_reads().messages.create(**ASKED, max_tokens=9, stream=True)
        return [event.to_dict() for event in stream]


@finding("control_blocks", *OPENAI)
def openai_retry_block() -> Report:
    return check_consumer(openai_reads, CHAT, contracts=READING)


@finding("control_blocks", *ANTHROPIC)
def anthropic_bom() -> Report:
    return check_consumer(anthropic_reads, contracts=READING)


@anthropic_bom.kept
def _() -> Report:
    return check_consumer(lambda reads: anthropic_reads(without_bom(reads)), contracts=READING)
