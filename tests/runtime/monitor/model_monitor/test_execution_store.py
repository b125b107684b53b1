"""Executions in S3 (moto, in process)."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from moto import mock_aws

from mlops_runtime.monitor.model_monitor.execution_store import ModelMonitorReports
from mlops_runtime.monitor.window import Window


@pytest.fixture
def s3() -> Iterator[Any]:
    """Return an empty bucket."""
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        client.create_bucket(Bucket="artifacts")
        yield client


def test_a_window_has_the_executions_that_were_due_in_it(s3: Any) -> None:
    """A window has the executions at the end of its hours: one at five analysed the hour before."""
    folder = "monitor/demand-forecast/model_monitor/data_quality/demand-forecast/demand-forecast-data-quality"
    for hour in ("2017/08/07/10", "2017/08/07/11", "2017/08/08/00", "2017/08/08/01", "2017/08/08/xx", "2017/08/08/24"):
        s3.put_object(Bucket="artifacts", Key=f"{folder}/{hour}/statistics.json", Body=hour.encode())
    s3.put_object(Bucket="artifacts", Key=f"{folder}/2017/08/08/00/constraint_violations.json", Body=b"v")
    s3.put_object(Bucket="artifacts", Key=f"{folder}/2017/08/08/00/report.html", Body=b"large")
    reports = ModelMonitorReports(s3, bucket="artifacts", endpoint="demand-forecast", monitors=("data_quality", "bias"))
    window = Window(datetime(2017, 8, 7, 10, tzinfo=UTC), datetime(2017, 8, 8, 0, tzinfo=UTC))

    found = {execution.at: dict(execution.files) for execution in reports.of(window)}
    assert found == {
        "2017-08-07T11:00:00Z": {"statistics.json": b"2017/08/07/11"},
        "2017-08-08T00:00:00Z": {"statistics.json": b"2017/08/08/00", "constraint_violations.json": b"v"},
    }
