"""The function that reads captured answers."""

import json
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from moto import mock_aws
from tests.loaded_module import load_handler


def test_it_counts_the_answers_since_the_rollout_began(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan's request has the start."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    now = datetime.now(UTC)
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="captures")
        output = {"observedContentType": "application/json", "encoding": "JSON", "data": '{"predictions": [1]}'}
        event = {"eventId": "e", "inferenceTime": f"{now:%Y-%m-%dT%H:%M:%SZ}"}
        line = json.dumps({"captureData": {"endpointOutput": output}, "eventMetadata": event})
        s3.put_object(Bucket="captures", Key=f"c/e/AllTraffic/{now:%Y/%m/%d/%H}/a.jsonl", Body=line.encode())
        module = load_handler("rollout_answers")
        request = {"endpoint": "e", "variant": "AllTraffic", "destination": "s3://captures/c", "false_alarm": 0.01}
        since = (now - timedelta(minutes=5)).isoformat()
        answer = module.handler({"bodies": {**request, "since": since}, "now": now.isoformat()}, None)
    assert answer == {
        "is_stopped": False,
        "sentence": "0 of 1 captured answers had no readable numbers, 0 of 0 before it",
    }
