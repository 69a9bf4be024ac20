"""`sweep`: a consumer over archives of recorded streams, and what it says of those that it reads wrongly."""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections import deque
from concurrent.futures import BrokenExecutor, Executor, Future

import pytest
import sweeping
from places import ROOT
from sweeping import body_of, half, lines, row, tape
from vectors import each

from fakellm.cassette import write
from fakellm.contracts import sweep
from fakellm.contracts.sweeps import spreading
from fakellm.contracts.sweeps.sources import units_of
from fakellm.contracts.sweeps.tally import MOST, Tally
from fakellm.errors import BrokenContractError, ContractUsageError, MissingExtraError

SNOW = "snow \N{SNOWMAN}"
here = {"workers": 0}
brief = {"workers": 0, "limit": 12}


@pytest.fixture
def archive(tmp_path):
    """Return a folder with an archive of every kind of file that needs no library."""
    folder = tmp_path / "archive"
    (folder / "more").mkdir(parents=True)
    lines(folder / "a.jsonl", row("Hel", "lo"), "", row("It is ", SNOW))
    tape(folder / "more" / "b.yaml", "On ", "tape")
    (folder / "more" / "c.sse").write_bytes(body_of("A ", "body"))
    (folder / "notes.md").write_text("not ours")
    return folder


def test_a_right_consumer_fails_on_nothing(archive):
    report = sweep(archive, sweeping.text, **brief)

    report.verify()
    assert (report.streams, report.failed, report.unread) == (4, 0, 0)
    assert str(report).startswith("sweeping:text: 0 of 4 streams failed; ")
    assert report.tally.left_out == {"a file of another kind": 1}
    assert sweep([archive / "a.jsonl", f"{archive}/**/*.yaml"], sweeping.slow, **{**here, "limit": 3}).streams == 3


def test_a_wrong_consumer_is_shown_with_its_smallest_chunking_and_a_line_that_replays_it(archive):
    report = sweep(archive, sweeping.strict, **brief)
    (found,) = report.plain()["failures"]
    at = body_of("It is ", SNOW).index(SNOW[-1].encode())

    assert (report.failed, found["contract"], found["place"]) == (1, "utf8_split", "cut inside a character")
    assert found["raised"].startswith("UnicodeDecodeError at sweeping.py:")
    assert found["smallest"]["stream"] == f"{archive}/a.jsonl:3"
    assert found["smallest"]["moves"] == (("cut", at + 1, 0),)
    replay = f"sweep('{archive}/a.jsonl', strict, at=3, only=(('cut', {at + 1}, 0),))"
    assert replay in str(report)
    again = eval(replay, {"sweep": lambda *args, **more: sweep(*args, **more, **here), "strict": sweeping.strict})
    assert again.plain()["failures"][0]["smallest"] == found["smallest"]
    with pytest.raises(BrokenContractError, match="utf8_split"):
        report.verify()


@pytest.mark.exhaustive
def test_what_fails_for_one_cause_is_one_failure_and_each_cause_is_told(tmp_path):
    lines(tmp_path / "a.jsonl", *(row(f"{number} ", "is it") for number in range(5)), row(SNOW))
    report = sweep(tmp_path, sweeping.by_read, limit=40, **here)
    found = report.plain()["failures"]

    assert report.failed == 6
    assert len({(one["contract"], one["place"], one["raised"]) for one in found}) == len(found)
    assert [one["streams"] for one in found] == sorted((one["streams"] for one in found), reverse=True)
    assert {one["contract"] for one in found} >= {"framing", "utf8_split"}
    assert all(len(one["smallest"]["moves"]) == 1 for one in found)
    inside = next(one for one in found if one["place"] == "cut inside a value")
    assert inside["streams"] == 6
    assert inside["first"] == [f"{tmp_path}/a.jsonl:{line}" for line in range(1, 6)]
    assert "and 1 more" in str(report)


@pytest.mark.exhaustive
@each(
    "consume, what",
    [
        (sweeping.text, None),
        (sweeping.caught, "takes a stream that broke for one that is whole"),
        (sweeping.counting, "comes to two results for the same chunks"),
        (lambda chunks: sys.exit(3), None),
    ],
)
def test_a_stream_that_broke_as_it_was_recorded_breaks_again(consume, what, tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    for end in ("dropped", "timeout", "cancelled"):
        half(folder / f"{end}.yaml", "one ", "two ", "three", end=end)
    report = sweep(folder, consume, limit=2, **here)

    if what is None:
        assert (report.streams, report.failed) == (3, 0)
    else:
        assert report.causes[0].partition(": ")[2].startswith(what) or report.causes[0].startswith(what)
        assert report.failed == (2 if "broke" in what else 3)


def test_a_stream_that_is_whole_is_read_and_one_that_reports_an_error_may_raise(tmp_path):
    error = b'data: {"error": {"message": "overloaded", "type": "server_error"}}\n\n'
    (tmp_path / "whole.sse").write_bytes(body_of("fine"))
    (tmp_path / "error.sse").write_bytes(error)
    (cause,) = sweep(tmp_path, sweeping.joined, limit=0, **here).causes

    assert cause.startswith("fails on a stream that is whole: TypeError at sweeping.py:")
    report = sweep(tmp_path, sweeping.joined, limit=0, **here)
    assert report.plain()["failures"][0]["first"] == [f"{tmp_path}/whole.sse"]


@pytest.mark.exhaustive
def test_two_versions_are_compared_and_contracts_are_asked_for_by_name(archive, tmp_path):
    (cause,) = sweep(archive, sweeping.text, against=sweeping.shouted, **brief).causes
    assert cause == "comes to something else than the other version"
    both = sweep(archive, sweeping.strict, against=sweeping.strict_about_snow, **brief)
    assert (both.failed, both.plain()["against"]) == (0, "sweeping:strict_about_snow")
    fixed = sweep(archive, sweeping.text, against=sweeping.strict, **brief)
    assert fixed.causes[0].startswith("utf8_split: does not fail where the other version does, cut inside a character")

    assert sweep(archive, sweeping.by_read, contracts="utf8_split", **brief).failed == 1
    assert sweep(archive, sweeping.text, contracts=["line_ends", "control_blocks"], **brief).failed == 0
    (tmp_path / "a.sse").write_bytes(b"event: a\ndata: 1\n\nevent: b\ndata: 2\n\n")
    cuts = sweep(tmp_path / "a.sse", sweeping.data_lines, contracts=["framing", "line_ends", "control_blocks"], **here)
    assert {cause.partition(":")[0] for cause in cuts.causes} == {"framing"}
    caught = sweep(archive, sweeping.caught, contracts=["truncation", "utf8_split"], **brief)
    assert caught.causes == ["truncation: breaks a contract"]
    for wrong in (dict(contracts="framin"), dict(contracts="framing", against=sweeping.text)):
        with pytest.raises(ContractUsageError):
            sweep(archive, sweeping.text, **wrong, **here)


def test_the_streams_themselves_are_held_to_the_grammar_of_their_api(tmp_path):
    unnamed = body_of("one").decode().replace('"finish_reason":"stop"', '"finish_reason":null')
    lines(tmp_path / "a.jsonl", row("fine"), {"body": unnamed, "api": "openai.chat"})
    (found,) = sweep(tmp_path, sweeping.text, contracts="grammar", **here).plain()["failures"]

    assert found["raised"].startswith("openai_chat.finish: ")
    assert found["first"] == [f"{tmp_path}/a.jsonl:2"]
    request, response = sweeping.pair("fine")
    response["stream"]["sizes"][-1] -= len(b"data: [DONE]\n\n")
    response["body"]["string"] = response["body"]["string"].removesuffix(b"data: [DONE]\n\n")
    write(tmp_path / "b.yaml", (request, response))  # from OpenAI's own host
    assert sweep(tmp_path / "b.yaml", sweeping.text, contracts="openai_chat_grammar", **here).failed == 1


def test_a_consumer_of_text_or_of_chunks_is_fed_what_a_stream_says(archive):
    assert sweep(archive, lambda chunks: "".join(chunks), reads="text", **brief).failed == 0
    (text,) = sweep(archive, sweeping.stripped, reads="text", **brief).plain()["failures"]
    assert (text["contract"], text["streams"]) == ("whitespace_tail", 3)
    chunks = sweep(archive, sweeping.content, reads="chunks", **brief)
    assert {one["contract"] for one in chunks.plain()["failures"]} == {"no_choices"}


def test_a_row_says_what_came_in_which_pieces_how_it_ended_and_what_it_comes_to(tmp_path):
    whole = body_of("Hel", "lo").decode()
    lines(
        tmp_path / "a.jsonl",
        {"answer": [whole[:100], whole[100:]], "wanted": "Hello"},
        {"answer": [whole], "wanted": "Hallo"},
        {"answer": [whole[:-90]], "end": "dropped"},
    )
    columns = {"chunks": "answer", "expected": "wanted"}
    report = sweep(tmp_path, sweeping.text, columns=columns, limit=0, **here)

    assert report.causes == ["does not come to what the archive expects"]
    assert report.plain()["failures"][0]["smallest"]["expected"] == "'Hallo'"
    seen = []
    sweep(tmp_path, lambda chunks: seen.append([*chunks]), columns=columns, limit=0, at=1, **here)
    assert seen == [[whole[:100].encode(), whole[100:].encode()]]  # once, as it came


@pytest.mark.exhaustive  # for it takes a second until a consumer is taken to hang
def test_a_consumer_that_hangs_is_interrupted_in_this_process_and_its_chunking_is_told(tmp_path):
    (tmp_path / "a.sse").write_bytes(body_of("fine"))
    for asked in ({}, {"contracts": "framing"}):
        (found,) = sweep(tmp_path, sweeping.waits_for_more, limit=2, patience=1, **asked, **here).plain()["failures"]

        assert (found["what"], found["place"]) == ("hangs", "an empty chunk")
        assert found["raised"].startswith("at sweeping.py:")
        assert len(found["smallest"]["moves"]) in (1, 2)


BAD = {
    "tape.yaml": b"interactions: [\n",
    "empty.yaml": b"",
    "rows.jsonl": b'{"body": 3}\n{"x": 1}\n[]\nnope\n{"body": "data: {}\\n\\n", "end": "soon"}\n',
    "rows.jsonl.gz": b"\x1f\x8b nothing of gzip",
    "empty.sse": b"",
}


def test_what_cannot_be_read_is_named_and_counted_and_stops_nothing(archive, monkeypatch):
    for name, data in BAD.items():
        (archive / name).write_bytes(data)
    (archive / "gone.sse").symlink_to(archive / "nothing")
    (archive / "locked").mkdir()
    scandir = os.scandir
    monkeypatch.setattr("os.scandir", lambda path: scandir(path if "locked" not in str(path) else f"{path}/nothing"))
    report = sweep(archive, sweeping.text, limit=0, **here)
    told = {place.partition(str(archive))[2]: why for why, place in _broken(report)}

    assert (report.streams, report.failed, report.unread) == (4, 0, 11)
    assert told["/gone.sse"] == told["/locked"] == "a file that cannot be read"
    assert told["/tape.yaml"] == "a tape that cannot be read"
    assert told["/rows.jsonl:2"] == "a row without body, chunks or body_base64"
    assert told["/rows.jsonl:4"] == "a line that is no JSON"
    assert told["/rows.jsonl:5"].startswith("a row with an end that is none of complete")
    assert {"/empty.yaml", "/empty.sse", "/rows.jsonl:1", "/rows.jsonl:3", "/rows.jsonl.gz:1"} <= told.keys()
    with pytest.raises(BrokenContractError, match="NOT READ"):
        report.verify()


def _broken(report):
    return [(one["why"], place["place"]) for one in report.plain()["not_read"] for place in one["first"]]


@each(
    "asked, why",
    [
        ({"tapes": "nowhere"}, "nothing that matches nowhere"),
        ({"tapes": []}, "nothing to sweep"),
        ({"consume": "app"}, "module:function"),
        ({"consume": "no_such_app:answer"}, "no_such_app:answer cannot be imported: ModuleNotFoundError"),
        ({"consume": "json:answer"}, "json has no answer"),
        ({"consume": "json:__name__"}, "is no function"),
        ({"consume": 3}, "a consumer is a function"),
        ({"reads": "letters"}, "none of 'bytes', 'text', 'chunks'"),
        ({"limit": -1}, "limit is a whole number"),
        ({"patience": 0}, "patience is"),
        ({"columns": {"bodies": "x"}}, "there is no 'bodies'"),
        ({"workers": -1}, "workers is how many"),
        ({"ahead": 0}, "ahead is how many"),
        ({"only": 3}, "only= takes the moves"),
    ],
)
def test_what_cannot_be_swept_is_refused(asked, why):
    with pytest.raises(ContractUsageError, match=why):
        sweep(**{"tapes": ROOT / "cassettes", "consume": sweeping.text, **here, **asked})


def test_a_sweep_over_nothing_proves_nothing(tmp_path):
    with pytest.raises(ContractUsageError, match="nothing is proven"):
        sweep(tmp_path, sweeping.text, **here).verify()
    (tmp_path / "empty.sse").touch()
    with pytest.raises(ContractUsageError, match=r"nothing is proven(?s:.*)NOT READ  an empty file"):
        sweep(tmp_path, sweeping.text, **here).verify()


# -- parts, their order, and what is kept of them ---------------------------------------------------------


class Late:
    """An executor that has nothing ready before it is asked, and answers what the test says."""

    def __init__(self, answers):
        self.answers, self.out, self.most = answers, 0, 0

    def submit(self, function, unit, job):
        self.out += 1
        self.most = max(self.most, self.out)
        future = Future()
        future.result = lambda: self._answer(unit)
        return future

    def _answer(self, unit):
        self.out -= 1
        found = self.answers(unit)
        if isinstance(found, BaseException):
            raise found
        return found


def test_parts_are_handed_out_so_many_at_a_time_and_added_in_their_order(tmp_path):
    for number in range(20):
        (tmp_path / f"{number:02}.jsonl").write_text(json.dumps(row("x" * 2**16)))
    units, taken = units_of([str(tmp_path)]), []
    executor = Late(lambda unit: Tally(streams=1))
    spread = spreading.Spread(executor, None, 4, lambda: executor)
    for unit, _ in spread.tallies(units):
        taken.append(unit.parts[0].path)

    assert executor.most == 4
    assert taken == sorted(taken)
    assert len({*taken}) == 20


def test_a_part_that_a_worker_lost_is_handed_out_again_and_counted_once(tmp_path):
    lines(tmp_path / "a.jsonl", row("x"))
    lost = deque([RuntimeError("the worker is gone"), BrokenExecutor("all are gone")])
    executor = Late(lambda unit: lost.popleft() if lost else Tally(streams=1))
    found = list(spreading.Spread(executor, None, 4, lambda: executor).tallies(units_of([str(tmp_path)])))
    assert [tally.streams for _, tally in found] == [1]

    executor = Late(lambda unit: RuntimeError("the worker is gone"))
    ((_, tally),) = spreading.Spread(executor, None, 4, lambda: executor).tallies(units_of([str(tmp_path)]))
    assert [*tally.broken] == ["a part that no worker could sweep"]


def test_lines_are_numbered_through_the_parts_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr("fakellm.contracts.sweeps.running.LARGE", 3000)
    lines(tmp_path / "a.jsonl", *(row("fine") for _ in range(9)), row(SNOW), "{", row("fine"))
    report = sweep(tmp_path, sweeping.hates_snow, limit=0, **here)

    assert report.streams == 11
    assert report.tally.files == 1
    assert report.plain()["failures"][0]["first"] == [f"{tmp_path}/a.jsonl:10"]
    assert _broken(report) == [("a line that is no JSON", f"{tmp_path}/a.jsonl:11")]


class WithoutTheFirst(Executor):
    def submit(self, function, unit, job):
        future = Future()
        if unit.parts[0].start:
            future.set_result(function(unit, job))
        else:
            future.set_exception(RuntimeError("the worker is gone"))
        return future


@pytest.mark.exhaustive
def test_lines_behind_a_part_that_is_lost_are_numbered_on(tmp_path, monkeypatch):
    monkeypatch.setattr("fakellm.contracts.sweeps.running.LARGE", 3000)
    lines(tmp_path / "a.jsonl", *(row("fine") for _ in range(9)), row(SNOW), "{", row("fine"))
    report = sweep(tmp_path, sweeping.hates_snow, limit=0, executor=WithoutTheFirst())

    assert 1 <= report.streams < 11
    assert report.plain()["failures"][0]["first"] == [f"{tmp_path}/a.jsonl:10"]
    assert ("a line that is no JSON", f"{tmp_path}/a.jsonl:11") in _broken(report)
    assert report.tally.broken["a part that no worker could sweep"].count == 1


@pytest.mark.exhaustive
def test_what_is_kept_is_bounded_and_counts_are_exact(tmp_path):
    lines(tmp_path / "a.jsonl", *(row("same") for _ in range(MOST + 50)))
    raised = []

    def consume(chunks):
        raised.append(type(f"Error{len(raised)}", (Exception,), {}))
        raise raised[-1]

    report = sweep(tmp_path, consume, limit=0, **here)

    assert (report.failed, len(report.causes), report.tally.others) == (MOST + 50, MOST, 50)
    assert "and 50 failures for causes beyond the first 200" in str(report)


# -- a sweep that is interrupted --------------------------------------------------------------------------


def interrupted(after):
    def progress(done):
        if done >= after:
            raise KeyboardInterrupt

    return progress


def test_a_sweep_goes_on_where_it_was_interrupted(tmp_path, monkeypatch):
    monkeypatch.setattr("fakellm.contracts.sweeps.running.LARGE", 3000)
    archive, journal = (
        lines(tmp_path / "a.jsonl", *(row(f"{n} ", SNOW if n % 2 else "dry") for n in range(12))),
        tmp_path / "journal",
    )
    asked = {"tapes": archive, "consume": sweeping.hates_snow, "limit": 0, "journal": journal, **here}
    whole = sweep(**{**asked, "journal": None})
    with pytest.raises(KeyboardInterrupt):
        sweep(**asked, progress=interrupted(7))
    parts = json.loads(journal.read_text())["parts"]
    done = []
    report = sweep(**asked, progress=done.append)

    assert parts >= 2
    assert (str(report), report.plain()) == (str(whole), whole.plain())
    assert done[-1] == report.streams == 12
    assert len(done) < 9  # what was done is not done again
    assert not journal.exists()


def test_a_journal_of_another_sweep_or_another_archive_is_refused(tmp_path):
    for number in range(40):
        lines(tmp_path / f"{number}.jsonl", row("x"))
    journal = tmp_path / "journal"
    asked = {"tapes": f"{tmp_path}/*.jsonl", "limit": 0, "journal": journal, **here}
    with pytest.raises(KeyboardInterrupt):
        sweep(consume=sweeping.text, **asked, progress=interrupted(2))

    with pytest.raises(ContractUsageError, match="the journal of another sweep"):
        sweep(consume=sweeping.strict, **asked)
    (tmp_path / "0.jsonl").write_text("{}\n")
    with pytest.raises(ContractUsageError, match="the archive has changed"):
        sweep(consume=sweeping.text, **asked)
    for said in ("{}", "nope", '{"fakellm_sweep": 9}'):
        journal.write_text(said)
        with pytest.raises(ContractUsageError, match="is no journal"):
            sweep(consume=sweeping.text, **asked)


# -- stores, and formats that need a library --------------------------------------------------------------


def test_an_archive_in_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet is read by pyarrow")
    from pyarrow import parquet

    bodies = [body_of("Hel", "lo"), None, body_of(SNOW), b"".join([body_of("x")])]
    table = pyarrow.table({"body": bodies, "end": ["complete", None, None, None], "other": [1, 2, 3, 4]})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    parquet.write_table(pyarrow.table({"answer": ["x"]}), tmp_path / "b.parquet")
    (tmp_path / "c.parquet").write_bytes(b"PAR1 is what it says")
    report = sweep(tmp_path, sweeping.hates_snow, limit=0, **here)

    assert (report.streams, report.failed, report.tally.files) == (3, 1, 3)
    assert report.plain()["failures"][0]["first"] == [f"{tmp_path}/a.parquet, row 2"]
    assert sorted(_broken(report)) == [
        ("a Parquet file without a column body, chunks or body_base64", f"{tmp_path}/b.parquet"),
        ("a file that is no Parquet", f"{tmp_path}/c.parquet"),
        ("a row without body, chunks or body_base64", f"{tmp_path}/a.parquet, row 1"),
    ]
    parquet.write_table(pyarrow.table({"pieces": [[body_of(SNOW)]]}), tmp_path / "d.parquet")
    assert sweep(tmp_path / "d.parquet", sweeping.text, columns={"chunks": "pieces"}, limit=0, **here).streams == 1


def test_an_archive_in_an_object_store():
    fsspec = pytest.importorskip("fsspec", reason="object stores are opened by fsspec")
    store = fsspec.filesystem("memory")
    said = "".join(f"{json.dumps(one)}\n" for one in (row("Hello"), row(SNOW)))
    store.pipe({"/bucket/day/a.jsonl": said.encode(), "/bucket/day/b.sse": body_of("x"), "/bucket/.x.sse": b"x"})
    report = sweep("memory://bucket", sweeping.hates_snow, limit=0, **here)

    assert (report.streams, report.failed) == (3, 1)
    assert report.plain()["failures"][0]["first"] == ["memory:///bucket/day/a.jsonl:2"]
    assert sweep("memory://bucket/*/*.sse", sweeping.text, limit=0, **here).streams == 1
    with pytest.raises(ContractUsageError, match="nothing that matches memory://bucket/none"):
        sweep("memory://bucket/none", sweeping.text, **here)
    with pytest.raises(ContractUsageError, match="fsspec cannot open nosuch://"):
        sweep("nosuch://bucket/none", sweeping.text, **here)


def test_an_archive_in_a_store_that_is_read_range_by_range():
    fsspec = pytest.importorskip("fsspec", reason="object stores are opened by fsspec")
    memory = pytest.importorskip("fsspec.implementations.memory")

    class File(fsspec.spec.AbstractBufferedFile):  # what S3 and its like are read by
        def _fetch_range(self, start, end):
            return self.fs.cat_file(self.path, start, end)

    class Store(memory.MemoryFileSystem):
        protocol, store, pseudo_dirs = "ranged", {}, [""]

        @classmethod
        def _strip_protocol(cls, path):
            return super()._strip_protocol(path.removeprefix("ranged:/"))

        def _open(self, path, mode="rb", **options):
            return File(self, path, mode, size=self.info(path)["size"])

    fsspec.register_implementation("ranged", Store, clobber=True)
    said = "".join(f"{json.dumps(one)}\n" for one in (row("Hello"), row(SNOW)))
    for name, data in {
        "a.jsonl": said.encode(),
        "b.sse": body_of("x"),
        "c.jsonl.gz": gzip.compress(said.encode()),
    }.items():
        Store.store[f"/day/{name}"] = memory.MemoryFile(Store(), f"/day/{name}", data)

    report = sweep("ranged://day", sweeping.text, limit=0, **here)

    assert (report.streams, report.failed, report.unread) == (5, 0, 0)


def test_a_library_that_is_not_installed_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"x")
    for name, path in (("pyarrow", tmp_path), ("fsspec", "unknown://x")):
        for module in [name, *(loaded for loaded in sys.modules if loaded.startswith(f"{name}."))]:
            monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(MissingExtraError, match=r"pip install 'fakellm-stream\[sweep\]'"):
            sweep(path, sweeping.text, **here)
