"""Comparison of two runs on the same holdout: the gate's interval between their candidates, hyperparameters, metrics. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlops_runtime.contracts.model import Evaluation, LossBlock, PeriodLosses
from mlops_runtime.contracts.retraining import GateSpec
from mlops_runtime.contracts.unit_entries import PipelineEntry
from mlops_runtime.retraining.evaluation_evidence import loss_of
from mlops_runtime.retraining.loss_intervals import (
    CANDIDATE,
    CHAMPION,
    MINIMUM_BLOCKS,
    MINIMUM_PERIODS,
    intervals,
    relative,
    two_way_bound,
)

_OTHER = "other"
_TOLERANCE = 1e-9  # relative: jobs may sum in different order


class RunError(ValueError):
    """A run is not found, or two runs cannot be compared; the message states the reason and the fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentComparison:
    """The losses of both runs in one segment."""

    segment: str
    rows: int
    first: float
    second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """Two runs, measured on the same rows.

    ``first_loss`` and ``second_loss`` are the losses of the runs' candidates in ``metric``; lower is better. ``difference`` is
    (second - first) / first, with a confidence interval from ``low`` to ``high`` at the level ``confidence``. ``rivals`` are the
    losses of naive baselines on these rows. ``hyperparameters`` has those that differ, and ``training`` the metrics that the
    scripts wrote, as pairs of first and second; None if only the other run has a value.
    """

    first: str
    second: str
    metric: str
    rows: int
    first_loss: float
    second_loss: float
    difference: float
    low: float
    high: float
    confidence: float
    rivals: Mapping[str, float]
    segments: tuple[SegmentComparison, ...]
    hyperparameters: Mapping[str, tuple[str | None, str | None]]
    training: Mapping[str, tuple[float | None, float | None]]

    @property
    def verdict(self) -> str:
        """The run that is significantly better, or that neither is."""
        if self.high < 0:
            return f"{self.second} is better"
        return f"{self.first} is better" if self.low > 0 else "neither is shown to be better"


def compared(
    pipeline: PipelineEntry,
    *,
    ids: tuple[str, str],
    evaluations: tuple[Evaluation | None, Evaluation | None],
    hyperparameters: tuple[Mapping[str, str], Mapping[str, str]],
    training: tuple[Mapping[str, float], Mapping[str, float]],
) -> RunComparison:
    """Return the comparison of two runs; the interval is the one that the pipeline's gate computes.

    Args:
        pipeline: The pipeline of both.
        ids: Their ids.
        evaluations: Their evaluations.
        hyperparameters: Their hyperparameters.
        training: Final metrics that their scripts wrote.

    Raises:
        RunError: If one has no evaluation, they were not measured on the same rows, or there are too few rows for an interval.
    """
    missing = [name for name, evaluation in zip(ids, evaluations, strict=True) if evaluation is None]
    first, second = evaluations
    if first is None or second is None:
        raise RunError(
            f"{' and '.join(missing)} {'has' if len(missing) == 1 else 'have'} no evaluation to compare; "
            f"see why: mlops runs show {missing[0]}"
        )
    problem = _other_rows(pipeline, ids, first, second) or _no_losses(ids, first, second) or _too_few(first)
    if problem is not None:
        raise RunError(problem)
    confidence = GateSpec().confidence if pipeline.confidence is None else pipeline.confidence
    low, high = _interval(pipeline, first, second, confidence)
    mine, theirs = loss_of(second.blocks, second.metric, CANDIDATE), loss_of(first.blocks, first.metric, CANDIDATE)
    return RunComparison(
        first=ids[0],
        second=ids[1],
        metric=first.metric,
        rows=first.rows,
        first_loss=theirs,
        second_loss=mine,
        difference=relative(mine, theirs),
        low=low,
        high=high,
        confidence=confidence,
        rivals={name: loss for name, loss in sorted(first.metrics.items()) if name not in (CANDIDATE, CHAMPION)},
        segments=_segments(first, second),
        hyperparameters=_differing(*hyperparameters),
        training={
            name: (training[0].get(name), training[1].get(name)) for name in sorted({*training[0], *training[1]})
        },
    )


def _other_rows(pipeline: PipelineEntry, ids: tuple[str, str], first: Evaluation, second: Evaluation) -> str | None:
    """Return why two evaluations are not on the same rows, which have equal labels and baseline losses in all blocks."""
    if first.metric != second.metric:
        return f"{ids[0]} is measured by {first.metric}, {ids[1]} by {second.metric}; train one again"
    if first.metric_sha256 != second.metric_sha256:
        return f"{ids[0]} and {ids[1]} are measured by different metric functions; train or register one again"
    what = [
        f"{evaluation.rows} rows from {evaluation.holdout_from} to {evaluation.holdout_until}"
        for evaluation in (first, second)
    ]
    archive = f"models/{pipeline.pipeline}/{ids[0]}/model.tar.gz"
    fix = (
        "losses on different rows show nothing about the models; to measure the first on the newest holdout, register its archive "
        f"(s3://<artifacts bucket>/{archive}) with mlops models register {pipeline.pipeline}"
    )
    if what[0] != what[1]:
        return f"the holdouts differ: {ids[0]} has {what[0]}, {ids[1]} {what[1]}; {fix}"
    if [block.block for block in first.blocks] != [block.block for block in second.blocks]:
        return f"the holdouts of {ids[0]} and {ids[1]} are cut into different blocks; {fix}"
    baselines = (set(first.metrics) & set(second.metrics)) - {CANDIDATE, CHAMPION}
    for one, other in zip(first.blocks, second.blocks, strict=True):
        pairs = [(one.actual_sum, other.actual_sum), (one.rows, other.rows)]
        pairs += [(one.absolute_error[name], other.absolute_error[name]) for name in baselines]
        if not all(math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE) for a, b in pairs):
            return (
                f"the holdouts differ: labels or baselines of block {one.block!r} are not the same in both runs; {fix}"
            )
    if (first.periods is None) != (second.periods is None) or [p.period for p in first.periods or ()] != [
        p.period for p in second.periods or ()
    ]:
        return f"the holdouts of {ids[0]} and {ids[1]} are cut into different periods; {fix}"
    return None


def _no_losses(ids: tuple[str, str], first: Evaluation, second: Evaluation) -> str | None:
    for name, evaluation in zip(ids, (first, second), strict=True):
        if count := evaluation.non_finite.get(CANDIDATE, 0):
            return (
                f"{name} has no finite prediction for {count} of {evaluation.rows} rows, so its loss cannot be compared"
            )
    return None


def _too_few(evaluation: Evaluation) -> str | None:
    if len(evaluation.blocks) < MINIMUM_BLOCKS:
        return f"{len(evaluation.blocks)} blocks are fewer than the {MINIMUM_BLOCKS} that an interval needs"
    if evaluation.periods is not None and len(evaluation.periods) < MINIMUM_PERIODS:
        return f"{len(evaluation.periods)} periods are fewer than the {MINIMUM_PERIODS} that an interval needs"
    return None


def _interval(pipeline: PipelineEntry, first: Evaluation, second: Evaluation, confidence: float) -> tuple[float, float]:
    if first.periods is not None and second.periods is not None:
        periods = [
            PeriodLosses(
                period=one.period,
                absolute_error={CANDIDATE: other.absolute_error[CANDIDATE], _OTHER: one.absolute_error[CANDIDATE]},
            )
            for one, other in zip(first.periods, second.periods, strict=True)
        ]
        bound = two_way_bound(periods, _OTHER, tail=(1 - confidence) / 2)
        return bound.low, bound.high
    blocks = [
        LossBlock(
            block=one.block,
            rows=one.rows,
            actual_sum=one.actual_sum,
            absolute_error={CANDIDATE: other.absolute_error[CANDIDATE], _OTHER: one.absolute_error[CANDIDATE]},
        )
        for one, other in zip(first.blocks, second.blocks, strict=True)
    ]
    resamples = GateSpec().resamples if pipeline.resamples is None else pipeline.resamples
    seed = GateSpec().seed if pipeline.seed is None else pipeline.seed
    return intervals(blocks, [_OTHER], confidence=confidence, resamples=resamples, seed=seed)[_OTHER]


def _segments(first: Evaluation, second: Evaluation) -> tuple[SegmentComparison, ...]:
    others = {segment.name: segment for segment in second.segments or ()}
    return tuple(
        SegmentComparison(
            segment=segment.name,
            rows=segment.rows,
            first=loss_of(segment.blocks, first.metric, CANDIDATE),
            second=loss_of(others[segment.name].blocks, second.metric, CANDIDATE),
        )
        for segment in first.segments or ()
        if segment.name in others
    )


def _differing(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, tuple[str | None, str | None]]:
    names: Sequence[str] = sorted({*first, *second})
    return {name: (first.get(name), second.get(name)) for name in names if first.get(name) != second.get(name)}
