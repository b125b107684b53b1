"""Validation of an evaluation: completeness, consistency, times, and absolute limits."""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from mlops_runtime.contracts.model import (
    WEIGHTED,
    Evaluation,
    LossBlock,
    Metric,
    PeriodLosses,
    SegmentLosses,
    SegmentSums,
)
from mlops_runtime.contracts.retraining import GateSpec, SegmentLimit
from mlops_runtime.iso_time import parse_time
from mlops_runtime.retraining.loss_intervals import CANDIDATE, CHAMPION, is_comparable

_TOLERANCE = 1e-6  # relative, between an evaluation's totals and its blocks


def problems(evaluation: Evaluation, spec: GateSpec, now: datetime | None) -> list[str]:
    """Return why an evaluation does not count in favour of its candidate.

    Args:
        evaluation: Result of the evaluation job.
        spec: The limits.
        now: The time of the decision. Default: times are only compared with each other.
    """
    found = [*_loss(evaluation, spec), *_coverage(evaluation, spec), *_predictions(evaluation)]
    found += _times(evaluation, spec, now)
    found += _latency(evaluation, spec)
    found += _recalls(evaluation, spec)
    broken = list(_broken(evaluation))
    found += broken
    if not broken:  # losses of segments are sums of the same blocks
        found += _segments(evaluation, spec)
    return found


def loss_of(blocks: Sequence[LossBlock], metric: Metric, name: str) -> float:
    """Return a metric of blocks: relative to the sum of ``actual_sum`` for metrics in `WEIGHTED`, else the mean over rows."""
    total = sum(block.actual_sum for block in blocks) if metric in WEIGHTED else sum(block.rows for block in blocks)
    return sum(block.absolute_error[name] for block in blocks) / total if total > 0 else math.nan


def iso_time(text: str) -> datetime | None:
    """Return the time in a string of an evaluation or manifest; None if it is malformed."""
    try:
        return parse_time(text)
    except ValueError:
        return None


def may_overlap_holdout(trained_until: str, holdout_from: str, holdout_until: str, *, has_times_of_rows: bool) -> bool:
    """Return whether a model's training set may contain rows of a holdout.

    With a malformed time the result is False; the gate refuses such an evaluation.

    Args:
        trained_until: Time up to which the training set contains information.
        holdout_from: First time of prediction in the holdout.
        holdout_until: Time up to which the holdout contains information.
        has_times_of_rows: Whether these are times of rows, so that the newest training row may be the holdout's first one. Else
            they are times at which labels became known, after the time of the row, so the holdout may begin at the newest of them;
            a row whose label is known at its own time, and which is both the newest and the first, is then not detected.

    Example:
        >>> may_overlap_holdout("2024-06-02", "2024-06-01", "2024-06-30", has_times_of_rows=True)
        True
        >>> may_overlap_holdout("2024-05-31", "2024-06-01", "2024-06-30", has_times_of_rows=True)
        False
    """
    trained, first, last = (iso_time(text) for text in (trained_until, holdout_from, holdout_until))
    if trained is None or first is None or last is None:
        return False
    return trained >= first if has_times_of_rows else first < trained or last <= trained


def _loss(evaluation: Evaluation, spec: GateSpec) -> Iterator[str]:
    loss, metric = evaluation.metrics.get(CANDIDATE), evaluation.metric
    if spec.metric is not None and spec.metric != metric:
        yield f"the evaluation measures {metric}, but the gate's limits are for {spec.metric}"
    if evaluation.metric_sha256 != spec.metric_sha256:
        found, wanted = (each or "none" for each in (evaluation.metric_sha256, spec.metric_sha256))
        yield f"the losses are of the metric function {found}, the pipeline's is {wanted}; train or register again"
    if loss is None:
        yield "the evaluation has no candidate"
    elif not math.isfinite(loss):
        yield f"the candidate's {metric} is {loss}"
    elif spec.maximum_loss is not None and loss > spec.maximum_loss:
        yield f"the candidate's {metric} {loss:.4f} is above the maximum {spec.maximum_loss:.4f}"
    elif spec.minimum_loss is not None and loss < spec.minimum_loss:
        yield (
            f"the candidate's {metric} {loss:.4f} is below the minimum {spec.minimum_loss:.4f}: too good to be true, "
            "look for a feature that leaks the label"
        )


def _coverage(evaluation: Evaluation, spec: GateSpec) -> Iterator[str]:
    if not set(evaluation.metrics) - {CANDIDATE, CHAMPION}:
        yield "the evaluation has no naive baseline to beat"
    if evaluation.rows < spec.minimum_rows:
        yield f"{evaluation.rows} rows are fewer than the minimum {spec.minimum_rows}"


def _predictions(evaluation: Evaluation) -> Iterator[str]:
    yield from evaluation.failures or ()
    for name, count in sorted(evaluation.non_finite.items()):
        if count and name != CHAMPION:
            yield f"{name} has no finite prediction for {count} rows"
    if evaluation.distinct_predictions == 1 and evaluation.rows > 1:
        yield f"the candidate predicts the same value for all of {evaluation.rows} rows"


def _times(evaluation: Evaluation, spec: GateSpec, now: datetime | None) -> Iterator[str]:
    """Yield problems of the order of times: training, holdout, decision.

    The end of training may equal the start of the holdout, since a label that became known at the time of the holdout's first
    prediction was known then. The holdout's labels must be newer than the training data.
    """
    names = ("trained_until", "holdout_from", "holdout_until")
    times: dict[str, datetime] = {}
    for name in names:
        text = getattr(evaluation, name)
        time = iso_time(text)
        if time is None:
            yield f"{name} must be an ISO 8601 time, got {text!r}"
            return
        times[name] = time
    trained, first, last = (times[name] for name in names)
    if first < trained or last <= trained:
        yield (
            f"trained with what was known until {evaluation.trained_until}, measured on labels from "
            f"{evaluation.holdout_from} to {evaluation.holdout_until}: trained on the future"
        )
    if now is None:
        return
    if last > now:
        yield f"the holdout ends at {evaluation.holdout_until}, after the decision at {now.isoformat()}"
    age = (now - last).total_seconds() / 86400
    if spec.max_holdout_age_days is not None and age > spec.max_holdout_age_days:
        yield f"the holdout ended {age:.1f} days before the decision, at most {spec.max_holdout_age_days:g} are allowed"


def _latency(evaluation: Evaluation, spec: GateSpec) -> Iterator[str]:
    if spec.max_milliseconds_a_row is None and spec.max_slowdown is None:
        return
    times = evaluation.milliseconds_a_row or {}
    ours, theirs = times.get(CANDIDATE), times.get(CHAMPION)
    if ours is None:
        if not evaluation.failures:  # a candidate that fails is not timed, and is already refused for its failures
            yield "the evaluation did not measure the candidate's time for a row"
        return
    if spec.max_milliseconds_a_row is not None and ours > spec.max_milliseconds_a_row:
        yield f"the candidate takes {ours:.2f} ms for a row, at most {spec.max_milliseconds_a_row:.2f} ms are allowed"
    if spec.max_slowdown is not None and theirs is not None and ours > spec.max_slowdown * theirs:
        yield (
            f"the candidate takes {ours:.2f} ms for a row and the champion {theirs:.2f} ms in the same job, "
            f"at most {spec.max_slowdown:g} times as long is allowed"
        )


def _recalls(evaluation: Evaluation, spec: GateSpec) -> Iterator[str]:
    """Yield the classes whose recall is below its minimum."""
    if not spec.min_recall:
        return
    classes, confusion = evaluation.classes or (), (evaluation.confusion or {}).get(CANDIDATE)
    if confusion is None:
        yield "min_recall needs a model of classes, the evaluation has none; leave it out, or declare classes in the signature"
        return
    if problem := _broken_confusion(evaluation, confusion):
        yield problem
        return
    for name, limit in sorted(spec.min_recall.items()):
        if name not in classes:
            yield f"min_recall names {name!r}, the classes are {', '.join(classes)}"
            continue
        place = classes.index(name)
        rows = sum(confusion[place])
        recall = confusion[place][place] / rows if rows else 0.0
        if recall < limit:
            yield f"the candidate finds {recall:.1%} of {rows} rows of class {name}, the minimum is {limit:.1%}"


def _broken_confusion(evaluation: Evaluation, confusion: Sequence[Sequence[int]]) -> str | None:
    size = len(evaluation.classes or ())
    counts = [count for line in confusion for count in line]
    expected = evaluation.rows - evaluation.non_finite.get(CANDIDATE, 0)
    if len(confusion) == size and len(counts) == size * size and min(counts) >= 0 and sum(counts) == expected:
        return None
    return f"the confusion must count {expected} rows in {size} by {size} cells, got {sum(counts)} in {len(counts)}"


def _broken(evaluation: Evaluation) -> Iterator[str]:
    names = set(evaluation.metrics)
    if sum(block.rows for block in evaluation.blocks) != evaluation.rows:
        yield f"the blocks have {sum(block.rows for block in evaluation.blocks)} rows, the evaluation has {evaluation.rows}"
    problem = _broken_blocks(evaluation.blocks, names, evaluation.non_finite)
    if problem is not None:
        yield problem
        return
    total: float = evaluation.rows
    if evaluation.metric in WEIGHTED:
        total = sum(block.actual_sum for block in evaluation.blocks)
    if total <= 0:
        yield "the actual values sum to 0, so there is no relative error"
        return
    for name in sorted(names):
        if evaluation.non_finite.get(name, 0):
            continue
        expected, got = loss_of(evaluation.blocks, evaluation.metric, name), evaluation.metrics[name]
        if not math.isclose(expected, got, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE):
            yield f"{evaluation.metric} of {name} is {got}, but its blocks give {expected}"
    if evaluation.periods is not None:
        yield from _broken_periods("the whole", evaluation.periods, evaluation.blocks, names)
    yield from _broken_segments(evaluation, names)


def _broken_blocks(blocks: Sequence[LossBlock], names: set[str], non_finite: Mapping[str, int]) -> str | None:
    for block in blocks:
        if set(block.absolute_error) != names:
            return f"block {block.block!r} does not have the losses of {', '.join(sorted(names))}"
        losses = [loss for name, loss in block.absolute_error.items() if not non_finite.get(name, 0)]
        values = [block.actual_sum, *losses]
        if not all(math.isfinite(value) for value in values) or min(values) < 0:
            return f"block {block.block!r} has a loss or a total that is negative or not finite"
    if len({block.block for block in blocks}) < len(blocks):
        return "a block is duplicated"
    return None


def _broken_segments(evaluation: Evaluation, names: set[str]) -> Iterator[str]:
    rows = {block.block: block.rows for block in evaluation.blocks}
    for segment in (*(evaluation.segments or ()), *(evaluation.pooled_segments or ())):
        problem = _broken_blocks(segment.blocks, names, evaluation.non_finite)
        if problem is not None:
            yield f"segment {segment.name}: {problem}"
        elif any(block.rows > rows.get(block.block, 0) for block in segment.blocks):
            yield f"segment {segment.name} has rows that its blocks do not have over all"
        elif sum(block.rows for block in segment.blocks) != segment.rows:
            yield f"segment {segment.name} has {segment.rows} rows, but its blocks have another number"
        elif (segment.periods is None) != (evaluation.periods is None):
            yield f"segment {segment.name} must have periods if and only if the evaluation has them"
        elif segment.periods is not None:
            compared = names & {CANDIDATE, CHAMPION}
            yield from _broken_periods(f"segment {segment.name}", segment.periods, segment.blocks, compared)
    yield from _broken_sums(evaluation, names & {CANDIDATE, CHAMPION})


def _broken_sums(evaluation: Evaluation, names: set[str]) -> Iterator[str]:
    """Yield inconsistencies of the segments' sums, in themselves and with the pooled segments."""
    for segment in evaluation.segment_sums or ():
        sums = [segment.actual_sum, *segment.absolute_error.values(), *(segment.actual or ())]
        if not names <= set(segment.absolute_error) or segment.rows < 1:
            yield f"segment {segment.name} must have rows and the losses of {', '.join(sorted(names))}"
        elif not all(map(math.isfinite, sums)) or min(sums) < 0:
            yield f"segment {segment.name} has a loss or a total that is negative or not finite"
        elif segment.predicted is not None and not _fits(evaluation, segment, names):
            yield f"segment {segment.name} must have a finite sum of each model's predictions for each mean of the labels"
    large = {segment.name for segment in evaluation.segments or () if is_comparable(segment)}
    small = [segment for segment in evaluation.segment_sums or () if segment.name not in large]
    pools = {pool.column: pool for pool in evaluation.pooled_segments or ()}
    for column in dict.fromkeys([*pools, *(segment.column for segment in small)]):
        wanted = sum(segment.rows for segment in small if segment.column == column)
        rows = pools[column].rows if column in pools else 0
        if rows != wanted:
            yield f"the small segments of {column} have {wanted} rows, but their pool has {rows}"


def _fits(evaluation: Evaluation, segment: SegmentSums, names: set[str]) -> bool:
    """Return whether a segment has, for each sum of labels, a finite sum of each model's predictions."""
    size, predicted = len(evaluation.label_means or ()), segment.predicted or {}
    sums = [predicted.get(name, ()) for name in names]
    return len(segment.actual or ()) == size and all(
        len(found) == size and all(map(math.isfinite, found)) for found in sums
    )


def _broken_periods(
    what: str, periods: Sequence[PeriodLosses], blocks: Sequence[LossBlock], names: set[str]
) -> Iterator[str]:
    """Yield why the losses by period do not add up to those of the blocks."""
    if len({period.period for period in periods}) < len(periods):
        yield f"{what}: a period is duplicated"
    for name in sorted(names):
        parts = [period.absolute_error.get(name, ()) for period in periods]
        if any(len(part) != len(blocks) for part in parts):
            yield f"{what}: a period does not have a loss of {name} for each of {len(blocks)} blocks"
            continue
        if not all(math.isfinite(loss) and loss >= 0 for part in parts for loss in part):
            yield f"{what}: a period has a loss of {name} that is negative or not finite"
            continue
        for index, block in enumerate(blocks):
            got = math.fsum(part[index] for part in parts)
            if not math.isclose(got, block.absolute_error[name], rel_tol=_TOLERANCE, abs_tol=_TOLERANCE):
                yield f"{what}: the loss of {name} in block {block.block!r} is not the sum over periods, {got}"
                break


def _segments(evaluation: Evaluation, spec: GateSpec) -> Iterator[str]:
    """Yield violations of segments' own limits; a limit of a segment without rows in the holdout is a violation, too."""
    present = {segment.name: segment for segment in evaluation.segments or ()}
    for name, limit in sorted((spec.segments or {}).items()):
        if name in present:
            yield from _segment(evaluation, present[name], limit)
        elif name in (evaluation.segments_left_out or ()):
            yield f"segment {name} has limits but too few rows to be among those that are measured"
        else:
            yield f"segment {name} has limits but no rows in the holdout"


def _segment(evaluation: Evaluation, segment: SegmentLosses, limit: SegmentLimit) -> Iterator[str]:
    if limit.minimum_rows is not None and segment.rows < limit.minimum_rows:
        yield f"{segment.rows} rows where {segment.name} are fewer than the minimum {limit.minimum_rows}"
    if limit.maximum_loss is None:
        return
    loss = loss_of(segment.blocks, evaluation.metric, CANDIDATE)
    if not loss <= limit.maximum_loss:
        yield (
            f"the candidate's {evaluation.metric} {loss:.4f} where {segment.name} is above the maximum {limit.maximum_loss:.4f}"
        )
