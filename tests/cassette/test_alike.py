"""Documents of a stream that are nearly alike are read as each by itself would be."""

from __future__ import annotations

import json

from vectors import each

from fakellm.cassette import deltas

TEXTS = ("one", "two", "", "é", "y, z", '":"', "a\\b", "}]", ": ", "\ud83d", "three", "four")
FORMS = {
    "chat": {"id": "c", "choices": [{"index": 0, "delta": {"content": ...}}], "model": "m"},
    "messages": {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ...}},
    "a mark": {"delta": "x", "type": ...},
    "the key as a text": {"text": ..., "note": "text"},
    "the key twice": {"a": {"text": "one"}, "b": {"text": ...}},
    "a text like another": {"a": {"text": ...}, "b": "one"},
    "in a list": {"texts": ["one", ...]},
    "two at once": {"a": ..., "b": ...},
    "a key of signs": {":": ..., "}": '":"'},
    "no text": {"text": [1, 2], "b": ...},
}


def filled(form, text):
    if isinstance(form, dict):
        return {name: filled(inner, text) for name, inner in form.items()}
    if isinstance(form, list):
        return [filled(inner, text) for inner in form]
    return text if form is ... else form


@each("name", [*FORMS])
@each("separators", [(",", ":"), (", ", ": "), (" ,", "\t: ")])
def test_each_document_says_what_it_says_by_itself(name, separators):
    alike = deltas._Alike()
    for text in (*TEXTS, *reversed(TEXTS)):
        written = json.dumps(filled(FORMS[name], text), ensure_ascii=False, separators=separators)
        document = written.encode("utf-8", "surrogatepass")

        for given in (
            document,
            document.replace(b"o", b"\xff"),
            document.replace(b"t", b"\x01"),
            document[:-1],
            document,
        ):
            assert alike.leaves(given) == deltas._leaves(given)


def test_what_is_alike_is_read_once(monkeypatch):
    read = []
    leaves = deltas._leaves
    monkeypatch.setattr(deltas, "_leaves", lambda document: read.append(document) or leaves(document))
    lines = [json.dumps({"id": "c", "delta": {"content": f"token {number}"}}) for number in range(50)]

    deltas.find_in_deltas("\n".join(lines).encode(), {})

    assert len(read) == 2
