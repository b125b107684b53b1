"""The call and row of an id (moto, in process)."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws

from mlops_runtime.serving.named_calls import CalledRow, NamedCalls, hours_before, name_call

NOW = datetime(2017, 8, 7, 12, 30, tzinfo=UTC)
HOUR = datetime(2017, 8, 7, 12, tzinfo=UTC)


@pytest.fixture
def s3() -> Iterator[Any]:
    """Return an empty bucket."""
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        client.create_bucket(Bucket="captures")
        yield client


@pytest.fixture
def calls(s3: Any) -> NamedCalls:
    """Return the calls of one endpoint."""
    return NamedCalls(s3, bucket="captures", endpoint="demand-forecast")


def _keys(s3: Any) -> list[str]:
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket="captures").get("Contents", [])]


def test_rows_are_found_where_they_were_sent_last(s3: Any, calls: NamedCalls) -> None:
    """A repeated id belongs to its newest call."""
    first, second = name_call(["a", "b", "c"], NOW - timedelta(days=2)), name_call(["c", "d"], NOW)
    calls.put([first], at=NOW - timedelta(days=2))
    calls.put([second], at=NOW)

    found = calls.find({"b", "c", "x"}, since=NOW - timedelta(days=3), until=NOW)
    assert found == {
        "b": CalledRow(first.inference_id, 1, 3, HOUR - timedelta(days=2)),
        "c": CalledRow(second.inference_id, 0, 2, HOUR),
    }
    assert calls.find({"b"}, since=NOW - timedelta(days=1), until=NOW) == {}
    assert [key[:34] for key in _keys(s3)] == [
        "ids/demand-forecast/2017/08/05/12/",
        "ids/demand-forecast/2017/08/07/12/",
    ]


def test_a_single_row_has_its_own_id(calls: NamedCalls) -> None:
    """As its inference id, too; a repeated call is the same one only within its hour."""
    calls.put([name_call(["order-7"], NOW)], at=NOW)
    assert calls.find(["order-7"], since=NOW, until=NOW) == {"order-7": CalledRow("order-7", 0, 1, HOUR)}
    assert name_call(["a", "b"], NOW) == name_call(["a", "b"], HOUR)
    assert name_call(["a", "b"], NOW) != name_call(["a", "b"], NOW + timedelta(hours=1))
    assert len(name_call(["a", "b"], NOW).inference_id) <= 64


def test_hours_are_listed_from_the_newest(s3: Any) -> None:
    """Across days, first and last hour included, ignoring other objects."""
    for key in ("07/12/a", "07/12/b", "07/13/late", "06/23/c", "05/11/d", "05/10/early", "xx/10/e"):
        s3.put_object(Bucket="captures", Key=f"p/2017/08/{key}.jsonl", Body=b"")
    since = datetime(2017, 8, 5, 11, 45, tzinfo=UTC)
    found = list(hours_before(s3, "captures", "p/", since=since, until=NOW))
    assert [hour.strftime("%d/%H") for hour, _ in found] == ["07/12", "06/23", "05/11"]
    assert sorted(key for _, key in found[0][1]) == ["p/2017/08/07/12/a.jsonl", "p/2017/08/07/12/b.jsonl"]
