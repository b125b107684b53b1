"""Parse captured and merged records like Model Monitor's container: rows of named columns, those of the output first.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture.html
and https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-merge.html
"""

import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

INPUT, OUTPUT = "endpointInput", "endpointOutput"


class RecordError(ValueError):
    """A line is not a record; messages have no details of the line, so that lines can be counted by message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One captured call."""

    key: str  # the id by which ground truth is joined
    time: str  # `inferenceTime`, or an empty string
    sides: Mapping[str, Sequence[Any]]  # rows of input and output, if captured: arrays, objects or single values
    labels: Sequence[str] | None  # labels in the order of the rows; None if the record was not merged with labels


def read_record(line: bytes | str) -> Record:
    """Parse one line of a capture or a merged file.

    Raises:
        RecordError: If it is not a record, or a payload is neither CSV nor JSON.

    Example:
        >>> side = {"observedContentType": "text/csv", "mode": "INPUT", "data": "9,blue", "encoding": "CSV"}
        >>> line = json.dumps({"captureData": {"endpointInput": side}, "eventMetadata": {"eventId": "e"}, "eventVersion": "0"})
        >>> read_record(line).sides
        {'endpointInput': [['9', 'blue']]}
    """
    try:
        document = json.loads(line)
        metadata, captured = document["eventMetadata"], document["captureData"]
        event_id, inference_id = metadata["eventId"], metadata.get("inferenceId")
        truth = document.get("groundTruthData")
        labels = None if truth is None else str(truth["data"]).strip("\r\n").split("\n")
        present = {side: captured[side] for side in (OUTPUT, INPUT) if captured.get(side) is not None}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RecordError("line is not a capture record") from error
    key = str(event_id if inference_id is None else inference_id)
    return Record(
        key=key,
        time=str(metadata.get("inferenceTime") or ""),
        sides={side: _rows(payload, side) for side, payload in present.items()},
        labels=labels,
    )


def rows_of(record: Record, names: Sequence[str], indexes: Sequence[str] = (OUTPUT, INPUT)) -> list[dict[str, object]]:
    """Return a record's rows by column: objects by key, arrays and values by position, the output's columns first.

    Args:
        names: The baseline's columns in order; those that no object has are assigned by position. Further positions are
            ``_c<position>``.
        indexes: Sides to read. Default: both.

    Raises:
        RecordError: If the sides have different numbers of rows.

    Example:
        >>> record = Record(key="e", time="", sides={"endpointOutput": [7.5], "endpointInput": [{"price": 2}]}, labels=None)
        >>> rows_of(record, ["prediction", "price"])
        [{'prediction': 7.5, 'price': 2}]
    """
    sides = [record.sides[side] for side in (OUTPUT, INPUT) if side in record.sides and side in indexes]
    if len({len(side) for side in sides}) > 1:
        raise RecordError("input and output have different numbers of rows")
    return [_named(parts, names) for parts in zip(*sides, strict=True)]


def value_of(row: Any, attribute: str) -> Any:
    """Return the value of an output row by the attribute's name or index; None if it is missing.

    Example:
        >>> value_of(["0.9", "1"], "1"), value_of({"score": 0.9}, "score"), value_of(0.9, "0")
        ('1', 0.9, 0.9)
    """
    if isinstance(row, dict):
        return row.get(attribute)
    values = row if isinstance(row, list) else [row]
    position = int(attribute) if attribute.isdecimal() else 0
    return values[position] if position < len(values) else None


def _named(parts: Sequence[Any], names: Sequence[str]) -> dict[str, object]:
    taken = {key for part in parts if isinstance(part, dict) for key in part}
    free = [name for name in names if name not in taken]
    found: dict[str, object] = {}
    position = 0
    for part in parts:
        if isinstance(part, dict):
            found |= part
            continue
        for value in part if isinstance(part, list) else [part]:
            found[free[position] if position < len(free) else f"_c{position}"] = value
            position += 1
    return found


def _rows(payload: Any, side: str) -> Sequence[Any]:
    try:
        encoding, data = payload["encoding"], payload["data"]
        is_csv = encoding == "CSV"
        if encoding == "BASE64":
            data = base64.b64decode(data, validate=True).decode()
            # payloads of content types that the capture options do not list are base64
            is_csv = "json" not in str(payload.get("observedContentType", "")) and not data.lstrip().startswith(
                ("{", "[")
            )
        if is_csv:
            return [row for row in csv.reader(io.StringIO(data, newline="")) if row]
        return _elements(_documents(data))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        raise RecordError(f"{side} is neither CSV nor JSON") from error


def _documents(text: str) -> list[Any]:
    try:
        return [json.loads(text)]
    except ValueError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]


def _elements(documents: list[Any]) -> list[Any]:
    found: list[Any] = []
    for document in documents:
        inner = document
        if isinstance(document, dict):
            inner = next(
                (document[key] for key in ("instances", "predictions") if isinstance(document.get(key), list)), document
            )
        found += inner if isinstance(inner, list) else [inner]
    return found
