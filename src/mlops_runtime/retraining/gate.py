"""Whether a candidate may be registered: a paired block bootstrap against naive baselines and the champion.

Rows of one block (a store, a week) are not independent, so whole blocks are drawn with replacement, the same ones for the candidate
and every rival. The statistic is (candidate loss - rival loss) / rival loss; on the same rows the denominators of WAPE
cancel. The interval is the percentile interval of the resamples. Standard library only.

See: B. Efron, R. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; for blocks H. Kuensch, Annals of Statistics 17
(1989).
"""

import math
import random
from collections.abc import Iterator, Mapping, Sequence

from mlops_runtime.contracts.model import Evaluation, GateCheck, GateResult, GateVerdict, LossBlock
from mlops_runtime.contracts.retraining import GateSpec

CANDIDATE = "candidate"
CHAMPION = "champion"
MINIMUM_BLOCKS = 10  # with fewer, resamples of blocks say too little about the spread
UNBOUNDED = 1e9  # the relative difference to a rival without any loss; JSON has no infinity

_TOLERANCE = 1e-6  # relative, between an evaluation's totals and its blocks


def evaluate_gate(evaluation: Evaluation, spec: GateSpec, *, uri: str, sha256: str) -> GateResult:
    """Return the verdict with every comparison that it rests on.

    Every baseline must be beaten: the interval lies below 0. The champion, if there is one, must not be beaten by more than
    ``max_regression`` in the interval's upper bound. An evaluation that does not hold together fails, without a comparison.

    Args:
        evaluation: What the evaluation job measured.
        spec: Limits, confidence, resamples, seed.
        uri: Where the evaluation was read.
        sha256: Hash of its bytes.
    """
    problems = list(_problems(evaluation, spec))
    checks = () if problems else tuple(_checks(evaluation, spec))
    failures = problems + [check.reason for check in checks if not check.passed]
    return GateResult(
        verdict=GateVerdict.FAILED if failures else GateVerdict.PASSED,
        checks=checks,
        evaluation_uri=uri,
        evaluation_sha256=sha256,
        reason="; ".join(failures) if failures else _success(checks),
    )


def intervals(
    blocks: Sequence[LossBlock], rivals: Sequence[str], *, confidence: float, resamples: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Return the interval of the relative loss difference to each rival.

    Example:
        >>> blocks = [LossBlock(block=str(i), rows=10, actual_sum=100.0,
        ...                     absolute_error={"candidate": 10.0 + i % 3, "naive": 20.0 + i % 3}) for i in range(50)]
        >>> low, high = intervals(blocks, ["naive"], confidence=0.95, resamples=500, seed=7)["naive"]
        >>> -0.5 < low < high < -0.45
        True
    """
    generator = random.Random(seed)  # noqa: S311 - a seeded draw that anyone can repeat is what is wanted
    count = len(blocks)
    ours = [block.absolute_error[CANDIDATE] for block in blocks]
    theirs = {rival: [block.absolute_error[rival] for block in blocks] for rival in rivals}
    draws: dict[str, list[float]] = {rival: [] for rival in rivals}
    for _ in range(resamples):
        chosen = generator.choices(range(count), k=count)
        mine = sum([ours[i] for i in chosen])
        for rival in rivals:
            losses = theirs[rival]
            draws[rival].append(_relative(mine, sum([losses[i] for i in chosen])))
    tail = (1 - confidence) / 2
    return {rival: (_quantile(sorted(d), tail), _quantile(sorted(d), 1 - tail)) for rival, d in draws.items()}


def _checks(evaluation: Evaluation, spec: GateSpec) -> Iterator[GateCheck]:
    rivals = sorted(name for name in evaluation.metrics if name != CANDIDATE)
    # a champion that cannot predict every row has no loss to compare; it is no reason to keep it
    silent = evaluation.non_finite.get(CHAMPION, 0)
    compared = [rival for rival in rivals if rival != CHAMPION or silent == 0]
    bounds = intervals(
        evaluation.blocks, compared, confidence=spec.confidence, resamples=spec.resamples, seed=spec.seed
    )
    for rival in compared:
        low, high = bounds[rival]
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


def _problems(evaluation: Evaluation, spec: GateSpec) -> Iterator[str]:
    names, loss = set(evaluation.metrics), evaluation.metrics.get(CANDIDATE)
    if loss is None:
        yield "the evaluation has no candidate"
    elif not math.isfinite(loss):
        yield f"the candidate's {evaluation.metric} is {loss}"
    elif spec.maximum_loss is not None and loss > spec.maximum_loss:
        yield f"the candidate's {evaluation.metric} {loss:.4f} is above the maximum {spec.maximum_loss:.4f}"
    if not names - {CANDIDATE, CHAMPION}:
        yield "the evaluation has no naive baseline to beat"
    if evaluation.rows < spec.minimum_rows:
        yield f"{evaluation.rows} rows are fewer than the minimum {spec.minimum_rows}"
    if len(evaluation.blocks) < MINIMUM_BLOCKS:
        yield f"{len(evaluation.blocks)} blocks are fewer than the {MINIMUM_BLOCKS} that an interval needs"
    yield from evaluation.failures or ()
    for name, count in sorted(evaluation.non_finite.items()):
        if count and name != CHAMPION:
            yield f"{name} has no finite prediction for {count} rows"
    yield from _broken(evaluation, names)


def _broken(evaluation: Evaluation, names: set[str]) -> Iterator[str]:
    if sum(block.rows for block in evaluation.blocks) != evaluation.rows:
        yield f"the blocks hold {sum(block.rows for block in evaluation.blocks)} rows, the evaluation {evaluation.rows}"
    for block in evaluation.blocks:
        if set(block.absolute_error) != names:
            yield f"block {block.block!r} does not have the losses of {', '.join(sorted(names))}"
            return
        values = [block.actual_sum, *_finite_of(block.absolute_error, evaluation.non_finite)]
        if not all(math.isfinite(value) for value in values) or min(values) < 0:
            yield f"block {block.block!r} has a loss or a total that is negative or not finite"
            return
    total: float = evaluation.rows
    if evaluation.metric == "wape":
        total = sum(block.actual_sum for block in evaluation.blocks)
    if total <= 0:
        yield "the actual values sum to nothing, so there is no relative error"
        return
    for name in sorted(names):
        if evaluation.non_finite.get(name, 0):
            continue
        expected, got = sum(block.absolute_error[name] for block in evaluation.blocks) / total, evaluation.metrics[name]
        if not math.isclose(expected, got, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE):
            yield f"{evaluation.metric} of {name} is given as {got}, but its blocks make {expected}"


def _finite_of(losses: Mapping[str, float], non_finite: Mapping[str, int]) -> list[float]:
    return [loss for name, loss in losses.items() if not non_finite.get(name, 0)]


def _relative(mine: float, theirs: float) -> float:
    if theirs == 0:
        return 0.0 if mine == 0 else UNBOUNDED
    return (mine - theirs) / theirs


def _quantile(ordered: Sequence[float], share: float) -> float:
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def _success(checks: Sequence[GateCheck]) -> str:
    return "; ".join(check.reason for check in checks)
