"""The strata of a window that are compared, and their counterparts in the baseline.

Pairs given conditions: level and power against the unconditioned test on seeded windows; pairs without room are named.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from mlops_runtime.contracts.monitor import Baseline, Condition, Counts
from mlops_runtime.contracts.monitor_report import FeatureDrift
from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.counting.counts import add_strata, count_columns, empty, merge
from mlops_runtime.monitor.monitors.drift.comparison import conditioned
from mlops_runtime.monitor.monitors.drift.decision import decide
from mlops_runtime.monitor.monitors.drift.paired_strata import (
    MINIMUM_STRATUM_ROWS,
    NOT_IN_BASELINE,
    compared_without_conditions,
    pair_strata,
    stratum_tables,
)
from mlops_runtime.monitor.spec import MonitorSpec

TYPES = {"price": "number", "units": "number", "promoted": "category"}
PROMOTED, DAYS, ROWS = Condition(name="promoted"), 60, 100


def test_rows_that_the_baseline_does_not_cover_are_named() -> None:
    """Names kinds of promotion that the baseline never or hardly had."""
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
    found = pair_strata(known, counts)
    assert [(before.key, after.rows) for before, after in found.pairs] == [("flyer", 1000)]
    assert found.uncovered == {"rare": 1000, NOT_IN_BASELINE: 1000}
    assert conditioned(known, counts)[1].window_rows == 1000
    nothing = count_columns(kinds(500, ["television"]), known)  # type: ignore[arg-type]
    assert all(one.untested for one in decide(known, nothing, MonitorSpec()) if one.name in ("kind", "price"))


def test_a_thin_hour_of_the_week_is_compared_as_its_hour_of_the_day() -> None:
    """With ten rows a night, too few per weekday in four weeks, finds a changed night by comparing all nights."""
    monday, hours = np.datetime64("2017-03-06T00:00:00"), np.arange(28 * 24)
    rows = np.where(hours % 24 == 3, 10, 60)
    times = np.repeat(monday + hours * np.timedelta64(1, "h"), rows)
    random = np.random.default_rng(6)
    known = fit_baseline(
        {"price": random.lognormal(2, 0.3, len(times))},
        types={"price": "number"},
        training_set_id="t",
        created="2017-04-03T00:00:00Z",
        times=times,
        conditions=[Condition(name="when", kind="hour_of_week")],
    )
    at = np.repeat(np.datetime64("2017-04-04T00:00:00") + np.arange(24) * np.timedelta64(1, "h"), 60)
    price = random.lognormal(2, 0.3, len(at))
    quiet = count_columns({"price": price}, known, times=at)
    found = pair_strata(known, quiet)
    assert found.uncovered == {}
    night = {after.key: (before.rows, after.rows) for before, after in found.pairs}
    assert (night["03h"], night["Tue 04h"], "Tue 03h" in night) == ((280, 60), (240, 60), False)
    moved = count_columns(
        {"price": np.where(at.astype(object) < at[240].astype(object), price * 3, price)}, known, times=at
    )
    verdicts = {one.name: one for one in decide(known, moved, MonitorSpec())}
    assert verdicts["price"].drifted
    assert not {one.name: one for one in decide(known, quiet, MonitorSpec())}["price"].drifted


def test_strata_are_added_exactly() -> None:
    """The strata of a day's hours add up exactly to the day's counts."""
    times = np.repeat(np.datetime64("2017-03-06T00:00:00") + np.arange(28 * 24) * np.timedelta64(1, "h"), 4)
    values = np.random.default_rng(7).lognormal(2, 0.3, len(times))
    known = fit_baseline(
        {"price": values},
        types={"price": "number"},
        training_set_id="t",
        created="",
        times=times,
        conditions=[Condition(name="when", kind="hour_of_week")],
    )
    counts = count_columns({"price": values[:96]}, known, times=times[:96])
    assert counts.strata is not None
    assert add_strata("Mon", counts.strata).features == counts.features


def rows(
    random: np.random.Generator, days: int, share: float, correlation: tuple[float, float] = (0.0, 0.8)
) -> tuple[dict[str, npt.ArrayLike], npt.NDArray[np.int64]]:
    """Return columns and daily clusters; the day's kind, ordinary or promoted, sets the association of price and units."""
    clusters = np.repeat(np.arange(days), ROWS)
    promoted = np.repeat(random.random(days) < share, ROWS)
    price = random.normal(size=days * ROWS)
    r = np.where(promoted, correlation[1], correlation[0])
    units = r * price + np.sqrt(1 - r**2) * random.normal(size=days * ROWS)
    texts = np.where(promoted, "yes", "no")
    return {"price": price, "units": units, "promoted": texts.tolist()}, clusters


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    """Return a baseline of 60 days, a third of them promoted."""
    columns, clusters = rows(np.random.default_rng(1), DAYS, 1 / 3)
    return fit_baseline(
        columns, types=TYPES, training_set_id="t", created="", clusters=clusters, conditions=[PROMOTED],
        pairs=[("price", "units")],
    )  # fmt: skip


def window(baseline: Baseline, seed: int, share: float, correlation: tuple[float, float] = (0.0, 0.8)) -> Counts:
    """Return the counts of 20 days."""
    return count_columns(rows(np.random.default_rng(seed), 20, share, correlation)[0], baseline)


def found(baseline: Baseline, counts: Counts, *, given: bool = True) -> FeatureDrift:
    """Return the decision about the pair."""
    return decide(baseline, counts, MonitorSpec(minimum_rows=50), given_conditions=given)[-1]


def test_more_promotions_are_not_drift_of_a_pair(baseline: Baseline) -> None:
    """With all days promoted, nearly every window raises an alarm without conditions, and none of 40 given them."""
    windows = [window(baseline, seed, 0.9) for seed in range(100, 140)]
    assert sum(found(baseline, counts).drifted for counts in windows) == 0
    assert sum(found(baseline, counts, given=False).drifted for counts in windows) >= 36


def test_quiet_windows_stay_quiet(baseline: Baseline) -> None:
    """None of 60 windows with the baseline's mix raises an alarm."""
    assert not any(found(baseline, window(baseline, seed, 1 / 3)).drifted for seed in range(200, 260))


@pytest.mark.parametrize("correlation", [(0.5, 0.8), (0.0, 0.2), (0.4, 0.4)])
def test_a_pair_that_comes_apart_in_either_stratum_is_found(
    baseline: Baseline, correlation: tuple[float, float]
) -> None:
    """Finds a change on ordinary days, on promoted days, and on both in opposite directions."""
    decision = found(baseline, window(baseline, 3, 0.5, correlation))
    assert decision.drifted
    assert decision.rule == "association"
    assert "more often than either alone explains" in str(decision.description).replace("less", "more")


def test_tables_by_stratum_add_up_over_objects(baseline: Baseline) -> None:
    """Merged counts of two objects have the tables of one pass over both."""
    columns = rows(np.random.default_rng(4), 20, 0.5)[0]
    half = len(columns["promoted"]) // 2  # type: ignore[arg-type] # a list
    parts = [{name: values[at] for name, values in columns.items()} for at in (slice(0, half), slice(half, None))]  # type: ignore[index]
    merged = merge(empty(baseline), [count_columns(part, baseline) for part in parts])
    whole = count_columns(columns, baseline)
    assert [s.pairs for s in merged.strata or ()] == [s.pairs for s in whole.strata or ()]
    (pair,) = baseline.pairs or ()
    tables = stratum_tables(baseline, merged, pair)
    assert sum(after for _, after in tables).tolist() == list((whole.pairs or ())[0].counts)  # type: ignore[union-attr] # arrays


def test_a_pair_without_tables_by_stratum_is_named(baseline: Baseline) -> None:
    """Names the reason and the fix; the pair is compared without conditions."""
    (pair,) = baseline.pairs or ()
    apart = replace(baseline, pairs=(replace(pair, given=None),))
    assert compared_without_conditions(baseline) == {}
    assert list(compared_without_conditions(apart)) == [
        "price x units is compared without conditions: its tables of 2 strata have 72 cells, and all pairs together may have "
        "20,000; declare fewer pairs or fewer conditions"
    ]
    counts = window(baseline, 5, 0.9)
    assert found(apart, counts) == found(baseline, counts, given=False)
