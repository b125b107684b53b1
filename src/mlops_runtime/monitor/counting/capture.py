"""Read capture and ground truth lines: every shape that SageMaker writes, and rows out of payloads.

stdlib only; where ``orjson`` is there, as in the functions' layer and the images of jobs, it reads what it takes. A line that
cannot be read is counted by the caller, never raised: one broken record must not hide a window.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture.html
"""

import base64
import binascii
import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any

from mlops_runtime.contracts.capture import SYNTHETIC_PREFIX

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment] # a plain Python reads the same, more slowly

# the largest line that is read: both payloads of a call are at most 25 MB each, and base64 is a third more
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
MAXIMUM_LINE = 1 << 27
TOO_LONG = b'{"tooLong": true}'
_SHOWN = 60


class CaptureError(ValueError):
    """A record cannot be read; the message says which part.

    Args:
        problem: What is wrong, in words that are the same for all lines of which it is.
        detail: What was found. Default: nothing to add.
    """

    def __init__(self, problem: str, detail: str = "") -> None:
        super().__init__(f"{problem}: {detail}" if detail else problem)
        self.problem = problem


@dataclass(slots=True)  # not frozen: one is made of each line, and freezing takes a microsecond
class Call:
    """One captured call.

    Args:
        join_key: The id that ground truth joins on.
        time: ``inferenceTime``, or the empty text where it is no time.
        rows: The input rows, values in column order; None where the input was not captured.
        predictions: The predictions; None where the output was not captured or cannot be read.
        is_synthetic: Whether the platform made the call; nobody's data, so its payloads are not read.
        problems: What was wrong beside what could be read.
        bounds: Lower and upper bound of each prediction; None where the model gives none: a bare number a row.
    """

    join_key: str
    time: str
    rows: Sequence[Sequence[Any]] | None
    predictions: Sequence[Any] | None
    is_synthetic: bool = False
    problems: Sequence[str] = ()
    bounds: Sequence[Sequence[Any]] | None = None


def read_call(line: bytes | str, names: Sequence[str] | None) -> Call:
    """Read one line of a capture file.

    Args:
        line: One JSON object.
        names: The model's columns in their order: CSV and arrays are read by position, objects by name; None leaves the input
            unread.

    Raises:
        CaptureError: If the line is not a capture record, if the input is not JSON or CSV of the model's shape, or if the output is
            not and no input is read.
    """
    record = _record(line)
    try:
        metadata, data = record["eventMetadata"], record["captureData"]
        event_id, inference_id = metadata["eventId"], metadata.get("inferenceId")
        sides = data.get("endpointInput"), data.get("endpointOutput")
        captured = metadata.get("inferenceTime", "")
    except (KeyError, TypeError, AttributeError) as error:
        problem = "line is longer than 128 MiB" if record == {"tooLong": True} else "line is not a capture record"
        raise CaptureError(problem, f"{type(error).__name__}: {error}") from error
    key = str(event_id if inference_id is None else inference_id)
    problems: list[str] = []
    time = _time(captured) if isinstance(captured, str) else ""
    if captured and not time:
        problems.append("inferenceTime is not a time")
    if inference_id is not None and key.startswith(SYNTHETIC_PREFIX):
        return Call(key, time, None, None, is_synthetic=True)
    rows = None if sides[0] is None or names is None else _input_rows(sides[0], names, problems)
    predictions = bounds = None
    if sides[1] is not None:
        try:
            predictions, bounds = _predictions(sides[1])
        except CaptureError as error:
            if rows is None:
                raise
            problems.append(error.problem)
    if rows is not None and predictions is not None and len(rows) != len(predictions):
        problems.append("rows and predictions of a call differ in number")
    return Call(key, time, rows, predictions, False, problems, bounds)


def read_labels(lines: Iterable[bytes | str]) -> Iterator[tuple[str, tuple[float | None, ...]] | None]:
    """Yield each ground truth line's join key and labels in the order of the call's rows; None for what cannot be read.

    A label that is empty or no number is None: that row stays unlabelled, its neighbours do not move.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-merge.html
    """
    for line in lines:
        if not line.strip():
            continue
        try:
            record = _loads(line)
            metadata, data = record["eventMetadata"], record["groundTruthData"]["data"]
            event_id, inference_id = metadata["eventId"], metadata.get("inferenceId")
            is_csv = record["groundTruthData"].get("encoding", "CSV") == "CSV"
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
            yield None
            continue
        key = event_id if inference_id is None else inference_id
        if not is_csv or not isinstance(key, str) or not isinstance(data, str):
            yield None
            continue
        yield key, tuple(map(_label, data.strip("\r\n").split("\n")))


def is_since(time: str, since: str) -> bool:
    """Return whether a call belongs to the model that serves since a time; a call without a time does.

    Both are ISO 8601 in UTC; they are compared to the second, which is all that capture files carry.
    """
    return not time or time[:19] >= since[:19]


def bounded_lines(chunks: Iterable[bytes], *, maximum: int = MAXIMUM_LINE) -> Iterator[bytes]:
    r"""Yield the lines of an object that comes in chunks, holding one line at a time and none that is too long.

    Args:
        chunks: The object's bytes in order.
        maximum: Longest line in bytes; one that is longer becomes a short line that no reader takes for a record.

    Example:
        >>> list(bounded_lines([b"a\nb", b"c\n", b"0123456789\nd"], maximum=5))
        [b'a', b'bc', b'{"tooLong": true}', b'd']
    """
    held: list[bytes] = []
    size = 0
    for chunk in chunks:
        for index, piece in enumerate(chunk.split(b"\n")):
            if index:
                yield TOO_LONG if size > maximum else b"".join(held)
                held, size = [], 0
            size += len(piece)
            if size <= maximum:
                held.append(piece)
            else:
                held = []
    if size:
        yield TOO_LONG if size > maximum else b"".join(held)


def _record(line: bytes | str) -> Any:
    try:
        return _loads(line)
    except (ValueError, RecursionError) as error:
        raise CaptureError("line is not JSON", f"{type(error).__name__}: {error}") from error


def _loads(text: bytes | str) -> Any:
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


@lru_cache(maxsize=4096)
def _time(text: str) -> str:
    """Return a time in UTC to the second, the empty text for what is none."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return ""
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    try:
        # strftime would write the year 999 in three digits
        return f"{at.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat()}Z"
    except OverflowError:  # year 0 or 10000 in UTC
        return ""


def _label(text: str) -> float | None:
    try:
        value = float(text.strip())
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def _text(side: Any, name: str) -> tuple[str, bool]:
    """Return a payload's text and whether it is CSV."""
    try:
        encoding, data = side["encoding"], side["data"]
        kind = side["observedContentType"] if encoding == "BASE64" else ""
    except (KeyError, TypeError) as error:
        raise CaptureError(f"{name} is no captured payload", f"{type(error).__name__}: {error}") from error
    if encoding not in ("CSV", "JSON", "BASE64") or not isinstance(data, str):
        raise CaptureError(f"{name} is not CSV, JSON or BASE64 of text", f"encoding {str(encoding)[:_SHOWN]!r}")
    if encoding != "BASE64":
        return data, encoding == "CSV"
    try:
        data = base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise CaptureError(f"{name} is not base64 of UTF-8 text", f"the payload is not base64: {error}") from error
    # content types that the capture options do not list arrive like this, whatever they are
    return data, "json" not in str(kind) and not data.lstrip().startswith("{")


def _document(text: str, name: str, key: str) -> list[Any]:
    try:
        values = _loads(text)[key]
    except (ValueError, RecursionError) as error:
        raise CaptureError(f"{name} is not JSON", f"{type(error).__name__}: {error}") from error
    except (KeyError, TypeError, IndexError) as error:
        raise CaptureError(f"{name} has no {key}", f"{type(error).__name__}: {error}") from error
    if not isinstance(values, list):
        raise CaptureError(f"{name} has no {key}", f"{key} must be an array")
    return values


def _input_rows(side: Any, names: Sequence[str], problems: list[str]) -> list[Sequence[Any]]:
    text, is_csv = _text(side, "input")
    width = len(names)
    if is_csv:
        rows = _csv_rows(text, width)
    else:
        rows = _document(text, "input", "instances")
        if dict in set(map(type, rows)):
            rows = _by_name(rows, names, problems)
    for row in rows:
        if not isinstance(row, list | tuple):
            raise CaptureError("row is no object or array", f"a row must have {width} values, got {str(row)[:_SHOWN]}")
        if len(row) != width:
            raise CaptureError(f"row has {len(row)} values instead of {width}", f"got {str(row)[:_SHOWN]}")
    return rows


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
            found.append([row.get(name) for name in names])
        known = frozenset(names) if known is None else known
        problems += [f"column {name[:_SHOWN]!r} is missing" for name in names if name not in row]
        problems += [f"column {name[:_SHOWN]!r} is not the model's" for name in row if name not in known]
    return found


def _csv_rows(text: str, width: int) -> list[Any]:
    if '"' in text or "\r" in text:
        try:
            return [row for row in csv.reader(io.StringIO(text, newline="")) if row]
        except csv.Error as error:
            raise CaptureError("input is not CSV", str(error)) from error
    lines = text.removesuffix("\n").split("\n") if text else []
    # an empty line is a null where there is one column, else it is no row
    return [line.split(",") for line in lines if line or width == 1]


def _predictions(side: Any) -> tuple[list[Any], list[Any] | None]:
    """Return predictions, and the bounds of their intervals where each has both: ``value,low,high``."""
    text, is_csv = _text(side, "output")
    if is_csv:
        text = text.strip("\r\n")
        values: list[Any] = text.split("\n") if text else []
        if "," in text:
            values = [value.split(",") for value in values]
    else:
        values = _document(text, "output", "predictions")
    if list not in set(map(type, values)):
        return values, None
    bounds = [value[1:] for value in values if isinstance(value, list) and len(value) == 3]
    first = [value[0] if isinstance(value, list) and value else value for value in values]
    return first, bounds if len(bounds) == len(values) else None
