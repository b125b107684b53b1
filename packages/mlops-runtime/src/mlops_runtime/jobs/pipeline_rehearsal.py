"""Test a training script as a pipeline would run it: training job, evaluation and gate, on given rows."""

import io
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlops_runtime.contracts import canonical_json, content_hash
from mlops_runtime.contracts.features import Build, Output, PinnedTable, Semantics, TrainingSetManifest
from mlops_runtime.contracts.model import Evaluation, GateResult
from mlops_runtime.contracts.retraining import EvaluationPlan, GateSpec, SignaturePlan
from mlops_runtime.inference_api.request_promise import read_promise
from mlops_runtime.jobs.evaluate import Inputs, evaluate
from mlops_runtime.jobs.job_environment import JobError, OptMl
from mlops_runtime.jobs.model_input import require_columns
from mlops_runtime.jobs.train import train
from mlops_runtime.retraining.registration_gate import evaluate_gate
from mlops_runtime.serving.model_source import ModelEnvironment


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """Result of a rehearsal."""

    evaluation: Evaluation  # the candidate and the baselines on the holdout
    gate: GateResult  # whether it would be registered, with the reason
    model: Path  # folder with the model, `signature.json`, and the manifest of a model that is not ONNX


def rehearse(
    *,
    code: Path,
    script: str,
    train_rows: Any,
    holdout_rows: Any,
    evaluation: EvaluationPlan,
    gate: GateSpec,
    folder: Path,
    environment: ModelEnvironment | None = None,
    signature: SignaturePlan | None = None,
    promises: Sequence[Path] = (),
) -> Rehearsal:
    """Train like the training job, evaluate like the evaluation job, and apply the gate.

    Args:
        code: Folder with the training code, as in ``TrainingJob(source=)``.
        script: The script in it.
        train_rows: The training split, an Arrow table.
        holdout_rows: The holdout, an Arrow table.
        evaluation: The stack's plan; it must name the column with the time of prediction.
        gate: The stack's gate.
        folder: An empty folder to work in.
        environment: The environment of a model that is not ONNX; its ``trusts`` are the registry's. Default: the script writes
            ONNX.
        signature: How the training job writes a signature if the script writes none. Default: the script writes one.
        promises: Request formats that APIs of the endpoint promise, files of ``mlops api schema``: a model that would reject
            allowed requests does not pass. Default: none.

    Raises:
        JobError: If the script fails, writes no model that can be served, or the rows do not fit the plan.
        PromiseError: If a file of ``promises`` is invalid.
    """
    promised = [read_promise(path.read_bytes(), path.name)[1] for path in promises]
    opt_ml = OptMl(folder)
    for name in ("train", "code"):
        opt_ml.channel(name).mkdir(parents=True)
    pq.write_table(train_rows, opt_ml.channel("train") / "part-0.parquet")
    (opt_ml.channel("code") / "code.zip").write_bytes(_zipped(code))
    train(opt_ml, script, environment, signature)
    archive = folder / "model.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(opt_ml.model, ".")
    inputs = Inputs(
        train=train_rows,
        holdout=holdout_rows,
        manifest=_manifest(evaluation, train_rows, holdout_rows),
        candidate=archive,
        environment=ModelEnvironment() if environment is None else environment,
    )
    measured, _ = evaluate(evaluation, inputs, (folder / "baseline.json").as_uri())
    verdict = evaluate_gate(
        measured,
        gate,
        uri=(folder / "evaluation.json").as_uri(),
        sha256=content_hash(measured),
        trust=inputs.environment.trusts,
        promises=promised,
    )
    (folder / "evaluation.json").write_bytes(canonical_json(measured))
    return Rehearsal(evaluation=measured, gate=verdict, model=opt_ml.model)


def _zipped(code: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(code.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.write(path, path.relative_to(code))
    return buffer.getvalue()


def _manifest(plan: EvaluationPlan, train_rows: Any, holdout_rows: Any) -> TrainingSetManifest:
    """Return a manifest for rows that do not come from a feature store, with times from the plan's column."""
    if plan.timestamp is None:
        raise JobError("the evaluation plan must name the `timestamp`: else training on the future is not detected")
    require_columns(train_rows, [plan.timestamp], "train")
    require_columns(holdout_rows, [plan.timestamp], "holdout")
    first, last = (choose(holdout_rows.column(plan.timestamp)).as_py() for choose in (pc.min, pc.max))
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        raise JobError(f"column {plan.timestamp!r} of the holdout must have times, got {first!r} to {last!r}")
    begin, end = (moment.replace(tzinfo=moment.tzinfo or UTC).isoformat() for moment in (first, last))
    table = PinnedTable(
        group="rehearsal",
        version=1,
        database="rehearsal",
        table="rehearsal",
        table_uuid="",
        snapshot_id=0,
        sequence=0,
        schema_id=0,
        tag="",
        columns=tuple(train_rows.column_names),
    )
    return TrainingSetManifest(
        name="rehearsal",
        semantics=Semantics(as_of="event_time", cutoff=end),
        entities=table,
        features=(),
        build=Build(engine="given", engine_version="", planner="", client=""),
        output=Output(rows=train_rows.num_rows + holdout_rows.num_rows, content_hash="", files=(), columns={}),
        split={"trained_until": begin, "holdout_from": begin, "holdout_until": end},
    )
