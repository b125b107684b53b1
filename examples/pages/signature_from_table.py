"""Writes the signature of a model from the rows that it was trained on."""

from pathlib import Path

import pyarrow.parquet as pq

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.retraining import SignaturePlan
from mlops_runtime.jobs.training_signature import signature_of


def write_signature(train: Path, model: Path) -> None:
    """Write ``signature.json`` into a model's folder: of all columns but the label, the week and the naive guess."""
    plan = SignaturePlan(label="churned", kind="probability", without=("week", "last_week"))
    signature = signature_of(pq.read_table(train), plan)
    (model / "signature.json").write_bytes(canonical_json(signature))
