"""Earlier runs, found by the keys of their files."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.runtime.monitor.timeline import MemoryS3

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.monitor_report import DriftResult, MonitorReport, QualityResult
from mlops_runtime.monitor.store import MonitorStore
from mlops_runtime.monitor.window import Inventory


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
