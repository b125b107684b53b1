"""How wide a number is spread: found at a variance a third larger, quiet where nothing moved, in words."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mlops_runtime.contracts.monitor import FeatureBaseline
from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.counting.counts import count_columns
from mlops_runtime.monitor.counting.feature_baseline import number_baseline
from mlops_runtime.monitor.drift.comparison import Comparison, plain
from mlops_runtime.monitor.drift.decide import decide
from mlops_runtime.monitor.drift.spread import spread
from mlops_runtime.monitor.spec import MonitorSpec

SPEC = MonitorSpec()
Draw = Callable[[np.random.Generator, int], np.ndarray]
KINDS: dict[str, Draw] = {
    "normal": lambda random, rows: random.normal(0, 1, rows),
    "lognormal": lambda random, rows: random.lognormal(2.5, 0.8, rows),
    "gamma": lambda random, rows: random.gamma(2, 3, rows),
    "half zero": lambda random, rows: np.where(random.random(rows) < 0.6, 0, random.exponential(5, rows)),
    "counts": lambda random, rows: random.poisson(4, rows).astype(float),
    "no moments": lambda random, rows: random.standard_cauchy(rows),
}


def of(values: np.ndarray, window: np.ndarray) -> Comparison:
    """Return a window beside the baseline of some values."""
    baseline = fit_baseline({"x": values}, types={"x": "number"}, training_set_id="t", created="")
    return plain(baseline.features[0], count_columns({"x": window}, baseline).features[0])


def test_a_variance_a_third_larger_is_found_among_thirty_features() -> None:
    """At 5,000 rows against 20,000 nearly always, by its own rule, in words."""
    random = np.random.default_rng(0)
    types = {f"n{i}": "number" for i in range(30)}
    found = []
    for _ in range(20):
        rows = {name: random.normal(0, 1, 20_000) for name in types}
        baseline = fit_baseline(rows, types=types, training_set_id="t", created="")
        window = {name: random.normal(0, 1.3**0.5 if name == "n7" else 1, 5_000) for name in types}
        found += [one.drift for one in decide(baseline, count_columns(window, baseline), SPEC) if one.drift.drifted]
    assert {one.name for one in found} == {"n7"}
    assert len(found) >= 19
    assert {one.rule for one in found} == {"spread"}
    assert "standard deviation rose 1" in str(found[0].description)


def test_a_narrower_window_is_found() -> None:
    """Both ways."""
    random = np.random.default_rng(1)
    finding = spread(of(random.normal(0, 1, 20_000), random.normal(0, 0.85, 5_000)), SPEC)
    assert finding is not None
    assert finding.p_value < 1e-6
    assert finding.words().startswith("standard deviation fell 1")


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_moved(kind: str) -> None:
    """With no minimum effect p-values are those of a test; with the default one hardly any is small."""
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
    assert small <= 15  # of 600, 6 expected
    assert quiet <= 3


def test_what_does_not_matter_never_counts() -> None:
    """Four percent in a million rows."""
    random = np.random.default_rng(3)
    finding = spread(of(random.normal(0, 1, 1_000_000), random.normal(0, 1.04, 1_000_000)), SPEC)
    assert finding is not None
    assert finding.p_value > 0.5


def test_clustered_rows_count_as_often_as_their_scores_do() -> None:
    """Clusters differ in how wide they are, not in where they lie: only the scores' own design effect tells."""
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
    """The middle of the values spreads; the tail's end, which makes the deviation, came nearer."""
    random = np.random.default_rng(5)
    train, live = random.normal(0, 1, 20_000), random.normal(0, 1.3, 20_000)
    train[:50] = 1000
    finding = spread(of(train, live), SPEC)
    assert finding is not None
    assert finding.words().startswith("values lie farther from each other: the middle 80 % from -1.5")


def test_what_has_no_bins_to_tell_by_is_not_tested() -> None:
    """Levels, and numbers of few values."""
    level = FeatureBaseline(name="x", type="category", levels=("a",), counts=(9, 0, 0))
    few = FeatureBaseline(name="x", type="number", edges=(1.0,), counts=(9, 9, 0))
    for feature in (level, few):
        counts = np.array(feature.counts, dtype=float)
        assert spread(Comparison(feature=feature, expected=counts, observed=counts), SPEC) is None
