"""The baseline re-weighted to the window's mix of conditions."""

import numpy as np
import pytest

from mlops_runtime.contracts.monitor import Baseline, Condition, Counts
from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.counting.counts import count_columns
from mlops_runtime.monitor.drift.comparison import MINIMUM_STRATUM_ROWS, NOT_IN_BASELINE, conditioned, coverage, plain
from mlops_runtime.monitor.drift.decide import decide
from mlops_runtime.monitor.spec import MonitorSpec

Columns = dict[str, np.ndarray]


def rows(random: np.random.Generator, number: int, promoted: float, *, rise: float = 1.0) -> Columns:
    """Return prices that are lower by a third where they are promoted."""
    promotion = (random.random(number) < promoted).astype(np.float64)
    price = random.lognormal(2, 0.3, number) * np.where(promotion == 1, 0.67, 1.0) * rise
    return {"promotion": promotion, "price": price}


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    """One row in five is promoted."""
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
    """Return the names of what drifted."""
    decisions = decide(baseline, counts, MonitorSpec(), given_conditions=given)
    return [one.drift.name for one in decisions if one.drift.drifted]


def test_more_promotions_drift_plainly_and_not_given_them(baseline: Baseline) -> None:
    """Prices fell because more is promoted; given the promotion they are as ever. A real rise is seen either way."""
    counts = window(baseline, 5000, 0.7)
    plainly = drifted(baseline, counts, given=False)
    assert {"promotion", "price"} <= set(plainly)
    assert drifted(baseline, counts) == drifted(baseline, counts, given=True)
    assert "price" not in drifted(baseline, counts)
    assert "price" in drifted(baseline, window(baseline, 5000, 0.7, rise=1.15))


def test_conditions_are_reported_and_not_tested(baseline: Baseline) -> None:
    """A feature that is a condition cannot drift given itself."""
    found = {one.drift.name: one.drift for one in decide(baseline, window(baseline, 5000, 0.7), MonitorSpec())}
    assert found["promotion"].untested == "it is a condition of the comparison"
    assert not found["promotion"].drifted


def test_the_baseline_is_worth_its_effective_rows(baseline: Baseline) -> None:
    """Kish's size by hand; the same mix is worth all of the baseline."""
    compared = conditioned(baseline, window(baseline, 5000, 0.7))[1]
    strata = {stratum.key: stratum.rows for stratum in baseline.strata or ()}
    share = {stratum.key: stratum.rows / 5000 for stratum in window(baseline, 5000, 0.7).strata or ()}
    expected = 1 / sum(share[key] ** 2 / strata[key] for key in share)
    assert compared.baseline_rows == pytest.approx(expected, rel=1e-9)
    assert expected < 9000
    same = conditioned(baseline, window(baseline, 5000, 0.2))[1]
    assert same.baseline_rows == pytest.approx(20_000, rel=0.01)


def test_moments_are_those_of_the_reweighted_rows(baseline: Baseline) -> None:
    """Against weighting the rows one by one."""
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


def test_rows_that_the_baseline_does_not_cover_are_named() -> None:
    """A kind of promotion that it never saw, or hardly."""
    random = np.random.default_rng(4)

    def kinds(number: int, kind: list[str]) -> dict[str, object]:
        return {"kind": [kind[i % len(kind)] for i in range(number)], "price": random.lognormal(2, 0.3, number)}

    hardly = kinds(10_000, ["none", "flyer"])
    hardly["kind"][: MINIMUM_STRATUM_ROWS - 1] = ["rare"] * (MINIMUM_STRATUM_ROWS - 1)  # type: ignore[index]
    known = fit_baseline(
        hardly,  # type: ignore[arg-type]
        types={"kind": "category", "price": "number"},
        training_set_id="t",
        created="",
        conditions=[Condition(name="kind")],
    )
    counts = count_columns(kinds(3000, ["flyer", "television", "rare"]), known)  # type: ignore[arg-type]
    found = coverage(known, counts)
    assert found.rows == 1000
    assert found.uncovered == {"rare": 1000, NOT_IN_BASELINE: 1000}
    assert conditioned(known, counts)[1].window_rows == 1000
    nothing = count_columns(kinds(500, ["television"]), known)  # type: ignore[arg-type]
    assert all(
        one.drift.untested for one in decide(known, nothing, MonitorSpec()) if one.drift.name in ("kind", "price")
    )


def test_plainly_the_counts_stand_as_they_are(baseline: Baseline) -> None:
    """Means and deviations of the window's values."""
    columns = rows(np.random.default_rng(3), 1000, 0.2)
    compared = plain(baseline.features[1], count_columns(columns, baseline).features[1])
    assert compared.window_rows == 1000
    assert compared.window_mean == pytest.approx(columns["price"].mean(), rel=1e-6)
    assert compared.window_deviation == pytest.approx(columns["price"].std(), rel=1e-5)
