"""Effect sizes from counts against those of the values."""

import numpy as np
import pytest
from scipy import stats

from mlops_runtime.contracts.monitor import FeatureDrift
from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.counting.counts import count_columns
from mlops_runtime.monitor.drift.comparison import plain
from mlops_runtime.monitor.drift.effects import effect_sizes
from mlops_runtime.monitor.drift.layout import layout


def sizes(before: object, after: object, kind: str) -> FeatureDrift:
    """Return the effect sizes of two columns."""
    columns = {"x": before}
    baseline = fit_baseline(columns, types={"x": kind}, training_set_id="t", created="")  # type: ignore[arg-type, dict-item]
    feature = baseline.features[0]
    counts = count_columns({"x": after}, baseline).features[0]  # type: ignore[dict-item]
    return effect_sizes(plain(feature, counts), layout(feature))


def test_numbers() -> None:
    """Mean shift in deviations, area between the CDFs, largest difference at an edge, nulls with their interval."""
    random = np.random.default_rng(1)
    before, after = random.lognormal(2, 0.5, 20_000), random.lognormal(2.2, 0.5, 5000)
    after[:250] = np.nan
    found = sizes(before, after, "number")
    known = after[~np.isnan(after)]
    assert found.mean_shift == pytest.approx((known.mean() - before.mean()) / before.std(), rel=1e-5)
    assert found.wasserstein == pytest.approx(float(stats.wasserstein_distance(before, known)), rel=0.05)
    assert found.l_infinity == pytest.approx(float(stats.ks_2samp(before, known).statistic), abs=0.02)
    assert 0.1 < found.psi < 0.7
    assert found.null_rate is not None
    interval = stats.binomtest(250, 5000).proportion_ci(method="wilson")
    assert (found.null_rate.value, found.null_rate.baseline, found.null_rate.rows) == (0.05, 0.0, 5000)
    assert (found.null_rate.low, found.null_rate.high) == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_a_unit_error_is_as_far_as_its_mean() -> None:
    """All values lie outside the range: the cells do not say how far, the sums do."""
    random = np.random.default_rng(2)
    before, after = random.lognormal(2, 0.5, 5000), random.lognormal(2, 0.5, 5000) * 100
    found = sizes(before, after, "number")
    assert found.wasserstein == pytest.approx(float(stats.wasserstein_distance(before, after)), rel=0.02)
    assert found.l_infinity == pytest.approx(1.0, abs=0.01)


def test_categories() -> None:
    """New levels with their rate; no mean, no Wasserstein."""
    random = np.random.default_rng(3)
    before = random.choice(["a", "b", "c"], 5000, p=[0.5, 0.3, 0.2]).tolist()
    after = random.choice(["a", "b", "c", "d"], 1000, p=[0.45, 0.3, 0.2, 0.05]).tolist()
    found = sizes(before, after, "category")
    assert (found.mean_shift, found.wasserstein) == (None, None)
    assert found.new_rate is not None
    assert found.new_rate.value == pytest.approx(0.05, abs=0.02)
    assert found.new_rate.baseline == 0.0
    assert found.l_infinity == pytest.approx(0.05, abs=0.03)


def test_nothing_moved_is_nothing() -> None:
    """A window that is the baseline, and one without rows."""
    values = np.random.default_rng(4).normal(size=5000)
    same = sizes(values, values, "number")
    assert (same.psi, same.l_infinity, same.mean_shift) == pytest.approx((0.0, 0.0, 0.0), abs=1e-6)
    assert same.wasserstein == pytest.approx(0.0, abs=1e-3)
    empty = sizes(values, values[:0], "number")
    assert (empty.psi, empty.wasserstein, empty.null_rate) == (0.0, None, None)
