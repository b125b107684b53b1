"""``python -m mlops_runtime.jobs.evaluate``: evaluate candidate, champion and naive baselines on the same holdout.

Writes ``evaluation.json`` for the gate and ``baseline.json`` for the monitors. It makes no decision: problems of a candidate are
recorded for the gate. Only inputs that prevent any measurement are errors.
"""

import argparse
import os
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow.compute as pc

from mlops_runtime.contracts import ContractError, canonical_json, content_hash, from_json
from mlops_runtime.contracts.features import TrainingSetManifest
from mlops_runtime.contracts.model import Evaluation, ModelSignature
from mlops_runtime.contracts.model_manifest import Trust
from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.contracts.retraining import EvaluationPlan
from mlops_runtime.iso_time import parse_time
from mlops_runtime.jobs.candidate_baseline import Evaluated, make_baseline, plan_problems
from mlops_runtime.jobs.expected_predictions import compare_predictions, read_expected
from mlops_runtime.jobs.holdout_labels import (
    Labels,
    Losses,
    baseline_columns,
    label_columns,
    read_baseline,
    read_labels,
    training_columns,
)
from mlops_runtime.jobs.holdout_losses import Rows, Wide, block_losses, normaliser, period_losses, segment_losses
from mlops_runtime.jobs.holdout_predictions import Predicted, holdout_sha256, read_predictions
from mlops_runtime.jobs.job_environment import UNKNOWN, JobError, OptMl, single_file
from mlops_runtime.jobs.metric_function import metric_function
from mlops_runtime.jobs.model_input import (
    Timer,
    categories,
    milliseconds_a_row,
    missing_columns,
    model_input,
    read_split,
    require_columns,
    serving_problems,
)
from mlops_runtime.jobs.server_answers import AnsweredModel, ServerAnswers, read_answers
from mlops_runtime.retraining.evaluation_evidence import iso_time, may_overlap_holdout
from mlops_runtime.serving.loaded_names import archived_globals, container_globals, container_problems
from mlops_runtime.serving.model_folder import hash_of
from mlops_runtime.serving.model_source import ModelEnvironment, archived_model
from mlops_runtime.serving.served_model import ModelError, ServedModel
from mlops_runtime.serving.unfit_rows import unfit_rows

CANDIDATE = "candidate"
CHAMPION = "champion"
_UNABLE = f"{CANDIDATE} could not predict the holdout"
_ROUNDING = 1e-6  # a few units in the last place of 32-bit floats
_SPLIT_TIMES = ("trained_until", "holdout_from", "holdout_until")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Inputs of the job."""

    train: Any  # the training split, an Arrow table
    holdout: Any  # the holdout, an Arrow table
    manifest: TrainingSetManifest
    candidate: Path  # `model.tar.gz` of the candidate
    champion: Path | None = (
        None  # `model.tar.gz` of the live model. Default: no live model, or its predictions are given
    )
    champion_sha256: str | None = None  # hash of that archive, from the live pointer
    champion_trained_until: str | None = None  # knowledge cutoff of its training set, ISO 8601. Default: unknown
    champion_predictions: Predicted | None = (
        None  # made in the live model's own image. Default: it predicts in this job
    )
    # environment of models that are not ONNX. Default: only ONNX is evaluated
    environment: ModelEnvironment = field(default_factory=ModelEnvironment)
    expected: Any = None  # the team's own predictions of the candidate. Default: they are not compared
    answers: ServerAnswers | None = None  # of the candidate's own server. Default: the candidate predicts in this job
    trust: Trust = "code"  # what loading the candidate may do in that server's container
    metric: Path | None = None  # file with the unit's metric function. Default: a built-in metric


def evaluate(
    plan: EvaluationPlan, inputs: Inputs, baseline_uri: str, *, timer: Timer | None = None
) -> tuple[Evaluation, Baseline]:
    """Evaluate a candidate; return the evaluation and the monitors' baseline. Without a timer, latency is not measured.

    A missing or non-finite prediction, or a probability outside 0 to 1, adds no loss and is counted in ``non_finite``, for which
    the gate rejects the candidate. A candidate that fails, depends on its batch or is not deterministic is evaluated with the
    reason. A champion that was trained on the holdout's period is left out, with the reason.

    Raises:
        JobError: If a column is missing or of the wrong type, or labels are unsuitable for the metric.
        ModelError: If a model cannot be loaded.
    """
    with ExitStack() as opened:
        models, custom = _models(inputs, opened), None
        if plan.metric == "custom_loss" and inputs.metric is not None:
            function = metric_function(inputs.metric, inputs.environment, expected_sha256=plan.metric_sha256 or "")
            custom = opened.enter_context(function).losses
        return _evaluated(plan, inputs, models, baseline_uri, timer=timer, custom=custom)


def _evaluated(
    plan: EvaluationPlan,
    inputs: Inputs,
    models: dict[str, ServedModel],
    baseline_uri: str,
    *,
    timer: Timer | None,
    custom: Losses | None,
) -> tuple[Evaluation, Baseline]:
    times, why_not = _split_times(inputs.manifest), _left_out(inputs)
    candidate = models[CANDIDATE]
    _require(plan, inputs, candidate.signature)
    labels = read_labels(plan, candidate.signature, inputs.holdout, custom=custom)
    failures = [
        *_time_failures(plan, inputs),
        *_label_failures(plan, candidate.signature),
        *_category_failures(plan, candidate.signature, inputs.train),
    ]
    # for a third-party container, its own server decides which rows are valid
    unfit = unfit_rows(inputs.holdout, candidate.signature, "the holdout") if inputs.answers is None else []
    failures += unfit
    predictions = {name: _predictions(name, model, inputs.holdout, failures) for name, model in models.items()}
    if inputs.champion_predictions is not None and why_not is None:
        predictions[CHAMPION] = labels.of_model(
            inputs.champion_predictions.values, inputs.champion_predictions.of.names
        )
    elif CHAMPION in models:
        predictions[CHAMPION] = labels.of_model(predictions[CHAMPION], models[CHAMPION].signature.names)
    measured = tuple(predictions)
    compared = None
    is_able = not any(failure.startswith(_UNABLE) for failure in failures)
    if is_able:
        failures += [] if unfit else _serving_problems(inputs, candidate)
        if inputs.expected is not None:
            compared, differences = compare_predictions(
                inputs.expected,
                inputs.holdout,
                predictions[CANDIDATE],
                names=labels.classes or labels.outputs,
                have_units=labels.outputs is not None,
                known={each.name: each.categories for each in candidate.signature.inputs if each.categories},
            )
            failures += differences
    predictions |= {name: read_baseline(labels, plan, name, inputs.train, inputs.holdout) for name in plan.baselines}
    losses = {name: _losses(name, labels, values) for name, values in predictions.items()}
    block_of = [str(value) for value in inputs.holdout.column(plan.block).to_pylist()]
    blocks = block_losses(block_of, labels.weights, losses)
    period_of = (
        None if plan.period is None else [str(value) for value in inputs.holdout.column(plan.period).to_pylist()]
    )
    levels = labels.levels({name: predictions[name] for name in measured})
    rows = Rows(
        blocks=block_of,
        weights=labels.weights,
        losses=losses,
        periods=period_of,
        by_period=measured,
        actual=None if levels is None else levels[0],
        predicted=None if levels is None else levels[1],
    )
    segments = segment_losses(inputs.holdout, plan.segments or (), rows, bands=plan.bands)
    has_segments = plan.segments is not None or plan.bands is not None
    actual_sum = sum(block.actual_sum for block in blocks)
    scale = normaliser(plan.metric, rows=len(labels.actual), actual_sum=actual_sum)
    training_set_id = content_hash(inputs.manifest)
    given = {name: labels.given(values) for name, values in predictions.items()}
    metrics = {name: sum(block.absolute_error[name] for block in blocks) / scale for name in predictions}
    evaluated = Evaluated(
        model=candidate,
        train=inputs.train,
        holdout=inputs.holdout,
        predictions=predictions[CANDIDATE],
        labels=labels,
        quality=_quality(labels, metrics[CANDIDATE], predictions[CANDIDATE]),
        is_able=is_able,
    )
    created = inputs.manifest.semantics.cutoff or times["holdout_until"]
    baseline = make_baseline(plan, evaluated, training_set_id=training_set_id, created=created)
    evaluation = Evaluation(
        metric=plan.metric,
        metrics=metrics,
        blocks=blocks,
        rows=len(labels.actual),
        trained_until=times["trained_until"],
        holdout_from=times["holdout_from"],
        holdout_until=times["holdout_until"],
        artifact_sha256=hash_of(inputs.candidate),
        model_sha256=candidate.sha256,
        signature=candidate.signature,
        signature_sha256=candidate.signature_sha256,
        **_loading(inputs, candidate),
        training_set_id=training_set_id,
        feature_service=inputs.manifest.feature_service,
        baseline_uri=baseline_uri,
        baseline_sha256=content_hash(baseline),
        non_finite={name: int((~mask).sum()) for name, mask in given.items()},
        segments=segments.measured if has_segments else None,
        segments_left_out=segments.left_out or None,
        pooled_segments=segments.pooled or None,
        segment_sums=segments.sums or None,
        label_means=None if levels is None or not segments.sums else tuple(levels[0].mean(axis=0).tolist()),
        failures=tuple(failures) or None,
        distinct_predictions=_distinct(predictions[CANDIDATE][given[CANDIDATE]]),
        milliseconds_a_row=None
        if timer is None or failures or inputs.answers is not None
        else milliseconds_a_row(models, inputs.holdout, timer),
        periods=None if period_of is None else period_losses(period_of, block_of, losses, blocks),
        classes=labels.classes,
        confusion=None if labels.classes is None else {name: labels.confusion(predictions[name]) for name in measured},
        outputs=labels.of_outputs(predictions) or None,
        champion_sha256=inputs.champion_sha256,
        champion_trained_until=inputs.champion_trained_until,
        champion_left_out=why_not,
        metric_sha256=None if custom is None else plan.metric_sha256,
        compared=compared,
    )
    return evaluation, baseline


def _models(inputs: Inputs, opened: ExitStack) -> dict[str, ServedModel]:
    if inputs.champion is not None:
        _check_champion(inputs.champion, inputs.champion_sha256)
    models: dict[str, ServedModel] = {
        CANDIDATE: opened.enter_context(archived_model(inputs.candidate, inputs.environment))
        if inputs.answers is None
        else AnsweredModel(answers=inputs.answers)
    }
    is_rival = inputs.champion is not None and hash_of(inputs.champion) != hash_of(inputs.candidate)
    if inputs.champion is not None and is_rival and _left_out(inputs) is None:
        models[CHAMPION] = opened.enter_context(archived_model(inputs.champion, inputs.environment.of_champion()))
        require_columns(inputs.holdout, [c.name for c in models[CHAMPION].signature.inputs], "holdout")
    return models


def _left_out(inputs: Inputs) -> str | None:
    """Return why the champion is not compared: its training data may include the holdout."""
    times, until = inputs.manifest.split, inputs.champion_trained_until
    has_times_of_rows = inputs.manifest.semantics.as_of == "event_time"
    if (
        inputs.champion_sha256 is None
        or until is None
        or not may_overlap_holdout(
            until, times["holdout_from"], times["holdout_until"], has_times_of_rows=has_times_of_rows
        )
    ):
        return None
    return f"it was trained on what was known until {until}, and the holdout begins at {times['holdout_from']}"


def _losses(name: str, labels: Labels, predictions: Wide) -> Wide:
    try:
        return labels.losses(predictions)
    except JobError as error:
        raise JobError(f"{error} (predictions of {name})") from error


def _serving_problems(inputs: Inputs, candidate: ServedModel) -> list[str]:
    """Return why a candidate would serve differently than it was evaluated."""
    if inputs.answers is None:
        return serving_problems(candidate, inputs.holdout, model_input(inputs.holdout, candidate.signature))
    return [*inputs.answers.problems, *container_problems(inputs.candidate, inputs.trust)]


def _loading(inputs: Inputs, candidate: ServedModel) -> dict[str, Any]:
    """Return flavor, trust and pickled names of a candidate that is not ONNX."""
    if inputs.answers is not None:
        return {
            "flavor": "container",
            "trust": inputs.trust,
            "pickled": container_globals(inputs.candidate, inputs.trust),
        }
    if candidate.manifest is None:
        return {}
    return {
        "flavor": candidate.manifest.flavor,
        "trust": candidate.manifest.trust,
        "pickled": archived_globals(inputs.candidate, candidate.manifest),
    }


def _check_champion(archive: Path, expected: str | None) -> None:
    """Raise if an archive is not the serving one, before reading it."""
    found = hash_of(archive)
    if found != expected:
        wanted = "none is given" if expected is None else f"the live pointer names {expected}"
        raise JobError(
            f"the champion has SHA-256 {found}, but {wanted}; find out who wrote it, roll back or approve a new model"
        )


def _predictions(name: str, model: ServedModel, holdout: Any, failures: list[str]) -> Wide:
    """Return a model's predictions, NaN if it fails, which counts as a failure only for a candidate."""
    try:
        return model.predict(model_input(holdout, model.signature)).astype(np.float64)
    except JobError:
        raise
    except Exception as error:  # the model may raise anything
        if name == CANDIDATE:
            failures.append(f"{_UNABLE}: {str(error).partition(chr(10))[0]}")
        columns = model.signature.columns
        return np.full(holdout.num_rows if columns is None else (holdout.num_rows, columns), np.nan)


def _distinct(predictions: Wide) -> int:
    """Return the number of different predictions; predictions that are all equal up to rounding count as one."""
    if predictions.size and (np.ptp(predictions, axis=0) <= _ROUNDING * np.abs(predictions).max(axis=0)).all():
        return 1
    return len(np.unique(predictions, axis=0))


def _time_failures(plan: EvaluationPlan, inputs: Inputs) -> list[str]:
    """Return whether the training split reaches into the holdout's period, or the manifest has other times than its rows."""
    if plan.timestamp is None:
        return []
    newest, first = (
        choose(split.column(plan.timestamp)).as_py()
        for choose, split in ((pc.max, inputs.train), (pc.min, inputs.holdout))
    )
    if newest is None or first is None:
        raise JobError(f"column {plan.timestamp!r} must be known in both splits, it is null in every row of one")
    if newest < first:
        return _manifest_failures(inputs.manifest, newest, first)
    return [f"the training split reaches {_shown(newest)}, the holdout begins {_shown(first)}: trained on the future"]


def _manifest_failures(manifest: TrainingSetManifest, newest: object, first: object) -> list[str]:
    """Return the times of a manifest that contradict its rows; comparisons with later models rely on them."""
    if manifest.semantics.as_of != "event_time" or not isinstance(newest, date) or not isinstance(first, date):
        return []
    times = {name: iso_time(manifest.split[name]) for name in ("trained_until", "holdout_from")}
    trained, held = times["trained_until"], times["holdout_from"]
    reached, begun = parse_time(newest.isoformat()), parse_time(first.isoformat())
    wrong = []
    if trained is not None and trained < reached:
        wrong.append(f"trained_until is {manifest.split['trained_until']}, the training split reaches {_shown(newest)}")
    if held is not None and held > begun:
        wrong.append(f"holdout_from is {manifest.split['holdout_from']}, the holdout begins {_shown(first)}")
    return [f"the manifest's times do not match its rows: {each}" for each in wrong]


def _label_failures(plan: EvaluationPlan, signature: ModelSignature) -> list[str]:
    """Return the labels among a candidate's inputs: requests lack them, and the loss is meaningless."""
    taken = [column.name for column in signature.inputs if column.name in label_columns(plan)]
    return [f"the candidate uses the label {name!r} as an input, which requests do not have" for name in taken]


def _category_failures(plan: EvaluationPlan, signature: ModelSignature, train: Any) -> list[str]:
    """Return the columns with too many values, by rows of its own training split, that are unknown to the candidate.

    Such a model was trained on other data, or its signature belongs to another model.

    See: E. Breck and others, Data Validation for Machine Learning, Proceedings of MLSys (2019), on values outside a domain.
    """
    if plan.max_unknown is None:
        return []
    problems = []
    for column in signature.inputs:
        known = frozenset(column.categories)
        values = [value for value in categories(train, column.name) if value] if column.type == "category" else []
        unknown = [value for value in values if value not in known]
        if len(unknown) > plan.max_unknown * len(values):
            problems.append(
                f"the candidate does not know {len(set(unknown))} of {len(set(values))} values of {column.name!r} in the "
                f"training split, {len(unknown) / len(values):.1%} of its rows, allowed are {plan.max_unknown:.1%}"
            )
    return problems


def _shown(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _quality(labels: Labels, loss: float, predictions: Wide) -> dict[str, float]:
    """Return the candidate's loss, and the metrics that live traffic is compared with once labels arrive: WAPE and bias."""
    metric, actual = labels.metric, labels.actual
    total = float(np.abs(actual).sum())
    if total == 0 or labels.classes is not None or labels.outputs is not None or labels.width is not None:
        return {metric: loss}
    ours = np.where(np.isfinite(predictions), predictions, actual)
    wape = loss if metric == "wape" else float(np.abs(ours - actual).sum()) / total
    return {metric: loss, "wape": wape, "bias": float((ours - actual).sum()) / total}


def _split_times(manifest: TrainingSetManifest) -> dict[str, str]:
    missing = [name for name in _SPLIT_TIMES if name not in manifest.split]
    if missing:
        raise JobError(
            f"the manifest's split must have {', '.join(missing)}, it has {', '.join(manifest.split) or 'nothing'}"
        )
    return {name: manifest.split[name] for name in _SPLIT_TIMES}


def _require(plan: EvaluationPlan, inputs: Inputs, signature: ModelSignature) -> None:
    columns = [column.name for column in signature.inputs]
    both = [name for name in (plan.cluster, plan.timestamp) if name is not None]
    kept_apart = [*(plan.segments or ()), *(plan.bands or {}), *([] if plan.period is None else [plan.period])]
    kept_apart += [facet.name for facet in plan.facets or ()]
    of_holdout = [*columns, *label_columns(plan), plan.block, *baseline_columns(plan), *both, *kept_apart]
    missing = [
        missing_columns(inputs.holdout, of_holdout, "holdout"),
        missing_columns(inputs.train, [*columns, *training_columns(plan), *both], "train"),
    ]
    problems = [problem for problem in missing if problem is not None]
    problems = problems or plan_problems(plan, signature, inputs.train, inputs.holdout)
    if problems:
        raise JobError("; ".join(problems))


def check_files(opt_ml: OptMl, manifest: TrainingSetManifest) -> None:
    """Check the files of the splits against the manifest; a manifest without files is not checked.

    Raises:
        JobError: With every file that is missing, different, or not in the manifest.
    """
    named = {file.path: file.sha256 for file in manifest.output.files}
    present = {
        f"{split}/{path.name}": hash_of(path)
        for split in ("train", "holdout")
        for path in opt_ml.processing_input(split).glob("*.parquet")
    }
    problems = [
        f"{path} is {'missing' if path not in present else 'not named' if path not in named else 'another'}"
        for path in sorted({*named, *present})
        if named.get(path) != present.get(path)
    ]
    if named and problems:
        raise JobError(f"the training set is not the one of its manifest: {', '.join(problems)}")


def _read_inputs(
    opt_ml: OptMl, *, champion_sha256: str | None, champion_trained_until: str | None, trust: Trust
) -> Inputs:
    champion, predicted = opt_ml.processing_input("champion"), opt_ml.processing_input("predictions")
    answers, theirs = opt_ml.processing_input("answers"), opt_ml.processing_input("champion-answers")
    metric = opt_ml.processing_input("metric")
    manifest = from_json(TrainingSetManifest, single_file(opt_ml.processing_input("manifest"), "*.json").read_bytes())
    check_files(opt_ml, manifest)
    holdout = read_split(opt_ml.processing_input("holdout"))
    of_holdout = {"holdout": holdout_sha256(opt_ml.processing_input("holdout")), "rows": holdout.num_rows}
    candidate = single_file(opt_ml.processing_input("candidate"), "*.tar.gz")
    predictions = None
    if predicted.is_dir():
        predictions = read_predictions(
            single_file(predicted, "*.parquet"), artifact_sha256=champion_sha256, **of_holdout
        )
    elif theirs.is_dir():
        predictions = read_answers(theirs, artifact_sha256=champion_sha256, **of_holdout).predicted
    return Inputs(
        train=read_split(opt_ml.processing_input("train")),
        holdout=holdout,
        manifest=manifest,
        candidate=candidate,
        champion=single_file(champion, "*.tar.gz") if champion.is_dir() and any(champion.iterdir()) else None,
        champion_sha256=champion_sha256,
        champion_trained_until=champion_trained_until,
        champion_predictions=predictions,
        environment=ModelEnvironment.from_variables(os.environ),
        expected=read_expected(opt_ml.processing_input("expected")),
        answers=read_answers(answers, artifact_sha256=hash_of(candidate), **of_holdout) if answers.is_dir() else None,
        trust=trust,
        metric=single_file(metric, "*.py") if metric.is_dir() else None,
    )


def main(arguments: list[str]) -> int:
    """Run the job. Returns the exit code; a user's mistake is one line on standard error."""
    parser = argparse.ArgumentParser(prog="python -m mlops_runtime.jobs.evaluate")
    parser.add_argument("--plan", required=True, nargs="+", help="EvaluationPlan as JSON, in one or more pieces")
    parser.add_argument("--baseline-uri", required=True, help="destination of baseline.json")
    parser.add_argument("--champion-sha256", help="hash of the archive in input champion, from the live pointer")
    parser.add_argument("--champion-trained-until", help=f"knowledge cutoff of that model's training set, or {UNKNOWN}")
    parser.add_argument(
        "--container-trust",
        default="code",
        choices=get_args(Trust),
        help="what loading may do in a third-party container",
    )
    options = parser.parse_args(arguments)
    opt_ml = OptMl.from_environment(os.environ)
    try:
        plan = from_json(EvaluationPlan, "".join(options.plan))
        until = options.champion_trained_until
        inputs = _read_inputs(
            opt_ml,
            champion_sha256=options.champion_sha256,
            champion_trained_until=None if until == UNKNOWN else until,
            trust=options.container_trust,
        )
        evaluation, baseline = evaluate(plan, inputs, options.baseline_uri, timer=time.perf_counter)
    except (JobError, ModelError, ContractError) as error:
        return opt_ml.refuse("evaluate", error)
    report = opt_ml.processing_output("report")
    report.mkdir(parents=True, exist_ok=True)
    (report / "evaluation.json").write_bytes(canonical_json(evaluation))
    (report / "baseline.json").write_bytes(canonical_json(baseline))
    sys.stderr.write(f"mlops evaluate: {evaluation.rows} rows, {evaluation.metric} {dict(evaluation.metrics)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
