"""The gate: who passes, who does not, and that its interval covers what it says."""

import math
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.model import Evaluation, GateResult, GateVerdict, LossBlock
from mlops_runtime.contracts.retraining import GateSpec
from mlops_runtime.retraining.gate import UNBOUNDED, evaluate_gate, intervals

SPEC = GateSpec(resamples=400)


def _evaluation(losses: dict[str, Sequence[float]], **changes: Any) -> Evaluation:
    count = len(losses["candidate"])
    blocks = tuple(
        LossBlock(
            block=str(i),
            rows=10,
            actual_sum=100.0,
            absolute_error={name: values[i] for name, values in losses.items()},
        )
        for i in range(count)
    )
    made = Evaluation(
        metric="wape",
        metrics={name: sum(values) / (100.0 * count) for name, values in losses.items()},
        blocks=blocks,
        rows=10 * count,
        trained_until="2017-07-01",
        holdout_from="2017-07-01",
        holdout_until="2017-08-01",
        artifact_sha256="a" * 64,
        model_sha256="b" * 64,
        training_set_id="t",
        baseline_uri="s3://b/baseline.json",
        non_finite=dict.fromkeys(losses, 0),
    )
    return replace(made, **changes)


def _noisy(seed: int, level: float, count: int = 60, spread: float = 3.0) -> list[float]:
    generator = random.Random(seed)
    return [max(0.1, generator.gauss(level, spread)) for _ in range(count)]


def _gate(evaluation: Evaluation, spec: GateSpec = SPEC) -> GateResult:
    return evaluate_gate(evaluation, spec, uri="s3://b/evaluation.json", sha256="f" * 64)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_a_clearly_better_candidate_passes(seed: int) -> None:
    """A third less loss than the baseline and no worse than the champion."""
    losses = {"candidate": _noisy(seed, 20), "champion": _noisy(seed + 1, 25), "naive": _noisy(seed + 2, 30)}
    result = _gate(_evaluation(losses))
    assert result.verdict is GateVerdict.PASSED
    assert {check.rival for check in result.checks} == {"champion", "naive"}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_an_equal_candidate_does_not_beat_a_baseline(seed: int) -> None:
    """The same losses: the interval does not exclude 0."""
    losses = _noisy(seed, 20)
    result = _gate(_evaluation({"candidate": losses, "naive": losses}))
    assert result.verdict is GateVerdict.FAILED
    assert result.checks[0].low == result.checks[0].high == 0.0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_a_worse_candidate_never_passes(seed: int) -> None:
    """A tenth more loss in every block."""
    losses = _noisy(seed, 20)
    result = _gate(_evaluation({"candidate": [1.1 * loss for loss in losses], "naive": losses}))
    assert result.verdict is GateVerdict.FAILED
    assert result.checks[0].low == pytest.approx(0.1)


def test_an_interval_that_straddles_zero_is_not_enough() -> None:
    """Better on the holdout by chance: the lower bound is below 0, the upper is not."""
    result = _gate(_evaluation({"candidate": [10.0, 29.5] * 30, "naive": [20.0] * 60}))
    assert result.checks[0].rival == "naive"
    assert result.checks[0].low < 0 < result.checks[0].high
    assert result.verdict is GateVerdict.FAILED


def test_every_baseline_must_be_beaten() -> None:
    """One beaten and one not is not enough."""
    result = _gate(_evaluation({"candidate": _noisy(1, 20), "weak": _noisy(2, 40), "strong": _noisy(3, 15)}))
    assert [(check.rival, check.passed) for check in result.checks] == [("strong", False), ("weak", True)]
    assert result.verdict is GateVerdict.FAILED
    assert result.reason.startswith("loss against strong")


def test_the_champion_bounds_the_regression() -> None:
    """One percent worse is within the two percent that are allowed, four percent is not."""
    champion = _noisy(1, 20)
    for factor, verdict in [(1.01, GateVerdict.PASSED), (1.04, GateVerdict.FAILED)]:
        losses = {"candidate": [factor * x for x in champion], "champion": champion, "naive": [2 * x for x in champion]}
        assert _gate(_evaluation(losses)).verdict is verdict


def test_a_first_model_has_no_champion() -> None:
    """Only baselines are compared."""
    result = _gate(_evaluation({"candidate": _noisy(1, 20), "naive": _noisy(2, 30)}))
    assert [check.rival for check in result.checks] == ["naive"]
    assert result.verdict is GateVerdict.PASSED


def test_a_champion_that_fails_to_predict_is_no_reason_to_keep_it() -> None:
    """It is named and not compared; the baselines still are."""
    losses = {"candidate": _noisy(1, 20), "champion": _noisy(2, 1), "naive": _noisy(3, 30)}
    result = _gate(_evaluation(losses, non_finite={"champion": 3}))
    assert result.verdict is GateVerdict.PASSED
    assert "the champion has no finite prediction for 3 rows" in result.reason


GOOD = {"candidate": _noisy(1, 20), "naive": _noisy(2, 30)}


@pytest.mark.parametrize(
    ("changes", "spec", "message"),
    [
        ({"non_finite": {"candidate": 1}}, SPEC, "candidate has no finite prediction for 1 rows"),
        ({"non_finite": {"naive": 2}}, SPEC, "naive has no finite prediction for 2 rows"),
        ({}, replace(SPEC, minimum_rows=601), "600 rows are fewer than the minimum 601"),
        ({}, replace(SPEC, maximum_loss=0.1), "is above the maximum 0.1000"),
        ({"metrics": {"candidate": math.nan, "naive": 0.3}}, SPEC, "the candidate's wape is nan"),
        ({"metrics": {"naive": 0.3}}, SPEC, "the evaluation has no candidate"),
        (
            {"metrics": {"candidate": 0.01, "naive": 0.3}},
            SPEC,
            "wape of candidate is given as 0.01, but its blocks make",
        ),
        ({"rows": 599}, replace(SPEC, minimum_rows=1), "the blocks hold 600 rows, the evaluation 599"),
    ],
)
def test_fails_when_the_evaluation_gives_no_ground(changes: dict[str, Any], spec: GateSpec, message: str) -> None:
    """Missing predictions, too little data, too much loss, numbers that do not agree: nothing is compared."""
    result = _gate(_evaluation(GOOD, **changes), spec)
    assert result.verdict is GateVerdict.FAILED
    assert message in result.reason
    assert result.checks == ()


def test_fails_without_a_baseline() -> None:
    """A model that nothing naive is compared with has shown nothing."""
    losses = {"candidate": _noisy(1, 20), "champion": _noisy(2, 30)}
    assert "no naive baseline to beat" in _gate(_evaluation(losses)).reason


def test_fails_with_few_blocks() -> None:
    """Nine blocks say too little about the spread."""
    losses = {"candidate": _noisy(1, 20, 9), "naive": _noisy(2, 30, 9)}
    assert "9 blocks are fewer than the 10" in _gate(_evaluation(losses), replace(SPEC, minimum_rows=1)).reason


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_fails_when_a_block_is_broken(value: float) -> None:
    """A loss that is no loss is a failure, never a zero."""
    evaluation = _evaluation(GOOD)
    broken = replace(evaluation.blocks[3], absolute_error={"candidate": value, "naive": 1.0})
    result = _gate(replace(evaluation, blocks=(*evaluation.blocks[:3], broken, *evaluation.blocks[4:])))
    assert "block '3' has a loss or a total that is negative or not finite" in result.reason
    canonical_json(result)


def test_fails_when_a_block_lacks_a_rival() -> None:
    """A rival that is missing from some blocks cannot be compared in pairs."""
    evaluation = _evaluation(GOOD)
    broken = replace(evaluation.blocks[0], absolute_error={"candidate": 1.0})
    assert (
        "block '0' does not have the losses"
        in _gate(replace(evaluation, blocks=(broken, *evaluation.blocks[1:]))).reason
    )


def test_fails_when_there_is_nothing_to_predict() -> None:
    """No relative error of nothing."""
    evaluation = _evaluation(GOOD)
    blocks = tuple(replace(block, actual_sum=0.0) for block in evaluation.blocks)
    assert "sum to nothing" in _gate(replace(evaluation, blocks=blocks)).reason


def test_a_rival_without_any_loss_cannot_be_beaten() -> None:
    """The result stays a JSON document."""
    result = _gate(_evaluation({"candidate": _noisy(1, 20), "perfect": [0.0] * 60}))
    assert result.verdict is GateVerdict.FAILED
    assert result.checks[0].high == UNBOUNDED
    canonical_json(result)


def test_the_same_evaluation_gives_the_same_result() -> None:
    """Seeded; anyone can repeat it."""
    assert canonical_json(_gate(_evaluation(GOOD))) == canonical_json(_gate(_evaluation(GOOD)))
    assert _gate(_evaluation(GOOD)) != _gate(_evaluation(GOOD), replace(SPEC, seed=8))


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """True difference -10 %; of 300 simulated evaluations with 60 blocks about 95 % must have it in their interval.

    The blocks' own level is shared by both, so that pairing matters. Three standard errors of a share of 300 at 0.95 are 3.8
    points; the percentile interval is known to be a little short at 60 blocks.
    """
    generator, inside, runs = random.Random(11), 0, 300
    for run in range(runs):
        blocks = []
        for i in range(60):
            level = generator.gammavariate(4, 5)
            theirs = level * generator.uniform(0.8, 1.2)
            ours = 0.9 * level * generator.uniform(0.8, 1.2)
            losses = {"candidate": ours, "naive": theirs}
            blocks.append(LossBlock(block=str(i), rows=1, actual_sum=1.0, absolute_error=losses))
        low, high = intervals(blocks, ["naive"], confidence=0.95, resamples=200, seed=run)["naive"]
        inside += low <= -0.1 <= high
    assert 0.90 <= inside / runs <= 0.99


def test_pairing_makes_the_interval_narrow() -> None:
    """Blocks of very different size, a constant difference: the paired interval has no width at all."""
    theirs = [float(10 ** (i % 4)) for i in range(40)]
    blocks = [
        LossBlock(block=str(i), rows=1, actual_sum=1.0, absolute_error={"candidate": 0.9 * t, "naive": t})
        for i, t in enumerate(theirs)
    ]
    low, high = intervals(blocks, ["naive"], confidence=0.95, resamples=200, seed=1)["naive"]
    assert (low, high) == (pytest.approx(-0.1), pytest.approx(-0.1))


def test_is_fast_enough_for_a_small_function() -> None:
    """Default resamples, 100 blocks, champion and two baselines: under 2 s of processor time."""
    losses = {name: _noisy(i, 20 + 5 * i, 100) for i, name in enumerate(["candidate", "champion", "mean", "last_week"])}
    started = time.process_time()
    _gate(_evaluation(losses), GateSpec())
    assert time.process_time() - started < 2
