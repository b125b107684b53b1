"""The baseline reweighted to the window's mix of conditions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts.monitor import Baseline, Condition, Counts, FeatureBaseline, FeatureCounts
from mlops_runtime.monitor.counting.baseline import category_baseline, fit_baseline, number_baseline
from mlops_runtime.monitor.counting.counts import count_columns
from mlops_runtime.monitor.monitors.drift.comparison import (
    cdf,
    conditioned,
    layout,
    percentile_rank,
    plain,
)
from mlops_runtime.monitor.monitors.drift.decision import decide
from mlops_runtime.monitor.spec import MonitorSpec


def test_cells_of_numbers() -> None:
    """Numeric cells are bins, a point mass, out of range and null, with one name per cell."""
    random = np.random.default_rng(1)
    values = np.where(random.random(5000) < 0.3, 0.0, random.exponential(5, 5000)).astype(np.float32)
    feature = number_baseline("units", values)
    cells = layout(feature)
    assert len(cells.names) == len(feature.counts)
    assert [cells.names[cell] for cell in cells.values] == ["value 0"]
    assert cells.outside == (0, len(feature.counts) - 2)
    assert (cells.names[0], cells.names[-1]) == ("below 0", "nulls")
    assert cells.names[cells.values[0] + 1].startswith("above 0 to ")
    assert cells.names[-2].startswith("above ")


def test_cells_of_levels() -> None:
    """Level cells are levels, rare, new and null; an old baseline has one cell of other levels."""
    levels = [f"l{index % 40}" for index in range(4000)] + [f"r{index}" for index in range(300)]
    feature = category_baseline("store", levels)
    cells = layout(feature)
    assert len(cells.names) == len(feature.counts)
    assert cells.new == len(feature.counts) - 2
    assert len(cells.rare) == feature.tail
    assert cells.names[cells.new] == "levels never seen before"
    old = layout(FeatureBaseline(name="store", type="category", levels=("a", "b"), counts=(5, 3, 2, 1)))
    assert (old.rare, old.new, old.values) == ((2,), None, (0, 1, 2))


def test_a_baseline_without_edges_is_one_cell() -> None:
    """All values of the baseline are null."""
    assert layout(FeatureBaseline(name="x", type="number", counts=(0, 9))).names == ("all values", "nulls")


@pytest.mark.parametrize("kind", ["wide", "zeros", "steps"])
def test_the_cdf_of_the_baseline_is_that_of_its_values(kind: str) -> None:
    """The baseline's CDF equals that of its values: exactly at edges, elsewhere within a percentile."""
    random = np.random.default_rng(2)
    values = {
        "wide": random.lognormal(2, 0.8, 20_000),
        "zeros": np.where(random.random(20_000) < 0.4, 0.0, random.exponential(5, 20_000)),
        "steps": np.round(random.lognormal(2, 0.5, 20_000)) / 2,
    }[kind].astype(np.float32)
    feature = number_baseline("x", values)
    bins = np.array(feature.counts[:-1], dtype=np.float64)
    ends = {"lowest": float(values.min()), "highest": float(values.max())}
    points = np.linspace(float(values.min()) - 1, float(values.max()) + 1, 301)
    expected = (values[None, :] < points[:, None]).mean(axis=1)
    assert np.abs(cdf(feature, bins, points, **ends) - expected).max() <= 0.015
    edges = np.array(feature.edges)
    at_edges = (values.astype(np.float64)[None, :] < edges[:, None]).mean(axis=1)
    assert cdf(feature, bins, edges, **ends) == pytest.approx(at_edges, abs=1e-9)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30), st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_ranks_are_shares_and_rise(values: list[float], points: list[float]) -> None:
    """Ranks lie between 0 and 1 and never decrease."""
    ranks = percentile_rank(np.sort(np.array(values)), np.sort(np.array(points)))
    assert ((ranks >= 0) & (ranks <= 1)).all()
    assert (np.diff(ranks) >= -1e-12).all()


Columns = dict[str, np.ndarray]


def rows(random: np.random.Generator, number: int, promoted: float, *, rise: float = 1.0) -> Columns:
    """Return prices that are a third lower in promoted rows."""
    promotion = (random.random(number) < promoted).astype(np.float64)
    price = random.lognormal(2, 0.3, number) * np.where(promotion == 1, 0.67, 1.0) * rise
    return {"promotion": promotion, "price": price}


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    """Return a baseline with one promoted row in five."""
    return fit_baseline(
        rows(np.random.default_rng(1), 20_000, 0.2),
        types={"promotion": "number", "price": "number"},
        training_set_id="t",
        created="",
        conditions=[Condition(name="promotion", edges=(0.5,))],
        prediction=rows(np.random.default_rng(2), 20_000, 0.2)["price"],
    )


def window(baseline: Baseline, number: int, promoted: float, *, rise: float = 1.0, seed: int = 3) -> Counts:
    """Return a window's counts; the predictions are the prices."""
    columns = rows(np.random.default_rng(seed), number, promoted, rise=rise)
    return count_columns(columns, baseline, predictions=columns["price"])


def drifted(baseline: Baseline, counts: Counts, *, given: bool | None = None) -> list[str]:
    """Return the names of drifted features."""
    decisions = decide(baseline, counts, MonitorSpec(), given_conditions=given)
    return [one.name for one in decisions if one.drifted]


def test_more_promotions_drift_plainly_and_not_given_them(baseline: Baseline) -> None:
    """More promotions lower prices, which is drift without the condition and none given it; a real rise is found either way."""
    counts = window(baseline, 5000, 0.7)
    plainly = drifted(baseline, counts, given=False)
    assert {"promotion", "price"} <= set(plainly)
    assert drifted(baseline, counts) == drifted(baseline, counts, given=True)
    assert "price" not in drifted(baseline, counts)
    assert "price" in drifted(baseline, window(baseline, 5000, 0.7, rise=1.15))


def test_conditions_are_reported_and_not_tested(baseline: Baseline) -> None:
    """A feature that is a condition is reported and not tested."""
    found = {one.name: one for one in decide(baseline, window(baseline, 5000, 0.7), MonitorSpec())}
    assert found["promotion"].untested == "it is a condition of the comparison"
    assert not found["promotion"].drifted


def test_the_baseline_is_worth_its_effective_rows(baseline: Baseline) -> None:
    """Equals Kish's effective sample size by hand; the same mix keeps all rows of the baseline."""
    compared = conditioned(baseline, window(baseline, 5000, 0.7))[1]
    strata = {stratum.key: stratum.rows for stratum in baseline.strata or ()}
    share = {stratum.key: stratum.rows / 5000 for stratum in window(baseline, 5000, 0.7).strata or ()}
    expected = 1 / sum(share[key] ** 2 / strata[key] for key in share)
    assert compared.baseline_rows == pytest.approx(expected, rel=1e-9)
    assert expected < 9000
    same = conditioned(baseline, window(baseline, 5000, 0.2))[1]
    assert same.baseline_rows == pytest.approx(20_000, rel=0.01)


def test_moments_are_those_of_the_reweighted_rows(baseline: Baseline) -> None:
    """Moments equal those of rows weighted one by one."""
    columns = rows(np.random.default_rng(1), 20_000, 0.2)
    counts = window(baseline, 5000, 0.7)
    compared = conditioned(baseline, counts)[1]
    strata = {stratum.key: stratum for stratum in baseline.strata or ()}
    weights = np.zeros(20_000)
    for stratum in counts.strata or ():
        other = strata[stratum.key]
        chosen = columns["promotion"] == (1.0 if other.features[0].sum > 0 else 0.0)
        weights[chosen] = stratum.rows / 5000 / chosen.sum()
    narrow = columns["price"].astype(np.float32).astype(np.float64)
    mean = np.average(narrow, weights=weights)
    assert compared.mean == pytest.approx(mean, rel=1e-9)
    assert compared.deviation == pytest.approx(np.sqrt(np.average((narrow - mean) ** 2, weights=weights)), rel=1e-6)


def test_tails_are_those_of_the_reweighted_rows(baseline: Baseline) -> None:
    """Tail shares are those of each stratum's rows by the window's mix, with clusters about their own strata."""
    counts = window(baseline, 4000, 0.6)
    compared = conditioned(baseline, counts)[1]
    assert compared.tails is not None
    feature = baseline.features[1]
    at = list(feature.edges).index((feature.tail_edges or ())[-1])
    known = {stratum.key: stratum.features[1].counts for stratum in baseline.strata or ()}
    seen = {stratum.key: stratum.features[1].counts for stratum in counts.strata or ()}
    share = sum(sum(known[key][at + 1 : -1]) / sum(known[key]) * sum(seen[key]) for key in seen) / 4000
    assert compared.tails.expected[-1] / compared.baseline_rows == pytest.approx(share)
    assert compared.tails.observed[-1] == sum(sum(one[at + 1 : -1]) for one in seen.values())
    assert compared.tails.names[-1].startswith("from ")
    assert {len(stratum.expected) for stratum in compared.strata.values()} == {len(compared.expected)}


def test_plainly_the_counts_stand_as_they_are(baseline: Baseline) -> None:
    """Without conditions, means and standard deviations are those of the window's values."""
    columns = rows(np.random.default_rng(3), 1000, 0.2)
    compared = plain(baseline.features[1], count_columns(columns, baseline).features[1])
    assert compared.window_rows == 1000
    assert compared.window_mean == pytest.approx(columns["price"].mean(), rel=1e-6)
    assert compared.window_deviation == pytest.approx(columns["price"].std(), rel=1e-5)


def test_null_patterns_are_compared_given_the_conditions() -> None:
    """Half of the prices are null at night: a window of nights is quiet; a window of days with as many nulls is not."""
    random = np.random.default_rng(12)

    def rows(of_hour: np.ndarray, share: np.ndarray) -> dict[str, np.ndarray]:
        price = np.where(random.random(len(of_hour)) < share, np.nan, random.lognormal(2, 0.3, len(of_hour)))
        return {"hour": of_hour.astype(float), "price": price, "stock": random.normal(size=len(of_hour))}

    hour = np.tile(np.repeat(np.arange(24), 50), 14)
    known = fit_baseline(
        rows(hour, np.where(hour < 6, 0.5, 0.02)),
        types={"hour": "number", "price": "number", "stock": "number"},
        training_set_id="t",
        created="",
        clusters=np.repeat(np.arange(24 * 14), 50),
        conditions=[Condition(name="hour")],
    )
    night, day = np.repeat(np.arange(6), 200), np.repeat(np.arange(12, 18), 200)
    for at, share, expected in ((night, 0.5, False), (day, 0.02, False), (day, 0.5, True)):
        counts = count_columns(rows(at, np.full(len(at), share)), known)
        found = {one.name: one.drifted for one in decide(known, counts, MonitorSpec())}
        assert (found["null_patterns"], found["price"], found["stock"]) == (expected, expected, False)


def test_a_rare_level_may_be_the_next_clusters_own() -> None:
    """Each household has its own store: a store that was another household's second choice has the jumps of a main store."""
    random = np.random.default_rng(13)
    homes = np.repeat(np.arange(60) % 40, 200)
    store = np.where(random.random(len(homes)) < 0.05, random.integers(40, 60, len(homes)), homes)
    clusters = np.repeat(np.arange(60), 200)
    feature = category_baseline("store", [f"s{at}" for at in store], clusters=clusters)
    known = plain(feature, FeatureCounts(name="store", counts=feature.counts))
    kept = known.jumps[: len(feature.levels)]
    assert kept.min() > 100
    assert (known.jumps[list(known.cells.rare)] > 100).all()
    alone = plain(
        category_baseline("store", [f"s{at}" for at in store]), FeatureCounts(name="store", counts=feature.counts)
    )
    assert (alone.jumps == 1).all()
