"""The location of a number: mean, ranks and quantiles, and no false alarms."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mlops_runtime.contracts.monitor import FeatureBaseline
from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.counting.counts import count_columns
from mlops_runtime.monitor.counting.feature_baseline import number_baseline
from mlops_runtime.monitor.monitors.drift import location
from mlops_runtime.monitor.monitors.drift.comparison import Comparison, plain
from mlops_runtime.monitor.monitors.drift.decision import decide
from mlops_runtime.monitor.monitors.drift.location import spread
from mlops_runtime.monitor.monitors.drift.rules import Finding, distribution
from mlops_runtime.monitor.spec import MonitorSpec

SPEC = MonitorSpec()


def of(values: np.ndarray, **window: np.ndarray) -> Comparison:
    """Return a window compared with the baseline of some values."""
    baseline = fit_baseline({"x": values}, types={"x": "number"}, training_set_id="t", created="")
    return plain(baseline.features[0], count_columns({"x": window["window"]}, baseline).features[0])


def rules(compared: Comparison, spec: MonitorSpec = SPEC) -> list[Finding | None]:
    """Return the results of mean, ranks and quantiles."""
    return [rule(compared, spec) for rule in (location.mean, location.ranks, location.quantiles)]


@pytest.fixture(scope="module")
def prices() -> np.ndarray:
    """Return prices of a wide distribution."""
    return np.random.default_rng(1).lognormal(2.5, 0.8, 20_000)


def test_a_rise_of_all_prices_is_said_in_words(prices: np.ndarray) -> None:
    """A rise of 15 % is found by all three rules and described in words."""
    mean, ranks, quantiles = rules(of(prices, window=np.random.default_rng(2).lognormal(2.5, 0.8, 20_000) * 1.15))
    for finding in (mean, ranks, quantiles):
        assert finding is not None
        assert finding.p_value < 1e-6
    assert mean is not None
    assert ranks is not None
    assert mean.words().startswith("mean rose 1")
    assert ranks.words().startswith("median rose 1")


@pytest.mark.parametrize("factor", [1.0, 1.02, 0.985])
def test_what_is_within_the_relative_shift_is_quiet(prices: np.ndarray, factor: float) -> None:
    """A shift of 2 % never counts, at any number of rows: p-values hold at the margin."""
    random = np.random.default_rng(3)
    small = 0
    for _ in range(60):
        compared = of(random.lognormal(2.5, 0.8, 20_000), window=random.lognormal(2.5, 0.8, 20_000) * factor)
        small += any(one is not None and one.p_value <= 0.01 for one in rules(compared))
    assert small <= 5


def test_a_dearer_tail_is_seen_by_its_quantile(prices: np.ndarray) -> None:
    """A rise of the upper seventh by a quarter is found by its quantile, although the median is unchanged."""
    window = np.random.default_rng(4).lognormal(2.5, 0.8, 10_000)
    window = np.where(window > np.quantile(window, 0.85), window * 1.25, window)
    finding = location.quantiles(of(prices, window=window), SPEC)
    assert finding is not None
    assert finding.p_value < 1e-6
    assert finding.words().startswith("90th percentile rose")


def test_prices_on_few_points_do_not_move_by_themselves() -> None:
    """Prices in steps of half a dollar do not drift, although percentiles between steps are not their shares."""
    random = np.random.default_rng(5)
    small = 0
    for _ in range(40):
        train, live = (np.maximum(1, np.round(random.lognormal(2.5, 0.8, 50_000) * 2) / 2) for _ in range(2))
        small += any(one is not None and one.p_value <= 0.001 for one in rules(of(train, window=live)))
    assert small <= 1


def test_only_amounts_have_quantiles(prices: np.ndarray) -> None:
    """Columns that can be 0 or are counts have no quantile test unless they are declared as amounts."""
    compared = of(prices - 5, window=prices[:1000] - 5)
    assert rules(compared)[1:] == [None, None]
    assert None not in rules(compared, MonitorSpec(amounts=("x",)))
    counts = of(np.random.default_rng(6).integers(1, 9, 5000).astype(float), window=np.full(500, 4.0))
    assert rules(counts)[1:] == [None, None]


def test_a_constant_has_no_mean_to_move() -> None:
    """The rounding error of a constant is no drift."""
    assert rules(of(np.full(5000, 0.1), window=np.full(500, 0.1))) == [None, None, None]


def test_means_of_skewed_values_hold() -> None:
    """For two hundred values of a long-tailed column, whose normal p-values would be too small, p-values hold."""
    random = np.random.default_rng(7)
    small, trials = 0, 3000
    train = random.lognormal(0, 1, 20_000)
    baseline = fit_baseline({"x": train}, types={"x": "number"}, training_set_id="t", created="").features[0]
    spec = MonitorSpec(minimum_effect=0.0, amounts=())
    for _ in range(trials):
        window = random.lognormal(0, 1, 200)
        compared = Comparison(
            feature=baseline,
            expected=np.array(baseline.counts, dtype=float),
            observed=np.array([200.0] + [0.0] * (len(baseline.counts) - 1)),
            mean=baseline.mean,
            deviation=baseline.standard_deviation,
            window_mean=float(window.mean()),
            window_deviation=float(window.std()),
        )
        finding = location.mean(compared, spec)
        small += finding is not None and finding.p_value <= 1e-3
    assert small <= 12


def test_clustered_rows_count_for_less(prices: np.ndarray) -> None:
    """The design effect of the mean widens its error."""
    compared = of(prices, window=np.random.default_rng(8).lognormal(2.5, 0.8, 5000) * 1.1)
    clustered = replace(compared, feature=replace(compared.feature, overdispersion=20.0, mean_overdispersion=20.0))
    for one, other in zip(rules(compared), rules(clustered), strict=True):
        assert one is not None
        assert other is not None
        assert one.p_value < other.p_value


def test_quantiles_are_those_of_the_values(prices: np.ndarray) -> None:
    """Quantiles agree within a percentile, and are missing for values out of range."""
    window = np.random.default_rng(9).lognormal(2.6, 0.7, 20_000)
    compared = of(prices, window=window)
    for level in (0.1, 0.5, 0.9):
        got = location.quantile(compared.feature, compared.observed[:-1], level)
        assert got == pytest.approx(float(np.quantile(window, level)), rel=0.03)
    nothing = FeatureBaseline(name="x", type="number", counts=(5, 0))
    assert location.quantile(nothing, np.array([5.0]), 0.5) is None


Draw = Callable[[np.random.Generator, int], np.ndarray]
KINDS: dict[str, Draw] = {
    "normal": lambda random, rows: random.normal(0, 1, rows),
    "lognormal": lambda random, rows: random.lognormal(2.5, 0.8, rows),
    "gamma": lambda random, rows: random.gamma(2, 3, rows),
    "half zero": lambda random, rows: np.where(random.random(rows) < 0.6, 0, random.exponential(5, rows)),
    "counts": lambda random, rows: random.poisson(4, rows).astype(float),
    "no moments": lambda random, rows: random.standard_cauchy(rows),
}


def beside(values: np.ndarray, window: np.ndarray) -> Comparison:
    """Return a window compared with the baseline of some values."""
    baseline = fit_baseline({"x": values}, types={"x": "number"}, training_set_id="t", created="")
    return plain(baseline.features[0], count_columns({"x": window}, baseline).features[0])


def test_a_variance_a_third_larger_is_found_among_thirty_features() -> None:
    """Finds it nearly always at 5,000 rows against 20,000, by its own rule, described in words."""
    random = np.random.default_rng(0)
    types = {f"n{i}": "number" for i in range(30)}
    found = []
    for _ in range(20):
        rows = {name: random.normal(0, 1, 20_000) for name in types}
        baseline = fit_baseline(rows, types=types, training_set_id="t", created="")
        window = {name: random.normal(0, 1.3**0.5 if name == "n7" else 1, 5_000) for name in types}
        found += [one for one in decide(baseline, count_columns(window, baseline), SPEC) if one.drifted]
    assert {one.name for one in found} == {"n7"}
    assert len(found) >= 19
    assert {one.rule for one in found} == {"spread"}
    assert "standard deviation rose 1" in str(found[0].description)


def test_a_narrower_window_is_found() -> None:
    """Finds a narrower and a wider window."""
    random = np.random.default_rng(1)
    finding = spread(beside(random.normal(0, 1, 20_000), random.normal(0, 0.85, 5_000)), SPEC)
    assert finding is not None
    assert finding.p_value < 1e-6
    assert finding.words().startswith("standard deviation fell 1")


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_moved(kind: str) -> None:
    """Without a minimum effect p-values are uniform; with the default hardly any is small."""
    random, strict = np.random.default_rng(2), replace(SPEC, minimum_effect=0.0)
    small = quiet = 0
    for _ in range(15):
        feature = number_baseline("x", KINDS[kind](random, 5_000).astype(np.float32))
        edges = np.array(feature.edges)
        for _ in range(40):
            rows = np.searchsorted(edges, KINDS[kind](random, 500).astype(np.float32).astype(float), side="right")
            counts = np.bincount(rows, minlength=len(feature.counts)).astype(float)
            compared = Comparison(feature=feature, expected=np.array(feature.counts, dtype=float), observed=counts)
            findings = [spread(compared, spec) for spec in (strict, SPEC)]
            small += findings[0] is not None and findings[0].p_value <= 0.01
            quiet += findings[1] is not None and findings[1].p_value <= 0.01
    assert small <= 15  # 6 of 600 expected
    assert quiet <= 3


def test_what_does_not_matter_never_counts() -> None:
    """A change of 4 % never counts, even in a million rows."""
    random = np.random.default_rng(3)
    finding = spread(beside(random.normal(0, 1, 1_000_000), random.normal(0, 1.04, 1_000_000)), SPEC)
    assert finding is not None
    assert finding.p_value > 0.5


def test_clustered_rows_count_as_often_as_their_scores_do() -> None:
    """Clusters that differ in scale and not in location widen only the scores' own design effect."""
    random, strict = np.random.default_rng(4), replace(SPEC, minimum_effect=0.0)

    def rows(number: int) -> tuple[np.ndarray, np.ndarray]:
        clusters = np.repeat(np.arange(number), 50)
        return random.normal(0, 1, len(clusters)) * np.exp(random.normal(0, 0.5, number))[clusters], clusters

    small = blind = 0
    for _ in range(60):
        values, clusters = rows(400)
        baseline = fit_baseline(
            {"x": values}, types={"x": "number"}, training_set_id="t", created="", clusters=clusters
        )
        compared = plain(baseline.features[0], count_columns({"x": rows(100)[0]}, baseline).features[0])
        alone = replace(compared, feature=replace(compared.feature, spread_overdispersion=1.0, cluster_excess=None))
        findings = [spread(one, strict) for one in (compared, alone)]
        small += findings[0] is not None and findings[0].p_value <= 0.01
        blind += findings[1] is not None and findings[1].p_value <= 0.01
    assert small <= 3
    assert blind >= 15


def test_words_where_the_standard_deviation_is_the_tails() -> None:
    """Describes a wider middle although the standard deviation, dominated by the tail, became smaller."""
    random = np.random.default_rng(5)
    train, live = random.normal(0, 1, 20_000), random.normal(0, 1.3, 20_000)
    train[:50] = 1000
    finding = spread(beside(train, live), SPEC)
    assert finding is not None
    assert finding.words().startswith("values lie farther apart: the middle 80 % from -1.5")


def test_what_has_no_bins_to_tell_by_is_not_tested() -> None:
    """Levels, and numbers with too few bins, are not tested."""
    level = FeatureBaseline(name="x", type="category", levels=("a",), counts=(9, 0, 0))
    few = FeatureBaseline(name="x", type="number", edges=(1.0,), counts=(9, 9, 0))
    for feature in (level, few):
        counts = np.array(feature.counts, dtype=float)
        assert spread(Comparison(feature=feature, expected=counts, observed=counts), SPEC) is None


def test_p_values_of_few_clusters_hold() -> None:
    """With eight clusters of different means, t and F give 1 % of quiet windows a p-value below 1 %; z and chi-square 2 to 3 %."""
    random = np.random.default_rng(8)
    strict, clusters = MonitorSpec(minimum_effect=1e-6), np.repeat(np.arange(8), 100)

    def drawn(number: int) -> np.ndarray:
        return np.asarray((random.normal(0, 0.3, (number, 1)) + random.normal(size=(number, 100))).ravel())

    by_t, by_z = [], []
    for _ in range(600):
        known = {"training_set_id": "t", "created": "2017-01-01T00:00:00Z", "types": {"x": "number"}}
        baseline = fit_baseline({"x": drawn(8)}, clusters=clusters, **known)
        window = count_columns({"x": drawn(10)}, baseline).features[0]
        for feature, into in ((baseline.features[0], by_t), (replace(baseline.features[0], clusters=None), by_z)):
            compared = plain(feature, window)
            one, two = location.mean(compared, strict), spread(compared, strict)
            assert one is not None
            assert two is not None
            into.append([one.p_value, distribution(compared, compared.cells, strict).p_value, two.p_value])
    low, high = ((np.array(found) < 0.01).mean(axis=0) for found in (by_t, by_z))
    assert (low <= 0.018).all(), low
    assert (high >= 0.018).all(), high
