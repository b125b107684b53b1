"""Helpers for the units' golden sets: request bodies, columns from the feature groups, the file."""

import csv
import io
import json
from collections.abc import Mapping, Sequence

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.contracts.serving import GoldenRequest
from mlops_runtime.features.feature_group import FeatureGroup

Row = Mapping[str, object]


def within(name: str, rows: Sequence[Row], *, low: float, high: float) -> GoldenRequest:
    """Return a call with rows by name and bounds on its predictions."""
    return GoldenRequest(name=name, body=as_json(rows), rows=len(rows), minimum=round(low, 3), maximum=round(high, 3))


def as_arrays(name: str, rows: Sequence[Row], *, low: float, high: float) -> GoldenRequest:
    """Return a call with rows as arrays, in the order of the columns."""
    body = as_json([list(row.values()) for row in rows])
    return GoldenRequest(name=name, body=body, rows=len(rows), minimum=round(low, 3), maximum=round(high, 3))


def as_csv(name: str, rows: Sequence[Row], *, low: float, high: float) -> GoldenRequest:
    """Return a call with rows as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(row.values() for row in rows)
    return GoldenRequest(
        name=name,
        body=text.getvalue(),
        rows=len(rows),
        content_type="text/csv",
        minimum=round(low, 3),
        maximum=round(high, 3),
    )


def as_json(instances: Sequence[object]) -> str:
    """Return the body of a call."""
    return json.dumps({"instances": instances}, ensure_ascii=False)


def signature_of(inputs: Sequence[str], groups: Sequence[FeatureGroup], output: str) -> ModelSignature:
    """Return the input columns of a unit's models: categories for string features and entities, numbers for others."""
    features = {feature.name: feature for group in groups for feature in group.features}
    columns = []
    for name in inputs:
        is_number = name in features and features[name].type != "string"
        nullable = name in features and features[name].nullable
        columns.append(SignatureColumn(name=name, type="number" if is_number else "category", nullable=nullable))
    return ModelSignature(inputs=tuple(columns), output=output)


def columns_of(inputs: Sequence[str], groups: Sequence[FeatureGroup]) -> tuple[str, ...]:
    """Return the columns in the order of the training set, and of models trained on it: by name of the group.

    Clients that send arrays or CSV need this order, those that send rows by name do not.
    """
    ordered = [name for group in sorted(groups, key=lambda group: group.name) for name in group.feature_names]
    keys = [name for name in inputs if name not in ordered]
    return (*keys, *(name for name in ordered if name in inputs))


def render(requests: Sequence[GoldenRequest]) -> bytes:
    """Return the file's bytes."""
    return b"".join(json.dumps(to_dict(request), ensure_ascii=False).encode() + b"\n" for request in requests)
