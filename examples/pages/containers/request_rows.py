"""Parser of requests of the container contract, copied next to the adapter of each container; standard library only."""

import csv
import json
from collections.abc import Sequence

COLUMNS = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")


class RequestError(ValueError):
    """Invalid request; the status is 415 or 400."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def rows_of(body: bytes, content_type: str | None, columns: Sequence[str] = COLUMNS) -> list[list[float]]:
    """Return the rows of ``{"instances": [...]}`` or of CSV lines without a header, in the order of the columns.

    Raises:
        RequestError: If the content is something else.
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind not in ("application/json", "text/csv"):
        raise RequestError(f"the content type must be application/json or text/csv, got {kind!r}", 415)
    try:
        if kind == "text/csv":
            found = [row for row in csv.reader(body.decode().splitlines()) if row]
        else:
            found = json.loads(body)["instances"]
        rows = [_row(row, columns) for row in found]
    except (ValueError, KeyError, TypeError, RecursionError, csv.Error) as error:
        raise RequestError(f"the request must be instances or CSV lines: {type(error).__name__}") from error
    if not rows or any(len(row) != len(columns) for row in rows):
        raise RequestError(f"a request must have at least one row, and each {len(columns)} columns")
    return rows


def _row(row: object, columns: Sequence[str]) -> list[float]:
    if isinstance(row, dict):
        return [float(row[name]) for name in columns]
    if isinstance(row, list):
        return [float(value) for value in row]
    raise TypeError
