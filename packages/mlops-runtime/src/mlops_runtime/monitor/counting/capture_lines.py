"""Read capture and ground truth lines: every shape that SageMaker writes.

stdlib only; where ``orjson`` is there, as in the functions' layer and the images of jobs, it reads what it takes. A line that
cannot be read is counted by the caller, never raised: one broken record must not hide a window.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture.html
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from mlops_runtime.contracts.capture import SYNTHETIC_PREFIX
from mlops_runtime.monitor.counting import problems as kinds
from mlops_runtime.monitor.counting.announced import IsAnnounced, nobody
from mlops_runtime.monitor.counting.payloads import CaptureError, Row, loads, read_predictions, read_rows

__all__ = ["Call", "CaptureError", "bounded_lines", "is_since", "read_call", "read_labels"]

# the largest line that is read: both payloads of a call are at most 25 MB each, and base64 is a third more
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
MAXIMUM_LINE = 1 << 27
# of 32-bit floats: what features and predictions are; the square of such a label is a double, that of any double is none
LARGEST = (2 - 2**-23) * 2.0**127
# no number and no text, whatever a model predicts
NO_PREDICTION = False
TOO_LONG = b'{"tooLong": true}'


@dataclass(slots=True)  # not frozen: one is made of each line, and freezing takes a microsecond
class Call:
    """One captured call.

    Args:
        join_key: The id that ground truth joins on.
        time: ``inferenceTime``, or the empty text where it is no time.
        rows: The input rows, values in column order, a row that cannot be read None in its place; None where the input was not
            captured.
        predictions: The predictions; None where the output was not captured, `NO_PREDICTION` for each row where it cannot be read.
        is_synthetic: Whether the platform announced the call; nobody's data, so its payloads are not read.
        problems: What was wrong beside what could be read, as `problems` writes it.
        bounds: Lower and upper bound of each prediction; None where the model gives none: a bare number a row.
        unread: How many of the rows are None.
        is_unannounced: Whether its id looks like the platform's, and nobody announced it: it counts as any other call.
    """

    join_key: str
    time: str
    rows: Sequence[Row | None] | None
    predictions: Sequence[Any] | None
    is_synthetic: bool = False
    problems: Sequence[str] = ()
    bounds: Sequence[Sequence[Any]] | None = None
    unread: int = 0
    is_unannounced: bool = False


def read_call(line: bytes | str, names: Sequence[str] | None, announced: IsAnnounced = nobody) -> Call:
    """Read one line of a capture file.

    Args:
        line: One JSON object.
        names: The model's columns in their order: CSV and arrays are read by position, objects by name; None leaves the input
            unread.
        announced: Which calls the platform announced as its own. Default: none.

    Raises:
        CaptureError: If the line is not a capture record or has neither side, if no row of the input can be read, if the output
            cannot and no input is read, or if something in it is nested too deeply.
    """
    try:
        return _call(line, names, announced)
    except RecursionError as error:  # whatever follows a value down into its depth
        raise CaptureError(kinds.LINE_TOO_DEEP()) from error


def _call(line: bytes | str, names: Sequence[str] | None, announced: IsAnnounced) -> Call:
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
            predictions, bounds = read_predictions(sides[1])
        except CaptureError as error:
            if rows is None:
                raise
            problems += error.problems
            # the model answered what is no prediction: it is counted as one that is no number, not passed over
            predictions = [NO_PREDICTION] * len(rows)
    if rows is not None and predictions is not None and len(rows) != len(predictions):
        problems.append(kinds.PREDICTIONS_DIFFER())
    return Call(key, time, rows, predictions, False, problems, bounds, unread, is_alike)


def read_labels(lines: Iterable[bytes | str]) -> Iterator[tuple[str, tuple[float | None, ...]] | None]:
    """Yield each ground truth line's join key and labels in the order of the call's rows; None for what cannot be read.

    A label that is empty is None, one that is no number of 32 bits NaN: that row stays unlabelled, its neighbours do not move. A
    line's end after the last label makes one more that is empty: only the call knows whether it has that row.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-merge.html
    """
    for line in lines:
        if not line.strip():
            continue
        try:
            record = loads(line)
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
        yield key, tuple(map(_label, data.split("\n")))


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
        return loads(line)
    except ValueError as error:
        raise CaptureError(kinds.LINE_NOT_JSON(), f"{type(error).__name__}: {error}") from error


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
    if not text.strip():
        return None
    if "_" in text:  # Python's own digit separator is not CSV
        return float("nan")
    try:
        value = float(text)
    except ValueError:
        return float("nan")
    return value if abs(value) <= LARGEST else float("nan")
