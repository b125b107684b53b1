"""Each handler as Lambda calls it, in one scenario; and rules for every handler."""

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.rollout.world import ENVIRONMENT, SPEC, with_approver

from mlops_runtime.contracts import canonical_json, content_hash, to_dict

NOW = "2017-08-01T09:00:00Z"
EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:Deploy:one"
OURS = ("deploy_guard", "retrain_gate", "retrain_guard", "rollout_preflight", "rollout_record", "serving_spec")
FOLDERS = sorted(path.parent for path in (Path(__file__).parents[2] / "lambdas").glob("*/handler.py"))
Load = Callable[[str], Any]


def _sqs(*bodies: object) -> dict[str, Any]:
    sent = str(int(datetime(2017, 8, 1, 9, tzinfo=UTC).timestamp() * 1000))
    return {
        "Records": [
            {"messageId": f"m{i}", "body": json.dumps(body), "attributes": {"SentTimestamp": sent}}
            for i, body in enumerate(bodies)
        ]
    }


def _approval(package: str, event_id: str = "a1") -> dict[str, Any]:
    return {
        "id": event_id,
        "source": "aws.sagemaker",
        "detail-type": "SageMaker Model Package State Change",
        "account": "123456789012",
        "region": "us-east-1",
        "time": NOW,
        "detail": {"ModelPackageArn": package, "ModelApprovalStatus": "Approved"},
    }


def _alarm(event_id: str = "e1") -> dict[str, Any]:
    return {
        "id": event_id,
        "source": "aws.cloudwatch",
        "detail-type": "CloudWatch Alarm State Change",
        "account": "123456789012",
        "region": "us-east-1",
        "time": NOW,
        "resources": ["arn:aws:cloudwatch:us-east-1:123456789012:alarm:demand-wape"],
        "detail": {"alarmName": "demand-wape", "state": {"value": "ALARM"}},
    }


def _request(reason: str, package: str | None = None) -> dict[str, Any]:
    request = {"reason": reason, "requested_by": "someone", "requested_at": NOW}
    return request if package is None else request | {"model_package_arn": package}


def test_from_a_spec_to_a_promotion_and_a_rejection(world: Any, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """Covers stack, approval, plan, the machine's calls and the record; then a rejected candidate."""
    answers: list[dict[str, Any]] = []
    spec_handler = load("serving_spec")
    monkeypatch.setattr(spec_handler, "answer", lambda _, **arguments: answers.append(arguments))
    event = {
        "RequestType": "Create",
        "ResponseURL": "https://x",
        "StackId": "s",
        "RequestId": "r",
        "LogicalResourceId": "l",
        "ResourceProperties": {"Spec": json.dumps(to_dict(SPEC))},
    }
    spec_handler.handler(event, None)
    assert answers[0]["data"]["SpecHash"] == content_hash(SPEC)

    module = load("rollout_preflight")
    with_approver(module.SOURCES.sagemaker)
    preflight = module.handler
    started = {"request": _request("spec"), "execution": EXECUTION, "now": NOW, "quotas": {}}
    assert preflight(started, None)["action"] == "nothing"

    package = world.package()
    assert load("deploy_guard").handler(_sqs(_approval(package)), None) == {"batchItemFailures": []}
    assert [name for name in world.executions() if name.startswith("approval-1-")] != []

    world.lock()
    plan = preflight(started | {"request": _request("approval", package)}, None)
    json.dumps(plan)
    assert plan["action"] == "create"
    world.sagemaker.create_model(**plan["create_model"])
    world.sagemaker.create_endpoint_config(**plan["create_endpoint_config"])
    world.sagemaker.create_endpoint(**plan["create_endpoint"])

    record = load("rollout_record").handler
    claim = {"plan": plan, "request": _request("approval", package), "outcome": "PROMOTED", "reason": "first"}
    answer = record(claim | {"execution": EXECUTION, "now": NOW}, None)
    assert answer == {"sequence": 1, "serving_config": plan["config_name"], "outcome": "PROMOTED"}
    again = started | {"request": _request("approval", package), "execution": EXECUTION + "-2"}
    assert preflight(again, None)["action"] == "nothing"

    rejected = {
        "plan": None,
        "request": {},
        "outcome": "REJECTED",
        "reason": "lost",
        "execution": "retrain",
        "now": NOW,
    }
    assert record(rejected, None)["sequence"] == 2
    assert world.chain.problems() == []


def test_retraining_starts_once_and_a_broken_message_stays(world: Any, load: Load) -> None:
    """One message of the batch fails for a missing table; the decision on the other stays."""
    world.alarm("demand-wape", "ALARM")
    handler = load("retrain_guard").handler
    assert handler(_sqs(_alarm(), _alarm(), {"not": "an event"}), None) == {"batchItemFailures": []}
    assert len(world.executions("Retrain")) == 1
    world.dynamodb.delete_table(TableName="retraining")
    assert handler(_sqs(_alarm("e2")), None) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}


def test_an_approval_that_cannot_be_started_stays_in_the_queue(
    world: Any, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing machine is an error of ours, not of the event; other messages are processed."""
    monkeypatch.setenv("DEPLOY_MACHINE_ARN", "arn:aws:states:us-east-1:123456789012:stateMachine:Gone")
    package = world.package()
    event = _sqs({"forged": True}, _approval(package), _approval(package, "a2"))
    failures = load("deploy_guard").handler(event, None)["batchItemFailures"]
    assert failures == [{"itemIdentifier": "m1"}, {"itemIdentifier": "m2"}]


def test_gate_reads_its_limits_from_the_environment(world: Any, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """``GATE`` is the ``GateSpec``; an evaluation with few rows fails its minimum."""
    monkeypatch.setenv("GATE", '{"minimum_rows": 5000}')
    example = Path(__file__).parents[1] / "runtime/contracts/examples/Evaluation.json"
    key = "evaluations/demand-forecast/one/evaluation.json"
    world.s3.put_object(Bucket="artifacts", Key=key, Body=example.read_bytes())
    event = {"evaluation_uri": f"s3://artifacts/{key}", "execution": EXECUTION, "code": "", "now": NOW}
    place = {"image": "image@sha256:1", "artifact_uri": "s3://artifacts/models/demand-forecast/one/model.tar.gz"}
    answer = load("retrain_gate").handler(event | place, None)
    assert answer["verdict"] == "FAILED"
    assert "120 rows are fewer than the minimum 5000" in answer["reason"]
    written = world.s3.get_object(Bucket="artifacts", Key="gates/demand-forecast/one.json")["Body"].read()
    assert canonical_json(json.loads(written)) == written


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_handlers_are_short_and_have_no_clock(folder: Path) -> None:
    """At most 40 lines; the only time is the event's."""
    text = (folder / "handler.py").read_text()
    assert len(text.splitlines()) <= 40
    called = {node.attr for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)}
    assert called.isdisjoint({"now", "utcnow", "today", "time", "monotonic", "sleep"})


def test_our_handlers_need_nothing_but_boto3() -> None:
    """Zips contain ``mlops_runtime`` only: all imports must be in Lambda's runtime."""
    root = Path(__file__).parents[2]
    program = f"""
import importlib.util, sys
for folder in {OURS!r}:
    spec = importlib.util.spec_from_file_location(folder, f"{root}/lambdas/{{folder}}/handler.py")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
known = set(sys.stdlib_module_names) | {{"__main__", "__mp_main__"}}
print(*sorted({{name.partition(".")[0] for name in sys.modules}} - known))
"""
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(root / "packages/mlops-runtime/src"), **ENVIRONMENT}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    in_lambda = {"boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3"}
    assert set(done.stdout.split()) - in_lambda - {"certifi"} == {"mlops_runtime"}


def test_all_of_our_handlers_are_there() -> None:
    """The folders are those that constructs name."""
    assert {folder.name for folder in FOLDERS} >= set(OURS)
