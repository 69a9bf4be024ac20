"""What recordings say of each rule: the data in grammar/evidence.py, and the table in docs/contracts.md.

`FAKELLM_CORPUS=... PYTHONPATH=tests/support python tests/contracts/test_evidence.py` writes both anew.
"""

from __future__ import annotations

import importlib
from collections import Counter

import corpus
import pytest
import recorded as recordings
from places import ROOT
from wires import BREAKS, NAMES, NOT_WHOLE, of_servers, streams_of

from fakellm.contracts.grammar import evidence
from fakellm.contracts.grammar.check import GRAMMARS, check_wire, rules_of

PAGE = ROOT / "docs" / "contracts.md"
CODE = ROOT / "fakellm" / "contracts" / "grammar" / "evidence.py"
BEGIN = "<!-- generated from the rules and evidence.py by tests/contracts/test_evidence.py -->\n"
END = "<!-- the end of the rules -->"
VERSIONS = {
    "vllm": "vLLM 0.32.0", "llama": "llama.cpp b11434", "mlx": "mlx-lm 0.32.2", "lcp": "llama-cpp-python 0.3.36",
    "transformers": "transformers 5.23",
}  # fmt: skip


def of_corpus():
    """Yield (who, API, body) of the recorded streams that are whole."""
    for row, stream in recordings.streams():
        if stream["api"] in NAMES and not row["file"].startswith(tuple(NOT_WHOLE)):
            for body in streams_of(row, stream):
                yield stream["provider"], NAMES[stream["api"]], body
                if stream["provider"] == "mistral":  # an API of its own, and a habit of speaking OpenAI's
                    yield stream["provider"], "mistral_chat", body


def of_tapes():
    """Yield (who, API, body) of the tapes of self-hosted servers that hold a stream which did not break."""
    for name, api, body, _ in of_servers():
        if name not in BREAKS:
            yield VERSIONS[name.partition("-")[0]], api, body


def counted(streams):
    """Return how many streams of each API there are, and by rule who breaks it how often."""
    count, broken = Counter(dict.fromkeys(GRAMMARS, 0)), {}
    for who, api, body in streams:
        count[api] += 1
        for rule in {problem.rule.id for problem in check_wire(body, api=api, profile="strict").problems}:
            broken.setdefault(rule, Counter())[who] += 1
    return dict(count), {rule: dict(sorted(broken[rule].items())) for rule in sorted(broken)}


def test_what_the_servers_break_is_there():
    _, broken = counted(of_tapes())
    for rule, counts in broken.items():
        assert counts.items() <= evidence.BROKEN[rule].items(), rule


@pytest.mark.exhaustive
@corpus.needs_corpus
def test_the_evidence_is_what_was_counted():
    assert counted([*of_corpus(), *of_tapes()]) == (evidence.COUNTED, evidence.BROKEN)


def test_any_has_no_rule_that_a_service_breaks_by_habit():
    for api in GRAMMARS:
        assert [rule.id for rule in rules_of(api) if rule.waiver is None and rule.id in evidence.BROKEN] == []


def table():
    yield '| rule | what it says | in `"any"` | kept by | broken by |'
    yield "|---|---|---|---|---|"
    rules = {rule.id: rule for api in GRAMMARS for rule in rules_of(api)}
    for rule in sorted(rules.values(), key=lambda rule: not rule.id.startswith("sse.")):
        apis = [api for api in GRAMMARS if rule in rules_of(api)]
        broken = evidence.BROKEN.get(rule.id, {})
        of = sum(evidence.COUNTED[api] for api in apis)
        who = ", ".join(f"{name} ({count})" for name, count in broken.items())
        kept = f"{of - sum(broken.values())} of {of}"
        yield f"| `{rule.id}` | {rule.sentence} | {'yes' if rule.waiver is None else ''} | {kept} | {who} |"


def page():
    before, _, rest = PAGE.read_text().partition(BEGIN)
    return before + BEGIN + "\n" + "\n".join(table()) + "\n\n" + END + rest.partition(END)[2]


def test_the_table_is_the_rules():
    assert PAGE.read_text() == page(), __doc__


def row(rule, counts):
    cells = "".join(f'        "{who}": {count},\n' for who, count in counts.items())
    return f'    "{rule}": {{\n{cells}    }},\n'


def code():
    """Return the text of evidence.py."""
    count, broken = counted([*of_corpus(), *of_tapes()])
    rows = "".join(row(rule, counts) for rule, counts in broken.items())
    before, _, _ = CODE.read_text().partition("COUNTED")
    counts = "".join(f'    "{api}": {number},\n' for api, number in count.items())
    return (
        f"{before}COUNTED: dict[str, int] = {{\n{counts}}}\n"
        '"""The API of a grammar -> how many recorded streams were counted."""\n\n'
        f"BROKEN: dict[str, dict[str, int]] = {{\n{rows}}}\n"
        '"""A rule -> who breaks it, and in how many of these streams; a server is named with its version."""\n'
    )


if __name__ == "__main__":
    CODE.write_text(code())
    importlib.reload(evidence)
    PAGE.write_text(page())
