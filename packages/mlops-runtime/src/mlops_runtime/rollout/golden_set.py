"""Golden sets: created from a training set and a signature; read completely, or rejected with all problems and their lines."""

import csv
import dataclasses
import hashlib
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from mlops_runtime.contracts import ContractError, from_dict
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.contracts.serving import GoldenRequest

UNKNOWN = "not in the training set"
Row = Mapping[str, object]

JSON, CSV = "application/json", "text/csv"
# InvokeEndpoint rejects longer bodies (botocore, sagemaker-runtime, BodyBlob)
MAXIMUM_BODY_BYTES = 6_291_456
# some rows of each request are also sent alone in each round, sequentially, within a function's 15 minutes
MAXIMUM_REQUESTS, MAXIMUM_ROWS = 100, 1000
_MAXIMUM_NAME = 64
_DIGITS = 3
_NUDGE = 1.0001
_UPPER = 0.75  # measured on the demand example: a good forecast is within a factor of four of earlier sales
_FIELDS = tuple(field.name for field in dataclasses.fields(GoldenRequest))


def boundary_requests(
    rows: Sequence[Row],
    signature: ModelSignature,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    minimums: Sequence[float] | None = None,
    maximums: Sequence[float] | None = None,
    expected: Callable[[Row], float] | None = None,
    factor: float = 5.0,
) -> list[GoldenRequest]:
    """Return requests with the boundary rows of a training set; the same rows give the same requests.

    They are: each number at its minimum and at its maximum, one request for each; each category once, and an unknown one; each
    nullable column null, and all of them together. A request without rows is left out.

    Args:
        rows: The training set, or a part of it with its bounds: values by column.
        signature: The columns, their types and whether they are nullable.
        minimum: Minimum of every prediction. Default: 0 for class probabilities, else none.
        maximum: Maximum of every prediction. Default: 1 for class probabilities, else none.
        minimums: Minimum of each output of a model with several numbers. Default: none.
        maximums: Maximum of each output of a model with several numbers. Default: none.
        expected: Returns a rough expectation for a row, such as earlier sales: each category is then sent in a row of its upper
            quarter, with its own bounds. Default: in its first row, within the common bounds.
        factor: A category's prediction may be at most this multiple of the expectation, and at least the expectation divided by
            it. An unknown category has no bounds of its own. Default: 5.

    Raises:
        ValueError: If there are no rows, or they lack columns, or the factor is below 1.

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
    if not factor >= 1:
        raise ValueError(f"factor must be 1 or more, got {factor}")
    sent = [{name: row[name] for name in names} for row in rows]
    numbers = [column.name for column in signature.inputs if column.type == "number"]
    groups: dict[str, list[Row | None]] = {
        "numbers at their minimum": [_extreme(sent, name, largest=False) for name in numbers],
        "numbers at their maximum": [_extreme(sent, name, largest=True) for name in numbers],
        "categories": [
            row
            for column in signature.inputs
            if column.type == "category"
            for row in _categories(sent, column, expected)
        ],
        "nulls": list(_nulls(_typical(sent, numbers), signature)),
    }
    if signature.kind == "classes":
        minimum, maximum = 0.0 if minimum is None else minimum, 1.0 if maximum is None else maximum
    made = [
        GoldenRequest(
            name=name,
            body=json.dumps({"instances": chosen}, ensure_ascii=False),
            rows=len(chosen),
            minimum=minimum,
            maximum=maximum,
            columns=signature.columns,
            minimums=None if minimums is None else tuple(minimums),
            maximums=None if maximums is None else tuple(maximums),
        )
        for name, found in groups.items()
        if (chosen := _without_doubles(found))
    ]
    if expected is None:
        return made
    unknown = {column.name: _unknown(column) for column in signature.inputs if column.type == "category"}
    levels = [
        None if any(row[name] == value for name, value in unknown.items()) else round(expected(row), _DIGITS)
        for row in _without_doubles(groups["categories"])
    ]
    lows = tuple(None if level is None else round(level / factor, _DIGITS) for level in levels)
    highs = tuple(None if level is None else round(level * factor, _DIGITS) for level in levels)
    return [
        replace(request, row_minimums=lows, row_maximums=highs) if request.name == "categories" else request
        for request in made
    ]


def _extreme(rows: Sequence[Row], name: str, *, largest: bool) -> Row | None:
    """Return the first row with a column's maximum or minimum; None if the column is always null."""
    known = [(value, index) for index, row in enumerate(rows) if (value := _number(row[name])) is not None]
    if not known:
        return None
    wanted = max(known)[0] if largest else min(known)[0]
    return rows[next(index for value, index in known if value == wanted)]


def _categories(rows: Sequence[Row], column: SignatureColumn, expected: Callable[[Row], float] | None) -> Iterator[Row]:
    """Yield the first row of each value, or the one at its upper quartile of the expectation, and a row with an unknown value.

    Neither the maximum nor the median is used: sales drop after an exceptional row, and may be zero after the median one.
    """
    seen: dict[object, list[Row]] = {}
    for row in rows if expected is None else sorted(rows, key=expected):
        if row[column.name] is not None:
            seen.setdefault(row[column.name], []).append(row)
    share = 0 if expected is None else _UPPER
    yield from (
        found[int(share * (len(found) - 1))] for _, found in sorted(seen.items(), key=lambda item: str(item[0]))
    )
    yield {**rows[0], column.name: _unknown(column)}


def _unknown(column: SignatureColumn) -> str | int:
    """Return a category that training does not have; for integers the next larger one."""
    return max(map(int, column.categories), default=0) + 1 if column.kind == "integer" else UNKNOWN


def _nulls(row: Row, signature: ModelSignature) -> Iterator[Row]:
    nullable = [column.name for column in signature.inputs if column.nullable]
    yield from ({**row, name: None} for name in nullable)
    if nullable:
        yield {**row, **dict.fromkeys(nullable)}


def _typical(rows: Sequence[Row], numbers: Sequence[str]) -> Row:
    """Return the first row without null numbers; else the first row."""
    return next((row for row in rows if all(_number(row[name]) is not None for name in numbers)), rows[0])


def _number(value: object) -> float | None:
    if value is None or not isinstance(value, int | float):
        return None
    return None if math.isnan(value) else float(value)


def _without_doubles(rows: Sequence[Row | None]) -> list[Row]:
    """Return distinct rows in their order: one row may have several extremes."""
    kept: list[Row] = []
    for row in rows:
        if row is not None and row not in kept:
            kept.append(row)
    return kept


class GoldenSetError(ValueError):
    """A golden set is invalid.

    Args:
        problems: Each with its line, the value got, the allowed values and the fix.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


def verified_set(content: bytes, sha256: str) -> tuple[GoldenRequest, ...]:
    """Return the requests of a set after checking its hash against the spec's.

    Raises:
        GoldenSetError: If the hash differs, or with all problems of the set.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise GoldenSetError(
            [f"the golden set must have the SHA-256 {sha256} of the spec, got {found}; deploy the stack again"]
        )
    return read_set(content)


def read_set(content: bytes) -> tuple[GoldenRequest, ...]:
    """Return the requests of a set, in its order.

    Raises:
        GoldenSetError: With every problem of every line.

    Example:
        >>> line = b'{"name": "typical", "body": "1.5,b", "content_type": "text/csv", "rows": 1, "minimum": 0}'
        >>> read_set(line)[0].minimum
        0.0
    """
    try:
        lines = content.decode().split("\n")
    except UnicodeDecodeError as error:
        raise GoldenSetError([f"the golden set must be UTF-8, got {error.reason} at byte {error.start}"]) from error
    requests: dict[int, GoldenRequest] = {}
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            requests[number] = _request(line)
        except (ContractError, ValueError, RecursionError) as error:  # RecursionError: deeply nested brackets
            problems.append(f"line {number}: {error}")
            continue
        problems += [f"line {number}: {problem}" for problem in _problems(requests[number])]
    problems += _set_problems(requests, has_others=bool(problems))
    if problems:
        raise GoldenSetError(problems)
    return tuple(requests.values())


def single_bodies(request: GoldenRequest) -> tuple[str, ...]:
    """Return the rows of a request as separate bodies; empty for a single row or an unknown format.

    Example:
        >>> batch = GoldenRequest(name="two", body='{"instances": [[1], [2]]}', rows=2)
        >>> single_bodies(batch)
        ('{"instances": [[1]]}', '{"instances": [[2]]}')
    """
    bodies = _bodies(request)
    return () if bodies is None or len(bodies) < 2 else bodies


def turned(request: GoldenRequest, by: int) -> GoldenRequest:
    """Return a request with its last ``by`` rows, and their bounds, moved to the front; unchanged for one row or an unknown format.

    Example:
        >>> turned(GoldenRequest(name="two", body='{"instances": [[1], [2]]}', rows=2), 1).body
        '{"instances": [[2], [1]]}'
    """
    bodies = single_bodies(request)
    start = -by % len(bodies) if bodies else 0
    if start == 0:
        return request
    bounds = {
        name: None if found is None else (*found[start:], *found[:start])
        for name, found in (("row_minimums", request.row_minimums), ("row_maximums", request.row_maximums))
    }
    request = replace(request, row_minimums=bounds["row_minimums"], row_maximums=bounds["row_maximums"])
    kind = media_type(request.content_type)
    if kind == CSV:
        return replace(request, body="".join((*bodies[start:], *bodies[:start])))
    document = json.loads(request.body)
    rows = document["instances"]
    body = json.dumps({**document, "instances": [*rows[start:], *rows[:start]]}, ensure_ascii=False)
    return replace(request, body=body)


def nudged(request: GoldenRequest) -> GoldenRequest:
    """Return a JSON request whose fractional numbers are a ten-thousandth larger; unchanged without such numbers.

    Example:
        >>> body = '{"instances": [{"price": 2.5, "week": 4.0, "name": "a"}]}'
        >>> nudged(GoldenRequest(name="typical", body=body, rows=1)).body
        '{"instances": [{"price": 2.50025, "week": 4.0, "name": "a"}]}'
    """
    if media_type(request.content_type) != JSON:
        return request
    try:
        found = json.loads(request.body)
    except ValueError:
        return request
    larger = _nudged(found)
    return request if larger == found else replace(request, body=json.dumps(larger, ensure_ascii=False))


def _nudged(value: object) -> object:
    if isinstance(value, dict):
        return {name: _nudged(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_nudged(each) for each in value]
    return value * _NUDGE if isinstance(value, float) and not value.is_integer() else value


def media_type(content_type: str) -> str:
    """Return a content type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def _request(line: str) -> GoldenRequest:
    document = json.loads(line)
    # a misspelt bound would have no effect: the file is written by hand, so an unknown field is an error
    unknown = [name for name in document if name not in _FIELDS] if isinstance(document, dict) else []
    if unknown:
        raise ContractError(f"unknown field {', '.join(map(repr, unknown))}; allowed are {', '.join(_FIELDS)}")
    return from_dict(GoldenRequest, document)


def _problems(request: GoldenRequest) -> list[str]:
    low, high = request.minimum, request.maximum
    size = len(request.body.encode())
    checks = {
        f"name must be 1 to {_MAXIMUM_NAME} printable characters, got {request.name!r}": request.name.strip()
        and len(request.name) <= _MAXIMUM_NAME
        and request.name.isprintable(),
        f"rows must be 1 or more, got {request.rows}": request.rows >= 1,
        f"minimum and maximum must be finite, got {low} and {high}; leave out a missing bound": all(
            bound is None or math.isfinite(bound) for bound in (low, high)
        ),
        f"minimum must not exceed maximum, got {low} > {high}": low is None or high is None or not low > high,
        f"body must be 1 to {MAXIMUM_BODY_BYTES} bytes, got {size}": 1 <= size <= MAXIMUM_BODY_BYTES,
        f"content_type must name a type such as {JSON}, got {request.content_type!r}": "/" in request.content_type
        and request.content_type.isascii()
        and request.content_type.isprintable(),
    }
    found = [problem for problem, holds in checks.items() if not holds]
    return [*found, *_column_problems(request), *_row_problems(request)]


def _column_problems(request: GoldenRequest) -> Iterator[str]:
    columns = request.columns
    if columns is not None and columns < 1:
        yield f"columns must be 1 or more, got {columns}; leave it out if an answer is one number for each row"
    for name in ("minimums", "maximums"):
        bounds = getattr(request, name)
        if bounds is not None and (len(bounds) != columns or not all(map(math.isfinite, bounds))):
            yield f"{name} must have a finite number for each of columns ({columns}), got {list(bounds)}"
    for name in ("row_minimums", "row_maximums"):
        rows = getattr(request, name)
        if rows is not None and (len(rows) != request.rows or not all(b is None or math.isfinite(b) for b in rows)):
            yield f"{name} must have a finite number or null for each of {request.rows} rows, got {list(rows)}"


def _row_problems(request: GoldenRequest) -> list[str]:
    try:
        bodies = _bodies(request)
    except (ValueError, csv.Error, RecursionError) as error:
        return [f"body must be of type {request.content_type}, got {request.body[:60]!r}: {error}"]
    if bodies is None or len(bodies) == request.rows:
        return []
    return [f"body must have the number of rows in the field rows, got {len(bodies)} and {request.rows}; correct rows"]


def _bodies(request: GoldenRequest) -> tuple[str, ...] | None:
    """Return one body for each row; None for a format without known rows."""
    kind = media_type(request.content_type)
    if kind == JSON:
        document = json.loads(request.body)
        instances = document.get("instances") if isinstance(document, dict) else None
        if not isinstance(instances, list):
            return None
        return tuple(json.dumps({**document, "instances": [row]}, ensure_ascii=False) for row in instances)
    if kind == CSV:
        return tuple(map(_csv_line, csv.reader(io.StringIO(request.body.rstrip("\r\n"), newline=""), strict=True)))
    return None


def _csv_line(row: Sequence[str]) -> str:
    target = io.StringIO()
    csv.writer(target, lineterminator="\n").writerow(row)
    return target.getvalue()


def _set_problems(requests: dict[int, GoldenRequest], *, has_others: bool) -> list[str]:
    problems = []
    seen: dict[str, int] = {}
    for number, request in requests.items():
        first = seen.setdefault(request.name, number)
        if first != number:
            problems.append(f"line {number}: name must be unique, got {request.name!r} as in line {first}")
    if not requests and not has_others:
        problems.append("the golden set must have at least one request, got none")
    if len(requests) > MAXIMUM_REQUESTS:
        problems.append(f"the golden set must have at most {MAXIMUM_REQUESTS} requests, got {len(requests)}")
    rows = sum(request.rows for request in requests.values())
    if rows > MAXIMUM_ROWS:
        problems.append(f"the golden set must have at most {MAXIMUM_ROWS} rows, got {rows}; each is also sent alone")
    return problems
