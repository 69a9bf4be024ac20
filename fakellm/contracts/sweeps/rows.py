"""Recorded streams as rows: lines of JSON, and Parquet.

A row has the bytes of an answer in the column `body`, or its pieces as they came in `chunks`; of both, text stands for
its UTF-8. `body_base64` is for bytes that JSON has no text for. What else a row may say: `api`, such as `openai.chat`,
`end`, as on a tape, and `expected`, what a consumer makes of it.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, BinaryIO

from fakellm.contracts.sweeps.streams import UNSET, Found, Place, Recording, Unread
from fakellm.errors import MissingExtraError, clip

COLUMNS = ("body", "chunks", "body_base64", "api", "end", "expected")
BODIES = COLUMNS[:3]
ENDS = ("complete", "cancelled", "dropped", "timeout")
_BATCH = 256
_NO_BODY = f"a row without {', '.join(BODIES[:2])} or {BODIES[2]}"


def recording_of(row: Any, place: Place, named: Mapping[str, str]) -> Found:
    """Return the stream of a row; `named` are columns that have other names than ours."""
    if not isinstance(row, dict):
        return Unread(place, "a row that is no object")
    found = {column: row.get(named.get(column, column)) for column in COLUMNS}
    try:
        chunks = _chunks(found)
    except (ValueError, TypeError, binascii.Error) as error:
        return Unread(place, f"a row whose body is none\n{clip(str(error), 100)}")
    if chunks is None:
        return Unread(place, _NO_BODY)
    end = found["end"] or "complete"
    if end not in ENDS:
        return Unread(place, f"a row with an end that is none of {', '.join(ENDS)}\n{clip(str(end), 40)}")
    expected = row.get(named.get("expected", "expected"), UNSET)
    return Recording(place, chunks, str(found["api"] or ""), end, expected)


def _chunks(found: Mapping[str, Any]) -> tuple[bytes, ...] | None:
    if found["chunks"] is not None:
        if not isinstance(found["chunks"], list):
            msg = f"chunks is a list, not {type(found['chunks']).__name__}"
            raise TypeError(msg)
        return tuple(map(_bytes, found["chunks"]))
    if found["body"] is not None:
        return (_bytes(found["body"]),)
    if found["body_base64"] is not None:
        return (base64.b64decode(found["body_base64"], validate=True),)
    return None


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, bytes):
        return value
    msg = f"a body or chunk is text or bytes, not {type(value).__name__}"
    raise TypeError(msg)


# -- lines of JSON ----------------------------------------------------------------------------------------


def lines_in(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    """Yield the lines that begin in a part of a file."""
    if start:
        file.seek(start - 1)
        start += len(file.readline()) - 1
    while start < end and (line := file.readline()):
        start += len(line)
        yield line


def lines_of_gzip(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a compressed file."""
    yield from io.BufferedReader(gzip.GzipFile(fileobj=file))


def of_lines(
    lines: Iterator[bytes], path: str, named: Mapping[str, str], *, is_start: bool = False
) -> Iterator[Found | None]:
    """Yield the stream of each line, None for one with nothing in it; of a file without any, that it has none."""
    number = -1
    try:
        for number, line in enumerate(lines):
            place = Place(path, "line", number)
            if not line.strip():
                yield None
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield Unread(place, f"a line that is no JSON\n{clip(str(error), 100)}")
                continue
            yield recording_of(row, place, named)
        if is_start and number < 0:
            yield Unread(Place(path), "an empty file", is_wrong=False)
    except (OSError, EOFError, zlib.error) as error:
        yield Unread(Place(path, "line", number + 1), f"a file that cannot be read on\n{clip(str(error), 100)}")


# -- Parquet ----------------------------------------------------------------------------------------------


def _parquet(file: BinaryIO) -> Any:
    try:
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingExtraError("pyarrow", "sweep", "an archive in Parquet") from error
    return parquet.ParquetFile(file, pre_buffer=False)


def groups_of(file: BinaryIO, named: Mapping[str, str]) -> list[int]:
    """Return how many rows each group of a Parquet file has. Raises `ValueError` for one without our columns."""
    found = _parquet(file)
    names = found.schema_arrow.names
    wanted = [named.get(column, column) for column in BODIES]
    if not set(wanted) & set(names):
        msg = f"a Parquet file without a column {', '.join(wanted[:2])} or {wanted[2]}\nit has {', '.join(names)}"
        raise ValueError(msg)
    return [found.metadata.row_group(at).num_rows for at in range(found.num_row_groups)]


def of_group(file: BinaryIO, group: int, before: int, path: str, named: Mapping[str, str]) -> Iterator[Found]:
    """Yield the stream of each row of a group that so many rows come before."""
    found = _parquet(file)
    columns = [name for column in COLUMNS if (name := named.get(column, column)) in found.schema_arrow.names]
    number = before
    for batch in found.iter_batches(batch_size=_BATCH, row_groups=[group], columns=columns, use_threads=False):
        for row in _rows_of(batch):
            yield _of_row(row, Place(path, "row", number), named)
            number += 1


def _of_row(row: Any, place: Place, named: Mapping[str, str]) -> Found:
    if isinstance(row, UnicodeDecodeError):
        return Unread(place, f"a row whose text is none\n{row}")
    expected = named.get("expected", "expected")
    if row.get(expected, UNSET) is None:
        del row[expected]
    return recording_of(row, place, named)


def _rows_of(batch: Any) -> Iterator[Any]:
    """Yield the rows of a batch; instead of one with a text that is no UTF-8, the error."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for at in range(batch.num_rows):
            try:
                yield batch.slice(at, 1).to_pylist()[0]
            except UnicodeDecodeError as error:
                yield error
