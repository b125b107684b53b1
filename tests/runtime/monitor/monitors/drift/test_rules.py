"""Each rule on shares: the changes that it finds, those that it ignores, and valid p-values."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlops_runtime.contracts.monitor import FeatureBaseline, FeatureCounts, PairBaseline
from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.counting.counts import count_columns
from mlops_runtime.monitor.monitors.drift.comparison import Comparison, layout, plain
from mlops_runtime.monitor.monitors.drift.rules import (
    Finding,
    Rule,
    association,
    chi_square,
    distribution,
    excess_tail,
    minimum_effect_tail,
    same_odds_ratios,
    shares,
    types,
)
from mlops_runtime.monitor.spec import MonitorSpec

SPEC = MonitorSpec()
STORE = FeatureBaseline(
    name="store",
    type="category",
    levels=("a", "b"),
    tail=4,
    known=(1, 2, 3),
    counts=(9000, 8000, 500, 500, 500, 500, 0, 1000),
)
PRICE = FeatureBaseline(
    name="price",
    type="number",
    edges=(1.0, 2.0, float(np.nextafter(np.float32(2.0), np.float32(3.0))), 9.0),
    counts=(0, 8000, 4000, 7900, 0, 100),
    bounded=True,
)


def compared(feature: FeatureBaseline, *cells: int) -> Comparison:
    """Return a window of a feature."""
    return plain(feature, FeatureCounts(name=feature.name, counts=cells))


def found(comparison: Comparison, rule: Rule, spec: MonitorSpec = SPEC) -> Finding:
    """Return the result of one rule on shares."""
    return next(one for one in shares(comparison, comparison.cells, spec) if one.rule is rule)


def test_a_cell_that_is_pooled_is_named_where_it_alone_moved() -> None:
    """A pooled cell is named if it alone moved; nulls are not called a rare level, even if rare in the baseline."""
    feature = replace(STORE, counts=(9000, 8000, 500, 500, 500, 500, 0, 0))
    for cells, words in (
        ((0, 0, 0, 0, 0, 0, 0, 3000), "most in rare values, mostly nulls: from 11 % to 100 % of the rows"),
        ((0, 0, 0, 0, 0, 0, 3000, 0), "most in rare values, mostly levels never seen before: from 11 % to 100 %"),
        ((0, 0, 750, 750, 750, 750, 0, 0), "most in rare values: from 11 % to 100 % of the rows"),
    ):
        one = compared(feature, *cells)
        assert words in distribution(one, layout(feature), SPEC).words()


@pytest.mark.parametrize(
    ("feature", "cells", "rule", "words"),
    [
        (
            STORE,
            (2200, 2000, 125, 125, 125, 125, 50, 250),
            Rule.NEW_LEVEL,
            "levels never seen before: from 0 % to 1.0 %",
        ),
        (STORE, (2100, 1900, 125, 325, 125, 125, 0, 300), Rule.VALUE_SHARE, "a rare level: from 2.5 % to 6.5 %"),
        (STORE, (2050, 2600, 25, 25, 25, 25, 0, 250), Rule.VALUE_SHARE, "level 'b': from 40 % to 52 %"),
        (STORE, (2000, 1800, 125, 125, 125, 125, 0, 700), Rule.NULL_SHARE, "nulls: from 5.0 % to 14 %"),
        (PRICE, (0, 2000, 950, 1975, 50, 25), Rule.OUT_OF_RANGE, "outside 1 to 9: from 0 % to 1.0 %"),
        (PRICE, (50, 2000, 950, 1975, 0, 25), Rule.OUT_OF_RANGE, "outside 1 to 9: from 0 % to 1.0 %"),
        (PRICE, (0, 1800, 1500, 1675, 0, 25), Rule.VALUE_SHARE, "value 2: from 20 % to 30 %"),
        (PRICE, (0, 2300, 400, 2275, 0, 25), Rule.VALUE_SHARE, "value 2: from 20 % to 8.0 %"),
    ],
)
def test_each_rule_names_what_moved(feature: FeatureBaseline, cells: tuple[int, ...], rule: Rule, words: str) -> None:
    """At 5,000 rows each rule names the part that moved."""
    finding = found(compared(feature, *cells), rule)
    assert finding.p_value < 1e-6
    assert finding.words() == f"{words} of the rows"


def test_shares_within_their_margin_are_quiet() -> None:
    """A new level in two of a thousand rows stays below the margin at any size; with a margin of 0 it counts."""
    cells = (220_000, 200_000, 12_500, 12_500, 12_500, 12_500, 1000, 25_000)
    assert found(compared(STORE, *cells), Rule.NEW_LEVEL).p_value > 0.5
    assert found(compared(STORE, *cells), Rule.NEW_LEVEL, MonitorSpec(minimum_share=0.0)).p_value < 1e-6


@pytest.mark.parametrize(("rows", "expected"), [(1, False), (5, True), (50, True)])
def test_no_share_of_new_levels_is_free_in_a_closed_list(rows: int, expected: bool) -> None:
    """In a closed list a quarter of a percent of new levels counts, since chance explains none; a configured margin applies."""
    cells = (8800, 8000, 500, 500, 500, 500, rows, 1000)
    closed = replace(STORE, closed=True, counts=tuple(10 * count for count in STORE.counts))
    assert (found(compared(closed, *cells), Rule.NEW_LEVEL).p_value < 0.01 / 30) is expected
    assert found(compared(replace(closed, closed=None), *cells), Rule.NEW_LEVEL).p_value > 0.01
    assert found(compared(closed, *cells), Rule.NEW_LEVEL, MonitorSpec(minimum_share=0.003)).p_value > 0.01


def test_new_levels_that_were_to_be_expected_are_quiet() -> None:
    """New levels at the rate that the baseline predicts are quiet."""
    used_to = replace(STORE, unseen_share=0.01)
    cells = (2200, 2000, 125, 125, 125, 125, 60, 240)
    assert found(compared(used_to, *cells), Rule.NEW_LEVEL).p_value > 0.05
    assert found(compared(STORE, *cells), Rule.NEW_LEVEL).p_value < 1e-6


def test_clustered_rows_count_for_less() -> None:
    """With a design effect of ten, fifty rows of a new level count as five, also with few clusters."""
    cells = (2200, 2000, 125, 125, 125, 125, 50, 250)
    clustered = replace(STORE, cell_overdispersion=(10.0,) * 8, overdispersion=10.0)
    few = replace(clustered, cluster_rows=1000.0, cluster_excess=5.0)
    p_values = [found(compared(feature, *cells), Rule.NEW_LEVEL).p_value for feature in (STORE, clustered, few)]
    assert p_values[0] < 1e-10
    assert p_values[1] > 1e-4
    assert p_values[1] == p_values[2]


@given(st.integers(200, 5000), st.integers(1000, 20_000), st.floats(0, 0.2), st.floats(0, 0.05), st.integers(0, 10_000))
def test_the_excess_is_never_smaller_than_the_exact_tail(
    rows: int, baseline_rows: int, share: float, margin: float, seed: int
) -> None:
    """The p-value is at least the binomial tail at the baseline's share, because the share is itself estimated."""
    random = np.random.default_rng(seed)
    expected, observed = (
        float(random.binomial(baseline_rows, share)),
        float(random.binomial(rows, min(1, share * 1.5 + 0.01))),
    )
    exact = float(stats.binom.sf(observed - 1, rows, min(1.0, expected / baseline_rows + margin)))
    assert excess_tail(observed, rows, expected, baseline_rows, margin=margin, effect=1.0) >= exact * (1 - 1e-9)


def test_p_values_of_the_excess_hold() -> None:
    """With both shares from one population, at most one p-value in a hundred is below 0.01."""
    random = np.random.default_rng(1)
    for rows, baseline_rows, share in ((500, 2000, 0.01), (5000, 2000, 0.05), (2000, 20_000, 0.3)):
        a, b = random.binomial(baseline_rows, share, 2000), random.binomial(rows, share, 2000)
        p_values = [
            excess_tail(float(y), rows, float(x), baseline_rows, margin=0.0, effect=1.0)
            for x, y in zip(a, b, strict=True)
        ]
        assert np.mean(np.array(p_values) <= 0.01) <= 0.013


def test_chi_square_agrees_with_scipy() -> None:
    """The statistic equals that of a two-row contingency table."""
    a, b = np.array([10.0, 20.0, 0.0, 5.0]), np.array([3.0, 30.0, 0.0, 9.0])
    expected = stats.chi2_contingency(np.array([a, b])[:, [0, 1, 3]], correction=False)
    assert chi_square(a, b) == (pytest.approx(expected.statistic, rel=1e-12), expected.dof)
    assert chi_square(a, np.zeros(4)) == (0.0, 0)


def test_the_second_order_is_satterthwaites() -> None:
    """The statistic is scaled by mean and spread, with fewer degrees of freedom."""
    got = minimum_effect_tail(60.0, 9, 12.0, 2.0, 0.5)
    assert got == pytest.approx(float(stats.ncx2.sf(60 / 3, 6, 12 / 3)), rel=1e-9)
    assert minimum_effect_tail(20.0, 9, 0.0, 1.0, None) == pytest.approx(float(stats.chi2.sf(20, 9)), rel=1e-9)


def test_the_distribution_says_where_it_changed_most() -> None:
    """Names the cell that contributes most to the statistic."""
    finding = distribution(compared(PRICE, 0, 3000, 1000, 975, 0, 25), layout(PRICE), SPEC)
    assert finding.p_value < 1e-6
    assert finding.words() == "distribution changed, most in above 2 to 9: from 40 % to 20 % of the rows"


def test_few_clusters_of_their_own_kind_weaken_the_distribution() -> None:
    """Clusters with their own shares raise the statistic's variance, so that the same counts are weaker evidence."""
    cells = (0, 2400, 1000, 1575, 0, 25)
    clustered = replace(PRICE, overdispersion=5.0, overdispersion_spread=0.0)
    few = replace(clustered, cluster_rows=500.0, cluster_excess=10.0)
    p_values = [distribution(compared(f, *cells), layout(f), SPEC).p_value for f in (PRICE, clustered, few)]
    assert p_values == sorted(p_values)
    assert p_values[0] < p_values[1] < p_values[2]


def test_one_cell_has_no_distribution() -> None:
    """A single cell has no distribution to compare."""
    constant = FeatureBaseline(name="x", type="category", levels=("a",), counts=(1000, 0, 0))
    assert distribution(compared(constant, 500, 0, 0), layout(constant), SPEC).p_value == 1.0


def test_a_new_default_within_a_bin_is_seen_by_the_bin_that_grows() -> None:
    """Five percent of the rows at one value raise one of ten bins by half, which is small for the distribution as a whole."""
    random = np.random.default_rng(11)
    baseline = fit_baseline(
        {"x": random.normal(0, 1, 20_000)}, types={"x": "number"}, training_set_id="t", created=""
    ).features[0]

    def smallest(values: np.ndarray) -> float:
        window = np.searchsorted(baseline.edges, values.astype(np.float32), side="right")
        counts = np.bincount(window, minlength=len(baseline.counts)).tolist()
        compared = plain(baseline, FeatureCounts(name="x", counts=tuple(counts)))
        findings = shares(compared, compared.cells, MonitorSpec())
        return min(one.p_value for one in findings if one.rule is Rule.VALUE_SHARE)

    live = random.normal(0, 1, 20_000)
    assert smallest(np.where(random.random(20_000) < 0.05, 0.5, live)) < 1e-6
    # the same shift of the mean does not count
    assert smallest(random.normal(0.09, 1, 1_000_000)) > 0.01
    assert smallest(live) == 1.0


def test_a_tail_that_grows_or_is_cut_off_is_seen() -> None:
    """Finds twice as many rows beyond the 97.5 % point and a cap at the 95 % point, though no tenth moves by a fifth."""
    random = np.random.default_rng(12)
    training = random.lognormal(0, 1, 20_000)
    types_of = {"x": "number"}
    baseline = fit_baseline({"x": training}, types=types_of, training_set_id="t", created="").features[0]

    def tail(values: np.ndarray) -> Finding:
        window = np.searchsorted(baseline.edges, values.astype(np.float32), side="right")
        counts = np.bincount(window, minlength=len(baseline.counts)).tolist()
        return found(plain(baseline, FeatureCounts(name="x", counts=tuple(counts))), Rule.TAIL)

    live = random.lognormal(0, 1, 20_000)
    assert tail(live).p_value == 1.0
    dear = np.where(random.random(20_000) < 0.026, random.choice(live[live > np.quantile(live, 0.975)], 20_000), live)
    grown = tail(dear)
    assert grown.p_value < 1e-6
    assert grown.words() == "tail from 7.17 up: from 2.5 % to 5.0 % of the rows"
    capped = tail(np.minimum(live, np.quantile(training, 0.95) - 0.01))
    assert capped.p_value < 1e-9
    assert capped.words() == "tail from 5.22 up: from 5.0 % to 0 % of the rows"
    # the same shift of the mean does not count
    assert tail(random.lognormal(0.09, 1, 1_000_000)).p_value == 1.0


def test_a_tail_in_clusters_counts_as_often_as_it_comes() -> None:
    """If one of fifty clusters of a hundred rows is expensive throughout, another one in the window is no drift."""
    random = np.random.default_rng(13)
    values, clusters = random.normal(0, 1, 5_000), np.repeat(np.arange(50), 100)
    values[:100] += 4
    window = random.normal(0, 1, 2_000)
    window[:200] += 4

    def tail(clusters: np.ndarray | None) -> float:
        fitted = fit_baseline({"x": values}, types={"x": "number"}, training_set_id="t", created="", clusters=clusters)
        counts = count_columns({"x": window}, fitted).features[0]
        return found(plain(fitted.features[0], counts), Rule.TAIL).p_value

    assert tail(None) < 1e-9
    assert tail(clusters) > 0.01


def test_a_tail_comes_in_clusters_as_large_as_those_of_its_tenth() -> None:
    """Five clusters of fifty rows are in the upper tenth, a fifth of them beyond the last edge: two may lie there entirely."""
    random = np.random.default_rng(14)
    values, clusters = random.normal(0, 1, 5_000), np.repeat(np.arange(50), 100)
    values[:500] = 10 + np.tile(np.arange(100) / 100, 5)
    baseline = fit_baseline(
        {"x": values}, types={"x": "number"}, training_set_id="t", created="", clusters=clusters
    ).features[0]
    window = random.normal(0, 1, 2_000)
    window[:200] = 10.995
    window[200:300] = 10 + np.arange(100) / 100
    counts = np.bincount(
        np.searchsorted(baseline.edges, window.astype(np.float32), side="right"), minlength=len(baseline.counts)
    )
    compared = plain(baseline, FeatureCounts(name="x", counts=tuple(counts.tolist())))
    assert max(baseline.tail_jumps or ()) < compared.jumps.max()
    assert found(compared, Rule.TAIL).p_value > 0.01


def test_without_bins_there_is_none_that_grows() -> None:
    """A constant has cells for its value and out of range, and no bin that can grow."""
    constant = fit_baseline({"x": np.full(900, 7.0)}, types={"x": "number"}, training_set_id="t", created="").features[
        0
    ]
    compared = plain(constant, FeatureCounts(name="x", counts=constant.counts))
    assert min(one.p_value for one in shares(compared, layout(constant), MonitorSpec())) == 1.0


GROUPS = (0, 1, 2, 3, 4, 5)
PAIRED_PRICE = FeatureBaseline(name="price", type="number", edges=(1.0, 2.0, 3.0, 4.0), counts=(9, 9, 9, 9, 9, 0))
PAIRED_STORE = FeatureBaseline(name="store", type="category", levels=("a", "b", "c", "d"), counts=(9, 9, 9, 9, 9, 0))


def table(random: np.random.Generator, rows: int, correlation: float, shift: float = 0.0) -> np.ndarray:
    """Return counts of two correlated numbers in five groups each, with empty null groups."""
    x = random.normal(size=rows)
    y = correlation * x + np.sqrt(1 - correlation**2) * random.normal(size=rows)
    edges = np.array([-0.84, -0.25, 0.25, 0.84])
    cells = np.searchsorted(edges, x + shift) * 6 + np.searchsorted(edges, y - shift)
    return np.bincount(cells, minlength=36)


def judged(before: np.ndarray, after: np.ndarray, *, overdispersion: float = 1.0) -> Finding:
    """Return the result of the rule."""
    pair = PairBaseline(
        first="price",
        second="store",
        first_groups=GROUPS,
        second_groups=GROUPS,
        counts=tuple(before.tolist()),
        overdispersion=overdispersion,
    )
    return association(pair, [(before, after)], (PAIRED_PRICE, PAIRED_STORE), MonitorSpec())


def test_a_changed_correlation_is_seen_and_said() -> None:
    """Finds a correlation that rises from 0 to 0.5 at 5,000 rows and describes it."""
    random = np.random.default_rng(1)
    finding = judged(table(random, 20_000, 0.0), table(random, 5000, 0.5))
    assert finding.p_value < 1e-12
    assert "more often than either alone explains" in finding.words()
    assert finding.words().startswith(
        ("price below 1 with store level 'a'", "price 4 and above with store other levels")
    )


def test_margins_may_move_as_they_like() -> None:
    """Shifts of both features by half a standard deviation with the same association are quiet at every size."""
    random = np.random.default_rng(2)
    p_values = [
        judged(table(random, 20_000, 0.5), table(random, rows, 0.5, shift=0.5)).p_value
        for rows in (1000, 5000, 20_000)
        for _ in range(20)
    ]
    assert min(p_values) > 1e-3


def test_nothing_to_compare_is_quiet() -> None:
    """An empty window and a feature with one group are quiet."""
    random = np.random.default_rng(3)
    before = table(random, 20_000, 0.3)
    one_row = np.zeros(36, dtype=int)
    one_row[:5] = 200
    assert judged(before, np.zeros(36, dtype=int)).p_value == judged(before, one_row).p_value == 1.0


def test_clustered_rows_of_a_pair_count_for_less() -> None:
    """A design effect weakens the evidence of a pair."""
    random = np.random.default_rng(4)
    before, after = table(random, 20_000, 0.0), table(random, 5000, 0.3)
    assert judged(before, after).p_value < judged(before, after, overdispersion=5.0).p_value


def test_the_fit_has_both_margins_and_common_odds_ratios() -> None:
    """The iterative proportional fit has both margins and the baseline's odds ratios."""
    random = np.random.default_rng(5)
    tables = random.integers(5, 200, (2, 3, 4)).astype(float)
    fitted = same_odds_ratios(tables)
    for axis in range(3):
        assert fitted.sum(axis=axis) == pytest.approx(tables.sum(axis=axis), rel=1e-6)
    ratios = np.log(fitted[:, :-1, :-1] * fitted[:, 1:, 1:] / fitted[:, 1:, :-1] / fitted[:, :-1, 1:])
    assert ratios[0] == pytest.approx(ratios[1], abs=1e-6)


@pytest.mark.parametrize(
    ("infinite", "invalid", "rule", "drifts"),
    [
        (100, 0, Rule.INFINITE, False),  # as many as in training
        (600, 0, Rule.INFINITE, True),
        (0, 0, Rule.TYPE, False),
        (100, 200, Rule.TYPE, True),  # infinite training values do not excuse text
    ],
)
def test_infinite_values_may_be_as_many_as_in_training(infinite: int, invalid: int, rule: Rule, drifts: bool) -> None:
    """The share of infinite values is compared with the baseline's, apart from values of another type."""
    feature = replace(PRICE, infinite=400)
    counts = FeatureCounts(name="price", counts=(0, 2000, 1000, 1975, 0, 25), infinite=infinite, invalid=invalid)
    one = types(plain(feature, counts), SPEC)
    assert (one.p_value < 1e-6) is drifts
    assert one.rule is rule or not drifts
    if rule is Rule.INFINITE and drifts:
        assert one.words() == "infinite values: from 2.0 % to 11 % of the rows"
