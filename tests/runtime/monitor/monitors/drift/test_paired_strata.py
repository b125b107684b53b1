"""The strata of a window that are compared, and their counterparts in the baseline."""

import numpy as np

from mlops_runtime.contracts.monitor import Condition
from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.counting.counts import add_strata, count_columns
from mlops_runtime.monitor.monitors.drift.comparison import conditioned
from mlops_runtime.monitor.monitors.drift.decision import decide
from mlops_runtime.monitor.monitors.drift.paired_strata import (
    MINIMUM_STRATUM_ROWS,
    NOT_IN_BASELINE,
    pair_strata,
)
from mlops_runtime.monitor.spec import MonitorSpec


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
    assert all(
        one.drift.untested for one in decide(known, nothing, MonitorSpec()) if one.drift.name in ("kind", "price")
    )


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
    verdicts = {one.drift.name: one.drift for one in decide(known, moved, MonitorSpec())}
    assert verdicts["price"].drifted
    assert not {one.drift.name: one.drift for one in decide(known, quiet, MonitorSpec())}["price"].drifted


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
