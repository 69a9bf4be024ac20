"""Many vectors of one code path: as one test, which names those that fail, or most of them left to CI."""

from __future__ import annotations

import functools
import inspect

import pytest


def first_of(values, count=1):
    """Return the values with all but the first of them marked as exhaustive: for tests that take long for each."""
    rows = [value if isinstance(value, tuple) else (value,) for value in values]
    return [
        pytest.param(*row, marks=[pytest.mark.exhaustive] if number >= count else []) for number, row in enumerate(rows)
    ]


def each(names, values=None, ids=None):
    """Run a test on each vector, as `pytest.mark.parametrize` would, but in one test; takes such a mark, too.

    A test for each costs pytest more than the vectors themselves, where there are hundreds. For plain functions whose
    fixtures may be shared by all vectors. What fails is raised in a group that names the vectors; where all are skipped, so
    is the test.
    """
    if isinstance(names, pytest.MarkDecorator):
        return each(*names.args, **names.kwargs)
    keys = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    values = list(values)
    labels = list(map(ids, values)) if callable(ids) else list(ids) if ids is not None else [None] * len(values)
    rows = [_row(keys, value, label) for value, label in zip(values, labels, strict=True)]

    def decorate(test):
        @functools.wraps(test)
        def folded(*args, **kwargs):
            failed, skipped = [], []
            for label, row in rows:
                try:
                    test(*args, **kwargs, **row)
                except pytest.skip.Exception as reason:
                    skipped.append(reason)
                except (Exception, pytest.fail.Exception) as error:
                    error.add_note(f"vector: {label}")
                    failed.append((label, error))
            if len(skipped) == len(rows):  # nothing was tested
                pytest.skip(str(skipped[0]) if skipped else "there are no vectors")
            if failed:
                shown = ", ".join(label for label, _ in failed[:10])
                msg = f"{len(failed)} of {len(rows)} vectors fail: {shown}"
                raise BaseExceptionGroup(msg, [error for _, error in failed[:10]])

        signature = inspect.signature(test)
        left = [parameter for name, parameter in signature.parameters.items() if name not in keys]
        folded.__signature__ = signature.replace(parameters=left)
        del folded.__wrapped__  # pytest would look for the parameters there
        return folded

    return decorate


def _row(keys, value, label):
    """Return a label and the arguments of a vector."""
    if hasattr(value, "values") and hasattr(value, "marks"):  # pytest.param
        label, value = value.id or label, value.values if len(keys) > 1 else value.values[0]
    row = dict(zip(keys, value, strict=True)) if len(keys) > 1 else {keys[0]: value}
    return label if label is not None else repr(value)[:80], row
