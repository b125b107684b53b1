"""``python -m mlops_runtime.jobs.evaluate``: candidate, champion and naive baselines on the same holdout.

Writes ``evaluation.json`` for the gate and ``baseline.json`` for the monitors. It decides nothing.
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from mlops_runtime.contracts import ContractError, canonical_json, content_hash, from_json
from mlops_runtime.contracts.features import TrainingSetManifest
from mlops_runtime.contracts.model import Evaluation, LossBlock, ModelSignature
from mlops_runtime.contracts.monitor import Baseline, FeatureBaseline
from mlops_runtime.contracts.retraining import EvaluationPlan
from mlops_runtime.jobs.optml import JobError, OptMl, single_file
from mlops_runtime.jobs.table import categories, model_input, numbers, read_split, require_columns
from mlops_runtime.monitor.baseline import category_baseline, cluster_codes, number_baseline
from mlops_runtime.serving.model import Matrix, Model, ModelError, load_archive
from mlops_runtime.serving.payload import parse

PREDICTION = "prediction"
_SPLIT_TIMES = ("trained_until", "holdout_from", "holdout_until")
_SAMPLE_ROWS = 64
_RELATIVE_TOLERANCE = 1e-4  # 32-bit sums in another order

Wide = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What the job reads.

    Args:
        train: The training split, an Arrow table.
        holdout: The holdout, an Arrow table.
        manifest: The training set's manifest.
        candidate: ``model.tar.gz`` of the candidate.
        champion: ``model.tar.gz`` of what is live. Default: nothing is live.
    """

    train: Any
    holdout: Any
    manifest: TrainingSetManifest
    candidate: Path
    champion: Path | None = None


def evaluate(plan: EvaluationPlan, inputs: Inputs, baseline_uri: str) -> tuple[Evaluation, Baseline]:
    """Return the evaluation and the monitors' baseline of a candidate.

    WAPE is the sum of absolute errors over the sum of absolute actuals. A missing or non-finite prediction adds no error and is
    counted in ``non_finite``, on which the gate refuses the candidate.

    Args:
        plan: Label, blocks and naive baselines.
        inputs: Splits, manifest and models. A champion whose archive is the candidate's own is no champion.
        baseline_uri: Where the baseline will lie.

    Raises:
        JobError: If a column is missing or of the wrong type, or a model predicts otherwise one row at a time.
        ModelError: If a model cannot be loaded.
    """
    times = _split_times(inputs.manifest)
    candidate = load_archive(inputs.candidate)
    artifact = _sha256(inputs.candidate)
    _require(plan, inputs, candidate.signature)
    rows = model_input(inputs.holdout, candidate.signature)
    check_serving_parity(candidate, inputs.holdout, rows)
    predictions: dict[str, Wide] = {"candidate": candidate.predict(rows).astype(np.float64)}
    if inputs.champion is not None and _sha256(inputs.champion) != artifact:
        champion = load_archive(inputs.champion)
        require_columns(inputs.holdout, [c.name for c in champion.signature.inputs], "holdout")
        predictions["champion"] = champion.predict(model_input(inputs.holdout, champion.signature)).astype(np.float64)
    predictions |= {name: numbers(inputs.holdout, name).astype(np.float64) for name in plan.baselines}
    actual = _actual(inputs.holdout, plan.label)
    blocks = _blocks([str(value) for value in inputs.holdout.column(plan.block).to_pylist()], actual, predictions)
    total = sum(block.actual_sum for block in blocks)
    training_set_id = content_hash(inputs.manifest)
    evaluation = Evaluation(
        metric=plan.metric,
        metrics={name: sum(block.absolute_error[name] for block in blocks) / total for name in predictions},
        blocks=blocks,
        rows=len(actual),
        trained_until=times["trained_until"],
        holdout_from=times["holdout_from"],
        holdout_until=times["holdout_until"],
        artifact_sha256=artifact,
        model_sha256=candidate.sha256,
        training_set_id=training_set_id,
        baseline_uri=baseline_uri,
        non_finite={name: int((~np.isfinite(values)).sum()) for name, values in predictions.items()},
    )
    ours = np.where(np.isfinite(predictions["candidate"]), predictions["candidate"], actual)
    baseline = Baseline(
        features=_features(candidate.signature, inputs.train, plan.cluster),
        rows=inputs.train.num_rows,
        training_set_id=training_set_id,
        created=inputs.manifest.semantics.cutoff,
        prediction=_prediction(predictions["candidate"], inputs.holdout, plan.cluster),
        quality={"wape": evaluation.metrics["candidate"], "bias": float((ours - actual).sum()) / total},
    )
    return evaluation, baseline


def check_serving_parity(model: Model, table: Any, rows: Matrix) -> None:
    """Check on a sample that rows sent to the server one by one get the predictions of the whole batch.

    The rows go through the server's own reading of JSON, so a difference between how the job and the server read a column
    shows here, before the model is registered.

    Args:
        model: The candidate.
        table: The holdout.
        rows: Its rows as the model takes them.

    Raises:
        JobError: With the first row that differs.
    """
    sample = np.unique(np.linspace(0, len(rows) - 1, _SAMPLE_ROWS, dtype=np.int64))
    batch = model.predict(rows)[sample]
    part = table.take(sample)
    sent = {
        column.name: categories(part, column.name) if column.type == "category" else numbers(part, column.name).tolist()
        for column in model.signature.inputs
    }
    for index, row in enumerate(sample):
        body = orjson.dumps({"instances": [{name: values[index] for name, values in sent.items()}]})
        try:
            single = model.predict(parse("application/json", body, model.signature))[0]
        except ValueError as error:
            raise JobError(f"holdout row {row} could not be sent to the server: {error}") from error
        if not np.isclose(single, batch[index], rtol=_RELATIVE_TOLERANCE, atol=1e-6, equal_nan=True):
            raise JobError(
                f"holdout row {row} gives {batch[index]} in a batch and {single} alone; rows must not depend on each other"
            )


def _split_times(manifest: TrainingSetManifest) -> dict[str, str]:
    missing = [name for name in _SPLIT_TIMES if name not in manifest.split]
    if missing:
        raise JobError(
            f"the manifest's split must name {', '.join(missing)}, it names {', '.join(manifest.split) or 'nothing'}"
        )
    return {name: manifest.split[name] for name in _SPLIT_TIMES}


def _require(plan: EvaluationPlan, inputs: Inputs, signature: ModelSignature) -> None:
    columns = [column.name for column in signature.inputs]
    cluster = [] if plan.cluster is None else [plan.cluster]
    require_columns(inputs.holdout, [*columns, plan.label, plan.block, *plan.baselines, *cluster], "holdout")
    require_columns(inputs.train, [*columns, *cluster], "train")


def _actual(holdout: Any, label: str) -> Wide:
    actual = numbers(holdout, label).astype(np.float64)
    broken = int((~np.isfinite(actual)).sum())
    if broken:
        raise JobError(
            f"label {label!r} must be known for every holdout row, {broken} of {len(actual)} are null or infinite"
        )
    if not np.abs(actual).sum() > 0:
        raise JobError(f"label {label!r} is 0 in every holdout row: WAPE is not defined")
    return actual


def _blocks(names: list[str], actual: Wide, predictions: Mapping[str, Wide]) -> tuple[LossBlock, ...]:
    present, codes = np.unique(np.array(names), return_inverse=True)
    size = len(present)
    rows = np.bincount(codes, minlength=size)
    sums = np.bincount(codes, weights=np.abs(actual), minlength=size)
    errors = {
        name: np.bincount(codes, weights=np.nan_to_num(np.abs(values - actual), nan=0, posinf=0), minlength=size)
        for name, values in predictions.items()
    }
    return tuple(
        LossBlock(
            block=str(block),
            rows=int(rows[index]),
            actual_sum=float(sums[index]),
            absolute_error={name: float(error[index]) for name, error in errors.items()},
        )
        for index, block in enumerate(present)
    )


def _features(signature: ModelSignature, train: Any, cluster: str | None) -> tuple[FeatureBaseline, ...]:
    clusters = None if cluster is None else cluster_codes(train.column(cluster).to_pylist())
    try:
        return tuple(
            category_baseline(column.name, categories(train, column.name), clusters=clusters)
            if column.type == "category"
            else number_baseline(column.name, numbers(train, column.name), clusters=clusters)
            for column in signature.inputs
        )
    except ValueError as error:
        raise JobError(str(error)) from error


def _prediction(predictions: Wide, holdout: Any, cluster: str | None) -> FeatureBaseline:
    clusters = None if cluster is None else cluster_codes(holdout.column(cluster).to_pylist())
    finite = np.where(np.isfinite(predictions), predictions, np.nan).astype(np.float32)
    return number_baseline(PREDICTION, finite, clusters=clusters)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_inputs(opt_ml: OptMl) -> Inputs:
    champion = opt_ml.processing_input("champion")
    manifest = single_file(opt_ml.processing_input("manifest"), "*.json")
    return Inputs(
        train=read_split(opt_ml.processing_input("train")),
        holdout=read_split(opt_ml.processing_input("holdout")),
        manifest=from_json(TrainingSetManifest, manifest.read_bytes()),
        candidate=single_file(opt_ml.processing_input("candidate"), "*.tar.gz"),
        champion=single_file(champion, "*.tar.gz") if champion.is_dir() and any(champion.iterdir()) else None,
    )


def main(arguments: list[str]) -> int:
    """Run the job. Returns the exit code; a user's mistake is one line on standard error."""
    parser = argparse.ArgumentParser(prog="python -m mlops_runtime.jobs.evaluate")
    parser.add_argument("--plan", required=True, nargs="+", help="EvaluationPlan as JSON, in one piece or more")
    parser.add_argument("--baseline-uri", required=True, help="where baseline.json will lie")
    options = parser.parse_args(arguments)
    opt_ml = OptMl.from_environment(os.environ)
    try:
        plan = from_json(EvaluationPlan, "".join(options.plan))
        evaluation, baseline = evaluate(plan, _read_inputs(opt_ml), options.baseline_uri)
    except (JobError, ModelError, ContractError) as error:
        sys.stderr.write(f"mlops evaluate: {error}\n")
        return 1
    report = opt_ml.processing_output("report")
    report.mkdir(parents=True, exist_ok=True)
    (report / "evaluation.json").write_bytes(canonical_json(evaluation))
    (report / "baseline.json").write_bytes(canonical_json(baseline))
    sys.stderr.write(f"mlops evaluate: {evaluation.rows} rows, WAPE {dict(evaluation.metrics)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
