"""The newest report of an endpoint, whatever its age."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws

from mlops_runtime.contracts import ContractError, canonical_json
from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import DriftResult, MonitorReport, QualityResult
from mlops_runtime.monitor.report_keys import newest_report, report_folder, report_keys

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
