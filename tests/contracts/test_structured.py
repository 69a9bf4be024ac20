"""Consumers of structured chunks: the legal moves, what official clients make of them, and the bugs that they find."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import random
import re
from collections import Counter
from functools import cache

import corpus
import pytest
from hypothesis import given
from sending import sse_of
from vectors import each, first_of

from fakellm import FakeChatModel, Finish, Reasoning, Script, Text, ToolCall, Usage, disconnect
from fakellm.contracts.catalogue import CATALOGUE
from fakellm.contracts.consumers.chunking import any_chunking
from fakellm.contracts.consumers.smallest import search
from fakellm.contracts.structured import checks as structured_checks  # noqa: F401 - it binds the checks
from fakellm.contracts.structured.document import SWEEP, document_of
from fakellm.contracts.structured.moves import grown, merged, merges, patterns, positions
from fakellm.contracts.structured.shown import line
from fakellm.errors import BrokenContractError, ContractUsageError
from fakellm.script.messages import Message
from fakellm.wire.anthropic.messages import MessagesCodec
from fakellm.wire.openai.chat import ChatCodec

TOOLS = Script(
    Text("Let "), Text("me <b>"),
    ToolCall("get_weather", '{"city": "Lis'), ToolCall(arguments='bon"}'), ToolCall("get_time", {"x": 1}), ToolCall("h"),
    Usage(700, 40), Finish("tool_calls"),
)  # fmt: skip
TWO = Script(
    Text("a b"), Text("cd"), Text("A", choice=1), Text("B", choice=1),
    ToolCall("f", "{}", choice=1), ToolCall("g", '{"a": 1}', choice=1),
    Finish(), Finish("tool_calls", choice=1), Usage(700, 40),
)  # fmt: skip
THINKS = Script(Reasoning("hm "), Reasoning("so"), Text("x"), Text("y z"), Finish("length"))
CONTRACTS = ("tool_calls", "empty_delta", "no_choices", "finish", "usage", "crossed_streams")


def plain(chunks):
    """Return chunks as dicts, whatever they are."""
    return [c if isinstance(c, dict) else c.model_dump(mode="json", exclude_unset=True, warnings=False) for c in chunks]


def moved(chunks):
    """Return chunk dicts where the usage is on the chunk before its own, as many services have it."""
    *rest, last = plain(chunks)
    return [*rest[:-1], {**rest[-1], "usage": last["usage"]}]


def ended(script):
    """Return chunk dicts where the finish reason comes with the last piece of the answer, as with many services."""
    document = document_of(script)
    return document.apply(tuple(m.plain() for m in document.singles if m.kind == "join" and m.what == "finish"))


def with_roles(chunks):
    """Return chunk dicts each of whose deltas has the role, as OpenRouter and Ollama send them."""
    return [
        {**chunk, "choices": [{**c, "delta": {"role": "assistant", **c["delta"]}} for c in chunk["choices"]]}
        for chunk in chunks
    ]


DOCUMENTS = {
    "tools": lambda: document_of(TOOLS),
    "two answers": lambda: document_of(TWO),
    "reasoning": lambda: document_of(THINKS),
    "tools, usage at the finish": lambda: document_of(moved(document_of(TOOLS).apply(()))),
    "tools, finish at the last": lambda: document_of(ended(TOOLS)),
    "text, finish at the last": lambda: document_of(ended(THINKS)),
    "roles everywhere": lambda: document_of(with_roles(document_of(THINKS).apply(()))),
    "two answers, usage at the finish": lambda: document_of(moved(document_of(TWO).apply(()))),
}
EVENTS = {
    "tools": lambda: document_of(TOOLS, api="anthropic_messages"),
    "reasoning": lambda: document_of(THINKS, api="anthropic_messages"),
}


def sets_of_moves(document, count=60):
    """Return the sweep, and sets of any moves."""
    yield from document.sweep()
    dice = random.Random(7)
    pool = [move.plain() for move in document.singles]
    for _ in range(count):
        yield tuple(sorted(dice.sample(pool, min(dice.randint(2, 8), len(pool)))))


def unequal(document, read, *, every=1):
    """Return the first set of moves, of every so many, after which `read` makes something else of the chunks."""
    whole = read(document.apply(()))
    tried = itertools.islice(sets_of_moves(document), 0, None, every)
    return next((moves for moves in tried if read(document.apply(moves)) != whole), None)


# -- every move is one that clients accept ------------------------------------------------------------


def by_openai(chunks):
    """Return what the accumulator of the official client makes of chunks."""
    from openai.lib.streaming.chat import ChatCompletionStreamState

    state = ChatCompletionStreamState()
    for chunk in chunks:
        list(state.handle_chunk(_chunk_of(json.dumps(chunk)) if isinstance(chunk, dict) else chunk))
    final = state.current_completion_snapshot
    return [_by_openai(choice) for choice in final.choices], final.usage and final.usage.to_dict()


@cache
def _chunk_of(text):
    """Return the official client's object of a chunk, which hundreds of moved streams share."""
    from openai.types.chat import ChatCompletionChunk

    return ChatCompletionChunk.model_construct(**json.loads(text))


def _by_openai(choice):
    message = choice.message
    calls = [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or ()]
    thoughts = getattr(message, "reasoning_content", None)
    return message.role, message.content, thoughts, calls, choice.finish_reason


def by_anthropic(events):
    """Return what the accumulator of the official client makes of events; it gets no pings."""
    from anthropic.lib.streaming._messages import accumulate_event

    found, buffers = None, {}
    more = {"json_bufs": buffers} if "json_bufs" in inspect.signature(accumulate_event).parameters else {}
    for event in events:
        if not isinstance(event, dict) or event["type"] != "ping":
            found = accumulate_event(event=event, current_snapshot=found, **more)
    return [block.to_dict() for block in found.content], found.stop_reason, found.usage.to_dict()


def by_us(codec, chunks):
    """Return what our decoder makes of chunks."""
    chunks = plain(chunks)
    names = ["" if "choices" in chunk else f"event: {chunk['type']}\n" for chunk in chunks]
    data = "".join(f"{name}data: {json.dumps(chunk)}\n\n" for name, chunk in zip(names, chunks, strict=True))
    script = codec.decode(f"{data}data: [DONE]\n\n".encode() if isinstance(codec, ChatCodec) else data.encode())
    answers = [script.choice(number) for number in script.choices]
    return [(a.text, a.reasoning, a.tool_calls, a.finish_reason) for a in answers], script.usage


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_official_client_adds_moved_chunks_up_to_the_same(name):
    pytest.importorskip("openai")

    assert unequal(DOCUMENTS[name](), by_openai, every=3) is None


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", DOCUMENTS)
def test_our_decoder_reads_moved_chunks_as_the_same(name):
    assert unequal(DOCUMENTS[name](), lambda chunks: by_us(ChatCodec(), chunks)) is None


def strictly(chunks):
    """Raise for what no service does, though clients would put up with it."""
    ended, opened, counted = set(), {}, 0
    for chunk in chunks:
        for choice in chunk["choices"]:
            index, delta = choice["index"], choice["delta"]
            says = delta.get("content") or delta.get("reasoning_content") or delta.get("tool_calls")
            assert not (index in ended and says), "content after the finish reason"
            for piece in delta.get("tool_calls") or ():
                calls = opened.setdefault(index, {})
                assert piece["index"] <= len(calls), "a call opens before an earlier one"
                assert piece["index"] in calls or piece["function"]["name"], "a call opens without its name"
                calls.setdefault(piece["index"])
            if choice.get("finish_reason"):
                ended.add(index)
        count = (chunk.get("usage") or {}).get("completion_tokens", counted)
        assert count >= counted, "a count that falls"
        counted = count


@pytest.mark.parametrize("name", first_of(DOCUMENTS, 2))
def test_moved_chunks_are_in_an_order_that_services_keep(name):
    assert unequal(DOCUMENTS[name](), strictly) is None


def test_moved_events_are_in_an_order_that_services_keep():
    def strictly(events):
        signed = stopped = False
        for event in events:
            if event["type"] == "content_block_delta":
                signed |= event["delta"]["type"] == "signature_delta"
                assert not (signed and event["delta"]["type"] == "thinking_delta"), "thinking after its signature"
                assert not stopped, "content after the stop reason"
            if event["type"] == "message_delta":
                stopped |= event["delta"]["stop_reason"] is not None

    for make in EVENTS.values():
        assert unequal(make(), strictly) is None


@pytest.mark.exhaustive
def test_choices_in_one_chunk_and_in_another_order_do_not_add_up_to_something_else():
    document = document_of(TWO)
    whole = by_us(ChatCodec(), document.apply(()))
    packs = [move.plain() for move in document.singles if move.kind == "join" and move.what == "choices"]
    orders = [move.plain() for move in document.singles if move.kind == "choices"]

    assert packs
    for pack, order in itertools.product(packs, orders):
        assert by_us(ChatCodec(), document.apply((order, pack))) == whole


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", EVENTS)
def test_anthropics_client_adds_moved_events_up_to_the_same(name):
    pytest.importorskip("anthropic")

    assert unequal(EVENTS[name](), by_anthropic) is None


@pytest.mark.parametrize("name", first_of(reversed(EVENTS)))
def test_our_decoder_reads_moved_events_as_the_same(name):
    assert unequal(EVENTS[name](), lambda events: by_us(MessagesCodec(), events)) is None


@pytest.mark.parametrize("script", [TOOLS, THINKS], ids=["tools", "reasoning"])
def test_moved_messages_add_up_to_the_same(script):
    def added(chunks):
        whole = chunks[0]
        for chunk in chunks[1:]:
            whole += chunk
        return whole

    assert unequal(document_of(script, api="message"), added) is None


@pytest.mark.exhaustive
@pytest.mark.parametrize("api", ["openai_chat", "anthropic_messages"])
def test_moved_sdk_objects_are_of_the_same_types_and_add_up_to_the_same(api):
    pytest.importorskip("openai" if api == "openai_chat" else "anthropic")
    document = document_of(TOOLS, api=api, sdk=True)
    types = set(map(type, document.apply(())))

    assert unequal(document, by_openai if api == "openai_chat" else by_anthropic, every=3) is None
    assert all(set(map(type, document.apply(moves))) <= types for moves in document.sweep())
    assert document_of(document.apply(())).singles == document.singles


@pytest.mark.exhaustive
@corpus.needs_corpus
@pytest.mark.parametrize("api", ["openai.chat", "anthropic.messages"])
def test_moves_on_recorded_streams_change_nothing(api):
    """Our decoder is the consumer; the official one fails on some of these undivided."""
    codec = ChatCodec() if api == "openai.chat" else MessagesCodec()
    tried = 0
    for row in [row for row in corpus.expected() if row["api"] == api]:
        events = sse_of(corpus.body(row["file"], row["idx"]))
        chunks = [json.loads(event.data) for event in events if event.data not in ("", "[DONE]")]
        try:
            document = document_of(chunks[:100])
        except ContractUsageError as error:
            assert "reports an error" in str(error)  # noqa: PT017
            continue
        if len(chunks) < 60:
            whole = by_us(codec, document.apply(()))
            different = [
                moves
                for moves in list(document.sweep())[tried % 24 :: 24]
                if by_us(codec, document.apply(moves)) != whole
            ]
            assert different == [], f"{row['file']}#{row['idx']}: {document.shown(different[0])}"
            tried += 1
    assert tried > 10


# -- what a document promises ------------------------------------------------------------------------

ALL = {
    **DOCUMENTS,
    **{f"events, {name}": make for name, make in EVENTS.items()},
    "messages": lambda: document_of(TOOLS, api="message"),
}


@each("name", ALL)
def test_without_moves_the_chunks_are_as_they_were(name):
    document = ALL[name]()

    assert document.apply(()) == document.apply(()) == list(document.stream.chunks) or name == "messages"
    assert document_of(TOOLS, api="message").apply(()) == list(FakeChatModel(TOOLS).stream("?"))


@pytest.mark.exhaustive
@each("name", ALL)
def test_each_set_of_moves_gives_fresh_chunks(name):
    """A consumer may change what it gets."""
    document = ALL[name]()
    for moves in [(), *list(document.sweep())[:50]]:
        before = repr(document.apply(moves))
        for chunk in document.apply(moves):
            _spoil(chunk)
        assert repr(document.apply(moves)) == before


def _spoil(value):
    for item in list(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()):
        _spoil(item)
    if isinstance(value, (dict, list)):
        value.clear()


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ALL)
def test_every_single_move_changes_something_and_can_be_shown(name):
    document = ALL[name]()
    whole = repr(document.apply(()))
    for move in document.singles:
        assert repr(document.apply((move.plain(),))) != whole, move
        assert len(document.shown((move.plain(),)).splitlines()) == 1


@pytest.mark.exhaustive
@each("name", ALL)
def test_the_sweep_is_the_same_each_time_and_bounded(name):
    document = ALL[name]()
    sweep = list(document.sweep())

    assert sweep == list(ALL[name]().sweep())
    assert len(sweep) == len(set(sweep)) <= SWEEP
    assert {document.contract(moves) for moves in sweep} == document.contracts


@pytest.mark.exhaustive
def test_a_long_document_has_a_bounded_sweep():
    assert len(list(document_of(Script.of("The quick brown fox. " * 10, split="words")).sweep())) == SWEEP
    document = document_of(Script.of("The quick brown fox. " * 200, split="words"))

    assert len(list(document.sweep())) == document.limit == 40
    assert document.examples == 13
    assert {move[0][1] for move in document.sweep()} >= {
        "none",
        "empty",
        "again",
        "late",
        "unfinished",
        "split",
        "join",
    }


@pytest.mark.exhaustive
@each("name", ALL)
def test_the_moves_for_one_contract_are_those_for_it(name):
    document = ALL[name]()
    for contract in document.contracts:
        narrow = document.of(contract)
        assert {narrow.contract(moves) for moves in narrow.sweep()} == {contract}
    assert sum(len(document.of(contract).singles) for contract in document.contracts) == len(document.singles)


def test_the_strategy_draws_legal_sets_of_moves():
    document = document_of(TOOLS)
    seen = Counter()

    @given(document.strategy())
    def draw(moves):
        assert moves == tuple(sorted(set(moves)))
        assert by_us(ChatCodec(), document.apply(moves)) == by_us(ChatCodec(), document.apply(()))
        seen.update(kind for _, kind, *_ in moves)

    draw()
    assert len(seen) >= 8


def test_the_pieces_of_parallel_calls_come_in_every_order_that_keeps_each_calls_own():
    assert patterns([0, 0, 1, 1]) == ["0 1 0 1", "0 1 1 0"]
    assert sorted(merges([0, 0, 0, 1, 1, 1])) == sorted(set(merges([0, 0, 0, 1, 1, 1])))
    assert len(list(merges([0, 0, 0, 1, 1, 1]))) == 9, "20 merges, of which 10 open call 1 first, and the given one"
    assert len(patterns([0] * 100 + [1] * 100)) == 40
    assert merged("0 1 0 1", [0, 0, 1, 1, 1], "abxyz") == ["a", "x", "b", "y", "z"]


def test_counts_so_far_grow_to_the_whole():
    whole = {"prompt_tokens": 10, "completion_tokens": 9, "total_tokens": 19, "completion_tokens_details": {}}

    assert grown(whole, 1, 3) == {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
    assert grown({"input_tokens": 1, "output_tokens": 5}, 1, 2) == {"input_tokens": 1, "output_tokens": 2}


def test_cuts_of_a_long_text_are_at_what_stands_out_and_between():
    found = positions("word " * 100, 20)

    assert len(found) <= 20
    assert found == sorted(set(found))
    assert any(("word " * 100)[place] == " " for place in found)


def test_chunks_are_shown_in_one_line_each():
    document = document_of(TOOLS)
    shown = [line(chunk) for chunk in document.apply(())]

    assert shown[:5] == [
        "role assistant",
        "content 'Let '",
        "content 'me <b>'",
        "tool 0 id 'call_0' name 'get_weather' \"\"",
        'tool 0 {"city": "Lis',
    ]
    assert shown[-2:] == ["finish tool_calls", "choices [] usage 700+40"]
    assert document.shown(((2, "empty", 0, "null"),)) == "… | content 'Let ' | content null | content 'me <b>' | …"
    assert (
        document.shown(((1, "split", 0, "content", 3),))
        == "role assistant | content 'Let' | content ' ' | content 'me <b>' | …"
    )
    assert (
        document_of(TOOLS, api="anthropic_messages").shown(((1, "ping"),)) == "message_start | ping | start 0 text | …"
    )


@pytest.mark.parametrize(
    ("move", "contract"),
    [
        ((1, "split", 0, "content", 3), "whitespace_tail"),
        ((1, "split", 0, "content", 1), "tags"),
        ((4, "split", 0, "0", 3), "tool_calls"),
        ((8, "join", 0, "finish"), "tool_calls"),
        ((0, "none"), "no_choices"),
    ],
)
def test_a_move_belongs_to_a_contract(move, contract):
    document = document_of(TOOLS)
    if move[3:] == ("finish",):
        move, contract = next(m.plain() for m in document.singles if m.what == "finish"), "finish"

    assert document.contract((move,)) == contract


# -- consumers, right and wrong ------------------------------------------------------------------------


class Reader:
    """Reads chat completion chunks, right; what is wrong is one method of a subclass."""

    def __call__(self, chunks):
        self.answers, self.usage = {}, None
        for chunk in chunks:
            if self.chunk(chunk) == "stop":
                break
        return self.answers, self.usage

    def chunk(self, chunk):
        if chunk.get("usage"):
            self.count(chunk["usage"])
        for choice in self.choices(chunk):
            answer = self.answers.setdefault(self.key(choice), {"text": "", "calls": {}, "finish": None})
            if self.choice(answer, choice) == "stop":
                return "stop"
        return None

    def count(self, usage):
        self.usage = usage["prompt_tokens"], usage["completion_tokens"]

    def choices(self, chunk):
        return chunk["choices"]

    def key(self, choice):
        return choice["index"]

    def choice(self, answer, choice):
        delta = choice["delta"]
        self.text(answer, delta)
        for piece in self.pieces(delta):
            self.call(answer["calls"], piece)
        return self.finish(answer, choice)

    def text(self, answer, delta):
        answer["text"] += delta.get("content") or ""

    def pieces(self, delta):
        return delta.get("tool_calls") or []

    def call(self, calls, piece):
        call = calls.setdefault(piece["index"], {"id": None, "name": None, "arguments": ""})
        function = piece["function"]
        call["id"] = piece.get("id") or call["id"]
        call["name"] = function.get("name") or call["name"]
        call["arguments"] += function.get("arguments") or ""

    def finish(self, answer, choice):
        answer["finish"] = choice.get("finish_reason") or answer["finish"]


class KeysById(Reader):
    def call(self, calls, piece):
        calls[piece.get("id", "")] = calls.get(piece.get("id", ""), "") + (piece["function"].get("arguments") or "")


class ContinuesTheLast(Reader):
    def call(self, calls, piece):
        if piece.get("id"):
            calls[piece["id"]] = ""
        last = list(calls)[-1]
        calls[last] += piece["function"].get("arguments") or ""


class ResetsTheName(Reader):
    def call(self, calls, piece):
        super().call(calls, piece)
        calls[piece["index"]]["name"] = piece["function"].get("name", calls[piece["index"]]["name"])


class NullArguments(Reader):
    def call(self, calls, piece):
        calls[piece["index"]] = calls.get(piece["index"], "") + piece["function"]["arguments"]


class OneBufferForCalls(Reader):
    def call(self, calls, piece):
        calls["all"] = calls.get("all", "") + (piece["function"].get("arguments") or "")


class FirstCallOfAChunk(Reader):
    def pieces(self, delta):
        return (delta.get("tool_calls") or [])[:1]


class AddsNull(Reader):
    def text(self, answer, delta):
        answer["text"] += delta.get("content", "")


class StopsAtEmpty(Reader):
    def choice(self, answer, choice):
        super().choice(answer, choice)
        return "stop" if answer["text"] and not choice["delta"].get("content") else None


class CallsWithoutText(Reader):
    def text(self, answer, delta):
        if "role" not in delta and "tool_calls" not in delta and delta:
            answer["text"] += delta["content"] + ""


class FirstChoice(Reader):
    def choices(self, chunk):
        return [chunk["choices"][0]]


class StopsWithoutChoices(Reader):
    def chunk(self, chunk):
        return super().chunk(chunk) if chunk["choices"] else "stop"


class LastFinish(Reader):
    def finish(self, answer, choice):
        answer["finish"] = choice.get("finish_reason")


class ActsOnEachFinish(Reader):
    def finish(self, answer, choice):
        if choice.get("finish_reason"):
            answer["text"] += f" [{len(answer['calls'])} calls]"


class EmptyIsAFinish(Reader):
    def finish(self, answer, choice):
        answer["finish"] = choice.get("finish_reason")
        return "stop" if answer["finish"] is not None else None


class FinishHasNoText(Reader):
    def choice(self, answer, choice):
        if choice.get("finish_reason"):
            answer["finish"] = choice["finish_reason"]
            return "stop"
        return super().choice(answer, choice)


class AddsUsage(Reader):
    def count(self, usage):
        before = self.usage or (0, 0)
        self.usage = before[0] + usage["prompt_tokens"], before[1] + usage["completion_tokens"]


class FirstUsage(Reader):
    def count(self, usage):
        self.usage = self.usage or (usage["prompt_tokens"], usage["completion_tokens"])


class OneBufferForAll(Reader):
    def key(self, choice):
        return 0


class FirstChoiceOfAChunk(Reader):
    def choices(self, chunk):
        return chunk["choices"][:1]


class LastChoiceOfAChunk(Reader):
    def choices(self, chunk):
        return [*chunk["choices"]][-1:]


BROKEN = [
    ("tool_calls", KeysById),
    ("tool_calls", ContinuesTheLast),
    ("tool_calls", ResetsTheName),
    ("tool_calls", NullArguments),
    ("tool_calls", OneBufferForCalls),
    ("tool_calls", FirstCallOfAChunk),
    ("empty_delta", AddsNull),
    ("empty_delta", StopsAtEmpty),
    ("empty_delta", CallsWithoutText),
    ("no_choices", FirstChoice),
    ("no_choices", StopsWithoutChoices),
    ("finish", LastFinish),
    ("finish", ActsOnEachFinish),
    ("finish", EmptyIsAFinish),
    ("finish", FinishHasNoText),
    ("usage", AddsUsage),
    ("usage", FirstUsage),
    ("crossed_streams", OneBufferForAll),
    ("crossed_streams", FirstChoiceOfAChunk),
    ("crossed_streams", LastChoiceOfAChunk),
]


def check(contract, consume, document=None):
    CATALOGUE[contract].checks["consumer"](consume, document)


def moves_in(error):
    """Return the moves that the text of a failure shows."""
    return ast.literal_eval(re.search(r"only=(\(.*?\))(?: to the arguments|\)$)", str(error), re.MULTILINE)[1])


@each(("contract", "kind"), BROKEN, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_consumer_is_caught_with_two_moves_at_most(contract, kind):
    with pytest.raises(BrokenContractError) as caught:
        check(contract, kind())

    assert caught.value.contract == contract
    assert len(moves_in(caught.value)) <= 2
    with pytest.raises(BrokenContractError) as again:
        check(contract, kind())
    assert str(again.value) == str(caught.value), "the verdict is the same at every run"


@pytest.mark.exhaustive
@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_correct_consumer_keeps_each_contract(contract):
    check(contract, Reader())
    for make in list(DOCUMENTS.values())[CONTRACTS.index(contract) % 2 :: 2]:
        document = make()
        if contract in document.contracts:
            check(contract, Reader(), document)


@pytest.mark.parametrize("contract", CONTRACTS)
def test_each_check_says_why_its_contract_exists(contract):
    assert len(CATALOGUE[contract].checks["consumer"].__doc__) > 150


def test_whole_calls_are_cut_where_nobody_has_seen_them_cut():
    """Some services send each call in one piece; a consumer written for those loses what others send."""
    joined = document_of(Script(ToolCall("f", '{"a": 1}'), Finish("tool_calls")))
    whole = document_of(
        joined.apply(tuple(m.plain() for m in joined.singles if m.kind == "join" and m.what == "calls"))
    )

    def needs_a_name(chunks):
        calls = [piece for c in chunks for choice in c["choices"] for piece in choice["delta"].get("tool_calls") or []]
        return [(c["function"]["name"], c["function"]["arguments"]) for c in calls if c["function"].get("name")]

    found = search(whole, needs_a_name)

    assert needs_a_name(whole.apply(())) == [("f", '{"a": 1}')]
    assert found is not None
    assert found.contract == "tool_calls"
    assert len(found.moves) == 1


def test_a_failure_is_replayed_by_its_moves():
    @any_chunking(TWO)
    def mixes(chunks):
        return OneBufferForAll()(chunks)

    with pytest.raises(BrokenContractError) as caught:
        mixes()
    assert caught.value.contract == "crossed_streams"

    @any_chunking(TWO, only=moves_in(caught.value))
    def again(chunks):
        return OneBufferForAll()(chunks)

    with pytest.raises(BrokenContractError, match="tried:     3 variants"):
        again()


def test_async_consumers_are_checked_alike():
    async def right(chunks):
        return Reader()([chunk async for chunk in chunks])

    async def wrong(chunks):
        return AddsUsage()([chunk async for chunk in chunks])

    check("usage", right)
    with pytest.raises(BrokenContractError):
        check("usage", wrong)


@pytest.mark.exhaustive
def test_consumers_of_sdk_objects_are_given_some():
    pytest.importorskip("openai")
    import openai  # noqa: F401 - a consumer of its objects has it loaded

    def right(chunks):
        return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)

    def wrong(chunks):
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    def adds_null(chunks):
        return "".join(chunk.choices[0].delta.content for chunk in chunks if chunk.choices)

    check("no_choices", right)
    check("empty_delta", right)
    with pytest.raises(BrokenContractError):
        check("no_choices", wrong)
    with pytest.raises(BrokenContractError):
        check("empty_delta", adds_null)


@pytest.mark.exhaustive
def test_consumers_of_messages_are_given_some():
    def right(chunks):
        whole = Message()
        for chunk in chunks:
            whole += chunk
        return whole

    def wrong(chunks):
        total = 0
        for chunk in chunks:
            total += chunk.usage.total_tokens if chunk.usage else 0
        return total

    for contract in ("usage", "tool_calls", "finish", "empty_delta"):
        check(contract, right)
    with pytest.raises(BrokenContractError):
        check("usage", wrong)


@pytest.mark.parametrize(
    ("contract", "wrong"),
    [
        ("usage", lambda event: sum(event.get("usage", {}).values() if event["type"] == "message_delta" else ())),
        ("control_blocks", lambda event: event["index"] if event["type"] not in MARKS else 0),
        ("tool_calls", lambda event: json.loads(event["delta"].get("partial_json") or "0") and 0 if "index" in event and "delta" in event else 0),
    ],
)  # fmt: skip
def test_consumers_of_messages_events(contract, wrong):
    def consume(events):
        return [found for event in events if (found := wrong(event))]

    usage = {"output_tokens": 40}
    script = Script(Text("a b"), ToolCall("f", '{"a": [1, 2]}'), Usage(700, 40), Finish("tool_calls"))
    chunks = [{**c, "usage": usage} if c["type"] == "message_delta" else c for c in
              document_of(script, api="anthropic_messages").apply(()) if c["type"] != "ping"]  # fmt: skip
    found = search(document_of(chunks).of(contract), consume)

    assert found is not None
    assert found.contract == contract
    assert len(found.moves) == 1


MARKS = ("message_start", "message_delta", "message_stop")


# -- bad use -------------------------------------------------------------------------------------------


def chunk(**choice):
    return {"choices": [{"index": 0, "delta": {"content": "ab"}, "finish_reason": None, **choice}]}


@each(
    ("value", "message"),
    [
        ([], "empty list of chunks"),
        ("text", "no list of structured chunks.*a list of chat completion chunks"),
        (42, "42 is no list"),
        ([1, 2], "chunk 0 is 1; there are moves for a list"),
        (["a", "b"], r"\['a', 'b'\] is a text in pieces; join them"),
        ([b"a", b"b"], "join them"),
        ([chunk(), 1], "chunk 1 is 1; all are to be of one kind, and there are moves"),
        ([chunk(), Message()], "chunk 1 is Message"),
        ([{"text": "a"}], "chunk 0 is {'text': 'a'}; there are moves for"),
        ([chunk(), {"text": "a"}], "chunk 1 is {'text': 'a'}"),
        ([{"choices": [{"index": 0, "message": {}}]}], "chunk 0 has a choice without index or delta"),
        ([chunk(index=None)], "without index"),
        ([{"choices": []}], "no chunk has choices"),
        ([chunk(), {"choices": [], "error": {"message": "no"}}], "chunk 1 reports an error"),
        ([{"type": "message_start"}, {"type": "content_block_delta"}], "event 1 is .* no event of the Messages API"),
        (Script("a", disconnect()), "no whole answer; .* every_fault"),
        (Script(), "no whole answer"),
    ],
)
def test_what_is_no_stream_of_chunks_is_refused(value, message):
    with pytest.raises(ContractUsageError, match=message):
        document_of(value)


def test_a_script_becomes_what_it_can():
    with pytest.raises(ContractUsageError, match="messages are of one answer"):
        document_of(TWO, api="message")
    with pytest.raises(ContractUsageError, match="api='gemini' is not one of 'openai_chat'"):
        document_of(TWO, api="gemini")


@pytest.mark.parametrize("moves", [(1,), ((0, "none", 0, "what"),), ((0,),), ((99, "none"),), ((0, "again", 5),)])
def test_moves_that_a_document_does_not_have_are_refused(moves):
    with pytest.raises(ContractUsageError, match="are no moves of this document"):
        document_of(TOOLS).apply(moves)


def test_moves_mean_the_same_in_any_order():
    document = document_of(TOOLS)
    moves = tuple(move.plain() for move in document.singles if move.kind in ("split", "empty"))

    assert document.apply(moves[::-1]) == document.apply(moves)
    assert document.apply(list(moves)) == document.apply(moves)


@pytest.mark.exhaustive
def test_no_move_repeats_an_id_or_a_name():
    """No recorded provider does, and the official client joins them; see the docstring of the moves on chat chunks."""
    document = document_of(TOOLS)

    for moves in sets_of_moves(document):
        pieces = [piece for chunk in document.apply(moves) for choice in chunk["choices"]
                  for piece in choice["delta"].get("tool_calls") or ()]  # fmt: skip
        ids = [(piece["index"], piece["id"]) for piece in pieces if piece.get("id")]
        names = [(piece["index"], piece["function"]["name"]) for piece in pieces if piece["function"].get("name")]
        assert len(ids) == len(set(ids))
        assert len(names) == len(set(names))


def test_moves_are_made_once_for_all_contracts():
    document, calls = document_of(TOOLS), []
    stream_moves = document.stream.moves
    document.stream.moves = lambda limit: calls.append(limit) or stream_moves(limit)

    for contract in document.contracts:
        document.of(contract).apply(next(document.of(contract).sweep()))

    assert len(calls) == len({*calls})


def test_a_document_of_a_script_says_how_it_is_written():
    assert eval(document_of(TOOLS).literal) == TOOLS
    assert document_of(THINKS, api="message").literal.endswith("api='message')")
    assert document_of(document_of(TOOLS)).literal == document_of(TOOLS).literal
