"""Rows and predictions out of captured payloads: CSV, JSON and JSON Lines in the shapes that SageMaker's algorithms take and give.

JSON rows are ``{"instances": [...]}``, a bare array of rows, or one bare row; JSON Lines have a row a line. A row is an array, an
object by column, or the dense ``{"features": [...]}`` and ``{"data": {"features": {"values": [...]}}}``. Predictions are likewise
``{"predictions": [...]}``, a bare array, or one; each a value, an array with bounds, or an object with ``score`` or
``predicted_label``. The sparse format and RecordIO are not read, and told.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/cdf-inference.html
"""

import base64
import binascii
import csv
import io
import json
from collections.abc import Sequence
from operator import itemgetter
from reprlib import repr as shown
from typing import Any

from mlops_runtime.monitor.counting import problems as kinds

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment] # a plain Python reads the same, more slowly

Row = Sequence[Any]
# the longest name that a table's column may have
_NAME = 255
_CSV, _JSON, _JSON_LINES = "CSV", "JSON", "JSON Lines"


class CaptureError(ValueError):
    """A record cannot be read; the message says which part.

    Args:
        problem: What is wrong, as `problems` writes it.
        detail: What was found. Default: nothing to add.
        problems: What is wrong with each row. Default: the one problem.
    """

    def __init__(self, problem: str, detail: str = "", problems: Sequence[str] | None = None) -> None:
        said = kinds.sentence(problem)
        super().__init__(f"{said}: {detail}" if detail else said)
        self.problems = (problem,) if problems is None else problems


def loads(text: bytes | str) -> Any:
    """Return what JSON says.

    Raises:
        ValueError: If it is not JSON.
        RecursionError: If it is nested too deeply.

    Example:
        >>> loads(b"[1, NaN]")
        [1, nan]
    """
    if orjson is not None:
        try:
            return orjson.loads(text)
        except ValueError:  # what json reads beside it, and what is wrong
            pass
    if not isinstance(text, str):
        # json would look at each line's first bytes to guess an encoding that is always UTF-8
        text = text.decode()
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:  # an integer of more digits than Python reads: as large as a number can be
        return json.loads(text, parse_int=float)


def read_rows(side: Any, names: Sequence[str], problems: list[str]) -> tuple[list[Row | None], int]:
    r"""Return the rows of an input, and how many of them cannot be read: these are None, in their place.

    Args:
        side: The captured payload.
        names: The model's columns in their order.
        problems: Takes what is wrong with rows, a problem for each.

    Raises:
        CaptureError: If no row can be read, or there is none.

    Example:
        >>> problems = []
        >>> read_rows({"encoding": "CSV", "data": "1,a\n2"}, ("price", "store"), problems), problems
        (([['1', 'a'], None], 1), ['row_width[1,2]'])
    """
    text, kind = _text(side, "input")
    width = len(names)
    told: list[str] = []
    if kind == _CSV:
        rows = _csv_rows(text, width)
    else:
        rows = _json_rows(text, kind, names)
        if dict in set(map(type, rows)):
            rows = _by_name(rows, names, told)
    if not rows:
        raise CaptureError(kinds.INPUT_WITHOUT_ROWS())
    unread = [place for place, row in enumerate(rows) if not isinstance(row, list | tuple) or len(row) != width]
    wrong = [_wrong(rows[place], width) for place in unread]
    if wrong and len(wrong) == len(rows):
        raise CaptureError(wrong[0], f"a row must have {width} values, got {shown(rows[0])}", wrong)
    for place in unread:
        rows[place] = None
    problems += told
    problems += wrong
    return rows, len(wrong)


def read_predictions(side: Any) -> tuple[list[Any], list[Any] | None]:
    """Return predictions, and the bounds of their intervals where each has both: ``value,low,high``.

    Args:
        side: The captured payload.

    Raises:
        CaptureError: If they cannot be read.

    Example:
        >>> read_predictions({"encoding": "JSON", "data": '{"predictions": [{"score": 0.25}]}'})
        ([0.25], None)
    """
    text, kind = _text(side, "output")
    if kind == _CSV:
        if "\r" in text:
            text = text.replace("\r\n", "\n")
        text = text.strip("\r\n")
        values: list[Any] = text.split("\n") if text else []
        if "," not in text:
            return values, None
        values = [value.split(",") for value in values]
    elif kind == _JSON_LINES:
        values = [_document(line, "output") for line in text.split("\n") if line.strip()]
    else:
        values = _json_predictions(_document(text, "output"))
    kinds = set(map(type, values))
    if dict in kinds:
        values = [_scored(value) if isinstance(value, dict) else value for value in values]
    if list not in kinds:
        return values, None
    bounds = [value[1:] for value in values if isinstance(value, list) and len(value) == 3]
    first = [value[0] if isinstance(value, list) and value else value for value in values]
    return first, bounds if len(bounds) == len(values) else None


def _text(side: Any, name: str) -> tuple[str, str]:
    """Return a payload's text and what it is."""
    try:
        encoding, data = side["encoding"], side["data"]
        if encoding == "CSV" and isinstance(data, str):
            return data, _CSV
        kind = str(side["observedContentType"] if encoding == "BASE64" else side.get("observedContentType"))
    except (KeyError, TypeError) as error:
        raise CaptureError(kinds.SIDE_NOT_PAYLOAD[name](), f"{type(error).__name__}: {error}") from error
    if encoding not in ("JSON", "BASE64") or not isinstance(data, str):
        raise CaptureError(kinds.SIDE_FORMAT[name](), f"encoding {shown(encoding)}")
    json_kind = _JSON_LINES if "jsonlines" in kind else _JSON
    if encoding == "JSON":
        return data, json_kind
    try:
        data = base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise CaptureError(kinds.SIDE_NOT_TEXT[name](), f"the payload is not base64: {error}") from error
    # content types that the capture options do not list arrive like this, whatever they are
    is_json = "json" in kind or ("csv" not in kind and data.lstrip()[:1] in ("{", "["))
    return data, json_kind if is_json else _CSV


def _document(text: str, name: str) -> Any:
    try:
        return loads(text)
    except ValueError as error:
        raise CaptureError(kinds.SIDE_NOT_JSON[name](), f"{type(error).__name__}: {error}") from error
    except RecursionError as error:
        raise CaptureError(kinds.SIDE_TOO_DEEP[name]()) from error


def _json_rows(text: str, kind: str, names: Sequence[str]) -> list[Any]:
    if kind == _JSON_LINES:
        return [_line(line) for line in text.split("\n") if line.strip()]
    document = _document(text, "input")
    if isinstance(document, dict):
        if "instances" not in document and (_dense(document) is not None or any(name in document for name in names)):
            return [document]
        document = document.get("instances")
    elif isinstance(document, list):
        if document and not any(isinstance(value, list | dict) for value in document):
            return [document]  # of values: one row
        document = document or None
    if not isinstance(document, list):
        raise CaptureError(kinds.INPUT_WITHOUT_INSTANCES(), "instances must be an array")
    return document


def _line(line: str) -> Any:
    """Return one row of JSON Lines, None for one that is not JSON."""
    try:
        return loads(line)
    except (ValueError, RecursionError):
        return None


def _json_predictions(document: Any) -> list[Any]:
    if isinstance(document, dict):
        document = [document] if "predictions" not in document and _is_scored(document) else document.get("predictions")
    if isinstance(document, int | float):
        return [document]
    if not isinstance(document, list):
        raise CaptureError(kinds.OUTPUT_WITHOUT_PREDICTIONS(), "predictions must be an array")
    return document


def _is_scored(value: dict[str, Any]) -> bool:
    return "score" in value or "predicted_label" in value


def _scored(value: dict[str, Any]) -> Any:
    """Return the score of an object, the label where there are scores of several classes; the object where it is neither."""
    score = value.get("score")
    found = value.get("predicted_label") if score is None or isinstance(score, list) else score
    return found if _is_scored(value) else value


def _wrong(row: Any, width: int) -> str:
    if isinstance(row, list | tuple):
        return kinds.ROW_WIDTH(len(row), width)
    return kinds.ROW_SHAPE()


def _by_name(rows: list[Any], names: Sequence[str], problems: list[str]) -> list[Any]:
    """Return objects as values in the columns' order. A column that is missing is null, one more is nobody's: both are told."""
    get = itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)
    known: frozenset[str] | None = None
    found = []
    for row in rows:
        if not isinstance(row, dict):
            found.append(row)
            continue
        try:
            found.append(get(row))
            if len(row) == len(names):
                continue
        except KeyError:
            dense = None if any(name in row for name in names) else _dense(row)
            if dense is not None:
                found.append(dense)
                continue
            found.append([row.get(name) for name in names])
        known = frozenset(names) if known is None else known
        problems += [kinds.COLUMN_MISSING(name) for name in names if name not in row]
        problems += [kinds.COLUMN_FOREIGN(name[:_NAME]) for name in row if name not in known]
    return found


def _dense(row: dict[str, Any]) -> list[Any] | None:
    """Return the values of a row in the built-in algorithms' dense format; None for another object."""
    data = row.get("data", row)
    features = data.get("features") if isinstance(data, dict) else None
    if isinstance(features, dict) and "keys" not in features:
        features = features.get("values")
    return features if isinstance(features, list) else None


def _csv_rows(text: str, width: int) -> list[Any]:
    # an empty line is a null where there is one column, else it is no row
    if '"' in text or "\r" in text:
        try:
            return [row or [""] for row in csv.reader(io.StringIO(text, newline="")) if row or width == 1]
        except csv.Error as error:
            raise CaptureError(kinds.INPUT_NOT_CSV(), str(error)) from error
    lines = text.removesuffix("\n").split("\n") if text else []
    return [line.split(",") for line in lines if line or width == 1]
