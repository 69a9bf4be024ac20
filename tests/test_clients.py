"""docs/clients.md says what was recorded, each cell of it is known and explained; three clients are measured anew."""

from __future__ import annotations

import inspect
import json
import shutil
from contextlib import ExitStack
from importlib.metadata import version

import pytest
from apart import modules_of
from places import ROOT

from fakellm.server import Server
from fakellm.wire import add_provider

FOLDER = ROOT / "examples" / "clients"
ask, measure, page, roster = modules_of(FOLDER, "ask", "measure", "page", "roster")
CELLS, FAMILIES, SERVICES, CLIENTS = measure.CELLS, measure.FAMILIES, measure.SERVICES, ask.CLIENTS
verdict = measure.verdict
MEASURED = ("openai", "anthropic", "google-genai")
"""Those that are installed here; in other versions than were recorded they are not judged."""
FEW = ("crlf", "bom", "comment_after_id", "retry_alone", "null_delta", "end", "error_named")


def test_the_page_says_what_was_recorded():
    assert page.PAGE.read_text() == page.page(page.recorded()), "python examples/clients/measure.py --page-only"


@pytest.fixture
def results(tmp_path):
    return shutil.copytree(page.RESULTS, tmp_path / "results")


def rewritten(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_a_result_of_an_unknown_form_is_refused(results):
    rewritten(results / "openai.json", lambda data: data["cells"].update(sideways={"verdict": "same"}))

    with pytest.raises(page.UnknownResultError, match=r"openai\.json: no form or fault 'sideways'"):
        page.recorded(results)


def test_a_result_that_lacks_a_form_is_refused(results):
    rewritten(results / "openai.json", lambda data: data["cells"].pop("bom"))

    with pytest.raises(page.UnknownResultError, match=r"openai\.json: .* bom"):
        page.recorded(results)


def test_results_of_unknown_and_of_missing_clients_are_refused(results):
    (results / "openai.json").rename(results / "nobody.json")
    with pytest.raises(page.UnknownResultError, match=r"nobody\.json: no such client"):
        page.recorded(results)
    (results / "nobody.json").unlink()
    with pytest.raises(page.UnknownResultError, match="no results of openai"):
        page.recorded(results)


def test_a_cell_without_a_cause_is_refused(results):
    rewritten(results / "openai.json", lambda data: data["cells"]["gzip"].update(verdict="loses text"))

    with pytest.raises(page.UnknownResultError, match=r"explains not: openai: gzip \(loses text\)"):
        page.page(page.recorded(results))


def test_every_client_has_its_driver_its_package_and_its_version():
    script = (FOLDER / "ask.mjs").read_text()
    pinned = {name: dict(package.split("==") for package in wanted) for name, wanted in roster.ENVIRONMENTS.items()}
    recorded = page.recorded()

    for row in roster.rows():
        if row.environment == "node":
            assert f'"{row.client}"(url' in script or f"*{row.client}(url" in script
            assert recorded[row.name]["version"] == roster.NODE[row.client.partition(" ")[0]]
        else:
            assert CLIENTS[row.client].api == row.api
            assert recorded[row.name]["version"] == pinned[row.environment][CLIENTS[row.client].package]


def test_drivers_are_short():
    for made in CLIENTS.values():
        lines, _ = inspect.getsourcelines(made.ask)
        assert len(lines) <= 15, made.name


@pytest.fixture
def served():
    """A server of some APIs and cells: returns their URLs."""
    with ExitStack() as stack:

        def serve(apis=tuple(FAMILIES), cells=tuple(CELLS)):
            for service in SERVICES.values():
                stack.enter_context(add_provider(service))
            by_api = measure.fakes(apis, cells)
            server = stack.enter_context(Server(by_api.values()))
            return {api: f"{server.url}/{fake.name}" for api, fake in by_api.items()}

        yield serve


def seen(made, url, case):
    found = ask.Seen(case)
    ask.ask(made, url, case, found)
    return json.loads(found.line(hangs=False))


def hold(served, name, cells=None):
    """Hold what a client does here to what was recorded of it."""
    made = CLIENTS[name]
    recorded = json.loads((page.RESULTS / f"{name}.json").read_text())
    cells = cells or recorded["cells"]
    if version(made.package) != recorded["version"]:
        pytest.skip(f"{recorded['version']} of {made.package} was measured")
    urls = served([made.api], cells)
    plain = seen(made, urls[made.api], "plain")
    assert {key: plain[key] for key in recorded["plain"]} == recorded["plain"]
    found = {cell: verdict(CELLS[cell], plain, seen(made, urls[made.api], cell)) for cell in cells}
    assert found == {cell: recorded["cells"][cell]["verdict"] for cell in cells}


def test_openai_does_what_was_recorded(served):
    hold(served, "openai", FEW)


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore:.* is not a valid FinishReason")
@pytest.mark.parametrize("name", MEASURED)
def test_three_clients_do_what_was_recorded_in_every_cell(served, name):
    hold(served, name)


@pytest.mark.exhaustive
def test_each_api_has_the_cells_that_were_recorded(served):
    urls, recorded = served(), page.recorded()
    for api, family in FAMILIES.items():
        cells = measure.cells_of(family, urls[api])
        for row in roster.rows():
            if row.api == api:
                assert list(recorded[row.name]["cells"]) == cells, row.name
