"""Where something stands in a file, however it is laid out; and what Python refuses to read, in our words."""

from __future__ import annotations

import pytest
from vectors import each

from fakellm.cassette import CassetteError
from fakellm.cassette.dialects import read_tape
from fakellm.errors import ScriptFileError
from fakellm.script.files import from_json, from_yaml
from fakellm.script.lines import json_line

LONG = "9" * 5000
EVENT = '{"fakellm_script"\n:\n1, "events": [\n\t{"type"\n:\n%s}]}'
TAPE = """{"version": 1, "interactions": [
 {"request": {"method": "GET", "uri": "http://x.test/", "headers": {}, "body": null},
  "response": {"status": {"code": %s, "message": "OK"}, "headers": {},
   "body": {"string": "hello"},
   "stream": {"sizes": %s, "delays": "0.0", "end": "complete", "error": null}}}]}"""


@each(
    ("event", "line", "told"),
    [
        ('"nope"', 4, "events.0.type: 'nope' is no event"),
        (LONG, 6, "this JSON is not a script: a number of 5000 digits is too long"),
        ('"text", "text": "a", \n"text": "b"', 7, "this JSON is not a script: the key 'text' comes twice"),
        ('"text", "text": 5, "' + "k" * 1500 + '": 1', 6, "events.0.text: Input should be a valid string"),
    ],
)
def test_a_script_in_json_names_the_line(event, line, told):
    with pytest.raises(ScriptFileError, match=f"^<json>, line {line}, .*{told}|^<json>, line {line}: {told}"):
        from_json(EVENT % event)


def test_a_number_without_end_is_named_in_yaml_too():
    with pytest.raises(ScriptFileError, match=r"^<yaml>, line 2, .*'9+ \.\.\. 9+' is no int$"):
        from_yaml(f"fakellm_script: 1\nevents: {LONG}\n")


@each("name", ["t.json", "t.yaml"])
@each(
    ("code", "sizes", "told"),
    [
        (LONG, '"5"', "line 3.*: (this JSON.* a|a) number of 5000 digits is too long|line 3.* is no int"),
        (f"200, \n{LONG[:1]}: 1", '"5"', "line 4"),
        ("200", f"[{10**400}]", r"line 5, interactions.0.response.stream.sizes: numbers of bytes belong here"),
        ("200", '"nan"', "line 5, interactions.0.response.stream.sizes: numbers of bytes belong here"),
        ("1e999", '"5"', "line 3, interactions.0.response.status.code: a whole number belongs here"),
    ],
)
def test_a_tape_in_json_names_the_line(name, code, sizes, told):
    with pytest.raises(CassetteError, match=f"^{name}, {told}"):
        read_tape(TAPE % (code, sizes), name)


def test_the_line_is_that_of_the_deepest_place_that_is_there():
    text = '{"a":\n[1,\n{"b": "\\"",\n"c\\u00e9": 2}]}'
    found = {place: json_line(text, place) for place in [("a",), ("a", 1), ("a", 1, "cé"), ("a", 1, "no"), ("no",)]}
    assert list(found.values()) == [1, 3, 4, 3, 1]
