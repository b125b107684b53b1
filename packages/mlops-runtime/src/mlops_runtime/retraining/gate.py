"""Whether a candidate may be registered: absolute limits, naive baselines, the champion over all and by segment.

Over all rows the burden of proof is the candidate's: the whole interval must lie below what is allowed. By segment it is not, for
with many small segments chance alone would refuse every good candidate: a segment refuses one that is shown to be worse there, at a
level divided by the number of segments (Bonferroni), so that the chance that any of them refuses a candidate within its limit
stays below that level. Of Holm's procedure only the first step can refuse a candidate, and that is Bonferroni's.

Where the evaluation keeps the holdout's periods apart, an interval knows that weeks differ too (`two_way`).

See: S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979).
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from mlops_runtime.contracts.model import Evaluation, GateCheck, GateResult, GateVerdict, SegmentLosses
from mlops_runtime.contracts.retraining import GateSpec, SegmentLimit
from mlops_runtime.retraining.bootstrap import CANDIDATE, UNBOUNDED, Bound, intervals, segment_bounds
from mlops_runtime.retraining.evidence import loss_of, problems
from mlops_runtime.retraining.two_way import MINIMUM_PERIODS, two_way_bound

CHAMPION = "champion"
MINIMUM_BLOCKS = 10  # with fewer, resamples of blocks say too little about the spread
_MAXIMUM_REASON = 1500


def evaluate_gate(
    evaluation: Evaluation, spec: GateSpec, *, uri: str, sha256: str, now: datetime | None = None
) -> GateResult:
    """Return the verdict with every comparison that it rests on.

    Every baseline must be beaten: the interval lies below 0. The champion, if there is one, must not be beaten by more than
    ``max_regression`` in the interval's upper bound, and by no segment in the lower bound of its own. An evaluation that does not
    hold together fails, without a comparison.

    Args:
        evaluation: What the evaluation job measured.
        spec: Limits, confidence, resamples, seed.
        uri: Where the evaluation was read.
        sha256: Hash of its bytes.
        now: The time of the decision; a holdout that ends later is made up. Default: it is not compared.
    """
    found = [*problems(evaluation, spec, now), *_too_few(evaluation)]
    checks = () if found else (*_checks(evaluation, spec), *_segment_checks(evaluation, spec))
    failures = found + [check.reason for check in checks if not check.passed]
    return GateResult(
        verdict=GateVerdict.FAILED if failures else GateVerdict.PASSED,
        checks=checks,
        evaluation_uri=uri,
        evaluation_sha256=sha256,
        reason=_shortened("; ".join(failures) if failures else _success(checks, evaluation)),
    )


def _too_few(evaluation: Evaluation) -> Iterator[str]:
    if len(evaluation.blocks) < MINIMUM_BLOCKS:
        yield f"{len(evaluation.blocks)} blocks are fewer than the {MINIMUM_BLOCKS} that an interval needs"
    if evaluation.periods is not None and len(evaluation.periods) < MINIMUM_PERIODS:
        yield (
            f"{len(evaluation.periods)} periods are fewer than the {MINIMUM_PERIODS} that an interval over periods needs; "
            "hold out more of them"
        )


def _checks(evaluation: Evaluation, spec: GateSpec) -> Iterator[GateCheck]:
    rivals = sorted(name for name in evaluation.metrics if name != CANDIDATE)
    # a champion that cannot predict every row has no loss to compare; it is no reason to keep it
    silent = evaluation.non_finite.get(CHAMPION, 0)
    compared = [rival for rival in rivals if rival != CHAMPION or silent == 0]
    bounds = _bounds(evaluation, compared, spec)
    for rival in compared:
        low, high = bounds[rival].low, bounds[rival].high
        limit = spec.max_regression if rival == CHAMPION else 0.0
        passed = high < limit
        yield GateCheck(
            rival=rival,
            passed=passed,
            low=low,
            high=high,
            limit=limit,
            reason=f"loss against {rival} {low:+.1%} to {high:+.1%}, must be below {limit:+.1%}",
        )
    if silent:
        reason = f"the champion has no finite prediction for {silent} rows and is not compared"
        yield GateCheck(
            rival=CHAMPION, passed=True, low=-UNBOUNDED, high=-UNBOUNDED, limit=spec.max_regression, reason=reason
        )


def _bounds(evaluation: Evaluation, rivals: Sequence[str], spec: GateSpec) -> dict[str, Bound]:
    if evaluation.periods is not None:
        tail = (1 - spec.confidence) / 2
        return {rival: two_way_bound(evaluation.periods, rival, tail=tail) for rival in rivals}
    found = intervals(evaluation.blocks, rivals, confidence=spec.confidence, resamples=spec.resamples, seed=spec.seed)
    return {rival: Bound(low=low, high=high) for rival, (low, high) in found.items()}


def _segment_checks(evaluation: Evaluation, spec: GateSpec) -> Iterator[GateCheck]:
    if CHAMPION not in evaluation.metrics or evaluation.non_finite.get(CHAMPION, 0):
        return
    segments = [segment for segment in evaluation.segments or () if _is_comparable(segment)]
    if not segments:
        return
    bounds = _segment_bounds(evaluation, segments, spec)
    for segment in segments:
        low, high = bounds[segment.name].low, bounds[segment.name].high
        limit = _segment_regression(spec, segment)
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


def _segment_bounds(evaluation: Evaluation, segments: Sequence[SegmentLosses], spec: GateSpec) -> dict[str, Bound]:
    tail = (1 - spec.confidence) / 2 / len(segments)
    if evaluation.periods is not None:
        return {segment.name: two_way_bound(segment.periods or (), CHAMPION, tail=tail) for segment in segments}
    return segment_bounds(evaluation.blocks, segments, CHAMPION, tail=tail, resamples=spec.resamples, seed=spec.seed)


def _is_comparable(segment: SegmentLosses) -> bool:
    """Return whether a segment has enough blocks, and periods where they are kept apart, for an interval."""
    return len(segment.blocks) >= MINIMUM_BLOCKS and (
        segment.periods is None or len(segment.periods) >= MINIMUM_PERIODS
    )


def _segment_regression(spec: GateSpec, segment: SegmentLosses) -> float:
    own = (spec.segments or {}).get(segment.name, SegmentLimit()).max_regression
    common = spec.max_regression if spec.max_segment_regression is None else spec.max_segment_regression
    return common if own is None else own


def _success(checks: Sequence[GateCheck], evaluation: Evaluation) -> str:
    parts = [f"{evaluation.metric} {loss_of(evaluation.blocks, evaluation.metric, CANDIDATE):.4f}"]
    parts += [check.reason for check in checks if check.segment is None]
    if evaluation.segments:
        compared = sum(check.segment is not None for check in checks)
        parts.append(f"{compared} of {len(evaluation.segments)} segments compared, none worse than allowed")
    return "; ".join(parts)


def _shortened(reason: str) -> str:
    return reason if len(reason) <= _MAXIMUM_REASON else f"{reason[:_MAXIMUM_REASON]}..."
