"""The training script of examples/own_model passes the gate of its pipeline."""

from pathlib import Path

import pyarrow as pa
from examples.own_model.export import visits
from examples.own_model.stack import HERE

from mlops_constructs import EvaluationPlan, GateSpec
from mlops_runtime.testing import GateVerdict, Rehearsal, SignaturePlan, rehearse, this_environment

PLAN = EvaluationPlan(label="progression", metric="mae", block="clinic", baselines=("mean",), timestamp="visited")


def rehearsed(folder: Path, *, code: Path = HERE / "training") -> Rehearsal:
    """Train, evaluate and gate as the pipeline does, with the locally installed packages."""
    train, holdout = visits()
    return rehearse(
        code=code,
        script="train.py",
        train_rows=pa.Table.from_pandas(train, preserve_index=False),
        holdout_rows=pa.Table.from_pandas(holdout, preserve_index=False),
        evaluation=PLAN,
        gate=GateSpec(metric="mae"),
        folder=folder,
        environment=this_environment(HERE / "requirements.lock", trust=("data", "code", "pickle")),
        signature=SignaturePlan(label="progression", without=("visited", "mean")),
    )


def test_the_model_passes_the_gate(tmp_path: Path) -> None:
    """The model beats the mean by more than chance; the reason reports the improvement or a missing package."""
    rehearsal = rehearsed(tmp_path)
    assert rehearsal.gate.verdict is GateVerdict.PASSED, rehearsal.gate.reason
