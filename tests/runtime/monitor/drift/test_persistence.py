"""What persists, and how many hours a window takes in."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts.monitor import FeatureDrift, MonitorReport, MonitorState
from mlops_runtime.monitor.drift.persistence import hours_to_add, persist
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import stamp

MONDAY = datetime(2017, 8, 7, tzinfo=UTC)
DAY = timedelta(days=1)


def drift(name: str, *, drifted: bool) -> FeatureDrift:
    """Return one verdict."""
    return FeatureDrift(name=name, psi=0.1, p_value=0.0 if drifted else 1.0, drifted=drifted)


def report(end: datetime, *names: str, merged: int = 0) -> MonitorReport:
    """Return the report of a day in which some features drifted."""
    return MonitorReport(
        endpoint="e",
        variant="v",
        window_from=stamp(end - DAY),
        window_until=stamp(end),
        drift_state=MonitorState.OK,
        quality_state=MonitorState.NO_LABELS_YET,
        rows=1000,
        labelled_rows=0,
        baseline_sha256="b",
        model_package_arn=None,
        hours_merged=merged,
        features=tuple(drift(name, drifted=name in names) for name in ("price", "stock")),
    )


@pytest.mark.parametrize(
    ("earlier", "expected"),
    [([], False), ([["price"]], True), ([[], ["price"]], True), ([[], [], ["price"]], False), ([["stock"]], False)],
)
def test_two_of_three_windows(earlier: list[list[str]], expected: bool) -> None:
    """This window and one of the two before, by feature."""
    reports = [report(MONDAY - index * DAY, *names) for index, names in enumerate(earlier)]
    found = persist([drift("price", drifted=True), drift("stock", drifted=False)], reports, MonitorSpec(), start=MONDAY)
    assert [one.persistent for one in found] == [expected, False]


def test_what_is_over_does_not_persist() -> None:
    """Two windows before drifted, this one does not."""
    reports = [report(MONDAY, "price"), report(MONDAY - DAY, "price")]
    assert persist([drift("price", drifted=False)], reports, MonitorSpec())[0].persistent is False


def test_windows_that_share_rows_are_one() -> None:
    """A window that took in a day before it says no more than the report of that day; the next one apart counts."""
    features = [drift("price", drifted=True)]
    reports = [report(MONDAY, "price"), report(MONDAY - DAY, "price")]
    assert persist(features, reports[:1], MonitorSpec(), start=MONDAY - DAY)[0].persistent is False
    assert persist(features, reports, MonitorSpec(), start=MONDAY - DAY)[0].persistent is True
    shared = [report(MONDAY, merged=24), report(MONDAY - DAY, "price")]
    assert persist(features, shared, MonitorSpec(), start=MONDAY)[0].persistent is False


def test_a_first_window_persists_where_one_is_enough() -> None:
    """One of one."""
    spec = MonitorSpec(alarm_windows=1, of_windows=1)
    assert persist([drift("price", drifted=True)], [report(MONDAY)], spec)[0].persistent is True


@given(st.integers(1, 400), st.lists(st.integers(0, 100), max_size=30), st.integers(0, 20))
def test_the_fewest_hours_that_are_enough(rows: int, before: list[int], limit: int) -> None:
    """Against trying every number of hours."""
    spec = MonitorSpec(minimum_rows=300, merge_hours=limit)
    allowed = before[:limit]
    enough = [added for added in range(len(allowed) + 1) if rows + sum(allowed[:added]) >= 300]
    assert hours_to_add(rows, before, spec) == (enough[0] if enough else len(allowed))


def test_silence_is_not_filled_up() -> None:
    """A window without rows takes in nothing."""
    assert hours_to_add(0, [1000], MonitorSpec()) == 0
