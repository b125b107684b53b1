"""The monitoring page's examples: a valid plan, a page and a replay of a monitor's files."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from examples.pages import monitor_reports
from moto import mock_aws
from tests.runtime.monitor import reports

from mlops_cli.monitor_replay import changed
from mlops_constructs.retraining.retraining_checks import monitoring_problems
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.rollout import LockRow
from mlops_runtime.monitor.counting.capture_lines import read_labels
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.store import MonitorStore
from mlops_runtime.monitor.watched_endpoint import hour
from mlops_runtime.monitor.window import HOUR, Window

NOW = datetime(2017, 8, 8, 9, tzinfo=UTC)
PLACE: dict[str, Any] = {"endpoint": "demand-forecast", "artifacts": "artifacts", "now": NOW}


def test_the_plan_may_be_used() -> None:
    """The plan asks for nothing that monitors reject."""
    assert [problem for problem in monitoring_problems(monitor_reports.PLAN) if problem] == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_labels_are_found_and_read() -> None:
    """Labels are found by the hour of upload and the id of the call."""
    with mock_aws():
        s3: Any = boto3.client(
            "s3", region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing"
        )
        s3.create_bucket(Bucket="captures")
        monitor_reports.upload_labels(
            s3, {"week-9-1": (3.0, 4.5)}, endpoint="demand-forecast", captures="captures", name="monday", now=NOW
        )
        store = MonitorStore(s3, endpoint="demand-forecast", artifacts="artifacts", captures="captures")
        ((hour, _, key),) = store.label_hours(Window(NOW, NOW + HOUR))

        assert hour == NOW
        assert list(read_labels(store.object_lines(key))) == [("week-9-1", (3.0, 4.5), None)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_window_becomes_a_page_and_is_decided_again() -> None:
    """A page and a new decision need only the bucket."""
    sample = reports.drifting()
    assert sample.counts is not None
    report = reports.report_of(8, reports.MOVED, baseline_uri="s3://artifacts/baseline.json", spec=MonitorSpec())
    with mock_aws():
        s3: Any = boto3.client(
            "s3", region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing"
        )
        s3.create_bucket(Bucket="artifacts")
        s3.put_object(Bucket="artifacts", Key="baseline.json", Body=canonical_json(reports.BASELINE))
        store = MonitorStore(s3, endpoint="demand-forecast", artifacts="artifacts")
        store.put_report(
            report, {"counts.json": canonical_json(sample.counts)}, datetime.fromisoformat(report.window_until)
        )
        for day in (6, 7):
            store.put_counts(f"monitor/demand-forecast/counts/AllTraffic/2017/08/0{day}/20/one.json", sample.counts)

        text = monitor_reports.newest_page(s3, **PLACE)
        windows = monitor_reports.would_have_alarmed(
            s3, LockRow(endpoint="demand-forecast"), MonitorSpec(alarm_windows=1), **PLACE
        )

    assert "What moved" in text
    assert "0.5 to 1" in text
    assert [window.state for window in windows[-3:]] == [
        MonitorState.NO_TRAFFIC,
        MonitorState.VIOLATION,
        MonitorState.VIOLATION,
    ]


def test_the_replay_of_the_page_may_be_asked_of_a_monitor_of_one_window() -> None:
    """Its thresholds agree, and its hours are window ends of the unit."""
    text = Path("docs/capabilities/monitoring.md").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("    mlops monitor replay ")]
    words = line.split()
    options = list(zip(words[4::2], words[5::2], strict=True))
    settings = [value for name, value in options if name == "--set"]
    until = hour("--to", dict(options)["--to"])

    assert len(settings) == 3
    assert changed(MonitorSpec(alarm_windows=1, of_windows=1), settings).alarm_windows == 2
    assert (until.weekday(), until.hour) == (0, 6)
