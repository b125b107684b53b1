"""Comparison of candidate and champion by segment: intervals, pooled small segments, ratios of sums, and coverage."""

import math
from collections.abc import Iterator, Sequence

from mlops_runtime.contracts.model import Evaluation, GateCheck, Metric, SegmentCoverage, SegmentLosses, SegmentSums
from mlops_runtime.contracts.retraining import GateSpec, SegmentLimit
from mlops_runtime.retraining.loss_intervals import (
    CANDIDATE,
    CHAMPION,
    Bound,
    is_comparable,
    relative,
    segment_bounds,
    two_way_bound,
)

# measured on the demand example (ADR 10): good challengers differ by a factor of at most 1.26 in predictions, 1.7 in losses
PREDICTION_RATIO, LOSS_RATIO = 1.5, 2.0
_FEW_ROWS = 8  # with fewer rows, two good models differ more, in proportion to 1 / sqrt(rows)
_DIGITS = 9  # rounding of shares of floating-point sums
_CHANCE = 3.0  # standard deviations of a count within which labels cannot distinguish two probabilities
_PROBABILITIES: tuple[Metric, ...] = ("log_loss", "brier", "macro_log_loss")


def segment_checks(evaluation: Evaluation, spec: GateSpec) -> tuple[GateCheck, ...]:
    """Return the comparisons by segment: one for each interval, and one for each ratio of sums that is too large.

    Args:
        evaluation: A consistent evaluation.
        spec: The limits.
    """
    if not _has_champion(evaluation):
        return ()
    return (*_interval_checks(evaluation, spec), *_sum_checks(evaluation, spec))


def coverage(evaluation: Evaluation, checks: Sequence[GateCheck]) -> tuple[SegmentCoverage, ...]:
    """Return the part of the holdout that intervals cover, for each column of segments; empty without a comparison.

    Args:
        checks: The gate's comparisons.
    """
    tested = {check.segment for check in checks if check.segment is not None}
    columns = dict.fromkeys(segment.column for segment in evaluation.segments or ())
    return (
        ()
        if not checks or not _has_champion(evaluation)
        else tuple(_covered(evaluation, name, tested) for name in columns)
    )


def coverage_text(covered: SegmentCoverage) -> str:
    """Return the description of one column's coverage for the verdict.

    Example:
        >>> coverage_text(SegmentCoverage(column="category", segments=37, compared=11, guarded=26, pooled_rows=0.13,
        ...     pooled_target=0.12, untested_rows=0.0, untested_target=0.0))
        '11 of 37 segments of category compared, none worse than allowed, 26 pooled and held to sums alone (13.0% of rows, \
12.0% of the target), no row without a test'
    """
    parts = [f"{covered.compared} of {covered.segments} segments of {covered.column} compared, none worse than allowed"]
    if covered.guarded:
        parts.append(
            f"{covered.guarded} pooled and held to sums alone ({covered.pooled_rows:.1%} of rows, "
            f"{covered.pooled_target:.1%} of the target)"
        )
    if covered.untested_rows > 0:
        parts.append(
            f"no test covered {covered.untested_rows:.1%} of rows and {covered.untested_target:.1%} of the target"
        )
    else:
        parts.append("no row without a test")
    return ", ".join(parts)


def _has_champion(evaluation: Evaluation) -> bool:
    return CHAMPION in evaluation.metrics and not evaluation.non_finite.get(CHAMPION, 0)


def _interval_checks(evaluation: Evaluation, spec: GateSpec) -> Iterator[GateCheck]:
    known = (*(evaluation.segments or ()), *(evaluation.pooled_segments or ()))
    segments = [segment for segment in known if is_comparable(segment)]
    if not segments:
        return
    bounds = _bounds(evaluation, segments, spec)
    for segment in segments:
        low, high = bounds[segment.name].low, bounds[segment.name].high
        limit = _regression(spec, segment)
        yield GateCheck(
            rival=CHAMPION,
            passed=low <= limit,
            low=low,
            high=high,
            limit=limit,
            reason=f"loss against {CHAMPION} where {segment.name} {low:+.1%} to {high:+.1%}, "
            f"must not lie above {limit:+.1%}",
            segment=segment.name,
        )


def _bounds(evaluation: Evaluation, segments: Sequence[SegmentLosses], spec: GateSpec) -> dict[str, Bound]:
    tail = (1 - spec.confidence) / 2 / len(segments)
    if evaluation.periods is not None:
        return {segment.name: two_way_bound(segment.periods or (), CHAMPION, tail=tail) for segment in segments}
    return segment_bounds(evaluation.blocks, segments, CHAMPION, tail=tail, resamples=spec.resamples, seed=spec.seed)


def _regression(spec: GateSpec, segment: SegmentLosses) -> float:
    own = (spec.segments or {}).get(segment.name, SegmentLimit()).max_regression
    common = spec.max_regression if spec.max_segment_regression is None else spec.max_segment_regression
    return common if own is None else own


def _sum_checks(evaluation: Evaluation, spec: GateSpec) -> Iterator[GateCheck]:
    """Yield failed checks of each segment's sums, also of segments with an interval, which may be wide.

    They detect gross errors: predictions of zero where something was sold, or a level of half or twice the former one. They cannot
    detect errors that a good model makes by chance: a third too much, or wrong rows that cancel out.
    """
    most = PREDICTION_RATIO if spec.max_segment_ratio is None else spec.max_segment_ratio
    loss_a_row = sum(block.absolute_error[CHAMPION] for block in evaluation.blocks) / evaluation.rows
    for segment in evaluation.segment_sums or ():
        wide = max(1.0, math.sqrt(_FEW_ROWS / segment.rows))
        found = _prediction_problem(evaluation, segment, 1 + (most - 1) * wide)
        yield from () if found is None else (found,)
        ours, theirs = segment.absolute_error[CANDIDATE], segment.absolute_error[CHAMPION]
        limit = 1 + (LOSS_RATIO - 1) * wide
        if ours > limit * theirs and ours - theirs > loss_a_row * math.sqrt(segment.rows):
            yield _failed(
                segment,
                relative(ours, theirs),
                limit,
                f"loss where {segment.name} sums to {ours:.4g} and the {CHAMPION}'s to {theirs:.4g}, at most {limit:.2g} times as "
                f"much is allowed in {segment.rows} rows",
            )


def _prediction_problem(evaluation: Evaluation, segment: SegmentSums, limit: float) -> GateCheck | None:
    if segment.predicted is None or segment.actual is None or evaluation.label_means is None:
        return None
    columns = zip(
        segment.predicted[CANDIDATE], segment.predicted[CHAMPION], segment.actual, evaluation.label_means, strict=True
    )
    for ours, theirs, actual, mean in columns:
        low, high = min(ours, theirs), max(ours, theirs)
        chance = mean * math.sqrt(segment.rows)
        if evaluation.metric in _PROBABILITIES:
            chance = _CHANCE * math.sqrt(max(theirs, actual, 1.0))
        if high > limit * max(low, 0.0) and high - low > chance and abs(ours - actual) > abs(theirs - actual):
            return _failed(
                segment,
                relative(ours, theirs),
                limit,
                f"predictions where {segment.name} sum to {ours:.4g}, the {CHAMPION}'s to {theirs:.4g} and the labels to "
                f"{actual:.4g}; at most {limit:.2g} times apart is allowed in {segment.rows} rows, or nearer to the labels",
            )
    return None


def _failed(segment: SegmentSums, ratio: float, limit: float, reason: str) -> GateCheck:
    return GateCheck(
        rival=CHAMPION, passed=False, low=ratio, high=ratio, limit=limit - 1, reason=reason, segment=segment.name
    )


def _covered(evaluation: Evaluation, column: str, tested: set[str]) -> SegmentCoverage:
    own = [segment for segment in evaluation.segments or () if segment.column == column]
    compared = [segment for segment in own if is_comparable(segment) and segment.name in tested]
    large = {segment.name for segment in own if is_comparable(segment)}
    sums = [segment for segment in evaluation.segment_sums or () if segment.column == column]
    small = [segment for segment in sums if segment.name not in large]
    pooled = [
        pool for pool in evaluation.pooled_segments or () if pool.column == column and pool.name in tested and small
    ]
    target = sum(block.actual_sum for block in evaluation.blocks)
    shares = [
        (
            sum(s.rows for s in found) / evaluation.rows,
            sum(b.actual_sum for s in found for b in s.blocks) / (target or 1.0),
        )
        for found in (compared, pooled)
    ]
    rows, weight = (max(0.0, round(1 - sum(part), _DIGITS)) for part in zip(*shares, strict=True))
    left = sum(name.partition("=")[0] == column for name in evaluation.segments_left_out or ())
    return SegmentCoverage(
        column=column,
        segments=len(own) + left,
        compared=len(compared),
        guarded=len(small),
        pooled_rows=shares[1][0],
        pooled_target=shares[1][1],
        untested_rows=rows,
        untested_target=weight,
    )
