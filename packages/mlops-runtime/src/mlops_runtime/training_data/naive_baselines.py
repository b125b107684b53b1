"""Naive predictions that every model must beat, computed from the training split alone, so that no script creates its own rival.

A baseline is a column of the training set whose name defines how it is computed (``baseline_names``). All are computed from
tallies, which are additive: the tallies of parts of the training split, merged in any order, equal the tally of the whole. So the
result is bit-identical however the rows are ordered, partitioned, or distributed over machines. Sums of labels are integers, one
per power of two, hence exact, and means are rounded once.

See: R. Hyndman, G. Athanasopoulos, Forecasting: principles and practice, 3rd edition (2021), section 5.2, on simple methods;
U. Kulisch, V. Snyder, The exact dot product as basic tool for long interval arithmetic, Computing 91 (2011), on exact sums.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_runtime.training_data.baseline_names import method_of

_WEIGHT = 2.0  # prior rows at the overall rate: a key with a single label 0 does not prove that 1 is impossible
_MANTISSA, _LOW = 53, 27  # bits of a double, and its lower half: sums of 2^36 halves fit 64 bits
_SUMS = ("high", "low", "odd", "other", "count")


@dataclass(frozen=True, slots=True)
class Overall:
    """Prediction for a row whose key is unknown to training, and whether all labels are 0 or 1."""

    value: Any
    is_chance: bool


def with_baselines(train: Any, holdout: Any, names: Sequence[str], *, label: str, timestamp: str) -> tuple[Any, Any]:
    """Return both splits with the computed baselines; existing columns of these names are replaced.

    Args:
        train: The training split, an Arrow table.
        holdout: The holdout, an Arrow table; its labels are not read.
        names: The baselines; columns that are not computed are left unchanged.
        timestamp: The column with the time of prediction.

    Example:
        >>> train = pa.table({"store": ["a", "a", "b"], "day": [1, 2, 1], "units": [1.0, 3.0, 8.0]})
        >>> holdout = pa.table({"store": ["a", "b", "c"], "day": [3, 3, 3], "units": [0.0, 0.0, 0.0]})
        >>> names = ("naive_median_by_store", "naive_last_by_store")
        >>> _, held = with_baselines(train, holdout, names, label="units", timestamp="day")
        >>> held["naive_median_by_store"].to_pylist(), held["naive_last_by_store"].to_pylist()
        ([2.0, 8.0, 3.0], [3.0, 8.0, 4.0])
    """
    for name in names:
        method = method_of(name)
        if method is None:
            continue
        made = _made(train, holdout, *method, label=label, timestamp=timestamp)
        train, holdout = (_put(split, name, column) for split, column in zip((train, holdout), made, strict=True))
    return train, holdout


def _made(train: Any, holdout: Any, kind: str, key: str | None, *, label: str, timestamp: str) -> tuple[Any, Any]:
    """Return the predictions for the rows of both splits."""
    tally = tallied(train, kind, key, label=label, timestamp=timestamp)
    overall = overall_of(merged(tally, without=("key", "time")), kind)
    if key is None:
        return pa.repeat(overall.value, train.num_rows), pa.repeat(overall.value, holdout.num_rows)
    guesses = guesses_of(merged(tally), kind, overall)
    if kind == "last":
        found = _before(_plain(train, key), times(train, timestamp), guesses)
        guesses = guesses.filter(pc.is_null(guesses["time"]))
    else:
        found = _looked_up(_plain(train, key), guesses)
    held = _looked_up(_plain(holdout, key), guesses)
    return pc.fill_null(found, overall.value), pc.fill_null(held, overall.value)


def tallied(rows: Any, kind: str, key: str | None, *, label: str, timestamp: str) -> Any:
    """Return the tally of rows of the training split; rows without a label are skipped.

    Args:
        rows: The rows, an Arrow table.
        kind: Method of the baseline, as returned by ``method_of``.
        key: The column whose values have separate histories.
        timestamp: The column with the time of prediction, which only ``last`` reads.

    Returns:
        A table with the columns ``key`` and, for ``last``, ``time``; then ``label`` and ``count`` for medians and usual classes, or
        for means ``exponent`` with the sums of the labels of that power of two.

    Example:
        >>> rows = pa.table({"store": ["a", "a", "b"], "units": [1.0, 3.0, 3.0]})
        >>> tallied(rows, "median", "store", label="units", timestamp="day").to_pylist()[0]
        {'key': 'a', 'label': 1.0, 'count': 1}
    """
    rows = rows.filter(pc.is_valid(rows[label]))
    columns = {} if key is None else {"key": _plain(rows, key)}
    if kind in ("median", "usual"):
        column = numbers(rows, label) if kind == "median" else _plain(rows, label)
        # without negative zero, which would be a second label
        columns["label"] = pc.add(column, 0.0) if pa.types.is_floating(column.type) else column
        return merged(pa.table({**columns, "count": pa.repeat(1, rows.num_rows)}))
    if kind == "last":
        columns["time"] = times(rows, timestamp)
    values = numbers(rows, label).to_numpy()
    finite = np.isfinite(values)
    mantissa, exponent = np.frexp(np.where(finite, values, 0.0))
    whole = np.ldexp(mantissa, _MANTISSA).astype(np.int64)
    columns["exponent"] = exponent.astype(np.int32) - _MANTISSA
    columns["high"], columns["low"] = whole >> _LOW, whole & ((1 << _LOW) - 1)
    columns["odd"] = np.where(finite, 0.0, values)
    columns["other"] = (~np.isin(values, (0.0, 1.0))).astype(np.int64)
    columns["count"] = np.ones(len(values), np.int64)
    return merged(pa.table(columns))


def merged(tally: Any, *, without: Sequence[str] = ()) -> Any:
    """Merge concatenated tallies into one, optionally with coarser groups."""
    sums = [name for name in _SUMS if name in tally.column_names]
    by = [name for name in tally.column_names if name not in (*sums, *without)]
    # without threads, groups are in the order of the rows
    found = tally.group_by(by, use_threads=False).aggregate([(name, "sum") for name in sums])
    return found.select([*by, *(f"{name}_sum" for name in sums)]).rename_columns([*by, *sums])


def overall_of(tally: Any, kind: str) -> Overall:
    """Return the prediction for rows with an unknown key, from a tally without keys and times."""
    whole = tally.add_column(0, "key", pa.repeat(0, tally.num_rows))
    is_chance = kind == "mean" and not pc.sum(tally["other"]).as_py()
    found = {"usual": _most_frequent, "median": _medians}.get(kind, _means)(whole)["value"]
    return Overall(found[0] if len(found) else pa.scalar(None, found.type), is_chance)


def guesses_of(tally: Any, kind: str, overall: Overall) -> Any:
    """Return the prediction for each key of a merged tally, which has either all rows of a key or none.

    Returns:
        A table of ``key`` and ``value``; for ``last`` also ``time``: for each time the previous value, and for a null time the
        newest.
    """
    if kind == "last":
        return _steps(tally)
    if kind == "mean":
        return _means(tally, overall if overall.is_chance else None)
    return (_most_frequent if kind == "usual" else _medians)(tally)


def _means(tally: Any, overall: Overall | None = None, by: Sequence[str] = ("key",)) -> Any:
    """Return the mean of each group of a tally, rounded once; for chances, shrunk toward the overall rate."""
    lists, sums = ("exponent", "high", "low"), ("high", "low", "odd", "count")
    groups = tally.group_by(list(by), use_threads=False).aggregate(
        [*((name, "list") for name in lists), *((name, "sum") for name in sums), ("exponent", "min")]
    )
    high, low, odd, counts = (groups[f"{name}_sum"].to_numpy() for name in sums)
    # exact for groups with a single label, the usual case for a key and time
    means = np.ldexp((high * (1 << _LOW) + low).astype(np.float64), groups["exponent_min"].to_numpy())
    several = np.flatnonzero((counts > 1) | (overall is not None))
    parts = [groups[f"{name}_list"].take(pa.array(several)).to_pylist() for name in lists]
    for place, exponents, highs, lows in zip(several.tolist(), *parts, strict=True):
        if overall is None:
            means[place] = _quotient(exponents, highs, lows, int(counts[place]))
        else:
            ones = _quotient(exponents, highs, lows, 1)
            means[place] = (ones + overall.value.as_py() * _WEIGHT) / (int(counts[place]) + _WEIGHT)
    means = np.where(odd == 0.0, means, np.where(np.isnan(odd), np.nan, odd))  # the sign of NaN is meaningless
    return pa.table([*(groups[name] for name in by), pa.array(means, pa.float64())], names=[*by, "value"])


def _quotient(exponents: Sequence[int], highs: Sequence[int], lows: Sequence[int], divisor: int) -> float:
    """Return an exact sum divided by an integer, rounded like Python's integer division: to the nearest double."""
    least = min(*exponents, 0)
    whole = sum(((high << _LOW) + low) << (at - least) for at, high, low in zip(exponents, highs, lows, strict=True))
    return whole / (divisor << -least)


def _medians(tally: Any) -> Any:
    """Return the median of each key's labels; for an even number, the mean of the two in the middle."""
    ordered = tally.sort_by([("key", "ascending"), ("label", "ascending")])
    groups = ordered.group_by("key", use_threads=False).aggregate([("count", "sum")])
    sizes, reached = groups["count_sum"].to_numpy(), np.cumsum(ordered["count"].to_numpy())
    starts, labels = np.cumsum(sizes) - sizes, ordered["label"].to_numpy()
    low, high = (labels[np.searchsorted(reached, starts + at, "right")] for at in ((sizes - 1) // 2, sizes // 2))
    return pa.table({"key": groups["key"], "value": pa.array(middle(low, high), pa.float64())})


def middle(low: Any, high: Any) -> Any:
    """Return the median from the two labels in the middle, which may be the same."""
    return (low + high) / 2.0


def _most_frequent(tally: Any) -> Any:
    """Return the most frequent label of each key; for ties the first by name."""
    ordered = tally.sort_by([("count", "descending"), ("label", "ascending")])
    chosen = ordered.group_by("key", use_threads=False).aggregate([("label", "first")])
    return pa.table({"key": chosen["key"], "value": chosen["label_first"]})


def _steps(tally: Any) -> Any:
    """Return for each key and time the mean of its previous time, and with a null time the newest mean of the key."""
    means = _means(tally, by=("key", "time")).sort_by([("key", "ascending"), ("time", "ascending")])
    keys, moments, values = (means[name].combine_chunks() for name in ("key", "time", "value"))
    one, other = keys.slice(1), keys.slice(0, max(len(keys) - 1, 0))
    # null is a key too
    same = pc.or_(pc.fill_null(pc.equal(one, other), False), pc.and_(pc.is_null(one), pc.is_null(other)))
    none = pa.nulls(min(len(keys), 1), values.type)
    before = pa.concat_arrays([none, pc.if_else(same, values.slice(0, len(same)), pa.nulls(len(same), values.type))])
    is_newest = pa.concat_arrays([pc.invert(same), pa.array([True] * len(none), pa.bool_())])
    newest = keys.filter(is_newest)
    parts = [
        pa.table({"key": keys, "time": moments, "value": before}),
        pa.table({"key": newest, "time": pa.nulls(len(newest), moments.type), "value": values.filter(is_newest)}),
    ]
    return pa.concat_tables(parts)


def _before(keys: Any, moments: Any, steps: Any) -> Any:
    """Return the value of each key and time, null if unknown."""
    known = pc.unique(steps["key"])
    numbered = steps.set_column(0, "key", pc.index_in(steps["key"], value_set=known)).filter(pc.is_valid(steps["time"]))
    places = pc.index_in(keys.cast(known.type), value_set=known)
    wanted = pa.table({"key": places, "time": moments, "row": pa.arange(0, len(keys))})
    return wanted.join(numbered, ["key", "time"]).sort_by("row")["value"]


def _looked_up(wanted: Any, guesses: Any) -> Any:
    known = guesses["key"].combine_chunks()
    return pc.take(guesses["value"], pc.index_in(wanted.cast(known.type), value_set=known))


def _plain(table: Any, name: str) -> Any:
    column = table[name]
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def times(table: Any, name: str) -> Any:
    """Return a column of times, with timestamps as integers."""
    column = table[name]
    return column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column


def numbers(table: Any, name: str) -> Any:
    """Return a column as doubles, with booleans as 1 and 0."""
    column = table[name]
    return (column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column).cast(pa.float64(), safe=False)


def _put(split: Any, name: str, column: Any) -> Any:
    if name in split.column_names:
        split = split.drop_columns([name])
    return split.append_column(name, column)
