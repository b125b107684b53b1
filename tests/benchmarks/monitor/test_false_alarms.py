"""A small slice of the campaign of false alarms."""

from pathlib import Path

import numpy as np
import pytest
from benchmarks.monitor.campaign import Ledger, tally, verdicts
from benchmarks.monitor.windows import Rows, draws, independent, retail, split

from benchmarks.monitor import false_alarms


@pytest.fixture(scope="module")
def stable() -> Rows:
    """Purchases of a quarter of the households from spring to autumn."""
    rows = retail(4)
    return rows.take((rows.week >= 9) & (rows.week <= 43))


def test_independent_rows_are_quiet() -> None:
    """Two baselines, three sizes: hardly a window alarms, none persists."""
    found = [false_alarms.independent_rows(size, seed, 6) for size in (200, 1000, 5000) for seed in range(2)]
    assert sum(part["fired"] for part in found) <= 1
    assert sum(part["persisted"] for part in found) == 0
    assert all(part["silent"] == 0 for part in found)


@pytest.mark.parametrize("by", ["household", "store", "day"])
def test_clusters_of_retail_rows_are_quiet(stable: Rows, by: str) -> None:
    """Whole clusters are in the baseline or in a window; shifts are found where there are enough clusters."""
    found = false_alarms.clustered_rows(stable, by, 20_000, 0, 4)
    assert found["fired"] <= 1
    assert found["persisted"] == 0
    assert found["untested"] < 0.3


@pytest.mark.parametrize("by", false_alarms.HOUR_CLUSTERS)
def test_hours_of_other_weeks_are_quiet(stable: Rows, by: str) -> None:
    """Given the hour of the week; nulls are found with visits and with days as clusters."""
    found = false_alarms.hours(stable, by, 2_000, 0, 3)
    assert found["fired"] <= (by == "visit")
    assert found["found"]["5 % nulls"] == found["planted"]


def test_no_cluster_is_on_both_sides(stable: Rows) -> None:
    """Splits and windows share no household."""
    known, other = split(stable, "household", 3)
    assert not set(known.household) & set(other.household)
    windows = list(draws(other, "household", 20_000, 3))
    assert all(len(window) >= 20_000 for window in windows)
    assert len(np.unique(np.concatenate([np.unique(w.household) for w in windows]))) == sum(
        len(np.unique(window.household)) for window in windows
    )


def test_a_run_resumes(tmp_path: Path) -> None:
    """Measured results are not measured again."""
    calls = []
    for _ in range(2):
        assert Ledger("x", tmp_path).measure("key", lambda: calls.append(1) or {"fired": 3}) == {"fired": 3}
    assert calls == [1]


def test_windows_are_tallied() -> None:
    """Windows that fired, and those that drifted twice in three."""
    baseline = false_alarms.fit(independent(5000, 1))
    quiet, loud = (verdicts(baseline, independent(5000, 2, shift)) for shift in (None, "spread x1.3"))
    found = tally([quiet, loud, loud, quiet])
    assert (found.windows, found.fired, found.runs, found.persisted) == (4, 2, 2, 1)
