"""Each finding of docs/field-report.md, checked again where its library is installed in the version it was made with."""

from __future__ import annotations

import re
import sys

import pytest
from places import ROOT
from vectors import first_of

from fakellm import FakeLLM
from fakellm.contracts import CATALOGUE, check_stream
from fakellm.runnable.parallel import RunnableParallel

PAGE = (ROOT / "docs" / "field-report.md").read_text()
ROWS = re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", PAGE, re.MULTILINE)

sys.path.insert(0, str(ROOT / "examples" / "field_report"))
try:
    from field_report import FINDINGS, main
finally:
    sys.path.pop(0)

findings = pytest.mark.parametrize("found", FINDINGS, ids=lambda found: found.name)


def needs(found):
    if found.installed != found.version:
        pytest.skip(f"the report is about {found.library} {found.version}, installed is {found.installed}")
    if found.needs:
        pytest.importorskip(found.needs, exc_type=ImportError)


def shown(report):
    """Return the rows of a counter-example that the page shows as they are printed."""
    rows = re.findall(r"^ +((?:broken|chunks|source|fault|log): .*)$", str(report), re.MULTILINE)
    return [re.sub(r" +", " ", row) for row in rows]


@pytest.mark.exhaustive
@findings
@pytest.mark.filterwarnings("default")
def test_the_library_breaks_the_contract(found):
    needs(found)

    report = found.run()

    assert [verdict.contract.name for verdict in report.failed] == [found.contract]
    page = re.sub(r" +", " ", PAGE)
    assert shown(report)
    for row in shown(report):
        assert row in page


@pytest.mark.exhaustive
@findings
@pytest.mark.filterwarnings("default")
def test_the_counterpart_keeps_the_contract(found):
    needs(found)
    if found.keeps is None:
        pytest.skip("an app cannot do it right; the page says why")

    report = found.keeps()

    assert report.failed == []
    assert report[found.contract].status == "passed"


def test_the_page_has_a_row_for_each_finding_and_no_other():
    assert {(found.contract, f"{found.library} {found.version}") for found in FINDINGS} == set(ROWS)
    assert {contract for contract, _ in ROWS} <= set(CATALOGUE)


def test_the_page_says_of_every_finding_what_to_do():
    for found in FINDINGS:
        assert f"`{found.name}`" in PAGE


def test_the_script_prints_the_reports(capsys):
    main("openai_one_shot", "no such thing")

    out = capsys.readouterr().out
    assert out.startswith("## openai_one_shot: openai ")
    assert out.count("## ") == 1


def test_a_library_that_is_missing_is_named(capsys):
    missing = next((found for found in FINDINGS if found.installed is None), None)
    if missing is None:
        pytest.skip("all of them are installed")

    main(missing.name)

    assert f"{missing.library} is not installed" in capsys.readouterr().out


# -- no false alarm on our own Runnables ------------------------------------------------------------------


async def same(chunks):
    async for chunk in chunks:
        yield chunk


def picked(chunks):
    for chunk in chunks:
        yield from chunk.values()


OURS = {
    "the source": lambda source: source,
    "retry": lambda source: source.with_retry(),
    "fallbacks": lambda source: source.with_fallbacks([FakeLLM().otherwise("fall ", "back")]),
    "config": lambda source: source.with_config(tags=["x"]),
    "sequence": lambda source: source | same,
    "parallel": lambda source: RunnableParallel({"a": source}) | picked,
}


@pytest.mark.parametrize("name", first_of(reversed(OURS)))
def test_our_own_runnables_keep_what_langchains_break(name):
    report = check_stream(OURS[name])

    report.verify()
    names = {verdict.contract.name for verdict in report.passed}
    assert {"close", "progressive", "producer_dies", "concatenation"} <= names
