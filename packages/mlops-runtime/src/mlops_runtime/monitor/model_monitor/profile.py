"""Profile columns like Model Monitor: inferred types, missing values, and ``statistics.json``.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-statistics.html
and https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-statistics.html
"""

import json
import math
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

InferredType = Literal["Integral", "Fractional", "String", "Unknown"]
Wide = npt.NDArray[np.float64]

BUCKETS = 10
SKETCH_ITEMS = 2048  # "k" of Model Monitor's sketches
_SKETCH_DECAY = 0.64  # "c"
_MAXIMUM_BUCKETS = 1000  # columns with more distinct strings have no distribution
_INTEGRAL = re.compile(r"[-+]?\d+")
_FRACTIONAL = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?")


class Column:
    """Collects the values of one column."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.missing = 0
        self.integral = 0
        self.texts: Counter[str] = Counter()
        self._numbers = array("d")

    def add(self, value: Any) -> None:
        """Add one value: null, the empty string and NaN are missing; a numeric string is a number."""
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            self.missing += 1
        elif isinstance(value, bool):
            self.texts[str(value).lower()] += 1
        elif isinstance(value, int | float) and math.isfinite(value):
            self.integral += isinstance(value, int)
            self._numbers.append(value)
        elif isinstance(value, str) and _FRACTIONAL.fullmatch(value.strip()) and math.isfinite(float(value)):
            text = value.strip()
            self.integral += _INTEGRAL.fullmatch(text) is not None
            self._numbers.append(float(text))
        else:
            self.texts[value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)] += 1

    @property
    def numbers(self) -> Wide:
        """The numbers, in the order added."""
        return np.frombuffer(self._numbers, dtype=np.float64) if self._numbers else np.empty(0)

    @property
    def present(self) -> int:
        """Number of values that are not missing."""
        return len(self._numbers) + self.texts.total()

    @property
    def completeness(self) -> float | None:
        """Share of rows with a value; None without rows."""
        rows = self.present + self.missing
        return self.present / rows if rows else None

    @property
    def inferred_type(self) -> InferredType:
        """Inferred type: ``String`` if any value is a string, else ``Fractional`` if any number has a fraction."""
        if self.texts:
            return "String"
        if not self._numbers:
            return "Unknown"
        return "Integral" if self.integral == len(self._numbers) else "Fractional"

    def matching(self, expected: InferredType) -> float | None:
        """Return the share of values that match a type; integers match ``Fractional`` too, and every value ``String``.

        Example:
            >>> column = Column("units")
            >>> for value in ("3", "3.5", None):
            ...     column.add(value)
            >>> column.matching("Integral")
            0.5
        """
        if not self.present or expected == "Unknown":
            return None
        of_type = {"Integral": self.integral, "Fractional": len(self._numbers), "String": self.present}
        return of_type[expected] / self.present

    def levels(self) -> Counter[str]:
        """Return the number of occurrences of each value, as a string."""
        numbers = (str(int(number)) if number.is_integer() else repr(number) for number in self._numbers)
        return self.texts + Counter(numbers)

    def statistics(self) -> dict[str, Any]:
        """Return the column's entry of ``statistics.json``."""
        kind = self.inferred_type
        common = {"num_present": self.present, "num_missing": self.missing}
        found: dict[str, Any] = {"name": self.name, "inferred_type": kind}
        if kind == "Unknown":
            return found | {"common": common}
        if kind == "String":
            levels = self.levels()
            entry: dict[str, Any] = {"common": common, "distinct_count": float(len(levels))}
            if len(levels) <= _MAXIMUM_BUCKETS:
                ordered = sorted(levels.items(), key=lambda pair: (-pair[1], pair[0]))
                buckets = [{"value": value, "count": count} for value, count in ordered]
                entry["distribution"] = {"categorical": {"buckets": buckets}}
            return found | {"string_statistics": entry}
        numbers = self.numbers
        with np.errstate(over="ignore", invalid="ignore"):
            mean, total, deviation = numbers.mean(), numbers.sum(), numbers.std()
        return found | {
            "numerical_statistics": {
                "common": common,
                "mean": _finite(mean),
                "sum": _finite(total),
                "std_dev": _finite(deviation),
                "min": float(numbers.min()),
                "max": float(numbers.max()),
                "distribution": {"kll": {"buckets": _buckets(numbers), "sketch": sketch(numbers)}},
            }
        }


def profile(rows: Iterable[Mapping[str, object]], names: Sequence[str] = ()) -> tuple[dict[str, Column], int]:
    """Return the columns of rows, those of ``names`` first, and the number of rows.

    A column that a row lacks is missing in that row; columns that no row has are not returned.

    Args:
        rows: Values by column.
        names: Order of the columns. Default: order of occurrence.

    Example:
        >>> columns, count = profile([{"price": 1.5}, {"price": None, "units": 3}])
        >>> [(c.name, c.missing) for c in columns.values()], count
        ([('price', 1), ('units', 1)], 2)
    """
    columns: dict[str, Column] = {}
    count = 0
    for count, row in enumerate(rows, 1):
        for name, value in row.items():
            column = columns.get(name)
            if column is None:
                column = columns[name] = Column(name)
                column.missing = count - 1
            column.add(value)
        for name in columns.keys() - row.keys():
            columns[name].missing += 1
    order = {name: position for position, name in enumerate(names)}
    ordered = sorted(columns.items(), key=lambda pair: order.get(pair[0], len(order)))
    return dict(ordered), count


def statistics_document(columns: Iterable[Column], rows: int) -> dict[str, Any]:
    """Return ``statistics.json``."""
    return {"version": 0.0, "dataset": {"item_count": rows}, "features": [column.statistics() for column in columns]}


def sketch(numbers: Wide) -> dict[str, Any]:
    """Return a sketch in Model Monitor's format: items by level, each with a weight of two to the power of its level.

    Sorted numbers are thinned evenly to at most ``SKETCH_ITEMS`` items: the error of a rank is at most half an item's weight.
    """
    ordered = np.sort(numbers)
    level = max(0, math.ceil(math.log2(len(ordered) / SKETCH_ITEMS))) if len(ordered) else 0
    step = 2**level
    items = ordered[step // 2 :: step]
    data: list[list[float]] = [[] for _ in range(level)]
    return {"parameters": {"c": _SKETCH_DECAY, "k": float(SKETCH_ITEMS)}, "data": [*data, items.tolist()]}


def _finite(value: np.float64) -> float | None:
    """Return a JSON number; None if it overflowed."""
    return float(value) if math.isfinite(value) else None


def _buckets(numbers: Wide) -> list[dict[str, float]]:
    low, high = float(numbers.min()), float(numbers.max())
    width = (high - low) / BUCKETS
    if not (width > 0 and math.isfinite(width)):  # a single value, or a range that overflows
        return [{"lower_bound": low, "upper_bound": high, "count": float(len(numbers))}]
    counts, edges = np.histogram(numbers, bins=BUCKETS, range=(low, high))
    return [
        {"lower_bound": float(lower), "upper_bound": float(upper), "count": float(count)}
        for lower, upper, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
