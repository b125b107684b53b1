"""Confirmation of drift by earlier windows that are near, share no rows, and have the same model and baseline."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import DriftResult, FeatureDrift, MonitorReport, QualityResult
from mlops_runtime.monitor.monitors.drift.persistence import neighbours, past_windows, persist, too_few_rows
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import stamp

MONDAY = datetime(2017, 8, 7, tzinfo=UTC)
DAY = timedelta(days=1)
TWO_OF_THREE = MonitorSpec()


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
        rows=1000,
        baseline_sha256="b",
        model_package_arn="p",
        hours_merged=merged,
        drift=DriftResult(
            state=MonitorState.OK,
            features=tuple(drift(name, drifted=name in names) for name in ("price", "stock")),
        ),
        quality=QualityResult(),
    )


def found(
    *reports: MonitorReport, start: datetime = MONDAY, spec: MonitorSpec = TWO_OF_THREE, drifted: bool = True
) -> FeatureDrift:
    """Return the verdict on the price for the day from a start, after reports in descending order of time."""
    earlier = past_windows(reports, baseline_sha256="b", model_package_arn="p")
    windows = neighbours(earlier, start=start, end=MONDAY + DAY, spec=spec)
    return persist([drift("price", drifted=drifted)], windows, spec)[0]


@pytest.mark.parametrize(
    ("earlier", "expected"),
    [([], False), ([["price"]], True), ([[], ["price"]], True), ([[], [], ["price"]], False), ([["stock"]], False)],
)
def test_two_of_three_windows(earlier: list[list[str]], expected: bool) -> None:
    """Drift in this window and in one of the two before is confirmed, for each feature."""
    reports = [report(MONDAY - index * DAY, *names) for index, names in enumerate(earlier)]
    assert found(*reports).persistent is expected


def test_the_windows_that_agree_are_named() -> None:
    """Agreeing windows are listed by their end; a stable feature has none."""
    reports = [report(MONDAY), report(MONDAY - DAY, "price")]
    assert found(*reports).agreed_with == ("2017-08-06T00:00:00Z",)
    assert found(*reports, drifted=False).agreed_with is None


def test_what_is_over_does_not_persist() -> None:
    """Drift in the two windows before but not in this one does not persist."""
    assert found(report(MONDAY, "price"), report(MONDAY - DAY, "price"), drifted=False).persistent is False


def test_windows_that_share_rows_are_one() -> None:
    """A window that includes the day before repeats that day's report; the next separate window counts."""
    reports = [report(MONDAY, "price"), report(MONDAY - DAY, "price")]
    assert found(reports[0], start=MONDAY - DAY).persistent is False
    assert found(*reports, start=MONDAY - DAY).persistent is True
    assert found(report(MONDAY, merged=24), report(MONDAY - DAY, "price")).persistent is False


@pytest.mark.parametrize(("days", "expected"), [(0, True), (3, True), (6, True), (7, False), (30, False)])
def test_windows_far_back_are_no_neighbours(days: int, expected: bool) -> None:
    """Windows of days bridge a weekend, up to twice the span of three windows."""
    assert found(report(MONDAY - days * DAY, "price")).persistent is expected


@pytest.mark.parametrize(
    "change",
    [
        {"baseline_sha256": "other"},
        {"model_package_arn": "other"},
        {"suppressed": "a rollout ran"},
        {"drift": DriftResult(state=MonitorState.INSUFFICIENT_DATA)},
    ],
)
def test_a_window_of_another_model_or_baseline_or_without_a_decision_says_nothing(change: dict[str, object]) -> None:
    """Such a window neither agrees nor takes the place of one that counts."""
    other = replace(report(MONDAY, "price"), **change)  # type: ignore[arg-type]
    assert found(other).persistent is False
    assert found(other, report(MONDAY - DAY), report(MONDAY - 2 * DAY, "price")).persistent is True


def test_a_first_window_persists_where_one_is_enough() -> None:
    """One of one."""
    assert found(report(MONDAY), spec=MonitorSpec(alarm_windows=1, of_windows=1)).persistent is True


def test_of_few_clusters_all_windows_must_agree() -> None:
    """With twenty clusters two of three windows are enough; with nineteen all three must agree."""
    days = [MONDAY - index * DAY for index in range(2)]
    one, two = ([report(day, "price") for day in days[:number]] for number in (1, 2))
    few = replace(drift("price", drifted=True), few_clusters=19)
    for reports, expected in ((one, False), (two, True)):
        windows = neighbours(
            past_windows(reports, baseline_sha256="b", model_package_arn="p"),
            start=MONDAY,
            end=MONDAY + DAY,
            spec=TWO_OF_THREE,
        )
        assert persist([few], windows, TWO_OF_THREE)[0].persistent is expected
    assert found(*one).persistent is True


def test_windows_of_too_few_rows_are_named() -> None:
    """Names Friday's small window between Thursday's and this one, unless it shares rows with a window that counts."""
    few = DriftResult(state=MonitorState.INSUFFICIENT_DATA)
    friday, thursday = (report(MONDAY - back * DAY, "price") for back in (2, 3))
    friday = replace(friday, drift=few, hours_merged=168)
    inside = replace(report(MONDAY - 3 * DAY + DAY / 2), drift=few)
    old = replace(report(MONDAY - 30 * DAY), drift=few)
    windows = neighbours(
        past_windows([friday, inside, thursday, old], baseline_sha256="b", model_package_arn="p"),
        start=MONDAY,
        end=MONDAY + DAY,
        spec=TWO_OF_THREE,
    )
    feature = persist([drift("price", drifted=True)], windows, TWO_OF_THREE)[0]
    assert (feature.persistent, feature.agreed_with) == (True, ("2017-08-04T00:00:00Z",))
    assert too_few_rows(windows) == ("2017-08-05T00:00:00Z",)
    assert too_few_rows(windows[1:]) is None
