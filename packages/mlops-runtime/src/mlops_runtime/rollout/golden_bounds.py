"""Golden requests at the bounds of what a model was trained on: what a training set and a signature say without anybody's idea.

A model is seldom wrong where most rows are. It is where an input is as small or as large as it gets, where it is null because
the signature allows that, in the category that hardly occurs, in one that did not exist, in the largest series. Rows are real ones
as far as they can be: a row that was seen is one that may come. Only nulls and the unknown category are put in.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence

from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.contracts.serving import GoldenRequest

UNKNOWN = "not in the training set"
Row = Mapping[str, object]


def boundary_requests(
    rows: Sequence[Row], signature: ModelSignature, *, minimum: float | None = None, maximum: float | None = None
) -> list[GoldenRequest]:
    """Return requests of the rows at the bounds, the same from the same rows.

    They are: each number at its smallest and at its largest, one request each way; each category once, and one that is unknown;
    each nullable column null, and all of them together. A request without rows is left out.

    Args:
        rows: The training set, or a part of it that knows its bounds: what is sent for each row, by column.
        signature: The columns, their types and which of them may be null.
        minimum: What every answer must reach. Default: anything.
        maximum: What no answer may exceed. Default: anything.

    Raises:
        ValueError: If there are no rows, or they lack columns.

    Example:
        >>> signature = ModelSignature(inputs=(SignatureColumn(name="sold", type="number", nullable=True),), output="units")
        >>> [request.name for request in boundary_requests([{"sold": 1}, {"sold": 5}], signature)]
        ['numbers at their minimum', 'numbers at their maximum', 'nulls']
    """
    names = [column.name for column in signature.inputs]
    missing = [name for name in names if any(name not in row for row in rows)]
    if not rows or missing:
        raise ValueError(
            f"rows must be one or more, each with {', '.join(map(repr, names))}; got {len(rows)}"
            + (f" without {', '.join(map(repr, missing))}" if missing else "")
        )
    sent = [{name: row[name] for name in names} for row in rows]
    numbers = [column.name for column in signature.inputs if column.type == "number"]
    groups: dict[str, list[Row | None]] = {
        "numbers at their minimum": [_extreme(sent, name, largest=False) for name in numbers],
        "numbers at their maximum": [_extreme(sent, name, largest=True) for name in numbers],
        "categories": [
            row for column in signature.inputs if column.type == "category" for row in _categories(sent, column)
        ],
        "nulls": list(_nulls(_typical(sent, numbers), signature)),
    }
    return [
        GoldenRequest(
            name=name,
            body=json.dumps({"instances": chosen}, ensure_ascii=False),
            rows=len(chosen),
            minimum=minimum,
            maximum=maximum,
        )
        for name, found in groups.items()
        if (chosen := _without_doubles(found))
    ]


def _extreme(rows: Sequence[Row], name: str, *, largest: bool) -> Row | None:
    """Return the first row in which a number is as large, or small, as in any; none where it is null in all."""
    known = [(value, index) for index, row in enumerate(rows) if (value := _number(row[name])) is not None]
    if not known:
        return None
    wanted = max(known)[0] if largest else min(known)[0]
    return rows[next(index for value, index in known if value == wanted)]


def _categories(rows: Sequence[Row], column: SignatureColumn) -> Iterator[Row]:
    """Yield the first row of each value, and one with a value that nobody knows."""
    seen: dict[object, Row] = {}
    for row in rows:
        if row[column.name] is not None:
            seen.setdefault(row[column.name], row)
    yield from (seen[value] for value in sorted(seen, key=str))
    yield {**rows[0], column.name: UNKNOWN}


def _nulls(row: Row, signature: ModelSignature) -> Iterator[Row]:
    nullable = [column.name for column in signature.inputs if column.nullable]
    yield from ({**row, name: None} for name in nullable)
    if nullable:
        yield {**row, **dict.fromkeys(nullable)}


def _typical(rows: Sequence[Row], numbers: Sequence[str]) -> Row:
    """Return the first row with every number known; the first of all if there is none."""
    return next((row for row in rows if all(_number(row[name]) is not None for name in numbers)), rows[0])


def _number(value: object) -> float | None:
    if value is None or not isinstance(value, int | float):
        return None
    return None if math.isnan(value) else float(value)


def _without_doubles(rows: Sequence[Row | None]) -> list[Row]:
    """Return rows once each, in their order: one row may hold several bounds."""
    kept: list[Row] = []
    for row in rows:
        if row is not None and row not in kept:
            kept.append(row)
    return kept
