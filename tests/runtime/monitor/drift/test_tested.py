"""What was not compared is not OK: clusters worth too little, conditions that nobody knows, times that nobody sent."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from tests.runtime.monitor.test_report import report_of
from tests.runtime.monitor.timeline import LIVE

from mlops_runtime.contracts.monitor import Baseline, Condition, Counts, FeatureDrift, MonitorState
from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.counting.counts import count_columns
from mlops_runtime.monitor.drift.decide import decide
from mlops_runtime.monitor.drift.persistence import persist
from mlops_runtime.monitor.drift.replay import replay
from mlops_runtime.monitor.drift.tested import any_tested
from mlops_runtime.monitor.evidence import Evidence, Traffic
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.verdict import verdict
from mlops_runtime.monitor.window import HOUR

SPEC = MonitorSpec(merge_hours=0)
TRAINED = 20_000
START = datetime(2017, 8, 7, tzinfo=UTC)
TYPES = {"price": "number", "promo": "category"}
TIMES = np.datetime64("2017-01-02T00:00:00") + np.arange(TRAINED) * np.timedelta64(600, "s")


def prices(rows: int, *, clusters: int | None = None) -> np.ndarray:
    """Return prices that vary by row, or by cluster alone."""
    random = np.random.default_rng(rows)
    return (
        random.lognormal(size=rows)
        if clusters is None
        else np.repeat(random.lognormal(size=clusters), rows // clusters)
    )


def states_of(baseline: Baseline, counts: Counts) -> tuple[MonitorState, str]:
    """Return the state and what people read of it; a replay of the same hour gives the same state."""
    features = persist([one.drift for one in decide(baseline, counts, SPEC)], [], SPEC)
    traffic = Traffic(invocations=9, counted=1, rows=counts.rows)
    live = replace(LIVE, training_set_id=baseline.training_set_id)
    evidence = Evidence(
        live=live, baseline=baseline, traffic=traffic, rows=counts.rows, counts=counts, features=features
    )
    report = report_of(evidence, SPEC)
    [replayed] = replay(baseline, [(START, counts)], SPEC, window_hours=1, every_hours=1, start=START, end=START + HOUR)
    assert replayed.state is report.drift_state
    return report.drift_state, verdict(report).removeprefix("demand-forecast: ")


def fit(**options: object) -> Baseline:
    """Return a baseline of prices, half of them promoted."""
    columns = {"price": prices(TRAINED), "promo": ["yes", "no"] * (TRAINED // 2), **options.pop("columns", {})}  # type: ignore[dict-item]
    return fit_baseline(columns, types=TYPES, training_set_id="t", created="2017-08-01T00:00:00Z", **options)  # type: ignore[arg-type]


def test_clusters_that_are_worth_too_few_rows() -> None:
    """Five stores of a thousand equal rows."""
    clustered = {"price": prices(TRAINED, clusters=20), "promo": np.repeat(["yes", "no"] * 10, 1000).tolist()}
    baseline = fit(columns=clustered, clusters=np.arange(TRAINED) // 1000)
    counts = count_columns({"price": prices(5000, clusters=5) * 100, "promo": ["new"] * 5000}, baseline)
    state, said = states_of(baseline, counts)
    assert state is MonitorState.INSUFFICIENT_DATA
    assert said.startswith(
        "no feature could be tested in 5,000 rows, price: 5000 values of the window come in clusters"
    )


@pytest.mark.parametrize(
    ("unknown", "expected", "said"),
    [
        (5000, MonitorState.INSUFFICIENT_DATA, "5,000 of 5,000 rows are of conditions that the baseline does not know: the "),
        (4900, MonitorState.INSUFFICIENT_DATA, "4,900 of 5,000 rows are of conditions that the baseline does not know: the "),
        (3000, MonitorState.OK, "no drift in 2,000 rows, 3,000 more are of conditions that the baseline does not know"),
        (0, MonitorState.OK, "no drift in 5,000 rows; no labels yet"),
    ],
)  # fmt: skip
def test_conditions_that_the_baseline_does_not_know(unknown: int, expected: MonitorState, said: str) -> None:
    """Only what was compared is told as compared."""
    baseline = fit(conditions=[Condition(name="promo")])
    promo = ["flash"] * unknown + ["yes", "no"] * ((5000 - unknown) // 2)
    state, found = states_of(baseline, count_columns({"price": prices(5000), "promo": promo}, baseline))
    assert state is expected
    assert found.startswith(said)


def test_a_drift_among_few_that_can_be_compared_names_the_others() -> None:
    """Half of the rows and more are not among those that drift."""
    baseline = fit(conditions=[Condition(name="promo")])
    price = np.append(prices(3000), 3 * prices(2000))
    counts = count_columns({"price": price, "promo": ["flash"] * 3000 + ["yes", "no"] * 1000}, baseline)
    state, said = states_of(baseline, counts)
    assert state is MonitorState.OK
    assert said.startswith("drift in this window, not yet in 2 of 3: price")
    assert "; 3,000 of 5,000 rows are of conditions that the baseline does not know; no labels yet" in said


def test_hours_of_the_week_without_times() -> None:
    """Captures without a time are of no hour."""
    baseline = fit(conditions=[Condition(name="hour", kind="hour_of_week")], times=TIMES)
    counts = count_columns({"price": prices(5000), "promo": ["yes"] * 5000}, baseline)
    state, said = states_of(baseline, counts)
    assert state is MonitorState.INSUFFICIENT_DATA
    assert said.startswith("5,000 of 5,000 rows are of conditions")


def test_predictions_alone_count_where_they_are_all_that_was_asked_for() -> None:
    """A spec may name the prediction alone; null patterns never say that anything was compared."""
    baseline = replace(fit(), prediction=replace(fit().features[0], name="prediction"))
    of = {n: FeatureDrift(name=n, psi=0, p_value=1, drifted=False) for n in ("price", "prediction", "null_patterns")}
    untested = replace(of["price"], untested="too few")
    assert any_tested(baseline, [of["prediction"]])
    assert not any_tested(baseline, [of["null_patterns"]])
    assert not any_tested(baseline, [untested, of["prediction"], of["null_patterns"]])
    assert any_tested(replace(baseline, left_out={"price": "identifier"}), [untested, of["prediction"]])
