"""Naive predictions that every model must beat, made of the training split alone; no script can make its own rival.

A baseline is a column of the training set, and its name says how it is made (``baseline_names``).

See: R. Hyndman, G. Athanasopoulos, Forecasting: principles and practice, 3rd edition (2021), section 5.2, on simple methods.
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mlops_runtime.training_data.baseline_names import method_of

_WEIGHT = 2.0  # rows at the overall rate: a key with one label 0 does not prove that 1 is impossible


def with_baselines(train: Any, holdout: Any, names: Sequence[str], *, label: str, timestamp: str) -> tuple[Any, Any]:
    """Return both splits with the naive predictions that are made here; a column that has such a name already is replaced.

    Args:
        train: The training split, an Arrow table.
        holdout: The holdout, an Arrow table; its labels are not read.
        names: The baselines; those of another name are left as they are.
        label: The label.
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
        kind, key = method
        if kind == "last" and key is not None:
            columns = _last(train, holdout, key, label=label, timestamp=timestamp)
        else:
            guess = {"usual": _usual, "median": _median, "mean": _mean}[kind]
            columns = tuple(guess(train, split, key, label) for split in (train, holdout))
        train, holdout = (_put(split, name, column) for split, column in zip((train, holdout), columns, strict=True))
    return train, holdout


def _mean(train: Any, split: Any, key: str | None, label: str) -> Any:
    labels = _numbers(train, label)
    overall = _overall(labels)
    if key is None:
        return pa.repeat(overall, split.num_rows)
    grouped = (
        pa.table({"key": _plain(train, key), "label": labels})
        .group_by("key", use_threads=False)  # threads would add in the order in which they end
        .aggregate([("label", "sum"), ("label", "count")])
    )
    weight = _WEIGHT if _is_chance(labels) else 0.0
    sums = pc.add(grouped["label_sum"], pc.multiply(overall, weight))
    means = pc.divide(sums, pc.add(grouped["label_count"].cast(pa.float64()), weight))
    return _looked_up(_plain(split, key), grouped["key"], means, overall)


def _median(train: Any, split: Any, key: str | None, label: str) -> Any:
    labels = _numbers(train, label)
    overall = _medians(pa.table({"key": pa.repeat(0, train.num_rows), "label": labels}))["label"][0]
    if key is None:
        return pa.repeat(overall, split.num_rows)
    found = _medians(pa.table({"key": _plain(train, key), "label": labels}))
    return _looked_up(_plain(split, key), found["key"], found["label"], overall)


def _medians(rows: Any) -> Any:
    """Return a row for each key with the median of its labels; of an even number the mean of the two in the middle."""
    ordered = rows.filter(pc.is_valid(rows["label"])).sort_by([("key", "ascending"), ("label", "ascending")])
    counts = ordered.group_by("key", use_threads=False).aggregate([("label", "count")])
    sizes = counts["label_count"]
    starts = pc.subtract(pc.cumulative_sum(sizes), sizes)
    two = [pc.take(ordered["label"], pc.add(starts, pc.divide(each, 2))) for each in (pc.subtract(sizes, 1), sizes)]
    return pa.table({"key": counts["key"], "label": pc.divide(pc.add(*two), 2.0)})


def _usual(train: Any, split: Any, key: str | None, label: str) -> Any:
    labels = _plain(train, label)
    overall = _most_frequent(pa.table({"key": pa.repeat(0, train.num_rows), "label": labels}))["label"][0]
    if key is None:
        return pa.repeat(overall, split.num_rows)
    found = _most_frequent(pa.table({"key": _plain(train, key), "label": labels}))
    return _looked_up(_plain(split, key), found["key"], found["label"], overall)


def _most_frequent(rows: Any) -> Any:
    """Return a row for each key with its most frequent label; of equals the first by name."""
    counts = rows.group_by(["key", "label"]).aggregate([([], "count_all")])
    ordered = counts.sort_by([("count_all", "descending"), ("label", "ascending")])
    chosen = ordered.group_by("key", use_threads=False).aggregate([("label", "first")])
    return pa.table({"key": chosen["key"], "label": chosen["label_first"]})


def _last(train: Any, holdout: Any, key: str, *, label: str, timestamp: str) -> tuple[Any, Any]:
    """Return the newest label of the key before each row of training, and the newest of training for the holdout."""
    labels = _numbers(train, label)
    overall = _overall(labels)
    rows = pa.table({"key": _plain(train, key), "time": train[timestamp], "label": labels})
    steps = rows.group_by(["key", "time"], use_threads=False).aggregate([("label", "mean")])
    steps = steps.sort_by([("key", "ascending"), ("time", "ascending")])
    keys, means = steps["key"].combine_chunks(), steps["label_mean"].combine_chunks()
    same = pc.fill_null(pc.equal(keys.slice(1), keys.slice(0, len(keys) - 1)), False)
    none = pa.nulls(1, means.type)
    before = pa.concat_arrays([none, pc.if_else(same, means.slice(0, len(means) - 1), pa.nulls(len(same), means.type))])
    is_newest = pa.concat_arrays([pc.invert(same), pa.array([True])])
    joined = rows.append_column("row", pa.array(range(rows.num_rows))).join(
        pa.table({"key": keys, "time": steps["time"], "before": before}), ["key", "time"]
    )
    of_training = pc.fill_null(joined.sort_by("row")["before"], overall)
    newest = _looked_up(_plain(holdout, key), keys.filter(is_newest), means.filter(is_newest), overall)
    return of_training, newest


def _looked_up(wanted: Any, keys: Any, values: Any, default: Any) -> Any:
    known = keys.combine_chunks() if isinstance(keys, pa.ChunkedArray) else keys
    places = pc.index_in(wanted.cast(known.type), value_set=known)
    return pc.fill_null(pc.take(values, places), default)


def _plain(table: Any, name: str) -> Any:
    column = table[name]
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _numbers(table: Any, name: str) -> Any:
    column = table[name]
    return (column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column).cast(pa.float64(), safe=False)


def _overall(labels: Any) -> Any:
    """Return the mean of all labels, the same one however they are cut into chunks, which Arrow adds up apart."""
    return pc.mean(labels.combine_chunks())


def _is_chance(labels: Any) -> bool:
    return bool(pc.all(pc.is_in(labels, value_set=pa.array([0.0, 1.0]))).as_py())


def _put(split: Any, name: str, column: Any) -> Any:
    if name in split.column_names:
        split = split.drop_columns([name])
    return split.append_column(name, column)
