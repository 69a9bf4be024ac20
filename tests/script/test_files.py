"""Script files: nothing is lost on the way out and in, and every problem is named with file, line and field."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from strategies import AWKWARD, fewer, scripts, wild_scripts
from vectors import each

from fakellm import Finish, Pause, Reasoning, Script, ToolCall, Usage, disconnect, http_error, provider_error, stall
from fakellm.errors import ScriptError, ScriptFileError
from fakellm.script.events import EVENT_TYPES

KNOWN = ", ".join(EVENT_TYPES)
NEL = "\x85"  # the one character that YAML's own writer loses; it has a test of its own

EVERYTHING = Script(
    "Hello", Reasoning("hm"), ToolCall("f", {"x": 1}), ToolCall(arguments=" "), Usage(1, 2, cached_tokens=0),
    Pause(1.5), Finish("length"), Usage(1, 3), provider_error("sorry", code="overloaded"),
)  # fmt: skip


def refusal(read, *arguments, **named):
    """Return the lines of the error that reading this raises."""
    with pytest.raises(ScriptFileError) as error:
        read(*arguments, **named)
    return str(error.value).split("\n")


def names(directory):
    """Return the names of the files in a directory."""
    return sorted(path.name for path in directory.iterdir())


# -- lossless -----------------------------------------------------------------------------------------


@fewer(3)
@given(scripts | wild_scripts)
def test_a_script_comes_back_from_json_as_it_went_in(script):
    twin = Script.from_json(script.to_json())
    assert twin == script
    assert twin.allow_illegal is script.allow_illegal
    assert twin.to_json() == script.to_json()


@fewer(3)
@given((scripts | wild_scripts).filter(lambda script: NEL not in repr(script).replace(r"\x85", NEL)))
def test_a_script_comes_back_from_yaml_as_it_went_in(script):
    twin = Script.from_yaml(script.to_yaml())
    assert twin == script
    assert twin.allow_illegal is script.allow_illegal
    assert twin.to_yaml() == script.to_yaml()


@each("text", [text for text in AWKWARD if text != NEL], ids=ascii)
def test_a_text_that_trips_serialisers_comes_back_from_json_and_yaml(text):
    script = Script(*(form.format(text, text) for form in ("{}", "a{}b", "{}{}", " {} ", "a\n{}\nb")))
    assert Script.from_json(script.to_json()) == script
    assert Script.from_yaml(script.to_yaml()) == script


@each("text", ["a\x85b", "\x85", "line\x85\x85line"], ids=ascii)
def test_a_next_line_character_comes_back_from_json(text):
    assert Script.from_json(Script(text).to_json()).text == text


@each("text", ["a\x85b", "\x85", "line\x85\x85line"], ids=ascii)
def test_a_next_line_character_comes_back_from_yaml(text):
    assert Script.from_yaml(Script(text).to_yaml()).text == text


@each("number", [0, 0.0, 1, 0.1, 1e-300, 1e300, 10**30])
def test_a_number_comes_back_with_its_type(number):
    for twin in (Script.from_json(Script(Pause(number)).to_json()), Script.from_yaml(Script(Pause(number)).to_yaml())):
        assert repr(twin) == repr(Script(Pause(number)))


def test_the_json_form_is_version_1_without_defaults():
    script = Script("é", ToolCall("f"), Finish(), stall())
    assert script.to_json() == (
        "{\n"
        '  "fakellm_script": 1,\n'
        '  "events": [\n'
        '    {\n      "type": "text",\n      "text": "é"\n    },\n'
        '    {\n      "type": "tool_call",\n      "name": "f",\n      "id": "call_0",\n      "index": 0\n    },\n'
        '    {\n      "type": "finish"\n    },\n'
        '    {\n      "type": "stall"\n    }\n'
        "  ]\n"
        "}\n"
    )


def test_the_yaml_form_is_version_1_without_defaults():
    script = Script("é", Usage(0, 3), http_error(500), allow_illegal=True)
    assert script.to_yaml() == (
        "fakellm_script: 1\n"
        "allow_illegal: true\n"
        "events:\n"
        "- type: text\n  text: é\n"
        "- type: usage\n  output_tokens: 3\n"
        "- type: http_error\n  status: 500\n"
    )


def test_the_two_forms_hold_the_same_document():
    assert yaml.safe_load(EVERYTHING.to_yaml()) == json.loads(EVERYTHING.to_json())


def test_json_is_read_as_yaml_too():
    assert Script.from_yaml(EVERYTHING.to_json()) == EVERYTHING


def test_a_script_without_events_comes_back():
    assert Script.from_json(Script().to_json()) == Script.from_yaml(Script().to_yaml()) == Script()


def test_a_document_written_by_hand_is_read():
    script = Script.from_yaml(
        "# a comment\n"
        "fakellm_script: 1\n"
        "events:\n"
        "  - {type: text, text: 'Hel'}\n"
        "  - &again\n"
        "    type: text\n"
        "    text: |\n"
        "      lo\n"
        "  - *again\n"
        "  - {type: pause, seconds: 2}\n"
        "  - {type: disconnect}\n"
    )
    assert script == Script("Hel", "lo\n", "lo\n", Pause(2), disconnect())


def test_tool_calls_written_by_hand_are_numbered_like_those_of_a_script():
    document = (
        "fakellm_script: 1\n"
        "events:\n"
        "- {type: tool_call, name: f, arguments: '{'}\n"
        "- {type: tool_call, arguments: '}'}\n"
        "- {type: tool_call, name: g}\n"
    )
    assert Script.from_yaml(document) == Script(ToolCall("f", "{"), ToolCall(arguments="}"), ToolCall("g"))


# -- files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.json", "a.yaml", "a.yml", "a.b.json", "ünï cöde.yml"])
def test_a_script_is_saved_and_loaded_by_its_suffix(name, tmp_path):
    path = tmp_path / name
    EVERYTHING.save(path)
    assert Script.load(path) == Script.load(str(path)) == EVERYTHING
    assert (path.read_text(encoding="utf-8")[0] == "{") is (path.suffix == ".json")
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("name", ["a.json", "a.yaml"])
def test_every_line_end_and_every_byte_survives_the_file(name, tmp_path):
    script = Script("a\r\nb\rc\nd", "\u2028", "\x00", "\ufeff", "\U0001f600")
    script.save(tmp_path / name)
    assert Script.load(tmp_path / name) == script
    assert b"\r" not in (tmp_path / name).read_bytes()


def test_saving_again_replaces_the_file(tmp_path):
    path = tmp_path / "a.json"
    Script("a long text, to be gone").save(path)
    Script("b").save(str(path))
    assert Script.load(path) == Script("b")


@pytest.mark.parametrize("name", ["a.txt", "a", "a.JSON", "json", "a.json.bak", ".yaml"])
def test_another_suffix_is_refused_by_load_and_save_alike(name, tmp_path):
    path = tmp_path / name
    message = [f"{path}: a script file ends in .json, .yaml or .yml, not {path.suffix!r}"]
    assert refusal(Script.load, path) == refusal(Script("a").save, path) == message
    assert not path.exists()


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone.json"):
        Script.load(tmp_path / "gone.json")


@pytest.mark.parametrize("name", ["a.json", "a.yaml"])
def test_a_file_that_is_not_utf_8_is_refused_with_the_byte(name, tmp_path):
    path = tmp_path / name
    path.write_bytes("fakellm_script: é".encode("latin-1"))
    assert refusal(Script.load, path) == [f"{path}: byte 16 is not UTF-8; script files are"]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_no_temporary_one(step, error, tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    Script("old").save(path)

    def fail(*_):
        assert len(names(tmp_path)) == 2
        raise error

    monkeypatch.setattr(*{"fsync": (os, "fsync", fail), "replace": (Path, "replace", fail)}[step])
    with pytest.raises(type(error)):
        Script("new").save(path)
    monkeypatch.undo()
    assert names(tmp_path) == ["a.json"]
    assert Script.load(path) == Script("old")


def test_a_first_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        Script("new").save(tmp_path / "a.yaml")
    assert names(tmp_path) == []


def test_the_new_file_is_on_the_disk_before_it_takes_the_place_of_the_old(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (steps.append("fsync"), fsync(handle)))
    monkeypatch.setattr(Path, "replace", lambda old, new: (steps.append("replace"), replace(old, new)))
    Script("new").save(tmp_path / "a.json")
    assert steps == ["fsync", "replace"]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_saved_file_may_be_read_by_whoever_may_read_a_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    Script("a").save(tmp_path / "a.json")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.json", "plain")]
    assert modes[0] == modes[1]


def test_saving_into_a_directory_that_is_not_there_names_the_file_asked_for(tmp_path):
    path = tmp_path / "gone" / "a.json"
    with pytest.raises(OSError) as error:
        Script("a").save(path)
    assert str(path) in str(error.value)


# -- bad documents ------------------------------------------------------------------------------------

HEAD = "# a script\nfakellm_script: 1\nevents:\n- {type: text, text: a}\n"  # the next event is in line 5

BAD_EVENTS = {
    "unknown type": ("{type: txt, text: a}", f"events.1.type: 'txt' is no event; there are {KNOWN}"),
    "no type": ("{text: a}", f"events.1.type: None is no event; there are {KNOWN}"),
    "type of a list": ("{type: [text], text: a}", f"events.1.type: ['text'] is no event; there are {KNOWN}"),
    "type in capitals": ("{type: Text, text: a}", f"events.1.type: 'Text' is no event; there are {KNOWN}"),
    "no event": ("hello", "events.1: Input should be a valid dictionary"),
    "nothing": ("", "events.1: Input should be a valid dictionary"),
    "missing field": ("{type: text}", "events.1.text: Field required"),
    "unknown field": ("{type: text, text: a, role: x}", "events.1.role: Extra inputs are not permitted"),
    "number for text": ("{type: text, text: 3}", "events.1.text: Input should be a valid string"),
    "unquoted no": ("{type: reasoning, text: no}", "events.1.text: Input should be a valid string"),
    "unquoted date": ("{type: text, text: 2026-01-31}", "events.1.text: Input should be a valid string"),
    "null": ("{type: refusal, text: null}", "events.1.text: Input should be a valid string"),
    "binary": ("{type: text, text: !!binary aGk=}", "events.1.text: Input should be a valid string"),
    "text for seconds": ("{type: pause, seconds: '1'}", "events.1.seconds: Input should be a valid number"),
    "true for seconds": ("{type: pause, seconds: true}", "events.1.seconds: Input should be a valid number"),
    "negative": ("{type: pause, seconds: -1}", "events.1: Pause.seconds is a number of seconds from 0 up, not -1"),
    "not a number": (
        "{type: pause, seconds: .nan}",
        "events.1: Pause.seconds is a number of seconds from 0 up, not nan",
    ),
    "for ever": ("{type: pause, seconds: .inf}", "events.1: Pause.seconds is a number of seconds from 0 up, not inf"),
    "float count": ("{type: usage, input_tokens: 1.0}", "events.1.input_tokens: Input should be a valid integer"),
    "negative count": (
        "{type: usage, output_tokens: -1}",
        "events.1: Usage.output_tokens counts tokens; -1 is negative",
    ),
    "status": ("{type: http_error, status: 200}", "events.1: http_error.status is an error status from 400 to 599"),
    "status text": ("{type: http_error, status: '500'}", "events.1.status: Input should be a valid integer"),
    "how": ("{type: disconnect, how: softly}", "events.1.how: Input should be 'reset', 'close', 'end', "),
    "empty reason": ("{type: finish, reason: ''}", "events.1: Finish.reason is empty"),
    "empty name": ("{type: tool_call, name: '', index: 0}", "events.1: ToolCall.name is empty"),
    "negative index": ("{type: tool_call, name: f, index: -1}", "events.1: ToolCall.index counts from 0"),
    "surrogate": ('{type: text, text: "\\ud800"}', "events.1: Text.text holds half of a surrogate pair"),
    "order": (
        "{type: http_error, status: 500}",
        "events.1: event 1, http_error(status=500), cannot come here: an HTTP",
    ),
    "tool order": ("{type: tool_call, name: f, index: 3}", "never go back; 0 is next"),
}


@each(("event", "message"), BAD_EVENTS.values(), ids=list(BAD_EVENTS))
def test_a_bad_event_is_refused_with_its_line_and_its_field(event, message):
    first = refusal(Script.from_yaml, f"{HEAD}- {event}\n- {{type: text, text: b}}\n")[0]
    assert first.startswith("<yaml>, line 5, events.1")
    assert message in first


@each(
    ("document", "line", "message"),
    [
        ("", 1, "the document: "),
        ("# only a comment\n", 1, "the document: "),
        ("hello", 1, "the document: "),
        ("- {type: text, text: a}\n", 1, "the document: "),
        ("\n\nevents: []\n", 1, "fakellm_script: Field required"),
        ("fakellm_script: 1\n", 1, "events: Field required"),
        ("\nfakellm_script: '1'\nevents: []\n", 2, "fakellm_script: Input should be a valid integer"),
        ("\nfakellm_script: true\nevents: []\n", 2, "fakellm_script: Input should be a valid integer"),
        ("\nfakellm_script: 2\nevents: []\n", 2, "fakellm_script: version 2 is unknown; this fakellm reads version 1"),
        ("events: []\nfakellm_script: 0\n", 2, "fakellm_script: version 0 is unknown; this fakellm reads version 1"),
        ("fakellm_script: 1\nevents: hello\n", 2, "events: Input should be a valid list"),
        ("fakellm_script: 1\nevents:\n\n", 2, "events: Input should be a valid list"),
        ("fakellm_script: 1\nevents: {}\n", 2, "events: Input should be a valid list"),
        ("fakellm_script: 1\nevents: []\nname: x\n", 3, "name: Extra inputs are not permitted"),
        ("fakellm_script: 1\nevents: []\nallow_illegal: 1\n", 3, "allow_illegal: Input should be a valid boolean"),
    ],
)
def test_a_bad_document_is_refused_with_its_line_and_its_field(document, line, message):
    [problem] = refusal(Script.from_yaml, document)
    assert problem.startswith(f"<yaml>, line {line}, {message}")


@each("document", ["", "# only a comment\n", "hello", "[]"])
def test_what_is_no_mapping_at_all_is_refused_in_the_words_of_a_script_file(document):
    [problem] = refusal(Script.from_yaml, document)
    assert "ScriptDocument" not in problem
    assert "fakellm_script" in problem or "empty" in problem


@each(
    ("document", "place"),
    [
        (
            "{\n  fakellm_script\n}",
            "line 2, column 3: this is not JSON: Expecting property name enclosed in double quotes",
        ),
        ('{"fakellm_script": 1,\n "events": [}', "line 2, column 13: this is not JSON: Expecting value"),
        ('{"fakellm_script": 1}\n{}', "line 2, column 1: this is not JSON: Extra data"),
        ("", "line 1, column 1: this is not JSON: Expecting value"),
        (
            '{"fakellm_script": 1,\n\n"events": "a\n"}',
            "line 3, column 13: this is not JSON: Invalid control character at",
        ),
        ("fakellm_script: 1\nevents: []\n", "line 1, column 1: this is not JSON: Expecting value"),
    ],
)
def test_json_that_is_none_is_refused_with_line_and_column(document, place):
    assert refusal(Script.from_json, document) == [f"<json>, {place}"]


@each(
    ("document", "place"),
    [
        ("fakellm_script: 1\nevents: [\n", "line 3, column 1"),
        ("fakellm_script: 1\nevents:\n\t- a\n", "line 3, column 1"),
        ("fakellm_script: 1\nevents:\n- {type: text, text: 'a}\n", "line 4, column 1"),
        ("fakellm_script: 1\nevents:\n- *nowhere\n", "line 3, column 3"),
        ("fakellm_script: 1\nevents: []\n---\nfakellm_script: 1\n", "line 3, column 1"),
        ("fakellm_script: 1\nevents:\n- {[1]: 2}\n", "line 3, column 4"),
    ],
)
def test_yaml_that_is_none_is_refused_with_line_and_column(document, place):
    first = refusal(Script.from_yaml, document)[0]
    assert first.startswith(f"<yaml>, {place}: this is not YAML that a script is made of: ")


def test_a_control_character_in_yaml_is_refused_with_its_line():
    [problem] = refusal(Script.from_yaml, HEAD + '- {type: text, text: "\x01"}\n')
    assert problem.startswith("<yaml>, line 5")


@each("value", ["2026-99-99", "!!int x", "!!float x", "!!bool x", "!!timestamp x"])
def test_a_scalar_that_its_tag_cannot_hold_is_refused_with_its_line(value):
    with pytest.raises(ScriptFileError, match=r"^<yaml>, line 5"):
        Script.from_yaml(HEAD + f"- {{type: text, text: {value}}}\n")


@pytest.mark.exhaustive
@each(("read", "depth"), [(Script.from_json, 100_000), (Script.from_yaml, 1_000)])
def test_a_document_nested_too_deep_is_refused(read, depth):
    try:
        read("[" * depth)
    except (ScriptFileError, RecursionError) as error:
        kind = type(error)
    assert kind is ScriptFileError  # asked for out here: the report of a deep traceback takes seconds


@each("read", [Script.from_json, Script.from_yaml])
def test_a_field_that_is_there_twice_is_refused(read):
    problem = refusal(read, '{"fakellm_script": 1, "events": [\n{"type": "text", "text": "a", "text": "b"}]}')[0]
    assert "line 2" in problem
    assert "text" in problem


def _json(*lines):
    return '{\n"fakellm_script": 1,\n"events": [\n' + ",\n".join(lines) + "\n]}\n"  # the first event is in line 4


@each(
    ("document", "problem"),
    [
        (_json('{"type": "text",\n"text": 3}'), "line 5, events.0.text: Input should be a valid string"),
        (_json('{"type": "stall"}', '{\n"type": "txt"}'), "line 6, events.1.type: 'txt' is no event"),
        (_json('{"type": "finish"}', '{"type": "text", "text": "a"}'), "line 5, events.1: event 1, Text('a'), cannot"),
        (_json('\t{"type":\t"pause",\n\t\t"seconds":\t-1}'), "line 4, events.0: Pause.seconds is a number"),
        (_json('{"type": "text", "text": "\\ud83d"}'), "line 4, events.0: Text.text holds half of a surrogate"),
        (_json('{"type": "text", "text": "\\/\\ud83d\\ude00\x7f"}', "3"), "line 5, events.1: Input should be a valid"),
        ("[]", "line 1, the document: "),
        ("null", "line 1, the document: "),
        ('{\r\n"fakellm_script": 9,\r\n"events": []}', "line 2, fakellm_script: version 9 is unknown"),
    ],
)
def test_bad_json_is_refused_with_line_and_field_too(document, problem):
    assert refusal(Script.from_json, document)[0].startswith(f"<json>, {problem}")


@each("text", ["\u2028", "\u2029", "\x85"], ids=ascii)
def test_lines_end_where_an_editor_ends_them(text):
    document = _json(f'{{"type": "text", "text": "{text}"}}', '{"type": "text", "text": 3}')
    assert refusal(Script.from_json, document)[0].startswith("<json>, line 5, events.1.text")


def test_a_very_long_key_in_json_does_not_hide_the_problem():
    document = _json('{"type": "text", "text": 3}', f'{{"type": "text", "{"x" * 1100}": 3}}')
    assert refusal(Script.from_json, document)[0].startswith("<json>, line 4, events.0.text")


def test_a_key_that_is_no_string_is_refused_with_its_line():
    assert refusal(Script.from_yaml, "fakellm_script: 1\nevents: []\n2: 3\n")[0].startswith("<yaml>, line 3, ")


def test_a_problem_below_a_key_that_is_there_twice_has_a_line_too():
    problem = refusal(Script.from_yaml, "fakellm_script: 1\nevents: 3\nevents:\n- {type: text, text: 3}\n")[0]
    assert problem.startswith("<yaml>, line ")
    assert "events" in problem


def test_every_problem_is_named_on_a_line_of_its_own():
    problems = refusal(
        Script.from_yaml,
        "fakellm_script: 1\n"
        "events:\n"
        "- type: text\n"
        "  text: 3\n"
        "  note: x\n"
        "- {type: txt}\n"
        "- {type: text, text: fine}\n"
        "- type: usage\n"
        "  input_tokens: 1.5\n"
        "- {type: pause, seconds: -1}\n",
    )
    assert problems == [
        "<yaml>, line 4, events.0.text: Input should be a valid string",
        "<yaml>, line 5, events.0.note: Extra inputs are not permitted",
        f"<yaml>, line 6, events.1.type: 'txt' is no event; there are {KNOWN}",
        "<yaml>, line 9, events.3.input_tokens: Input should be a valid integer",
        "<yaml>, line 10, events.4: Pause.seconds is a number of seconds from 0 up, not -1",
    ]


def test_both_wrong_keys_of_the_outer_mapping_are_named():
    problems = refusal(Script.from_yaml, "fakellm_script: one\nevents: 2\nextra: 3\n")
    assert [problem.split(": ")[0] for problem in problems] == [
        "<yaml>, line 1, fakellm_script",
        "<yaml>, line 2, events",
        "<yaml>, line 3, extra",
    ]


def test_only_the_first_event_out_of_order_is_named():
    problems = refusal(Script.from_yaml, HEAD + "- {type: stall}\n- {type: stall}\n- {type: stall}\n")
    assert [problem for problem in problems if problem.startswith("<yaml>")] == problems[:1]
    assert problems[0].startswith("<yaml>, line 6, events.2: event 2, stall(), cannot come here: nothing comes after")


def test_an_illegal_order_is_read_where_it_is_meant():
    events = "events:\n- {type: stall}\n- {type: text, text: late}\n"
    assert refusal(Script.from_yaml, "fakellm_script: 1\n" + events)[0].startswith("<yaml>, line 4, events.1: ")
    script = Script.from_yaml("fakellm_script: 1\nallow_illegal: true\n" + events)
    assert script == Script(stall(), "late", allow_illegal=True)
    assert script.allow_illegal


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".yml"])
def test_a_bad_file_is_named_by_its_path(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    path.write_text(_json('{"type": "text",\n"text": 3}'), encoding="utf-8")
    assert refusal(Script.load, path) == [f"{path}, line 5, events.0.text: Input should be a valid string"]
    path.write_text("{", encoding="utf-8")
    assert refusal(Script.load, path)[0].startswith(f"{path}, line 1, column 2: this is not ")


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.mkdir ['{0}']",
        "!!python/object/new:os.mkdir ['{0}']",
        "!!python/object:pathlib.Path {{}}",
        "!!python/name:os.mkdir",
        "!!python/module:os",
        "!!python/tuple [a]",
        "!mine hello",
    ],
)
def test_a_tag_that_would_run_code_is_refused_and_runs_nothing(tag, tmp_path):
    made = tmp_path / "made"
    [problem] = refusal(Script.from_yaml, HEAD + "- " + tag.format(made) + "\n")
    assert problem.startswith(
        "<yaml>, line 5, column 3: this is not YAML that a script is made of: could not determine"
    )
    assert not made.exists()


def test_what_is_wrong_with_a_file_is_a_script_error_and_a_value_error():
    with pytest.raises(ScriptError):
        Script.from_json("{")
    with pytest.raises(ValueError, match="not JSON"):
        Script.from_json("{")


JSON = st.recursive(
    st.text() | st.floats(allow_nan=False) | st.integers() | st.none(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@fewer(3)
@given(JSON, st.sampled_from([None, 1, "\t"]))
def test_any_json_is_yaml_once_it_is_plain_so_that_its_lines_can_be_found(value, indent):
    document = json.dumps({"fakellm_script": 1, "events": [], "odd": value}, ensure_ascii=False, indent=indent)

    with pytest.raises(ScriptFileError, match=r"<json>, line \d+, odd"):
        Script.from_json(document)


def test_a_number_too_long_to_read_is_refused_with_its_line():
    with pytest.raises(ScriptFileError, match="<json>, line 2: this JSON is not a script: "):
        Script.from_json('{"fakellm_script":\n' + "1" * 5000 + "}")


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(Script("a").to_yaml(), encoding="utf-8-sig")

    assert Script.load(path) == Script("a")


def test_a_key_of_an_event_that_is_no_string_is_refused_with_its_line():
    with pytest.raises(ScriptFileError, match=r"<yaml>, line 4, events.0.2"):
        Script.from_yaml("fakellm_script: 1\nevents:\n- type: text\n  2: x\n")
