"""`fakellm show`: what was recorded, for people and machines; nothing secret, whatever the tape holds."""

from __future__ import annotations

import json
from pathlib import Path

import corpus
import pytest
from click.testing import CliRunner
from commands import ran
from corpus import needs_corpus
from places import ROOT
from vectors import each

from fakellm import (
    Finish,
    Pause,
    Raw,
    Reasoning,
    Script,
    Text,
    ToolCall,
    Usage,
    disconnect,
    provider_error,
)
from fakellm.cassette import CassetteError, interaction_of, write
from fakellm.cli.commands import app
from fakellm.cli.pace import pace_of
from fakellm.cli.progress import Progress
from fakellm.cli.recorded import plain, read
from fakellm.cli.showing import Showing, show
from fakellm.clock import InstantClock
from fakellm.script import Native
from fakellm.wire.said import said_in

TAPES = ROOT / "cassettes"
CHAT, MESSAGES, DROPPED = (str(TAPES / f"{name}.yaml") for name in ("chat", "messages", "dropped"))
URL = "https://api.openai.com/v1/chat/completions"
KEY = "sk-proj-" + "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4z" * 2
ASKED = {
    "model": "gpt-5",
    "stream": True,
    "stream_options": {"include_usage": True},
    "messages": [{"role": "user", "content": "Hi"}],
}


def shown(*arguments):
    """Return what the command says, and its exit code."""
    result = CliRunner().invoke(app, ["show", *map(str, arguments)], standalone_mode=False, catch_exceptions=False)
    return result.output, result.return_value


def taped(path, *scripts, asked=ASKED, url=URL):
    write(path, *(interaction_of(script, url, asked) for script in scripts))
    return path


def test_a_tape_is_told_whole():
    text, code = shown(CHAT)

    assert code == 0
    assert text.splitlines()[1:7] == [
        "request   openai.chat, tiny-llama, streamed",
        "  user    Say hello in five languages.",
        "answer    Hello! ¡Hola! Grüß dich! こんにちは! Привет! 👋🏽",
        "usage     12 tokens in, 29 out",
        "ending    HTTP 200 OK, complete, finish reason stop",
        "pace      19 chunks of 4,030 bytes, the first after 0.2 ms",
    ]
    assert "the longest 34.9 ms before chunk 1" in text
    assert "483 tokens a second" in text
    assert text.splitlines()[-1].endswith("| 60.3 ms")


def test_the_events_of_a_tape_have_their_times():
    text, _ = shown(DROPPED, "--events")

    assert "ending    HTTP 200 OK, dropped (ReadError)" in text
    assert "    1    0.0064   6.2 ms    209  'Hello'" in text


def test_the_bytes_are_those_of_the_tape_with_the_boundaries_marked():
    text, _ = shown(DROPPED, "--raw")
    (recorded,) = read(Path(DROPPED))

    assert text.count("--- chunk ") == len(recorded.chunks)
    assert text.replace("\n\n--- ", "\n--- ").count("data: {") == 7
    assert text.endswith("--- HTTP 200 OK, dropped (ReadError)\n")


def test_a_chunk_that_ends_inside_of_a_line_says_so(tmp_path):
    path = taped(tmp_path / "t.yaml", Script("é"))
    text = path.read_text()
    start = text.index("sizes: ") + len("sizes: ")
    sizes = text[start : text.index("\n", start)].split()
    cut = [str(int(sizes[0]) - 20), "20", *sizes[1:]]
    delays = text[(at := text.index("delays: ")) : text.index("\n", at)]
    path.write_text(text.replace(" ".join(sizes), " ".join(cut)).replace(delays, f"{delays} 0.0"))

    raw, _ = shown(path, "--raw")

    assert raw.splitlines()[1].endswith("\\")


def test_a_folder_has_a_line_for_each_interaction(tmp_path):
    taped(tmp_path / "two.yaml", Script("a"), Script("b"))
    (tmp_path / "notes.txt").write_text("no tape")
    text, code = shown(tmp_path)

    assert code == 0
    assert [line.split()[-2].rpartition("/")[2] for line in text.splitlines()[1:]] == ["two.yaml#0", "two.yaml#1"]


def test_a_broken_tape_in_a_folder_is_told_and_the_others_are_shown(tmp_path):
    taped(tmp_path / "good.yaml", Script("a"))
    (tmp_path / "bad.yaml").write_text((tmp_path / "good.yaml").read_text()[:-8])
    text, code = shown(tmp_path)

    assert code == 1
    assert "good.yaml" in text
    assert "bad.yaml, line" in text


def test_a_script_is_shown_with_its_pauses(tmp_path):
    path = tmp_path / "s.yaml"
    Script("Hel", Pause(1.5), "lo", Finish(), Usage(3, 2), disconnect()).save(path)
    text, code = shown(path)

    assert code == 0
    assert "answer    Hello" in text
    assert "ending    dropped (disconnect(" in text
    assert "| 1.5 s" in text
    assert shown(path, "--raw")[1] == 2


@needs_corpus
def test_the_body_of_an_answer_is_shown():
    path = next((Path(corpus.CORPUS) / "streams").rglob("*.sse"))

    assert "answer " in shown(path)[0]


def test_every_answer_to_a_request_with_several_is_shown():
    text, _ = shown(TAPES / "servers" / "vllm-chat-n2.yaml")

    assert "answer 0  " in text
    assert "answer 1  one, two, three," in text


def test_json_has_all_of_it():
    text, _ = shown(MESSAGES, "--json")
    (interaction,) = json.loads(text)["tapes"][0]["interactions"]

    assert interaction["text"].startswith("Hello! ¡Hola!")
    assert interaction["request"]["api"] == "anthropic.messages"
    assert interaction["usage"] == {"input_tokens": 12, "output_tokens": 29}
    assert interaction["pace"]["longest_gap"] == 0.0261
    assert sum(chunk["bytes"] for chunk in interaction["chunks"]) == len(
        "".join(c["text"] for c in interaction["chunks"]).encode()
    )


# -- playing -------------------------------------------------------------------------------------------


def test_following_waits_as_the_answer_did(tmp_path, capsys):
    clock, heard = InstantClock(), []

    class Listening(InstantClock):
        def sleep(self, seconds):
            heard.append((round(clock.now, 3), capsys.readouterr().out))
            clock.sleep(seconds)

    path = tmp_path / "s.yaml"
    Script(Reasoning("Hm."), Pause(2), "Hel", Pause(1), "lo", ToolCall("f", {"a": 1})).save(path)
    code = show(Showing((str(path),), follow=True), Listening())

    assert code == 0
    assert heard == [(0.0, "Hm."), (2.0, "\nHel")]
    assert capsys.readouterr().out == 'lo\nf: {"a": 1}\n--- complete\n'
    assert clock.now == 3


# -- two tapes -------------------------------------------------------------------------------------------


def test_the_same_conversation_has_no_difference_but_times(tmp_path):
    one = taped(tmp_path / "one.yaml", Script("Hel", "lo"))
    other = taped(tmp_path / "other.yaml", Script("Hel", Pause(3), "lo"))

    text, code = shown(one, other)

    assert (text.strip().endswith("no difference but in times"), code) == (True, 0)


def test_a_difference_is_aligned_event_by_event(tmp_path):
    one = taped(tmp_path / "one.yaml", Script("a", "b", "c", "d", "e", "f", Finish("stop"), Usage(1, 2)))
    other = taped(tmp_path / "other.yaml", Script("a", "b", "c", Pause(1), "x", "e", Finish("length"), Usage(1, 3)))

    text, code = shown(one, other)

    assert code == 1
    lines = [line.strip() for line in text.splitlines()[1:]]
    assert lines[:2] == ["finish reason: first stop / second length", "usage: first 1 in, 2 out / second 1 in, 3 out"]
    assert "= 3 events the same, 'a' to 'c'" in lines
    at = lines.index("- at 0.000 s 'd'")
    assert lines[at : at + 4] == ["- at 0.000 s 'd'", "+ at 1.000 s 'x'", "= 'e'", "- at 0.000 s 'f'"], lines
    document = json.loads(shown(one, other, "--json")[0])[0]
    assert (document["same"], [row["mark"] for row in document["events"]][:5]) == (False, ["=", "=", "=", "~", "="])


def test_interactions_of_the_same_request_are_compared_wherever_they_are(tmp_path):
    first, second = Script("one"), Script("two")
    asked = {**ASKED, "messages": [{"role": "user", "content": "Other"}]}
    write(tmp_path / "one.yaml", interaction_of(first, URL, ASKED), interaction_of(second, URL, asked))
    write(tmp_path / "other.yaml", interaction_of(second, URL, asked), interaction_of(first, URL, ASKED))
    write(tmp_path / "less.yaml", interaction_of(first, URL, ASKED))

    assert shown(tmp_path / "one.yaml", tmp_path / "other.yaml")[1] == 0
    text, code = shown(tmp_path / "one.yaml", tmp_path / "less.yaml")
    assert code == 1
    assert "there is no such interaction in the other" in text


# -- secrets ---------------------------------------------------------------------------------------------


def leaky(folder):
    """Write a tape that nobody redacted: in the request, and token by token in the answer and its tool call."""
    script = Script(
        "Your key is ", KEY[:9], KEY[9:30], KEY[30:], ".", ToolCall("f", '{"k": "'), ToolCall(arguments=KEY + '"}')
    )
    asked = {**ASKED, "messages": [{"role": "user", "content": f"My key: {KEY}"}]}
    return taped(folder / "leaky.yaml", script, asked=asked, url=f"{URL}?api_key={KEY}")


@pytest.mark.parametrize(
    "form", [(), ("--events",), ("--raw",), ("--json",), ("--follow",), ("--html", "page.html")], ids=str
)
def test_no_form_shows_a_secret(tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    text, code = shown(leaky(tmp_path), *form)
    page = tmp_path / "page.html"
    told = text + (page.read_text() if page.exists() else "")

    assert code == 0
    assert "REDACTED" in told
    assert not any(KEY[at : at + 8] in told for at in range(8, len(KEY) - 8))


@pytest.mark.parametrize("form", [(), ("--events",), ("--json",), ("--follow",), ("--html", "page.html")], ids=str)
def test_a_script_shows_none_either(tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    script = Script(
        KEY[:20], KEY[20:], Native("openai.chat", {"a": KEY}), Raw(f": {KEY}\n\n"), ToolCall("f", {"k": KEY}),
        Usage(1, 2, extra={"k": KEY}), provider_error(KEY),
    )  # fmt: skip
    script.save(tmp_path / "s.yaml")
    text, _ = shown("s.yaml", *form)
    page = tmp_path / "page.html"

    assert KEY[20:28] not in text + (page.read_text() if page.exists() else "")


def test_a_difference_shows_none_either(tmp_path):
    other = taped(
        tmp_path / "other.yaml", Script(f"No: {KEY}"), asked={**ASKED, "user": KEY}, url=f"{URL}?api_key={KEY}x"
    )

    for form in ((), ("--json",)):
        text, code = shown(leaky(tmp_path), other, *form)
        assert (code, KEY[20:28] in text) == (1, False)


def test_that_a_tape_holds_secrets_is_told(tmp_path):
    assert "on the tape, not shown; fakellm check tells where" in shown(leaky(tmp_path))[0]


def test_what_a_tape_says_moves_no_cursor(tmp_path):
    text, _ = shown(taped(tmp_path / "t.yaml", Script("\x1b[2J\x1b]0;owned\x07 \u202eright")))

    assert "\x1b" not in text
    assert "\\x1b[2J\\x1b]0;owned\\x07 \\x202eright" in text


# -- wrong use -------------------------------------------------------------------------------------------


@each(
    "arguments, why",
    [
        (("nowhere.yaml",), "there is no file nowhere.yaml"),
        ((CHAT, CHAT, CHAT), "or two tapes that are compared"),
        ((CHAT, MESSAGES, "--raw"), "name one"),
        ((CHAT, TAPES), "is a folder"),
        ((TAPES, "--at", "1"), "--at is of one tape"),
        ((CHAT, "--raw", "--json"), "do not go together"),
        ((CHAT, "--at", "1"), "there is no interaction 1"),
        ((CHAT, "--follow", "--speed", "0"), "--speed is a number above 0"),
        ((ROOT / "tests",), "there is no tape in"),
    ],
)
def test_wrong_use_is_told(arguments, why):
    text, code = shown(*arguments)

    assert code == 2
    assert why in text


def test_what_is_no_tape_is_told(tmp_path):
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "other.yaml").write_text("a: 1\n")

    assert shown(tmp_path / "empty.yaml")[1] == 1
    text, code = shown(tmp_path / "other.yaml")
    assert (code, "to do:" in text) == (1, True)


# -- as a process ----------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_as_a_process_it_shows_what_its_output_can_hold():
    result = ran("show", "cassettes/chat.yaml", cwd=ROOT, env={"PYTHONIOENCODING": "ascii", "PATH": ""})

    assert (result.returncode, result.stderr) == (0, "")
    assert "answer    Hello! " in result.stdout
    assert result.stdout.splitlines()[-1].isascii()


# -- what it is made of ----------------------------------------------------------------------------------


@needs_corpus
@pytest.mark.exhaustive
def test_all_of_the_corpus_can_be_shown():
    """What is refused is no tape; what can be read has no secret left to be found, and times that go forward."""
    count = 0
    for path in sorted((Path(corpus.CORPUS) / "streams").rglob("*"))[::4]:
        if not path.is_file():
            continue
        try:
            found = read(path, environ={})
        except CassetteError:
            continue
        for one in found:
            json.dumps(plain(one))
            pace = pace_of(one)
            assert pace is None or list(pace.times) == sorted(pace.times)
            count += 1
    assert count > 20


@each("content", [["x"], [{"name": "", "input": {}}], [{"text": 5}]])
def test_a_document_that_says_nothing_is_read_as_nothing(content):
    assert said_in(json.dumps({"output": [{"content": content}]}).encode()) == []


def test_documents_of_all_apis_are_read():
    told = [
        {
            "choices": [
                {
                    "message": {
                        "content": "Hi",
                        "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}],
                    },
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2},
        },
        {
            "content": [{"type": "text", "text": "Hi"}, {"type": "tool_use", "id": "c", "name": "f", "input": {}}],
            "stop_reason": "stop",
            "usage": {"input_tokens": 1, "output_tokens": 2},
        },
        {
            "output": [
                {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            ],
            "stop_reason": "stop",
            "usage": {"input_tokens": 1, "output_tokens": 2},
        },
        {
            "candidates": [
                {
                    "content": {"parts": [{"text": "Hi"}, {"functionCall": {"name": "f", "args": {}}, "id": "c"}]},
                    "finishReason": "stop",
                }
            ],
            "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2},
        },
        {
            "output": {
                "message": {"content": [{"text": "Hi"}, {"toolUse": {"toolUseId": "c", "name": "f", "input": {}}}]}
            },
            "stopReason": "stop",
            "usage": {"inputTokens": 1, "outputTokens": 2},
        },
        {
            "message": {"content": "Hi", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {}}}]},
            "done_reason": "stop",
            "prompt_eval_count": 1,
            "eval_count": 2,
        },
    ]
    expected = [Text("Hi"), ToolCall("f", "{}", id="c", index=0), Finish("stop"), Usage(1, 2)]

    assert [said_in(json.dumps(document).encode()) for document in told] == [expected] * len(told)
    assert [said_in(data) for data in (b"", b"[1]", b"{}", b'{"choices": 3, "output": 4, "content": 5}')] == [
        [],
        [],
        [],
        [],
    ]


def test_a_bar_is_shown_after_two_seconds_on_a_terminal_only():
    class Terminal:
        def __init__(self, is_one):
            self.text, self.isatty, self.flush = "", lambda: is_one, lambda: None

        def write(self, text):
            self.text += text

    for is_one in (True, False):
        times = iter([0.0, 1.9, 2.5, 2.55, 3.0])
        terminal = Terminal(is_one)
        with Progress("tapes", 4, stream=terminal, now=lambda times=times: next(times)) as progress:
            for _ in range(4):
                progress.seen()
        assert terminal.text.count("of 4 tapes") == (2 if is_one else 0)
    assert terminal.text == ""
