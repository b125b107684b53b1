"""What is refused of a model made elsewhere before it is uploaded; ``tests/cli/test_model_registration.py`` has every message."""

from dataclasses import replace
from pathlib import Path

from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.contracts.unit_entries import PipelineEntry
from mlops_runtime.registry.package_approval import ApprovalRule, RegistryEntry
from mlops_runtime.serving.model_packing import PackedModel
from mlops_runtime.serving.registration_checks import registration_problems

ENTRY = PipelineEntry(
    pipeline="demand-forecast", unit="demand", group="g", retraining_table="t", retrain_machine="m", queue_url="q"
)
REGISTRY = RegistryEntry(group="g", unit="demand", rule=ApprovalRule())
SIGNATURE = ModelSignature(inputs=(SignatureColumn(name="price", type="number"),), output="units")
PACKED = PackedModel(
    archive=Path("packed.tar.gz"), sha256="a" * 64, model_sha256="b" * 64, flavor=None, trust=None,
    signature=SIGNATURE, requirements_sha256=None,
)  # fmt: skip


def test_a_model_that_fits_has_no_problem() -> None:
    """ONNX of one number a row."""
    assert registration_problems(PACKED, ENTRY, REGISTRY) == []


def test_every_problem_is_said(tmp_path: Path) -> None:
    """Files that cannot be read are among them."""
    (tmp_path / "broken.parquet").write_text("x")
    packed = replace(PACKED, flavor="pickle", trust="pickle", signature=replace(SIGNATURE, kind="vector"))
    broken = tmp_path / "broken.parquet"
    found = registration_problems(packed, ENTRY, REGISTRY, predictions=broken, data=broken)
    assert len(found) == 3
    assert sum("cannot be read as Parquet" in problem for problem in found) == 2
