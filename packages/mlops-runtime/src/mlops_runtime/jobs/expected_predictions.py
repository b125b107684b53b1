"""Compare a team's own predictions for rows of the holdout with those of the served model.

Differences reveal that a model is served differently than it was used: a null with another replacement, categories in another
order, a truncated number.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mlops_runtime.contracts.model import ComparedPredictions
from mlops_runtime.iso_time import with_offset
from mlops_runtime.jobs.job_environment import JobError

PREDICTION = "prediction"
TOLERANCE = 1e-4  # relative, 0.01 %: models use 32-bit floats
_SMALLEST = 1e-6  # predictions nearer to zero are compared as if they were this large

Wide = npt.NDArray[np.float64]


def read_expected(folder: Path) -> Any:
    """Return the table of predictions in a folder, or None.

    Raises:
        JobError: If there are several files, or the file is not Parquet.
    """
    found = sorted(folder.glob("*.parquet")) if folder.is_dir() else []
    if not found:
        return None
    if len(found) > 1:
        raise JobError(f"predictions must be one Parquet file, got {', '.join(path.name for path in found)}")
    try:
        return pq.read_table(found[0])
    except (OSError, pa.ArrowException) as error:
        raise JobError(f"predictions cannot be read as Parquet: {error}") from error


def compare_predictions(
    expected: Any,
    holdout: Any,
    predictions: Wide,
    *,
    names: Sequence[str] | None = None,
    have_units: bool = False,
    known: Mapping[str, Sequence[str]] | None = None,
) -> tuple[ComparedPredictions | None, list[str]]:
    """Return the comparison, and how the model's predictions differ from the expected ones; [] if they do not.

    Args:
        expected: A table with the column ``prediction`` for each row of the holdout. Its other columns identify the row; without
            other columns, rows are in the holdout's order.
        predictions: The model's predictions, one per row of the holdout; a list each for classes, outputs or a vector, in which
            case the column ``prediction`` has lists too.
        names: Names of the numbers in a list. Default: they have no names.
        have_units: Whether the numbers of a list have different units and are compared individually. Default: they are compared
            relative to the largest of their row, because rounding errors scale with it.
        known: Known categories by column; others are reported, since they often explain a difference. Default: none.

    Example:
        >>> holdout, own = pa.table({"store": [7, 8]}), pa.table({"store": [8, 7], "prediction": [2.5, 1.0]})
        >>> compare_predictions(own, holdout, np.array([1.0, 2.0]))[1]
        ['the model predicts 2 for row 1 of the holdout (store=8), 2.5 was expected (1 of 2 predictions differ by more than ...']
    """
    keys = [name for name in expected.column_names if name != PREDICTION]
    try:
        rows = _rows(expected, holdout, keys)
        wanted = _numbers(expected.column(PREDICTION), None if predictions.ndim == 1 else predictions.shape[1])
    except _UnmatchedError as error:
        return None, [str(error)]
    return _differences(
        wanted,
        predictions[rows],
        rows,
        holdout,
        keys=keys,
        names=names,
        is_alone=have_units or wanted.ndim == 1,
        known=known or {},
    )


class _UnmatchedError(ValueError):
    """A prediction or row has no counterpart."""


def _numbers(column: Any, width: int | None) -> Wide:
    """Return the predictions of a column, NaN for nulls; raise if they do not fit the model."""
    values = column.to_pylist()
    if width is None:
        if any(isinstance(value, list) for value in values):
            raise _UnmatchedError("predictions are lists, but the model returns one number per row")
        return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)
    wrong = next((value for value in values if value is not None and not isinstance(value, list)), None)
    if wrong is None:
        wrong = next((len(value) for value in values if value is not None and len(value) != width), None)
    if wrong is not None:
        got = f"one of {wrong}" if pa.types.is_nested(column.type) else str(column.type)
        raise _UnmatchedError(f"predictions must be lists of {width} numbers, as the model returns them, got {got}")
    lists = [[np.nan if each is None else float(each) for each in value or [None] * width] for value in values]
    return np.array(lists, dtype=np.float64).reshape(-1, width)


def _rows(expected: Any, holdout: Any, keys: Sequence[str]) -> list[int]:
    """Return the holdout's row of each prediction; raise if a prediction or row has no counterpart."""
    if PREDICTION not in expected.column_names:
        raise _UnmatchedError(
            f"predictions must have a column {PREDICTION!r}, got {', '.join(expected.column_names) or 'none'}"
        )
    unknown = [name for name in keys if name not in holdout.column_names]
    if unknown:
        raise _UnmatchedError(f"predictions identify rows by {', '.join(unknown)}, which the holdout does not have")
    if not keys:
        if expected.num_rows != holdout.num_rows:
            fix = "provide one per row in the holdout's order, or columns that identify the row of each"
            raise _UnmatchedError(
                f"{expected.num_rows} predictions were given for {holdout.num_rows} rows of the holdout; {fix}"
            )
        return list(range(holdout.num_rows))
    named: dict[tuple[str, ...], int] = {}
    for row, key in enumerate(_named(holdout, keys)):
        if key in named:
            raise _UnmatchedError(
                f"{', '.join(keys)} identify more than one row of the holdout, such as {_shown(keys, key)}; add a column"
            )
        named[key] = row
    wanted = _named(expected, keys)
    missing = [key for key in wanted if key not in named]
    if missing:
        such = f", such as {_shown(keys, missing[0])}"
        raise _UnmatchedError(f"{len(missing)} of {len(wanted)} predictions match no row of the holdout{such}")
    given = set(wanted)
    left = [key for key in named if key not in given]
    if left:
        of = f"{len(left)} of {len(named)} rows of the holdout have no prediction, such as {_shown(keys, left[0])}"
        raise _UnmatchedError(f"{of}; provide one for each row, so that the whole model is compared")
    if len(given) < len(wanted):
        raise _UnmatchedError(
            f"{len(wanted)} predictions were given for {len(named)} rows of the holdout; provide one for each row"
        )
    return [named[key] for key in wanted]


def _differences(
    wanted: Wide,
    got: Wide,
    rows: Sequence[int],
    holdout: Any,
    *,
    keys: Sequence[str],
    names: Sequence[str] | None,
    is_alone: bool,
    known: Mapping[str, Sequence[str]],
) -> tuple[ComparedPredictions, list[str]]:
    scale = np.fmax(np.fmax(np.abs(wanted), np.abs(got)), _SMALLEST)
    if not is_alone:
        scale = np.broadcast_to(scale.max(axis=1, keepdims=True), scale.shape)
    same = np.abs(wanted - got) <= TOLERANCE * scale
    both = np.isnan(wanted) & np.isnan(got)
    apart = np.where(both, 0.0, np.nan_to_num(np.abs(wanted - got) / scale, nan=np.inf))
    largest = float(apart.max())
    compared = ComparedPredictions(rows=len(wanted), largest_difference=largest if np.isfinite(largest) else 1.0)
    if (same | both).all():
        return compared, []
    same |= both
    worst = np.unravel_index(int(np.argmax(apart)), apart.shape)
    row = rows[int(worst[0])]
    named = f" ({_shown(keys, _named(holdout.slice(row, 1), keys)[0])})" if keys else ""
    place = "" if len(worst) == 1 else f" as {names[int(worst[1])]}" if names else f" as number {worst[1]}"
    count = int((~same if same.ndim == 1 else ~same.all(axis=1)).sum())
    return compared, [
        f"the model predicts {got[worst]:.6g}{place} for row {row} of the holdout{named}, {wanted[worst]:.6g} was expected ("
        f"{count} of {len(wanted)} predictions differ by more than 0.01 %){_unlisted(holdout.slice(row, 1), known)}"
    ]


def _unlisted(row: Any, known: Mapping[str, Sequence[str]]) -> str:
    """Return the values of a row that the signature does not list, as the end of a message; "" if it lists all."""
    found = [(name, _text(value)) for name in known if (value := row.column(name)[0].as_py()) is not None]
    unknown = [f"{name} {text!r}" for name, text in found if text and text not in known[name]]
    return f"; signature.json does not list its {', '.join(unknown)}" if unknown else ""


def _named(table: Any, keys: Sequence[str]) -> list[tuple[str, ...]]:
    columns = [[_text(value) for value in table.column(name).to_pylist()] for name in keys]
    return list(zip(*columns, strict=True))


def _text(value: Any) -> str:
    """Return a value as a string that is the same for equal times, or numbers, of different types."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime):
        return with_offset(value).astimezone(UTC).isoformat()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).isoformat()
    return str(value)


def _shown(keys: Sequence[str], values: Sequence[str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in zip(keys, values, strict=True))
