"""The decision: its error rate without drift, its power with it, and the same verdict however the window was counted."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlops_runtime.contracts.monitor import Baseline, Condition, Counts, FeatureBaseline, FeatureCounts
from mlops_runtime.monitor.counting.baseline import fit_baseline, number_baseline
from mlops_runtime.monitor.counting.cells import number_cells
from mlops_runtime.monitor.counting.counts import count, count_columns, empty, merge
from mlops_runtime.monitor.drift.comparison import plain
from mlops_runtime.monitor.drift.decide import decide, examine, holm
from mlops_runtime.monitor.drift.rules import Rule
from mlops_runtime.monitor.drift.wording import percent
from mlops_runtime.monitor.spec import MonitorSpec

FEATURES = 30
REFERENCE = 20_000
SPEC = MonitorSpec()


def shares(size: int) -> np.ndarray:
    """Return the shares of a long-tailed category."""
    weights = 1 / np.arange(1, size + 1) ** 1.1
    return weights / weights.sum()


POPULATION = [np.full(10, 0.1)] * 20 + [shares(size) for size in (2, 3, 5, 8, 10, 12, 15, 18, 20, 21)]


def baseline_of(random: np.random.Generator, rows: int = REFERENCE) -> Baseline:
    """Draw a baseline of 20 decile-binned numbers and 10 categories; the last cell is null and empty."""
    features = []
    for index, population in enumerate(POPULATION):
        counts = tuple(int(c) for c in (*random.multinomial(rows, population), 0))
        edges = tuple(float(e) for e in range(len(population) - 1))
        features.append(FeatureBaseline(name=f"f{index}", type="number", counts=counts, edges=edges))
    return Baseline(features=tuple(features), rows=rows, training_set_id="t", created="2017-08-01T00:00:00Z")


def window_of(random: np.random.Generator, rows: int, changed: dict[int, np.ndarray] | None = None) -> Counts:
    """Draw a window, with other populations for some features."""
    populations = {**dict(enumerate(POPULATION)), **(changed or {})}
    counts = []
    for index in range(FEATURES):
        cells = random.multinomial(rows, populations[index])
        cells = cells if len(cells) > len(POPULATION[index]) else np.append(cells, 0)
        counts.append(FeatureCounts(name=f"f{index}", counts=tuple(int(c) for c in cells)))
    return Counts(baseline_sha256="b", rows=rows, calls=rows, features=tuple(counts), first="", last="")


def drifted(baseline: Baseline, counts: Counts, spec: MonitorSpec = SPEC) -> list[str]:
    """Return the names that the decision calls drifted."""
    return [decision.drift.name for decision in decide(baseline, counts, spec) if decision.drift.drifted]


@pytest.mark.parametrize("windows", [80, pytest.param(1000, marks=pytest.mark.campaign)])
@pytest.mark.parametrize("rows", [200, 1000, 5000, 100_000])
@pytest.mark.parametrize("spec", [SPEC, MonitorSpec(minimum_effect=0.0)])
def test_windows_without_drift_rarely_alarm(rows: int, spec: MonitorSpec, windows: int) -> None:
    """Over 30 features at most about one window in a hundred reports any, at every size (binomial bound at 1e-4)."""
    random = np.random.default_rng(rows)
    alarms = sum(bool(drifted(baseline_of(random), window_of(random, rows), spec)) for _ in range(windows))
    assert alarms <= stats.binom.isf(1e-4, windows, SPEC.significance)
    if spec is SPEC:
        assert alarms <= windows / 100


@pytest.mark.parametrize(
    ("shift", "scale", "rows", "power"),
    [(0.2, 1.0, 5000, 1.0), (0.0, 1.3, 5000, 1.0), (0.5, 1.0, 1000, 1.0), (0.05, 1.0, 100_000, 0.0)],
)
def test_shifts_that_matter_are_found_and_others_are_not(shift: float, scale: float, rows: int, power: float) -> None:
    """A fifth of a standard deviation and a third more variance are found at 5,000 rows; a twentieth never, however many."""
    random = np.random.default_rng(7)
    edges = stats.norm.ppf(np.arange(1, 10) / 10)
    moved = np.diff(np.concatenate([[0], stats.norm.cdf(edges, shift, scale), [1]]))
    found = [drifted(baseline_of(random), window_of(random, rows, {2: moved})) for _ in range(40)]
    assert np.mean(["f2" in names for names in found]) == pytest.approx(power, abs=0.05)


def test_a_category_that_loses_ten_points_is_found() -> None:
    """Ten points from one level to another at 1,000 rows."""
    random = np.random.default_rng(7)
    moved = POPULATION[23].copy()
    moved[0], moved[4] = moved[0] - 0.1, moved[4] + 0.1
    found = ["f23" in drifted(baseline_of(random), window_of(random, 1000, {23: moved})) for _ in range(40)]
    assert np.mean(found) >= 0.95


@pytest.mark.parametrize(("share", "rows", "expected"), [(0.05, 1000, 1.0), (0.001, 5000, 0.0)])
def test_nulls_that_the_baseline_never_saw_are_found(share: float, rows: int, expected: float) -> None:
    """Five percent nulls where there were none are found; one in a thousand is less than the minimum effect."""
    random = np.random.default_rng(7)
    moved = np.append(POPULATION[2] * (1 - share), share)
    results = []
    for _ in range(40):
        decisions = decide(baseline_of(random), window_of(random, rows, {2: moved}), SPEC)
        results.append(decisions[2].drift.drifted and decisions[2].examination.rule is Rule.NULL_SHARE)
    assert np.mean(results) == pytest.approx(expected, abs=0.05)


def test_clustered_rows_do_not_alarm_with_the_overdispersion_measured() -> None:
    """Households of ten equal rows: taken for independent they alarm, with the design effect they do not."""
    random = np.random.default_rng(11)
    spec = MonitorSpec(minimum_effect=0.0)

    def rows(households: int) -> np.ndarray:
        return np.repeat(random.normal(size=households), 10).astype(np.float32)

    naive, honest = 0, 0
    for _ in range(60):
        train, live = rows(1000), rows(100)
        for clusters in (None, np.repeat(np.arange(1000), 10)):
            feature = number_baseline("x", train, clusters=clusters)
            cells = np.bincount(number_cells(live, np.array(feature.edges, np.float32)), minlength=len(feature.counts))
            wide = live.astype(np.float64)
            counts = FeatureCounts(
                name="x",
                counts=tuple(map(int, cells)),
                sum=float(wide.sum()),
                sum_squares=float((wide**2).sum()),
            )
            p_value = examine(plain(feature, counts), spec).p_value
            if clusters is None:
                naive += p_value <= 0.01
            else:
                honest += p_value <= 0.01
    assert naive > 30
    assert honest <= 3


def test_too_few_values_of_a_feature_are_not_tested() -> None:
    """A feature that most rows could not be read for cannot drift; nor one whose clustered rows are worth too little."""
    feature = FeatureBaseline(name="x", type="number", counts=(500, 500, 0), edges=(0.0,))
    result = examine(plain(feature, FeatureCounts(name="x", counts=(199, 0, 0))), SPEC)
    assert (result.p_value, result.untested) == (1.0, "199 values are fewer than 200")
    clustered = replace(feature, overdispersion=10.0)
    result = examine(plain(clustered, FeatureCounts(name="x", counts=(400, 0, 0))), SPEC)
    assert result.untested is not None
    assert result.untested.startswith("400 values of the window come in clusters and count as 40 independent ones")


@pytest.mark.parametrize("clusters", [None, np.arange(4000) // 100])
@pytest.mark.parametrize("conditions", [(), (Condition(name="promo"),)])
@pytest.mark.parametrize("broken", [1.0, 0.05])
def test_values_of_another_type_drift(
    clusters: np.ndarray | None, conditions: tuple[Condition, ...], broken: float
) -> None:
    """A price as "12,50" is no number: told although no price is left to test, in clusters and under conditions nobody knows."""
    random = np.random.default_rng(5)
    rows = 4000
    columns = {"price": random.lognormal(size=rows), "promo": ["no"] * rows}
    baseline = fit_baseline(
        columns,
        types={"price": "number", "promo": "category"},
        training_set_id="t",
        created="2017-08-01T00:00:00Z",
        conditions=conditions,
        clusters=clusters,
    )
    price = ["12,50" if value < broken else "12.50" for value in random.random(2000)]
    for promo in ("no", "flash"):
        counts = count_columns({"price": price, "promo": [promo] * 2000}, baseline)
        [found] = [one.drift for one in decide(baseline, counts, SPEC) if one.drift.name == "price"]
        assert (found.drifted, found.untested) == (True, None)
        if broken == 1.0 or (conditions and promo == "flash"):
            assert found.rule == "type"
            assert found.description == f"{percent(price.count('12,50') / 2000)} of the values are no number"
    counts = count_columns({"price": price, "promo": ["no"] * 2000}, baseline)
    few = replace(counts, features=(replace(counts.features[0], counts=(0,) * 12, invalid=2), counts.features[1]))
    if broken == 1.0:
        assert decide(baseline, few, SPEC)[0].drift.untested is not None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.2))
def test_holm_rejects_what_adjusted_p_values_reject(p_values: list[float], significance: float) -> None:
    """The step-down equals comparing Holm's adjusted p-values."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, p_values[index] / (significance / (len(p_values) - rank)))
        adjusted[index] = largest
    assert holm(p_values, significance) == [value <= 1 for value in adjusted]


def test_only_the_named_features_are_tested() -> None:
    """A spec that names features leaves the others alone, and Holm counts only these."""
    random = np.random.default_rng(1)
    decisions = decide(baseline_of(random), window_of(random, 1000), MonitorSpec(features=("f3", "f20")))
    assert [decision.drift.name for decision in decisions] == ["f3", "f20"]


def test_fails_for_a_feature_that_the_baseline_lacks() -> None:
    """A misspelt feature would never alarm."""
    random = np.random.default_rng(1)
    with pytest.raises(ValueError, match="the monitor names features 'f99', 'g'; the baseline has 'f0', 'f1'"):
        decide(baseline_of(random), window_of(random, 1000), MonitorSpec(features=("f99", "g")))


@given(st.lists(st.floats(-3, 3, width=32), min_size=200, max_size=300), st.integers(1, 20), st.randoms())
def test_the_decision_is_the_same_in_one_pass_or_merged(values: list[float], parts: int, shuffle: object) -> None:
    """However a window is cut and in whatever order it is merged, psi, p-value and verdict are bit-equal."""
    reference = np.random.default_rng(1).normal(size=2000).astype(np.float32)
    baseline = Baseline(features=(number_baseline("x", reference),), rows=2000, training_set_id="t", created="")
    lines = [
        json.dumps(
            {
                "captureData": {
                    "endpointInput": {
                        "observedContentType": "text/csv",
                        "mode": "INPUT",
                        "data": repr(v),
                        "encoding": "CSV",
                    }
                },
                "eventMetadata": {"eventId": "e"},
            }
        )
        for v in values
    ]
    pieces = [count(lines[i::parts], baseline) for i in range(parts)]
    shuffle.shuffle(pieces)  # type: ignore[attr-defined]  # hypothesis gives random.Random
    whole, merged = count(lines, baseline), merge(empty(baseline), pieces)
    one, other = (decide(baseline, counts, SPEC)[0].drift for counts in (whole, merged))
    assert (one.psi, one.p_value, one.drifted) == (other.psi, other.p_value, other.drifted)
