"""The adapter of captured responses: before and since the start of a rollout."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws

from mlops_runtime.rollout.answers_request import BodiesRequest
from mlops_runtime.rollout.rollout_answers import AnswersFunction


@pytest.fixture
def function() -> Iterator[AnswersFunction]:
    """Return the function with a bucket."""
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="captures")
        yield AnswersFunction(s3=s3)


def line(at: datetime, data: str) -> str:
    """Return a captured call."""
    output = {"observedContentType": "application/json", "mode": "OUTPUT", "encoding": "JSON", "data": data}
    event = {"eventId": "e", "inferenceTime": f"{at:%Y-%m-%dT%H:%M:%SZ}"}
    return json.dumps({"captureData": {"endpointOutput": output}, "eventMetadata": event}) + "\n"


@pytest.mark.parametrize(("body", "is_stopped"), [('{"error": "no memory"}', True), ('{"predictions": [2]}', False)])
def test_error_bodies_stop_a_rollout(function: AnswersFunction, body: str, is_stopped: bool) -> None:
    """They have status 200, so no metric counts them."""
    now = datetime.now(UTC)
    since = now - timedelta(minutes=10)
    calls = [(since - timedelta(minutes=n % 5 + 1), '{"predictions": [1]}') for n in range(100)]
    calls += [(since + timedelta(minutes=n % 9), body) for n in range(90)]
    content = "".join(line(*call) for call in calls).encode()
    function.s3.put_object(Bucket="captures", Key=f"c/e/AllTraffic/{now:%Y/%m/%d/%H}/a.jsonl", Body=content)
    request: dict[str, Any] = {"endpoint": "e", "variant": "AllTraffic", "destination": "s3://captures/c"}
    found = function.bodies(BodiesRequest(**request, since=since.isoformat(), false_alarm=0.01), now=now)
    assert found.is_stopped is is_stopped
    assert (
        f"{90 if is_stopped else 0} of 90 captured answers had no readable numbers, 0 of 100 before it"
        in found.sentence
    )
