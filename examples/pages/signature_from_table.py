"""Derives the signature of a model from its training rows."""

from pathlib import Path

import pyarrow.parquet as pq

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.retraining import SignaturePlan
from mlops_runtime.jobs.training_signature import signature_of


def write_signature(train: Path, model: Path) -> None:
    """Write ``signature.json`` to a model's folder, with all columns but the label, the week and the naive prediction."""
    plan = SignaturePlan(label="churned", kind="probability", without=("week", "last_week"))
    signature = signature_of(pq.read_table(train), plan)
    (model / "signature.json").write_bytes(canonical_json(signature))
