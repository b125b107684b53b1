"""Two runs over one holdout: the gate's interval, and incomparable runs."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from mlops_runtime.contracts.model import Evaluation, PeriodLosses
from mlops_runtime.contracts.retraining import GateSpec
from mlops_runtime.contracts.unit_entries import PipelineEntry
from mlops_runtime.retraining.loss_intervals import intervals
from mlops_runtime.retraining.registration_gate import evaluate_gate
from mlops_runtime.retraining.run_comparison import RunComparison, RunError, compared

PIPELINE = PipelineEntry(
    pipeline="demand-forecast", unit="demand", group="g", retraining_table="t", retrain_machine="m", queue_url="q"
)
NAIVE = [30.0 + i % 4 for i in range(20)]
FIRST, SECOND = [20.0 + i % 3 for i in range(20)], [15.0 + i % 3 for i in range(20)]
Make = Callable[..., Evaluation]


def _compare(first: Evaluation | None, second: Evaluation | None, **changes: Any) -> RunComparison:
    given: dict[str, Any] = {"hyperparameters": ({}, {}), "training": ({}, {})}
    return compared(PIPELINE, ids=("run-1", "run-2"), evaluations=(first, second), **given | changes)


def _of(make: Make, losses: Sequence[float], **changes: Any) -> Evaluation:
    return make({"candidate": losses, "naive": NAIVE}, **changes)


def test_the_interval_is_the_gates(evaluation: Make) -> None:
    """As if the first run were the champion of the second."""
    found = _compare(_of(evaluation, FIRST), _of(evaluation, SECOND))
    both = evaluation({"candidate": SECOND, "champion": FIRST, "naive": NAIVE})
    gate = evaluate_gate(both, GateSpec(), uri="s3://b/e", sha256="f" * 64)
    check = next(each for each in gate.checks if each.rival == "champion" and each.segment is None)
    assert (found.low, found.high) == (check.low, check.high)
    assert found.verdict == "run-2 is better"
    assert found.difference == pytest.approx(sum(SECOND) / sum(FIRST) - 1)
    assert (found.first_loss, found.second_loss) == (sum(FIRST) / 2000, sum(SECOND) / 2000)
    assert found.rivals == {"naive": sum(NAIVE) / 2000}


def test_the_pipelines_confidence_counts(evaluation: Make) -> None:
    """From its entry, with resamples and seed."""
    one, other = _of(evaluation, FIRST), _of(evaluation, [18.0 + (7 * i) % 5 for i in range(20)])
    pipeline = replace(PIPELINE, confidence=0.8, resamples=200, seed=3)
    found = compared(pipeline, ids=("a", "b"), evaluations=(one, other), hyperparameters=({}, {}), training=({}, {}))
    blocks = evaluation({"candidate": [18.0 + (7 * i) % 5 for i in range(20)], "champion": FIRST}).blocks
    assert (found.low, found.high) == intervals(blocks, ["champion"], confidence=0.8, resamples=200, seed=3)["champion"]
    assert found.confidence == 0.8


def test_periods_count_where_both_have_them(evaluation: Make) -> None:
    """Different periods are rejected."""

    def weeks(losses: Sequence[float], count: int = 5) -> tuple[PeriodLosses, ...]:
        return tuple(
            PeriodLosses(
                period=str(week),
                absolute_error={
                    "candidate": tuple(loss / count * (1 + 0.01 * week) for loss in losses),
                    "naive": tuple(loss / count for loss in NAIVE),
                },
            )
            for week in range(count)
        )

    one = _of(evaluation, FIRST, periods=weeks(FIRST))
    found = _compare(one, _of(evaluation, SECOND, periods=weeks(SECOND)))
    assert found.low < found.difference < found.high < 0
    with pytest.raises(RunError, match="cut into different periods"):
        _compare(one, _of(evaluation, SECOND, periods=weeks(SECOND, 6)))
    with pytest.raises(RunError, match="3 periods are fewer than the 4"):
        _compare(_of(evaluation, FIRST, periods=weeks(FIRST, 3)), _of(evaluation, SECOND, periods=weeks(SECOND, 3)))


def test_neither_or_the_first_may_be_better(evaluation: Make) -> None:
    """An interval around 0 shows no difference."""
    one, other = _of(evaluation, FIRST), _of(evaluation, SECOND)
    assert _compare(one, one).verdict == "neither is shown to be better"
    assert _compare(other, one).verdict == "run-1 is better"


def test_segments_and_what_differs_are_said(evaluation: Make) -> None:
    """Equal hyperparameters are omitted; all metrics of the scripts are listed."""
    segments = {"store=a": {"candidate": FIRST, "naive": NAIVE}}
    others = {"store=a": {"candidate": SECOND, "naive": NAIVE}, "store=b": {"candidate": SECOND, "naive": NAIVE}}
    found = _compare(
        _of(evaluation, FIRST, segments=segments),
        _of(evaluation, SECOND, segments=others),
        hyperparameters=({"depth": "3", "seed": "1"}, {"depth": "5", "seed": "1", "rate": "0.1"}),
        training=({"rmse": 1.0}, {"rmse": 0.5, "r2": 0.9}),
    )
    assert [(s.segment, s.first > s.second) for s in found.segments] == [("store=a", True)]
    assert found.hyperparameters == {"depth": ("3", "5"), "rate": (None, "0.1")}
    assert found.training == {"r2": (None, 0.9), "rmse": (1.0, 0.5)}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"metric": "mae"}, "run-1 is measured by wape, run-2 by mae"),
        (
            {"holdout_until": "2017-09-01"},
            "the holdouts differ: run-1 has 200 rows from 2017-07-01 to 2017-08-01, run-2",
        ),
        ({"non_finite": {"candidate": 4}}, "run-2 has no finite prediction for 4 of 200 rows"),
    ],
)
def test_other_holdouts_are_refused_with_the_reason(evaluation: Make, changes: dict[str, Any], problem: str) -> None:
    """Losses on different rows are not comparable."""
    with pytest.raises(RunError, match=problem):
        _compare(_of(evaluation, FIRST), _of(evaluation, SECOND, **changes))


def test_other_labels_of_the_same_time_are_another_holdout(evaluation: Make) -> None:
    """Recognised by the naive baselines' losses per block; other blocks are rejected too."""
    one = _of(evaluation, FIRST)
    other = evaluation({"candidate": SECOND, "naive": [*NAIVE[:-1], 99.0]})
    with pytest.raises(RunError, match="labels or baselines of block '19' are not the same in both runs"):
        _compare(one, other)
    turned = _of(evaluation, SECOND)
    with pytest.raises(RunError, match="cut into different blocks"):
        _compare(one, replace(turned, blocks=turned.blocks[::-1]))


def test_runs_of_different_metric_functions_are_not_compared(evaluation: Make) -> None:
    """Their losses differ in meaning; runs with the same function are comparable."""
    first, second = (
        _of(evaluation, losses, metric="custom_loss", metric_sha256="1" * 64) for losses in (FIRST, SECOND)
    )
    assert _compare(first, second).metric == "custom_loss"
    with pytest.raises(RunError, match="run-1 and run-2 are measured by different metric functions"):
        _compare(first, replace(second, metric_sha256="2" * 64))


def test_what_was_not_measured_cannot_be_compared(evaluation: Make) -> None:
    """The error has the run and the command that shows the reason."""
    one = _of(evaluation, FIRST)
    with pytest.raises(RunError, match="run-2 has no evaluation to compare; see why: mlops runs show run-2"):
        _compare(one, None)
    with pytest.raises(RunError, match="run-1 and run-2 have no evaluation"):
        _compare(None, None)
    few = evaluation({"candidate": FIRST[:5], "naive": NAIVE[:5]})
    with pytest.raises(RunError, match="5 blocks are fewer than the 10"):
        _compare(few, few)
