"""Parse capture and ground truth lines, with the rows and predictions of their payloads, in the formats of SageMaker.

JSON rows are ``{"instances": [...]}``, a bare array of rows, or a single row; JSON Lines have a row a line. A row is an array, an
object by column, or the dense ``{"features": [...]}`` and ``{"data": {"features": {"values": [...]}}}``. Predictions are likewise
``{"predictions": [...]}``, a bare array, or a single one; each is a value, an array with bounds, or an object with ``score`` or
``predicted_label``. The sparse format and RecordIO are not supported and counted as unreadable. See:
https://docs.aws.amazon.com/sagemaker/latest/dg/cdf-inference.html

Needs the standard library only, and uses ``orjson`` if installed, as in the functions' layer and the images of jobs. Unreadable
lines are counted instead of raised: a broken record must not hide a window.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture.html
"""

import base64
import binascii
import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import count
from operator import itemgetter
from reprlib import repr as shown
from typing import Any, NamedTuple

from mlops_runtime.contracts.capture import SYNTHETIC_PREFIX
from mlops_runtime.labels.label_times import Stamps, stamps_of
from mlops_runtime.monitor.counting import problems as kinds
from mlops_runtime.monitor.counting.announced import IsAnnounced, never_announced
from mlops_runtime.monitor.counting.problems import bounded

__all__ = ["Call", "CaptureError", "bounded_lines", "is_since", "read_call", "read_labels"]

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment] # json reads the same, more slowly

Row = Sequence[Any]
# the longest name that a table's column may have
_NAME = 255
_CSV, _JSON, _JSON_LINES = "CSV", "JSON", "JSON Lines"


class CaptureError(ValueError):
    """A record cannot be read; the message names the part.

    Args:
        problem: The problem, as written by `problems`.
        detail: The value found. Default: no detail.
        problems: The problem of each row. Default: only ``problem``.
    """

    def __init__(self, problem: str, detail: str = "", problems: Sequence[str] | None = None) -> None:
        message = kinds.sentence(problem)
        super().__init__(f"{message}: {detail}" if detail else message)
        self.problems = (problem,) if problems is None else problems


def loads(text: bytes | str) -> Any:
    """Parse JSON.

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
        except ValueError:  # json accepts more, or raises the error
            pass
    if not isinstance(text, str):
        # json would detect the encoding of each line, which is always UTF-8
        text = text.decode()
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:  # an integer with more digits than Python parses: read as a float, infinite if too large
        return json.loads(text, parse_int=float)


def read_rows(side: Any, names: Sequence[str], problems: list[str]) -> tuple[list[Row | None], int]:
    r"""Return the rows of an input, unreadable ones as None, and the number of unreadable rows.

    Raises:
        CaptureError: If the input has no rows, or none of them can be read.

    Example:
        >>> problems = []
        >>> read_rows({"encoding": "CSV", "data": "1,a\n2"}, ("price", "store"), problems), problems
        (([['1', 'a'], None], 1), ['row_width[1,2]'])
    """
    text, kind = _text(side, "input")
    width = len(names)
    reported: list[str] = []
    if kind == _CSV:
        rows = _csv_rows(text, width)
    else:
        rows = _json_rows(text, kind, names)
        if dict in set(map(type, rows)):
            rows = _by_name(rows, names, reported)
    if not rows:
        raise CaptureError(kinds.INPUT_WITHOUT_ROWS())
    unread = [place for place, row in enumerate(rows) if not isinstance(row, list | tuple) or len(row) != width]
    wrong = [_wrong(rows[place], width) for place in unread]
    if wrong and len(wrong) == len(rows):
        raise CaptureError(wrong[0], f"a row must have {width} values, got {shown(rows[0])}", wrong)
    for place in unread:
        rows[place] = None
    problems += reported
    problems += wrong
    return rows, len(wrong)


def read_predictions(side: Any, columns: int | None = None) -> tuple[list[Any], list[Any] | None]:
    """Return predictions, and the bounds of their intervals if each prediction has both: ``value,low,high``.

    Args:
        side: The output of a capture record.
        columns: Number of values a prediction, for a model with classes or outputs: each prediction is then a list, without
            bounds, and one of another length is `NO_PREDICTION`. Default: a prediction is one value.

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
        if "," not in text and columns is None:
            return values, None
        values = [value.split(",") for value in values]
    elif kind == _JSON_LINES:
        values = [_document(line, "output") for line in text.split("\n") if line.strip()]
    else:
        values = _json_predictions(_document(text, "output"))
    if columns is not None:
        return [v if isinstance(v, list) and len(v) == columns else NO_PREDICTION for v in values], None
    kinds = set(map(type, values))
    if dict in kinds:
        values = [_scored(value) if isinstance(value, dict) else value for value in values]
    if list not in kinds:
        return values, None
    bounds = [value[1:] for value in values if isinstance(value, list) and len(value) == 3]
    first = [value[0] if isinstance(value, list) and value else value for value in values]
    return first, bounds if len(bounds) == len(values) else None


def _text(side: Any, name: str) -> tuple[str, str]:
    """Return a payload's text and format."""
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
    # payloads of content types that the capture options do not list are base64
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
            return [document]  # an array of values is one row
        document = document or None
    if not isinstance(document, list):
        raise CaptureError(kinds.INPUT_WITHOUT_INSTANCES(), "instances must be an array")
    return document


def _line(line: str) -> Any:
    """Return one row of JSON Lines; None if it is not JSON."""
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


def _is_scored(value: dict[str, object]) -> bool:
    return "score" in value or "predicted_label" in value


def _scored(value: dict[str, object]) -> Any:
    """Return the score of an object, its label if scores are a list, or the object if it has neither."""
    score = value.get("score")
    found = value.get("predicted_label") if score is None or isinstance(score, list) else score
    return found if _is_scored(value) else value


def _wrong(row: Any, width: int) -> str:
    if isinstance(row, list | tuple):
        return kinds.ROW_WIDTH(len(row), width)
    # an object that is left over names none of the columns
    return kinds.ROW_FOREIGN() if isinstance(row, dict) else kinds.ROW_SHAPE()


def _by_name(rows: list[Any], names: Sequence[str], problems: list[str]) -> list[Any]:
    """Return objects as values in the columns' order; an object that names no column stays unchanged, as unreadable.

    Missing columns are null and additional ones ignored; both are reported as problems.
    """
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
            if not any(name in row for name in names):
                dense = _dense(row)
                found.append(row if dense is None else dense)
                continue
            found.append([row.get(name) for name in names])
        known = frozenset(names) if known is None else known
        problems += [kinds.COLUMN_MISSING(name) for name in names if name not in row]
        problems += [kinds.COLUMN_FOREIGN(name[:_NAME]) for name in row if name not in known]
    return found


def _dense(row: dict[str, object]) -> list[Any] | None:
    """Return the values of a row in the dense format of the built-in algorithms; None for other objects."""
    data = row.get("data", row)
    features = data.get("features") if isinstance(data, dict) else None
    if isinstance(features, dict) and "keys" not in features:
        features = features.get("values")
    return features if isinstance(features, list) else None


def _csv_rows(text: str, width: int) -> list[Any]:
    # an empty line is a null if there is one column, else no row
    if '"' in text or "\r" in text:
        try:
            return [row or [""] for row in csv.reader(io.StringIO(text, newline="")) if row or width == 1]
        except csv.Error as error:
            raise CaptureError(kinds.INPUT_NOT_CSV(), str(error)) from error
    lines = text.removesuffix("\n").split("\n") if text else []
    return [line.split(",") for line in lines if line or width == 1]


# longest line: both payloads of a call have up to 25 MB, and base64 adds a third
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
MAXIMUM_LINE = 1 << 27
# largest 32-bit float, the type of features and predictions; the square of such a label cannot overflow a double
LARGEST = (2 - 2**-23) * 2.0**127
# neither a number nor a string, so that it is invalid for any model
NO_PREDICTION = False
TOO_LONG = b'{"tooLong": true}'


@dataclass(slots=True)  # not frozen: created for each line, and freezing costs a microsecond
class Call:
    """One captured call."""

    join_key: str  # the id by which ground truth is joined
    time: str  # `inferenceTime`, or an empty string if it is not a time
    # the input rows, values in column order, unreadable rows as None; None if the input was not captured
    rows: Sequence[Row | None] | None
    # the predictions; None if the output was not captured, `NO_PREDICTION` a row if the output cannot be read
    predictions: Sequence[Any] | None
    is_synthetic: bool = False  # whether the platform announced the call; its payloads are not read
    problems: Sequence[str] = ()  # problems of the call, as written by `problems`
    # lower and upper bound of each prediction; None if the model returns none
    bounds: Sequence[Sequence[Any]] | None = None
    unread: int = 0  # number of rows that are None
    # whether the id looks like one of the platform but was not announced; the call counts as any other
    is_unannounced: bool = False


def read_call(
    line: bytes | str,
    names: Sequence[str] | None,
    announced: IsAnnounced = never_announced,
    *,
    columns: int | None = None,
) -> Call:
    """Parse one line of a capture file.

    Args:
        line: One JSON object.
        names: The model's columns in order: CSV and arrays are read by position, objects by name; None skips the input.
        announced: Returns whether the platform announced a call as its own. Default: no call is announced.
        columns: As in `read_predictions`.

    Raises:
        CaptureError: If the line is not a capture record or has neither input nor output, if no row of the input can be read, if
            the output cannot be read and there is no input, or if JSON is nested too deeply.
    """
    try:
        return _call(line, names, announced, columns)
    except RecursionError as error:  # raised by any code that recurses into a value
        raise CaptureError(kinds.LINE_TOO_DEEP()) from error


def _call(line: bytes | str, names: Sequence[str] | None, announced: IsAnnounced, columns: int | None) -> Call:
    record = _record(line)
    try:
        metadata, data = record["eventMetadata"], record["captureData"]
        event_id, inference_id = metadata["eventId"], metadata.get("inferenceId")
        sides = data.get("endpointInput"), data.get("endpointOutput")
        captured = metadata.get("inferenceTime", "")
    except (KeyError, TypeError, AttributeError) as error:
        kind = kinds.LINE_TOO_LONG if record == {"tooLong": True} else kinds.LINE_NOT_CAPTURE
        raise CaptureError(kind(), f"{type(error).__name__}: {error}") from error
    key = str(event_id if inference_id is None else inference_id)
    problems: list[str] = []
    time = _time(captured) if isinstance(captured, str) else ""
    if captured and not time:
        problems.append(kinds.TIME_INVALID())
    is_alike = inference_id is not None and key.startswith(SYNTHETIC_PREFIX)
    if is_alike and announced(key, time):
        return Call(key, time, None, None, is_synthetic=True)
    if is_alike:
        problems.append(kinds.UNANNOUNCED())
    if sides == (None, None):
        raise CaptureError(kinds.LINE_WITHOUT_SIDES())
    rows, unread = None, 0
    if names is not None:
        if sides[0] is None:
            problems.append(kinds.INPUT_NOT_CAPTURED())
        else:
            rows, unread = read_rows(sides[0], names, problems)
    predictions: Sequence[Any] | None = None
    bounds = None
    if sides[1] is not None:
        try:
            predictions, bounds = read_predictions(sides[1], columns)
        except CaptureError as error:
            if rows is None:
                raise
            problems += error.problems
            # an unreadable response counts as an invalid prediction of each row
            predictions = [NO_PREDICTION] * len(rows)
    if rows is not None and predictions is not None and len(rows) != len(predictions):
        problems.append(kinds.PREDICTIONS_DIFFER())
    return Call(key, time, rows, predictions, False, problems, bounds, unread, is_alike)


Label = float | tuple[float, ...]


class LabelLine(NamedTuple):
    """A ground truth line: id of the call, labels in the order of the call's rows, and the times at which they became known."""

    key: str
    labels: tuple[Label | None, ...]
    stamps: Stamps | None = None


def read_labels(
    lines: Iterable[bytes | str], *, classes: Sequence[str] | None = None, outputs: int | None = None
) -> Iterator[LabelLine | None]:
    """Yield each ground truth line; None for an unreadable one.

    An empty label is None, and a label that is not a number in the range of 32-bit floats is NaN: its row stays unlabelled and the
    others keep their positions. A trailing line break adds an empty label: whether it is a row depends on the call.

    Args:
        lines: JSON lines.
        classes: Class names, if labels are classes: each label is read as its index. Default: labels are numbers.
        outputs: Number of comma-separated numbers a label. Default: one.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-merge.html
    """
    for line in lines:
        if not line.strip():
            continue
        try:
            record = loads(line)
            metadata, data = record["eventMetadata"], record["groundTruthData"]["data"]
            event_id, inference_id, times = metadata["eventId"], metadata.get("inferenceId"), record.get("labelTimes")
            is_csv = record["groundTruthData"].get("encoding", "CSV") == "CSV"
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
            yield None
            continue
        key = event_id if inference_id is None else inference_id
        if not is_csv or not isinstance(key, str) or not isinstance(data, str):
            yield None
            continue
        texts = data.split("\n")
        labels: Iterable[Label | None] = map(_label, texts)
        if classes is not None:
            labels = (_class(text, classes) for text in texts)
        elif outputs is not None:
            labels = (_several(text, outputs) for text in texts)
        yield LabelLine(key, tuple(labels), None if times is None else stamps_of(times, len(texts)))


def is_since(time: str, since: str) -> bool:
    """Return whether a call belongs to the model that is live since a time; a call without a time does.

    Both times are ISO 8601 in UTC, compared to the second, the precision of capture files.
    """
    return not time or time[:19] >= since[:19]


def bounded_lines(chunks: Iterable[bytes], *, maximum: int = MAXIMUM_LINE) -> Iterator[bytes]:
    r"""Yield the lines of an object that is read in chunks, with at most one line of limited length in memory.

    Args:
        chunks: The object's bytes in order.
        maximum: Longest line in bytes; a longer one is replaced by a short line that is not a record.

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
        return loads(line)
    except ValueError as error:
        raise CaptureError(kinds.LINE_NOT_JSON(), f"{type(error).__name__}: {error}") from error


@lru_cache(maxsize=4096)
def _time(text: str) -> str:
    """Return a time in UTC to the second; an empty string if it is not a time."""
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
    if not text.strip():
        return None
    if "_" in text:  # Python's own digit separator is not CSV
        return float("nan")
    try:
        value = float(text)
    except ValueError:
        return float("nan")
    return value if abs(value) <= LARGEST else float("nan")


def _class(text: str, classes: Sequence[str]) -> float | None:
    name = text.strip()
    if not name:
        return None
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = name[1:-1].replace('""', '"')
    if name not in classes:
        number = _label(name)  # an integer class that became a float in a join with nulls
        name = str(int(number)) if number is not None and not math.isnan(number) and number.is_integer() else name
    return float(classes.index(name)) if name in classes else float("nan")


def _several(text: str, outputs: int) -> Label | None:
    if not text.strip():
        return None
    found = [_label(part) for part in text.split(",")]
    known = tuple(value for value in found if value is not None and not math.isnan(value))
    return known if len(known) == len(found) == outputs else float("nan")


_MANY_PROBLEMS = 10_000
# first lines recorded of each problem
KEPT_LINES = 3
# objects are named by the hour of their calls; a call may end in the next hour
# https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
_TOLERANCE = timedelta(minutes=10)


def span_of(hour: datetime | None) -> tuple[str, str]:
    """Return the range of times of the calls in an object of an hour, in the format of `Call.time`; unlimited without an hour.

    Example:
        >>> span_of(datetime(2017, 8, 8, 9, tzinfo=UTC))
        ('2017-08-08T08:50:00Z', '2017-08-08T10:10:00Z')
    """
    if hour is None:
        return "", "~"
    ends = hour - _TOLERANCE, hour + timedelta(hours=1) + _TOLERANCE
    first, last = (f"{end.astimezone(UTC).replace(tzinfo=None).isoformat()}Z" for end in ends)
    return first, last


@dataclass(slots=True)
class LineReader:
    """Reads lines; each line that is not blank counts as one of ``calls``, ``malformed``, ``synthetic`` and ``earlier``.

    A call with some unreadable rows is one of ``calls``: its other rows count, and each unreadable row is a problem.

    Example:
        >>> reader = LineReader(("price",))
        >>> list(reader.read(["", "{"]))
        []
        >>> reader.malformed, dict(reader.problems), reader.problem_lines
        (1, {'line_not_json': 1}, {'line_not_json': [2]})
    """

    names: Sequence[str]  # the model's columns in order
    since: str = ""  # time since which the model is live (ISO 8601, UTC). Default: all calls are its own
    # returns whether the platform announced a call as its own. Default: no call is announced
    announced: IsAnnounced = never_announced
    calls: int = 0
    malformed: int = 0
    synthetic: int = 0
    earlier: int = 0
    unannounced: int = 0
    first: str = ""
    last: str = ""
    problems: Counter[str] = field(default_factory=Counter)
    columns: int | None = None  # as in `read_predictions`
    # hour of the object; calls more than ten minutes outside it are a problem. Default: any time is allowed
    hour: datetime | None = None
    problem_lines: dict[str, list[int]] = field(default_factory=dict)  # the first three lines with each problem

    def read(self, lines: Iterable[bytes | str], numbers: Iterable[int] | None = None) -> Iterator[Call]:
        """Yield the model's calls.

        Args:
            lines: The lines, including blank ones.
            numbers: Number of each line in its object. Default: from 1.
        """
        earliest, latest = span_of(self.hour)
        for number, line in zip(count(1) if numbers is None else numbers, lines, strict=False):
            if not line.strip():
                continue
            try:
                call = read_call(line, self.names, self.announced, columns=self.columns)
            except CaptureError as error:
                self.malformed += 1
                self._add(error.problems, number)
                continue
            if call.is_synthetic:
                self.synthetic += 1
                continue
            if call.time and not earliest <= call.time < latest:
                self._add([kinds.TIME_ELSEWHERE()], number)
            if not is_since(call.time, self.since):
                self.earlier += 1
            else:
                self.calls += 1
                self.unannounced += call.is_unannounced
                if call.time:
                    self.first = min(self.first or call.time, call.time)
                    self.last = max(self.last, call.time)
                if call.problems:
                    self._add(call.problems, number)
                yield call

    def _add(self, problems: Sequence[str], number: int) -> None:
        self.problems.update(problems)
        for problem in problems:
            kept = self.problem_lines.setdefault(problem, [])
            if len(kept) < KEPT_LINES and number not in kept:
                kept.append(number)
        if len(self.problems) > _MANY_PROBLEMS:
            self.problems = Counter(bounded(self.problems))
            self.problem_lines = {name: kept for name, kept in self.problem_lines.items() if name in self.problems}
