"""The function that publishes ages, as Lambda loads it (moto)."""

import json
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from moto import mock_aws
from tests.loaded_module import load_handler

SNAPSHOT = {
    "snapshot-id": 7,
    "timestamp-ms": 1502000000000,
    "summary": {"mlops.event-time-max": "2017-08-13T06:00:00+00:00"},
}


def test_the_time_is_the_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uses the time of the schedule's event; the response has the ages."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name, value in {"UNIT": "demand", "DATABASE": "demand_features", "TABLES": '["stock_v1"]'}.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        s3, glue, cloudwatch = boto3.client("s3"), boto3.client("glue"), boto3.client("cloudwatch")
        s3.create_bucket(Bucket="features")
        body = json.dumps({"current-snapshot-id": 7, "snapshots": [SNAPSHOT]})
        s3.put_object(Bucket="features", Key="t/metadata/1.metadata.json", Body=body.encode())
        glue.create_database(DatabaseInput={"Name": "demand_features"})
        parameters = {"metadata_location": "s3://features/t/metadata/1.metadata.json"}
        glue.create_table(DatabaseName="demand_features", TableInput={"Name": "stock_v1", "Parameters": parameters})
        module = load_handler("feature_freshness")

        answer = module.handler({"time": "2017-08-14T06:00:00Z"}, None)

        now = datetime(2017, 8, 14, 6, tzinfo=UTC)
        assert [(age["table"], age["age_seconds"]) for age in answer] == [("stock_v1", 86400)]
        assert json.loads(json.dumps(answer)) == answer
        (point,) = cloudwatch.get_metric_statistics(
            Namespace="MLOps/demand",
            MetricName="FeatureAge",
            Dimensions=[{"Name": "FeatureGroup", "Value": "stock_v1"}],
            Statistics=["Maximum"],
            Period=60,
            StartTime=now - timedelta(minutes=1),
            EndTime=now + timedelta(minutes=1),
        )["Datapoints"]
        assert (point["Maximum"], point["Timestamp"]) == (86400, now)
