"""The function that sends golden requests."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from moto import mock_aws
from tests.loaded_module import load_handler

ROOT = Path(__file__).resolve().parents[2]
HANDLER = ROOT / "lambdas" / "rollout_golden" / "handler.py"
CONTENT = b'{"name": "typical", "body": "1.5\\n2.5\\n", "rows": 2, "content_type": "text/csv", "minimum": 0}\n'
TIME = {"now": "2017-08-01T09:00Z", "execution": "arn:execution"}
GOLDEN = {"uri": "s3://assets/golden.jsonl", "sha256": hashlib.sha256(CONTENT).hexdigest()}


class Context:
    """Lambda's context argument."""

    def __init__(self, milliseconds: int = 900_000) -> None:
        self.milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the timeout."""
        return self.milliseconds


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The handler, with a bucket of the set and an endpoint that doubles."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("ARTIFACTS_BUCKET", "artifacts")
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="assets")
        s3.create_bucket(Bucket="artifacts")
        s3.put_object(Bucket="assets", Key="golden.jsonl", Body=CONTENT)
        module = load_handler("rollout_golden")
        module.CALLER._runtime.meta.events.register_first("before-send.sagemaker-runtime", _double)
        yield module


def _double(request: Any, **_: Any) -> AWSResponse:
    numbers = [2 * float(line) for line in request.body.decode().split()]
    body = json.dumps({"predictions": numbers}).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    return AWSResponse(request.url, 200, headers, BytesIO(body))


def test_a_candidate_is_checked(function: ModuleType) -> None:
    """Sends a warm-up, both rows together, and each row alone."""
    event = {
        "mode": "check",
        "endpoint": "demand-forecast-golden-4588cf62",
        "golden": GOLDEN,
        "live_endpoint": None,
        **TIME,
    }
    answer = function.handler(event, Context())
    assert answer == {
        "passed": True,
        "reason": "all 1 golden requests passed in 5 rounds",
        "calls": 16,
        "note": "",
    }
    late = function.handler(event, Context(89_000))
    assert (late["passed"], late["calls"]) == (False, 0)
    assert late["reason"].startswith("time ran out after 0 of 1 golden requests")


def test_traffic_is_sent(function: ModuleType) -> None:
    """Sends the requested number of calls."""
    event = {"mode": "traffic", "endpoint": "demand-forecast", "golden": GOLDEN, "calls": 3, **TIME}
    assert function.handler(event, Context()) == {"calls": 3, "failures": 0}
    [announced] = boto3.client("s3").list_objects_v2(Bucket="artifacts")["Contents"]
    assert announced["Key"].startswith("synthetic/demand-forecast/2017/08/01/09/0000-3-")


def test_it_needs_nothing_but_boto3() -> None:
    """Its zip contains ``mlops_runtime`` only."""
    program = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("golden", "{HANDLER}")
spec.loader.exec_module(importlib.util.module_from_spec(spec))
known = set(sys.stdlib_module_names) | {{"__main__", "__mp_main__"}}
print(*sorted({{name.partition(".")[0] for name in sys.modules}} - known))
"""
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT / "packages/mlops-runtime/src"),
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    environment["ARTIFACTS_BUCKET"] = "artifacts"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    in_lambda = {"boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3", "certifi"}
    assert set(done.stdout.split()) - in_lambda == {"mlops_runtime"}
