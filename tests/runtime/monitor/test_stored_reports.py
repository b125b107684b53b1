"""The newest report of an endpoint, whatever its age, and earlier runs, found by the keys of their files."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws
from tests.runtime.monitor.timeline import MemoryS3

from mlops_runtime.contracts import ContractError, canonical_json
from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import DriftResult, MonitorReport, QualityResult
from mlops_runtime.monitor.store import MonitorStore
from mlops_runtime.monitor.stored_reports import newest_report, report_folder, report_keys
from mlops_runtime.monitor.window import Inventory

NOW = datetime(2017, 8, 8, 6, 15, tzinfo=UTC)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a bucket."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="reports")
        yield client


def _report(rows: int) -> bytes:
    return canonical_json(
        MonitorReport(
            endpoint="e",
            variant="v",
            window_from="2017-08-07T06:00:00Z",
            window_until="2017-08-08T06:00:00Z",
            drift=DriftResult(state=MonitorState.OK),
            quality=QualityResult(state=MonitorState.OK),
            rows=rows,
            baseline_sha256=None,
            model_package_arn=None,
        )
    )


def _put(s3: Any, ago: timedelta, body: bytes, name: str = "report.json", endpoint: str = "e") -> None:
    s3.put_object(Bucket="reports", Key=f"{report_folder(endpoint, NOW - ago)}/{name}", Body=body)


@pytest.mark.parametrize("days", [0, 1, 9, 99])
def test_finds_the_newest(s3: Any, days: int) -> None:
    """Includes a window that ends this hour; a folder without its report is skipped."""
    _put(s3, timedelta(days=days), _report(1))
    _put(s3, timedelta(days=days + 1), _report(2))
    _put(s3, timedelta(0), _report(3), endpoint="e-other")
    _put(s3, timedelta(0), b"{}", name="objects.json")
    found = newest_report(s3, "reports", "e", now=NOW)
    assert found is not None
    assert found.rows == 1


def test_finds_none_beyond_a_hundred_days_or_ahead(s3: Any) -> None:
    """Reports older than a hundred days, and those of the future, are ignored."""
    _put(s3, timedelta(days=101), _report(1))
    _put(s3, -timedelta(hours=2), _report(2))
    assert newest_report(s3, "reports", "e", now=NOW) is None


def test_fails_on_what_is_no_report(s3: Any) -> None:
    """An invalid report is an error; no older one is used in its place."""
    _put(s3, timedelta(hours=2), _report(1))
    _put(s3, timedelta(hours=1), b"{}")
    with pytest.raises(ContractError):
        newest_report(s3, "reports", "e", now=NOW)


def test_keys_are_between_two_times(s3: Any) -> None:
    """The start is inclusive and the end exclusive."""
    for hours in (1, 2, 3):
        _put(s3, timedelta(hours=hours), b"{}")
    keys = report_keys(s3, "reports", "e", since=NOW - timedelta(hours=2), until=NOW - timedelta(hours=1))
    assert keys == ["monitor/e/reports/2017-08-08T04/report.json"]


def test_reports_come_newest_first_and_those_of_the_window_and_later_do_not() -> None:
    """A repeated run reads the same reports as the first; older ones are not read."""
    s3: Any = MemoryS3()
    store = MonitorStore(s3, endpoint="demand-forecast", artifacts="artifacts")
    ends = [datetime(2017, 8, day, tzinfo=UTC) for day in (1, 7, 8, 9, 10)]
    for end in ends:
        report = MonitorReport(
            endpoint="demand-forecast", variant="v", window_from="", window_until=end.isoformat(), rows=0,
            drift=DriftResult(), quality=QualityResult(), baseline_sha256=None, model_package_arn=None,
        )  # fmt: skip
        objects = Inventory(since="", until=end.isoformat(), hours={})
        uri = store.put_report(report, {"objects.json": canonical_json(objects)}, end)
        assert (
            uri
            == store.report_uri(end)
            == f"s3://artifacts/monitor/demand-forecast/reports/{end:%Y-%m-%dT%H}/report.json"
        )
    runs = store.past_runs(ends[3], since=ends[1])
    assert [report.window_until for report in runs.reports()] == [ends[2].isoformat(), ends[1].isoformat()]
    newest = runs.inventory()
    assert newest is not None
    assert newest.until == ends[2].isoformat()
    assert store.past_runs(ends[0], since=ends[0]).inventory() is None


def test_the_run_before_is_found_however_far_back() -> None:
    """The previous run of a yearly monitor, older than the reports that drift reads, is found by its window's end."""
    s3: Any = MemoryS3()
    store = MonitorStore(s3, endpoint="e", artifacts="artifacts")
    until = datetime(2017, 8, 8, tzinfo=UTC)
    end = until - timedelta(days=365)
    report = MonitorReport(
        endpoint="e", variant="v", window_from="", window_until=end.isoformat(), rows=0,
        drift=DriftResult(), quality=QualityResult(), baseline_sha256=None, model_package_arn=None,
    )  # fmt: skip
    store.put_report(report, {"objects.json": canonical_json(Inventory(since="", until="x", hours={}))}, end)
    runs = store.past_runs(until, since=until - timedelta(days=1))
    assert list(runs.reports()) == []
    assert runs.inventory() == Inventory(since="", until="x", hours={})
    assert (runs.report_of(end), runs.report_of(until)) == (report, None)
