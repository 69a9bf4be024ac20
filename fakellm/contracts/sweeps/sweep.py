"""`sweep`: a consumer over an archive of recorded streams."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from fakellm.contracts.consumers.attempt import Consume
from fakellm.contracts.documents import Moves
from fakellm.contracts.sweeps.report import SweepReport
from fakellm.contracts.sweeps.running import Paths, Sweep


def sweep(
    tapes: Paths,
    consume: Consume | str,
    *,
    against: Consume | str | None = None,
    contracts: str | Iterable[str] = (),
    reads: str = "bytes",
    limit: int | None = None,
    seed: int = 0,
    executor: Executor | None = None,
    workers: int | None = None,
    ahead: int = 64,
    patience: float = 60.0,
    journal: str | Path | None = None,
    progress: Callable[[int], object] | None = None,
    columns: Mapping[str, str] | None = None,
    storage: Mapping[str, Any] | None = None,
    at: int | None = None,
    only: Moves | None = None,
) -> SweepReport:
    """Run a consumer over every recorded stream, in chunkings that could tell readings apart; return a report.

        sweep("archive/", answer).verify()

    `tapes` are folders, files, patterns (`day-*/**/*.jsonl`) and URLs that fsspec opens: tapes, `.sse` bodies, rows in
    `.jsonl` and `.parquet` (columns `body` or `chunks`; `columns` maps these names to yours, `storage` are options of
    fsspec). `consume(chunks)` is that of `check_consumer`, or its name, `"app.parse:answer"`. What it `reads` are
    `"bytes"` of the body, the `"text"` of the first answer, or the `"chunks"` of the API as dicts.

    Of each stream it must come to a result that its end allows: no error where it is whole, and where it broke, as
    recorded, not what it would come to had it ended there; a row may say what is `expected`. In other chunks it must
    come to the same. With `against`, another version of it, it must come to what that comes to instead, and with
    `contracts` it is held to those alone: names of the catalogue, and `"grammar"`, the rules of the stream's API.
    `limit` is how many single cuts are tried of a stream (the rest in proportion); with 0 it is read as it came.

    It runs in `workers` processes of this machine, by default one for each core, and with 0 in this one. On an
    `executor` (of `concurrent.futures`; Dask's `client.get_executor()`), `ahead` parts of the archive are handed out at
    a time. The report is the same wherever it runs. A consumer that takes more than `patience` real seconds for one
    reading hangs: it is ended, and the stream is named. `journal` is a file that a sweep which was interrupted goes on
    from, `progress` is called with how many streams are done. `at` and `only` replay a failure: one stream of the one
    file, and the moves.

    Raises `ContractUsageError` for what cannot be swept, and `MissingExtraError` for a library that is not installed.
    """
    asked = Sweep(
        tapes, consume, against, contracts, reads, limit, seed, patience, journal, columns, storage, at, only
    )  # fmt: skip
    return asked.run(executor, workers, ahead, progress)
