"""The short way from plain rows to a matrix: a handful of calls for a whole request, and None for all that is not plain.

Nothing is refused here. What this gives is what the long way in `payload` gives, which a property test holds; most of a small
request's cost used to lie there, in a few numpy calls a column.
"""

from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np

from mlops_runtime.contracts.model import ModelSignature
from mlops_runtime.serving.model import Matrix

_NUMBERS = frozenset((float, int))
_NUMBERS_OR_NULL = _NUMBERS | {type(None)}


class Quick:
    """The short way for one signature."""

    def __init__(self, signature: ModelSignature) -> None:
        columns = signature.inputs
        self._width = len(columns)
        self._names = tuple(column.name for column in columns)
        self._pick: Any = itemgetter(*self._names) if self._width > 1 else None
        self._levels = [
            (index, {level: position for position, level in enumerate(column.categories)}, column.nullable)
            for index, column in enumerate(columns)
            if column.type == "category"
        ]
        numbers = [column for column in columns if column.type == "number"]
        self._allowed = _NUMBERS_OR_NULL if any(column.nullable for column in numbers) else _NUMBERS
        self._is_number = [column.type == "number" for column in columns]
        self._required = np.array([column.type == "number" and not column.nullable for column in columns])

    def json(self, instances: list[Any]) -> Matrix | None:
        """Return the matrix of the instances of a JSON body; they stay as they are."""
        rows = []
        for instance in instances:
            if len(instance) != self._width if type(instance) in (list, dict) else True:
                return None
            if type(instance) is list:
                row = instance.copy() if self._levels else instance
            else:
                if self._pick is None:
                    return None
                try:
                    row = list(self._pick(instance))
                except KeyError:
                    return None
            for index, positions, nullable in self._levels:
                value = row[index]
                if type(value) is str:
                    row[index] = positions.get(value, -1)
                elif value is None and nullable:
                    row[index] = -1
                else:
                    return None
            rows.append(row)
        if not self._allowed.issuperset(map(type, chain.from_iterable(rows))):
            return None
        return self._finite(rows)

    def csv(self, lines: list[list[str]]) -> Matrix | None:
        """Return the matrix of the cells of a CSV body; they stay as they are."""
        rows = []
        try:
            for line in lines:
                if len(line) != self._width or "_" in "".join(line):  # 1_000 is a number to Python alone
                    return None
                row: list[Any] = line.copy()
                for index, positions, _ in self._levels:
                    if not line[index]:
                        return None
                    row[index] = positions.get(line[index], -1)
                rows.append(list(map(float, row)))
        except ValueError:
            return None
        return self._finite(rows)

    def _finite(self, rows: list[list[Any]]) -> Matrix | None:
        with np.errstate(over="ignore"):
            matrix: Matrix = np.array(rows, dtype=np.float32)
        finite = np.isfinite(matrix)
        if finite.all():
            return matrix
        missing = np.isnan(matrix)
        if (finite | missing).all() and not missing[:, self._required].any():
            return matrix
        return None
