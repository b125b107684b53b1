"""The timeline of a page: spans of states, gaps, rollouts and changes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import DriftResult, MonitorReport, QualityResult
from mlops_runtime.contracts.rollout import AuditRecord, Outcome
from mlops_runtime.monitor.page.course import course
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import stamp

START = datetime(2017, 8, 1, tzinfo=UTC)
ARN = "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand/{}"
OK, BAD, FEW = MonitorState.OK, MonitorState.VIOLATION, MonitorState.INSUFFICIENT_DATA


def report(day: int, state: MonitorState, *, hours: int = 24, **fields: object) -> MonitorReport:
    """Return the report of the window that ends after the given number of days."""
    end = START + timedelta(days=day + 1)
    made = MonitorReport(
        endpoint="demand",
        variant="AllTraffic",
        window_from=stamp(end - timedelta(hours=hours)),
        window_until=stamp(end),
        rows=100,
        baseline_sha256="a",
        model_package_arn=ARN.format(1),
        live_since="2017-07-01T00:00:00Z",
        drift=DriftResult(state=state),
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def test_each_state_has_its_time() -> None:
    """Shows since when the last state holds; the first has no known start."""
    found = course([report(0, OK), report(1, OK), report(2, BAD), report(3, BAD)])
    assert found is not None
    (lane,) = found.lanes
    assert [(one.start, one.width, one.tone) for one in lane.stretches] == [(0, 50, "good"), (50, 50, "bad")]
    assert lane.stretches[0].words == "holds since 2017-08-01 00:00 or before"
    assert lane.since == "violated since 2017-08-03 00:00"


def test_windows_that_overlap_are_no_longer_than_their_own_part() -> None:
    """Windows of three days, decided daily, show only their own day."""
    found = course([report(day, OK if day < 2 else BAD, hours=72) for day in range(4)])
    assert found is not None
    good, bad = found.lanes[0].stretches
    assert (good.start, good.width, bad.width) == (0, pytest.approx(66.67, abs=0.01), pytest.approx(33.33, abs=0.01))
    assert bad.words == "violated since 2017-08-03 00:00"


def test_a_time_without_windows_is_a_gap() -> None:
    """A day without a run of the monitor is a gap."""
    found = course([report(0, OK), report(2, OK), report(3, OK)])
    assert found is not None
    assert [(one.start, one.width) for one in found.lanes[0].stretches] == [(0, 25), (50, 50)]


def test_a_monitor_that_came_later_has_a_later_lane() -> None:
    """A monitor missing in the first of two reports has a shorter lane."""
    found = course([report(0, OK), report(1, FEW, quality=QualityResult(state=OK))])
    assert found is not None
    assert {lane.name: [one.start for one in lane.stretches] for lane in found.lanes} == {
        "drift": [0, 50],
        "quality": [50],
    }


def test_what_changed_is_on_the_same_axis() -> None:
    """Shows promotions at their time, baseline and threshold changes, and rollouts."""
    live = {"live_since": "2017-08-02T12:00:00Z", "model_package_arn": ARN.format(2)}
    found = course(
        [
            report(0, OK),
            report(1, OK, suppressed="a rollout is running: r-1"),
            report(2, OK, baseline_sha256="b", **live),
            report(3, OK, baseline_sha256="c", spec=MonitorSpec(minimum_effect=0.05), **live),
        ]
    )
    assert found is not None
    assert [(change.at, change.words) for change in found.changes] == [
        (37.5, "2017-08-02 12:00 model demand/2 went live"),
        (100, "2017-08-05 00:00 another baseline of the same model"),
        (100, "2017-08-05 00:00 other thresholds"),
    ]
    rollouts = found.lanes[-1]
    assert (rollouts.name, rollouts.since) == ("rollout", "")
    assert [(one.start, one.width, one.words) for one in rollouts.stretches] == [(25, 25, "a rollout is running: r-1")]


def test_one_report_has_no_course() -> None:
    """One report, or none, has no timeline."""
    assert course([report(0, OK)]) is None
    assert course([]) is None


def record(outcome: Outcome, at: str, package: int | None = None) -> AuditRecord:
    """Return an audit record of an action by a person."""
    return AuditRecord(
        endpoint="demand",
        sequence=1,
        previous="0" * 64,
        outcome=outcome,
        reason="",
        execution="e",
        at=at,
        requested_by="arn:aws:sts::123456789012:assumed-role/Approver/ann",
        candidate_package=None if package is None else ARN.format(package),
    )


def test_what_people_did_is_on_the_same_axis() -> None:
    """Promotions appear once, with the person of the audit record; rejections and earlier records are left out."""
    live = "2017-08-02T06:00:00Z"
    reports = [report(0, OK), *(report(day, BAD, live_since=live, model_package_arn=ARN.format(2)) for day in (1, 2))]
    records = [
        record(Outcome.PAUSED, "2017-08-03T12:00:00Z"),
        record(Outcome.PROMOTED, live, 2),
        record(Outcome.REFUSED, "2017-08-03T00:00:00Z", 3),
        record(Outcome.ROLLED_BACK, "2017-07-01T00:00:00Z", 1),
    ]

    found = course(reports, records)

    assert found is not None
    assert [change.words for change in found.changes] == [
        "2017-08-02 06:00 model demand/2 went live, requested by ann",
        "2017-08-03 12:00 automation was paused by ann",
    ]
    assert [round(change.at) for change in found.changes] == [42, 83]
    without = course(reports)
    assert without is not None
    assert [change.words for change in without.changes] == ["2017-08-02 06:00 model demand/2 went live"]
