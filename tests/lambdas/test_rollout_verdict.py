"""The function that compares a rollout's fleets."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import boto3
import pytest
from moto import mock_aws
from tests.loaded_module import load_handler

from mlops_runtime.contracts import to_dict
from mlops_runtime.rollout.evidence_requests import VerdictRequest
from mlops_runtime.rollout.fleet_minutes import FleetMetric, FleetMetrics


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The handler with its bucket."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("ARTIFACTS_BUCKET", "artifacts")
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket="artifacts")
        module = load_handler("rollout_verdict")
        yield module


def test_it_answers_with_a_verdict_and_keeps_what_it_read(function: ModuleType) -> None:
    """Before the first call it claims no difference and sets no alarm; the request is stored."""
    now = datetime.now(UTC)
    errors = FleetMetric(namespace="AWS/SageMaker", metric="InvocationModelErrors", dimensions={"EndpointName": "e"})
    fleet = FleetMetrics(calls=errors, errors=(errors,))
    requested = VerdictRequest(
        endpoint="e",
        fleet="e-4588cf62",
        since=(now - timedelta(minutes=5)).isoformat(),
        new=fleet,
        old=fleet,
        false_alarm=0.01,
        tolerated=0.0005,
    )
    event: dict[str, Any] = {"verdict": to_dict(requested), "now": now.isoformat()}
    answer = function.handler(json.loads(json.dumps(event)), None)
    assert (answer["action"], answer["calls"], answer["minutes"]) == ("continue", 0, 0)
    kept = boto3.client("s3").get_object(Bucket="artifacts", Key="verdicts/e/e-4588cf62.json")["Body"].read()
    assert json.loads(kept)["request"]["fleet"] == "e-4588cf62"
