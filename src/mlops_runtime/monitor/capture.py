"""Read capture and ground truth lines: every shape that SageMaker writes, and rows out of payloads.

stdlib only. A line that cannot be read is counted by the caller, never raised: one broken record must not hide a window.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture.html
"""

import base64
import binascii
import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_runtime.contracts import ContractError, from_dict
from mlops_runtime.contracts.capture import SYNTHETIC_PREFIX, EventMetadata, GroundTruthRecord


class CaptureError(ValueError):
    """A record cannot be read; the message says which part."""


@dataclass(frozen=True, slots=True)
class Call:
    """One captured call.

    Args:
        join_key: The id that ground truth joins on.
        time: ``inferenceTime``, or the empty text.
        rows: The input rows, values in column order; None where the input was not captured.
        predictions: The predictions; None where the output was not captured.
        is_synthetic: Whether the platform made the call; nobody's data, so its payloads are not read.
        bounds: Lower and upper bound of each prediction; None where the model gives none: a bare number a row.
    """

    join_key: str
    time: str
    rows: Sequence[Sequence[Any]] | None
    predictions: Sequence[Any] | None
    is_synthetic: bool = False
    bounds: Sequence[Sequence[Any]] | None = None


def read_call(line: bytes | str, names: Sequence[str] | None) -> Call:
    """Read one line of a capture file.

    Args:
        line: One JSON object.
        names: The model's columns in their order: CSV and arrays are read by position, objects by name; None leaves the input
            unread.

    Raises:
        CaptureError: If the line is not a capture record, or a captured side is not JSON or CSV of the model's shape.
    """
    try:
        # json would look at each line's first bytes to guess an encoding that is always UTF-8
        record = json.loads(line if isinstance(line, str) else line.decode())
        metadata, data = record["eventMetadata"], record["captureData"]
        event_id, inference_id = metadata["eventId"], metadata.get("inferenceId")
        key = str(event_id if inference_id is None else inference_id)
        time = str(metadata.get("inferenceTime", ""))
        if inference_id is not None and key.startswith(SYNTHETIC_PREFIX):
            return Call(join_key=key, time=time, rows=None, predictions=None, is_synthetic=True)
        sides = data.get("endpointInput"), data.get("endpointOutput")
        predictions, bounds = (None, None) if sides[1] is None else _bounded(_predictions(sides[1]))
        return Call(
            join_key=key,
            time=time,
            rows=None if sides[0] is None or names is None else _input_rows(sides[0], names),
            predictions=predictions,
            bounds=bounds,
        )
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise CaptureError(f"not a capture record: {type(error).__name__}: {error}") from error


def read_labels(lines: Iterable[bytes | str]) -> Iterator[tuple[str, tuple[float | None, ...]] | None]:
    """Yield each ground truth line's join key and labels in the order of the call's rows; None for what cannot be read.

    A label that is empty or no number is None: that row stays unlabelled, its neighbours do not move.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-merge.html
    """
    for line in lines:
        if not line.strip():
            continue
        try:
            record = from_dict(GroundTruthRecord, json.loads(line))
        except (ValueError, ContractError):
            yield None
            continue
        yield _key(record.event), tuple(_label(text) for text in record.truth.data.strip("\r\n").split("\n"))


def is_since(time: str, since: str) -> bool:
    """Return whether a call belongs to the model that serves since a time; a call without a time does.

    Both are ISO 8601 in UTC; they are compared to the second, which is all that capture files carry.
    """
    return not time or time[:19] >= since[:19]


def _key(event: EventMetadata) -> str:
    return event.join_key


def _label(text: str) -> float | None:
    try:
        value = float(text.strip())
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def _text(side: dict[str, Any]) -> tuple[str, bool]:
    """Return a payload's text and whether it is CSV."""
    encoding, data = side["encoding"], side["data"]
    if encoding == "BASE64":
        try:
            data = base64.b64decode(data, validate=True).decode()
        except binascii.Error as error:
            raise CaptureError(f"the payload is not base64: {error}") from error
        # content types that the capture options do not list arrive like this, whatever they are
        return data, "json" not in side["observedContentType"] and not data.lstrip().startswith("{")
    if encoding not in ("CSV", "JSON"):
        raise CaptureError(f"encoding must be CSV, JSON or BASE64, got {encoding!r}")
    return data, encoding == "CSV"


def _input_rows(side: dict[str, Any], names: Sequence[str]) -> list[Sequence[Any]]:
    text, is_csv = _text(side)
    if is_csv:
        rows = _csv_rows(text)
    else:
        rows = [
            [row.get(name) for name in names] if isinstance(row, dict) else row for row in json.loads(text)["instances"]
        ]
    for row in rows:
        if not isinstance(row, list) or len(row) != len(names):
            raise CaptureError(f"a row must have {len(names)} values, got {str(row)[:60]}")
    return rows


def _csv_rows(text: str) -> list[Sequence[Any]]:
    if '"' in text:
        return [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    return [line.split(",") for line in text.splitlines() if line]


def _predictions(side: dict[str, Any]) -> list[Any]:
    text, is_csv = _text(side)
    if is_csv:
        lines = [line for line in text.splitlines() if line]
        return [line.split(",") for line in lines] if "," in text else lines
    predictions = json.loads(text)["predictions"]
    if not isinstance(predictions, list):
        raise CaptureError("predictions must be an array")
    return predictions


def _bounded(predictions: list[Any]) -> tuple[list[Any], list[Any] | None]:
    """Return the predictions, and their bounds where every row is prediction, lower and upper bound."""
    if not any(isinstance(row, list) for row in predictions):
        return predictions, None
    values = [row[0] if isinstance(row, list) and row else row for row in predictions]
    has_bounds = all(isinstance(row, list) and len(row) == 3 for row in predictions)
    return values, [row[1:] for row in predictions] if has_bounds else None
