"""What a status says of a monitor: the newest report, or why there is none to be read."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from tests.runtime.monitor import reports

from mlops_runtime.business_unit.monitors import MonitorOverview, newest_verdict
from mlops_runtime.monitor.store import MonitorStore

NOW = datetime(2017, 8, 8, 9, tzinfo=UTC)
FOUND = {"endpoint": "demand-forecast", "artifacts": "artifacts", "now": NOW}


@pytest.fixture
def s3() -> Iterator[Any]:
    """Moto's S3 with the bucket."""
    with mock_aws():
        client = boto3.client(
            "s3", region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing"
        )
        client.create_bucket(Bucket="artifacts")
        yield client


def test_the_newest_report_is_told(s3: Any) -> None:
    """Its states, engine and verdict."""
    store = MonitorStore(s3, endpoint="demand-forecast", artifacts="artifacts")
    for day, verdict in ((7, "drift"), (8, "no drift")):
        store.put_report(
            reports.report_of(day, reports.QUIET, verdict=verdict, suppressed="a rollout"),
            {},
            datetime(2017, 8, day, 6, tzinfo=UTC),
        )

    assert newest_verdict(s3, **FOUND) == MonitorOverview(
        window_until="2017-08-08T06:00:00Z",
        states={"drift": "OK", "quality": "OK", "latency": "OK"},
        engine="LAMBDA",
        verdict="no drift",
        suppressed="a rollout",
    )


def test_without_a_report_there_is_nothing_to_tell(s3: Any) -> None:
    """Also before the stack has its bucket."""
    assert newest_verdict(s3, **FOUND) is None
    assert newest_verdict(s3, **{**FOUND, "artifacts": "nowhere"}) is None


def test_what_cannot_be_read_is_said(s3: Any) -> None:
    """A report of a later version."""
    s3.put_object(Bucket="artifacts", Key="monitor/demand-forecast/reports/2017-08-08T06/report.json", Body=b"{}")

    found = newest_verdict(s3, **FOUND)
    assert found is not None
    assert "endpoint" in found.unread


@pytest.mark.parametrize(("code", "said"), [("AccessDenied", "AccessDenied"), ("SlowDown", None)])
def test_who_may_not_read_reports_still_has_a_status(code: str, said: str | None) -> None:
    """Any other error is one."""

    class Refusing:
        def get_paginator(self, _: str) -> "Refusing":
            return self

        def paginate(self, **_: object) -> list[object]:
            raise ClientError({"Error": {"Code": code, "Message": "no"}}, "ListObjectsV2")

    refusing: Any = Refusing()
    if said is None:
        with pytest.raises(ClientError):
            newest_verdict(refusing, **FOUND)
    else:
        assert newest_verdict(refusing, **FOUND) == MonitorOverview(states={}, unread=said)
