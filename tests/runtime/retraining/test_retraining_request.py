"""A caller's retraining requests: writes, requests and reads, against stand-ins of AWS's clients."""

import base64
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.model import ModelSignature
from mlops_runtime.contracts.retraining import Candidate, Decision, GuardDecision
from mlops_runtime.contracts.unit_entries import PipelineEntry, UnitEntry
from mlops_runtime.retraining.retraining_request import (
    RetrainingOutcome,
    RetrainingRequestError,
    RetrainingRequests,
    kind_problem,
    refusal_of,
)

EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:Retrain:one"
UNIT = UnitEntry(
    unit="demand",
    automation_table="a",
    audit_bucket="audit",
    artifacts_bucket="artifacts",
    bus="demand-bus",
    heads_bucket="heads",
    signing_key="s",
    pause_key="p",
    owner="demand",
    cost_center="demand",
)
PIPELINE = PipelineEntry(
    pipeline="demand-forecast",
    unit="demand",
    group="demand-forecast",
    retraining_table="retraining",
    retrain_machine="arn:aws:states:us-east-1:123456789012:stateMachine:Retrain",
    queue_url="https://sqs/guard",
)


class Aws:
    """All clients in one, with recorded requests and scripted responses."""

    def __init__(self, **answers: Any) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.answers = answers

    def __getattr__(self, name: str) -> Any:
        def call(**arguments: Any) -> Any:
            if "Body" in arguments:
                arguments["Body"] = arguments["Body"].read()
            self.sent.append((name, arguments))
            answer = self.answers.get(name, {})
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


def _requests(aws: Any) -> RetrainingRequests:
    return RetrainingRequests(client=lambda _: aws, unit=UNIT, pipeline=PIPELINE)


def test_archive_and_predictions_lie_below_the_pipelines_prefix(tmp_path: Path) -> None:
    """By their hashes, which S3 verifies."""
    (tmp_path / "a").write_bytes(b"model")
    (tmp_path / "p").write_bytes(b"rows")
    digest = hashlib.sha256(b"model").hexdigest()
    aws = Aws()
    candidate = _requests(aws).upload(
        tmp_path / "a", sha256=digest, flavor="lightgbm", trust="data", predictions=tmp_path / "p"
    )
    root = f"registered/demand-forecast/{digest}"
    given = f"{root}/predictions-{hashlib.sha256(b'rows').hexdigest()[:16]}.parquet"
    assert candidate == Candidate(
        uri=f"s3://artifacts/{root}/model.tar.gz",
        sha256=digest,
        flavor="lightgbm",
        trust="data",
        predictions_uri=f"s3://artifacts/{given}",
    )
    assert [(name, put["Bucket"], put["Key"], put["Body"]) for name, put in aws.sent] == [
        ("put_object", "artifacts", f"{root}/model.tar.gz", b"model"),
        ("put_object", "artifacts", given, b"rows"),
    ]
    assert base64.b64decode(aws.sent[0][1]["ChecksumSHA256"]).hex() == digest


def test_a_request_is_an_event_in_the_callers_name() -> None:
    """With the candidate, in the guard's format."""
    aws, candidate = Aws(put_events={"Entries": [{"EventId": "e1"}]}), Candidate(uri="s3://a/b", sha256="a" * 64)
    assert _requests(aws).send(candidate, caller="AROAEXAMPLE:ann", reason="mine") == "e1"
    (entry,) = aws.sent[0][1]["Entries"]
    assert (entry["Source"], entry["EventBusName"]) == ("mlops.demand/AROAEXAMPLE:ann", "demand-bus")
    detail = json.loads(entry["Detail"])
    assert (detail["subject"], detail["reason"]) == ("demand-forecast", "mine")
    assert from_json(Candidate, detail["attributes"]["candidate"]) == candidate


def test_fails_where_the_bus_does_not_take_it() -> None:
    """With the bus's error."""
    aws = Aws(put_events={"Entries": [{"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"}]})
    with pytest.raises(RetrainingRequestError, match="demand-bus rejected the request: ThrottlingException: slow"):
        _requests(aws).send(Candidate(uri="s3://a/b", sha256="a" * 64), caller="x", reason="r")


def test_the_guards_decision_is_read_from_its_row() -> None:
    """Empty until the guard has decided."""
    assert _requests(Aws()).decision("e1") is None
    row = {"decision": "BUSY", "event_id": "e1", "at": "2017-08-01T09:00:00Z", "reason": "one runs"}
    item = {name: {"S": value} for name, value in row.items()} | {"expires": {"N": "1"}}
    aws = Aws(get_item={"Item": item})
    found = _requests(aws).decision("e1")
    assert found is not None
    assert (found.decision, found.reason) == (Decision.BUSY, "one runs")
    assert aws.sent[0][1]["Key"] == {"pipeline": {"S": "demand-forecast"}, "item": {"S": "EVENT#e1"}}


_OUTPUT = json.dumps({"outcome": "REGISTERED", "reason": "better", "package": "arn:package"})


@pytest.mark.parametrize(
    ("answer", "brought"),
    [
        ({"status": "RUNNING"}, None),
        (ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, "DescribeExecution"), None),
        ({"status": "SUCCEEDED", "output": _OUTPUT},
         RetrainingOutcome(outcome="REGISTERED", reason="better", package="arn:package")),
        ({"status": "SUCCEEDED", "output": '{"outcome": "REJECTED", "reason": "loses", "package": ""}'},
         RetrainingOutcome(outcome="REJECTED", reason="loses")),
        ({"status": "FAILED", "error": "FAILED", "cause": "no room"}, RetrainingOutcome(outcome="FAILED", reason="no room")),
        ({"status": "ABORTED"}, RetrainingOutcome(outcome="ABORTED", reason="no cause is known")),
    ],
)  # fmt: skip
def test_what_came_of_it_is_the_machines_word(answer: Any, brought: RetrainingOutcome | None) -> None:
    """Also for an execution stopped from outside."""
    found = _requests(Aws(describe_execution=answer)).outcome(EXECUTION)
    assert found == brought
    assert found is None or found.is_registered is (found.outcome == "REGISTERED")


def test_another_error_is_raised() -> None:
    """For example a missing permission."""
    denied = ClientError({"Error": {"Code": "AccessDeniedException"}}, "DescribeExecution")
    with pytest.raises(ClientError, match="AccessDenied"):
        _requests(Aws(describe_execution=denied)).outcome(EXECUTION)


def test_nothing_is_published_while_a_run_reads_the_set() -> None:
    """It would be trained on one set and measured on another, with a holdout that it may have been trained on."""
    held = {"Item": {"owner": {"S": EXECUTION}}}
    with pytest.raises(
        RetrainingRequestError, match=r"nothing was published: .* of demand-forecast is running on the current set"
    ):
        _requests(Aws(get_item=held, describe_execution={"status": "RUNNING"})).require_idle()
    gone = ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, "DescribeExecution")
    for answer in ({"status": "FAILED"}, gone):
        _requests(Aws(get_item=held, describe_execution=answer)).require_idle()
    aws = Aws()
    _requests(aws).require_idle()
    assert [name for name, _ in aws.sent] == ["get_item"]
    denied = ClientError({"Error": {"Code": "AccessDeniedException"}}, "DescribeExecution")
    with pytest.raises(ClientError, match="AccessDenied"):
        _requests(Aws(get_item=held, describe_execution=denied)).require_idle()


@pytest.mark.parametrize(
    ("decision", "fix"),
    [
        (Decision.BUSY, "wait until it has ended"),
        (Decision.OVER_BUDGET, "request it again tomorrow, or raise"),
        (Decision.INVALID, "correct it"),
    ],
)
def test_a_refusal_says_what_to_do(decision: Decision, fix: str) -> None:
    """With the guard's reason."""
    given = GuardDecision(decision=decision, event_id="e", at="2017-08-01T09:00:00Z", reason="because")
    assert f"the guard answered {decision.value}: because; {fix}" in refusal_of(given)


@pytest.mark.parametrize(
    ("metric", "kind", "problem"),
    [
        (None, "probability", None),
        ("wape", None, None),
        ("brier", "probability", None),
        ("log_loss", None, None),
        ("macro_log_loss", "classes", None),
        ("wape", "probability", "register it with a pipeline that measures log_loss or brier"),
        ("mae", "classes", "register it with a pipeline that measures macro_log_loss"),
        ("macro_log_loss", None, "register it with a pipeline that measures wape or mae or log_loss or brier"),
        ("brier", "vector", "register it with a pipeline that measures custom_loss"),
        ("custom_loss", "vector", None),
        ("custom_loss", "numbers", "register it with a pipeline that measures wape or mae"),
    ],
)
def test_a_metric_measures_some_kinds(metric: Any, kind: Any, problem: str | None) -> None:
    """A probability is not a quantity: under wape the gate would compare the wrong thing."""
    found = kind_problem(replace(PIPELINE, metric=metric), ModelSignature(inputs=(), output="y", kind=kind))
    assert found == problem if problem is None else (found or "").endswith(problem)


def test_several_outputs_are_the_pipelines_labels() -> None:
    """In order; a single number does not match."""
    pipeline = replace(PIPELINE, metric="mae", label="weight", labels=("weight", "waist"))
    several = ModelSignature(inputs=(), output="y", kind="numbers", outputs=("weight", "waist"))
    assert kind_problem(pipeline, several) is None
    turned = kind_problem(pipeline, replace(several, outputs=("waist", "weight"))) or ""
    assert turned == "the model predicts waist, weight, demand-forecast measures weight, waist in this order"
    alone = ModelSignature(inputs=(), output="weight")
    assert "predicts weight, demand-forecast measures weight, waist" in (kind_problem(pipeline, alone) or "")
    assert "measures weight in this order" in (kind_problem(replace(pipeline, labels=None), several) or "")


@pytest.mark.parametrize(("code", "contents", "message"), [
    ("", [], "no training set is published for demand-forecast: s3://sets/demand/ has no holdout; publish one with: "
     "mlops train demand-forecast --data FILE --publish-only --reason ..."),
    ("", [{"Key": "demand/holdout/part-0.parquet"}], None),
    ("AccessDenied", [], None),
])  # fmt: skip
def test_nothing_to_measure_on_is_said_before_a_run_is_spent(
    code: str, contents: list[dict[str, str]], message: str | None
) -> None:
    """If the caller may read it; without access the request is sent anyway."""

    class Sets(Aws):
        """A bucket with a given listing."""

        def list_objects_v2(self, **request: Any) -> dict[str, Any]:
            """ListObjectsV2."""
            assert request == {"Bucket": "sets", "Prefix": "demand/holdout/", "MaxKeys": 1}
            if code:
                raise ClientError({"Error": {"Code": code}}, "ListObjectsV2")
            return {"Contents": contents}

    requests = _requests(Sets())
    assert requests.unpublished() is None  # a pipeline of the feature store builds its own set
    pipeline = replace(PIPELINE, training_set="s3://sets/demand/")
    assert replace(requests, pipeline=pipeline).unpublished() == message
