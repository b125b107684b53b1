"""The runs of a pipeline, from stand-ins of AWS's records."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from tests.runtime.retraining.events import MACHINE
from tests.runtime.rollout.world import World

from mlops_runtime.contracts import canonical_json, to_dict
from mlops_runtime.contracts.model import Evaluation, GateResult, GateVerdict
from mlops_runtime.contracts.retraining import Decision, GateSpec, GuardDecision, TrainingMetrics, Trigger
from mlops_runtime.contracts.unit_entries import PipelineEntry, UnitEntry
from mlops_runtime.retraining.registration_gate import evaluate_gate
from mlops_runtime.retraining.run_comparison import RunError
from mlops_runtime.retraining.run_history import RunHistory
from mlops_runtime.retraining.training_metrics import log_line

UNIT = UnitEntry(
    unit="demand",
    automation_table="a",
    audit_bucket="audit",
    artifacts_bucket="artifacts",
    bus="bus",
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
    retrain_machine=MACHINE,
    queue_url="q",
)
NOW = datetime(2017, 8, 20, 9, tzinfo=UTC)
ANN = "AROAEXAMPLEOFAROLE:ann"
NAIVE = [30.0 + i % 4 for i in range(20)]
Make = Callable[..., Evaluation]


class Kept:
    """Step Functions, SageMaker and CloudWatch Logs with a test's data."""

    class exceptions:  # noqa: N801 - as boto3 names it
        """The exceptions of the logs."""

        class ResourceNotFoundException(Exception):  # noqa: N818 - as boto3 names it
            """A missing group."""

    def __init__(self) -> None:
        self.executions: list[dict[str, Any]] = []
        self.ends: dict[str, dict[str, str]] = {}
        self.packages: list[dict[str, str]] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.lines: dict[str, list[str]] = {}
        self.described: list[str] = []
        self.is_denied = False

    def get_paginator(self, name: str) -> Any:
        """Return pages of one entry each, to exercise paging."""
        kept = self

        class Paginator:
            def paginate(self, **arguments: Any) -> Any:
                if name == "list_executions":
                    newest = sorted(kept.executions, key=lambda each: each["startDate"], reverse=True)
                    return ({"executions": [each]} for each in newest)
                if name == "list_model_packages":
                    return ({"ModelPackageSummaryList": [each]} for each in kept.packages)
                return kept.streams(**arguments)

        return Paginator()

    def streams(self, logGroupName: str, logStreamNamePrefix: str) -> Any:  # noqa: N803 - as the API names it
        """DescribeLogStreams."""
        if logGroupName.endswith("TrainingJobs") and not self.lines:
            raise self.exceptions.ResourceNotFoundException
        for name in self.lines:
            yield {"logStreams": [{"logStreamName": f"{name}algo-1"}] if name == logStreamNamePrefix else []}

    def get_log_events(self, nextToken: str = "0", **given: Any) -> dict[str, Any]:  # noqa: N803 - as the API names it
        """GetLogEvents, a line per page; from the end a page of the newest."""
        if self.is_denied:
            raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetLogEvents")
        lines, place = self.lines[given["logStreamName"].removesuffix("algo-1")], int(nextToken)
        if not given["startFromHead"]:
            return {"events": [{"message": line} for line in lines[-given["limit"] :]]}
        events = [{"message": line + "\n"} for line in lines[place : place + 1]]
        return {"events": events, "nextForwardToken": str(min(place + 1, len(lines)))}

    def describe_execution(self, executionArn: str, **_: Any) -> dict[str, Any]:  # noqa: N803 - as the API names it
        """DescribeExecution."""
        self.described.append(executionArn)
        found = next((each for each in self.executions if each["executionArn"] == executionArn), None)
        if found is None:
            raise ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, "DescribeExecution")
        return found | self.ends.get(found["name"], {})

    def describe_training_job(self, TrainingJobName: str) -> dict[str, Any]:  # noqa: N803 - as the API names it
        """DescribeTrainingJob."""
        return self._job(TrainingJobName)

    def describe_processing_job(self, ProcessingJobName: str) -> dict[str, Any]:  # noqa: N803 - as the API names it
        """DescribeProcessingJob."""
        return self._job(ProcessingJobName)

    def describe_transform_job(self, TransformJobName: str) -> dict[str, Any]:  # noqa: N803 - as the API names it
        """DescribeTransformJob."""
        return self._job(TransformJobName)

    def _job(self, name: str) -> dict[str, Any]:
        if name not in self.jobs:
            raise ClientError({"Error": {"Code": "ValidationException"}}, "Describe")
        return self.jobs[name]


class Past:
    """Builder of a pipeline's history."""

    def __init__(self, world: World) -> None:
        self.kept, self.world = Kept(), world
        kept: Any = self.kept
        clients = {"s3": world.s3, "dynamodb": boto3.client("dynamodb")}
        self.made: list[str] = []  # services requested by the history

        def client(name: str) -> Any:
            self.made.append(name)
            return clients.get(name, kept)

        self.history = RunHistory(client=client, unit=UNIT, pipeline=PIPELINE)

    def execution(self, name: str, hours_ago: float, status: str = "SUCCEEDED", **end: str) -> None:
        """Add an execution of ten minutes."""
        at = NOW - timedelta(hours=hours_ago)
        ended = {} if status == "RUNNING" else {"stopDate": at + timedelta(minutes=10)}
        arn = f"{MACHINE.replace('stateMachine', 'execution')}:{name}"
        self.kept.executions.append({"executionArn": arn, "name": name, "status": status, "startDate": at} | ended)
        self.kept.ends[name] = end

    def decision(self, event: str, hours_ago: float, decision: Decision, **changes: Any) -> None:
        """Add a decision of the guard."""
        made = GuardDecision(
            decision=decision, event_id=event, at=str(to_dict(NOW - timedelta(hours=hours_ago))), reason="because"
        )
        texts = {name: {"S": value} for name, value in to_dict(replace(made, **changes)).items()}
        key = {"pipeline": {"S": "demand-forecast"}, "item": {"S": f"EVENT#{event}"}}
        self.world.dynamodb.put_item(TableName="retraining", Item={**key, **texts, "expires": {"N": "1"}})

    def started(self, name: str, hours_ago: float, **changes: Any) -> None:
        """Add a decision that started an execution."""
        arn = f"{MACHINE.replace('stateMachine', 'execution')}:{name}"
        given = {"trigger": Trigger.MANUAL, "requested_by": ANN, "detail": "new prices"}
        self.decision(f"e-{name}", hours_ago, Decision.STARTED, execution=arn, **given | changes)

    def measured(self, name: str, evaluation: Evaluation, verdict: GateVerdict | None = GateVerdict.PASSED) -> None:
        """Write evaluation and gate result of a run."""
        self.put(f"evaluations/demand-forecast/{name}/evaluation.json", evaluation)
        if verdict is not None:
            gate = GateResult(
                verdict=verdict, checks=(), evaluation_uri="u", evaluation_sha256="f" * 64, reason=f"gate {verdict}"
            )
            self.put(f"gates/demand-forecast/{name}.json", gate)

    def put(self, key: str, document: object) -> None:
        """Write a document."""
        self.world.s3.put_object(Bucket="artifacts", Key=key, Body=canonical_json(document))


@pytest.fixture
def past(world: World) -> Past:
    """Return a pipeline without history."""
    return Past(world)


@pytest.fixture
def measured(evaluation: Make) -> Evaluation:
    """Return an evaluation of 20 blocks."""
    return evaluation({"candidate": [20.0 + i % 3 for i in range(20)], "naive": NAIVE})


def test_a_run_is_told_with_who_why_losses_and_version(past: Past, measured: Evaluation) -> None:
    """From execution, decision, evaluation, gate result and package; executions with a gate decision are not described."""
    past.execution("20170820-one", 2)
    past.started("20170820-one", 2)
    past.measured("20170820-one", measured)
    arn = "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/7"
    past.kept.packages = [
        {
            "ModelPackageArn": arn,
            "ModelPackageDescription": "trained by 20170820-one",
            "ModelApprovalStatus": "Approved",
        },
        {"ModelPackageArn": arn[:-1] + "6", "ModelApprovalStatus": "Approved"},
    ]
    (run,) = past.history.runs()
    assert (run.id, run.outcome, run.version, run.approval) == ("20170820-one", "REGISTERED", 7, "Approved")
    assert (run.trigger, run.who, run.detail) == (Trigger.MANUAL, "ann", "new prices")
    assert (run.at, run.ended, run.seconds) == ("2017-08-20T07:00:00Z", "2017-08-20T07:10:00Z", 600.0)
    assert (run.metric, run.metrics["candidate"], run.reason) == ("wape", measured.metrics["candidate"], "gate PASSED")
    assert (run.is_refused, past.kept.described) == (False, [])


def test_a_list_reads_one_object_a_run(past: Past, measured: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate's result has the losses; packages are listed only if one passed, and each client is created once."""
    read: list[str] = []
    body = RunHistory._body
    monkeypatch.setattr(RunHistory, "_body", lambda self, key: (read.append(key), body(self, key))[1])
    for name in ("20170820-one", "20170820-two"):
        past.execution(name, 2)
        past.started(name, 2)
        past.measured(name, measured, None)
        gate = evaluate_gate(measured, GateSpec(), uri="u", sha256="f" * 64)
        past.put(f"gates/demand-forecast/{name}.json", replace(gate, verdict=GateVerdict.FAILED))
    assert [run.metrics for run in past.history.runs()] == [measured.metrics] * 2
    assert sorted(read) == [f"gates/demand-forecast/20170820-{name}.json" for name in ("one", "two")]
    assert sorted(past.made) == ["dynamodb", "s3", "stepfunctions"]
    past.put("gates/demand-forecast/20170820-two.json", replace(gate, verdict=GateVerdict.PASSED))
    past.history.runs()
    assert sorted(past.made) == ["dynamodb", "s3", "sagemaker", "stepfunctions"]


def test_every_outcome_is_told(past: Past, measured: Evaluation) -> None:
    """Rejected by the gate, failed before it, running, and with a missing gate result."""
    past.execution("a", 1, "RUNNING")
    past.execution("b", 2)
    past.measured("b", measured, GateVerdict.FAILED)
    past.execution("c", 3, "FAILED", error="FAILED", cause="train.py ended with exit code 1")
    past.execution("d", 4, "TIMED_OUT")
    past.execution("e", 5, output=json.dumps({"outcome": "REJECTED", "reason": "of the output"}))
    found = [(run.id, run.outcome, run.reason) for run in past.history.runs()]
    assert found == [
        ("a", "RUNNING", ""),
        ("b", "REJECTED", "gate FAILED"),
        ("c", "FAILED", "train.py ended with exit code 1"),
        ("d", "TIMED_OUT", "no cause is known"),
        ("e", "REJECTED", "of the output"),
    ]


def test_a_question_is_a_run_that_trained_nothing(past: Past) -> None:
    """During its execution and after it; it is not a rejection, and its trigger is listed."""
    past.execution("a", 1, output=json.dumps({"outcome": "ASKED", "reason": "the feed looks broken"}))
    for name, hours in (("a", 1), ("b", 3000)):
        arn = f"{MACHINE.replace('stateMachine', 'execution')}:{name}"
        given = {"trigger": Trigger.ALARM, "requested_by": "drift", "reason": "the feed looks broken"}
        past.decision(f"e-{name}", hours, Decision.ASKED, execution=arn, **given)
    found = [(run.id, run.outcome, run.reason, run.who, run.is_refused) for run in past.history.runs()]
    assert found == [
        ("a", "ASKED", "the feed looks broken", "drift", False),
        ("b", "ASKED", "the feed looks broken", "drift", False),
    ]
    assert past.history.run("b").run.outcome == "ASKED"


def test_refused_requests_are_rows(past: Past) -> None:
    """With the guard's reason and the end of the block; repeated ones are one row, and rechecks of quiet alarms are none."""
    past.execution("a", 5, "RUNNING")
    free = {"trigger": Trigger.ALARM, "requested_by": "drift", "free_at": "2017-08-21T09:00:00Z"}
    past.decision("e1", 4, Decision.COOLING_DOWN, **free)
    past.decision("e2", 3, Decision.COOLING_DOWN, **free)
    past.decision("e3", 2, Decision.PAUSED, trigger=Trigger.SCHEDULE, requested_by="aws.events")
    past.decision("e4", 1, Decision.NOT_CONFIRMED, trigger=Trigger.RECHECK, requested_by="aws.events")
    past.decision("e5", 1, Decision.RELEASED)
    past.decision("message:1", 6, Decision.INVALID)
    found = [(run.id, run.decision, run.times, run.free_at) for run in past.history.runs()]
    assert found == [
        ("e3", Decision.PAUSED, 1, None),
        ("e2", Decision.COOLING_DOWN, 2, "2017-08-21T09:00:00Z"),
        ("a", None, 1, None),
        ("message:1", Decision.INVALID, 1, None),
    ]
    refused = past.history.run("e2")
    assert (refused.run.outcome, refused.run.is_refused, refused.steps) == ("REFUSED", True, ())
    with pytest.raises(RunError, match=r"the guard refused e2 \(COOLING_DOWN: because\), so nothing ran"):
        next(past.history.log("e2"))


def test_the_newest_are_listed_and_those_since_a_time(past: Past) -> None:
    """Runs and rejections together."""
    for hours in range(6):
        past.execution(f"x{hours}", hours, "RUNNING")
    past.decision("e", 1.5, Decision.PAUSED, trigger=Trigger.ALARM)
    assert [run.id for run in past.history.runs(last=3)] == ["x0", "x1", "e"]
    assert [run.id for run in past.history.runs(last=None, since=NOW - timedelta(hours=2))] == ["x0", "x1", "e", "x2"]


def test_older_runs_are_known_by_their_evaluation(past: Past, measured: Evaluation) -> None:
    """By the day in their name, or by the decision that started them, which also finds runs without output."""
    past.execution("20170820-new", 1, "RUNNING")
    past.measured("20170301-old", measured)
    past.measured("20170302-older", measured, None)
    past.started("20170303-lost", 24 * 170)
    past.started("20170301-old", 24 * 172)
    found = [(run.id, run.at[:10], run.outcome, run.who) for run in past.history.runs()]
    assert found == [
        ("20170820-new", "2017-08-20", "RUNNING", None),
        ("20170303-lost", "2017-03-03", "UNKNOWN", "ann"),
        ("20170302-older", "2017-03-02", "UNKNOWN", None),
        ("20170301-old", "2017-03-01", "REGISTERED", "ann"),
    ]
    assert past.history.run("20170301-old").run.outcome == "REGISTERED"
    assert past.history.run("20170303-lost").run.who == "ann"
    assert [run.id for run in past.history.runs(last=1)] == ["20170820-new"]


def test_a_run_is_told_with_its_jobs_and_what_its_script_wrote(past: Past, measured: Evaluation) -> None:
    """The script's hyperparameters only, and a failed job's reason; ``latest`` is the newest run."""
    past.execution("20170820-one", 1)
    past.measured("20170820-one", measured, GateVerdict.FAILED)
    past.put(
        "evaluations/demand-forecast/20170820-one/training.json",
        TrainingMetrics(metrics={"rmse": 1.5}, step="epoch", steps=(1.0, 2.0), curves={"loss": (3.0, None)}),
    )
    job, began = "demand-forecast-20170820-one", NOW - timedelta(hours=1)
    past.kept.jobs = {
        f"{job}-train": {
            "TrainingJobName": f"{job}-train",
            "TrainingJobStatus": "Completed",
            "HyperParameters": {"depth": "3", "sagemaker_program": "train.py"},
            "TrainingStartTime": began,
            "TrainingEndTime": began + timedelta(seconds=90),
        },
        f"{job}-eval": {
            "ProcessingJobName": f"{job}-eval",
            "ProcessingJobStatus": "Failed",
            "ExitMessage": "evaluate: no rows",
        },
    }
    found = past.history.run("latest")
    assert found.run.outcome == "REJECTED"
    assert found.hyperparameters == {"depth": "3"}
    assert [(s.step, s.status, s.seconds, s.failure) for s in found.steps] == [
        ("train", "Completed", 90.0, None),
        ("evaluate", "Failed", None, "evaluate: no rows"),
    ]
    assert found.training is not None
    assert (found.training.metrics, found.training.curves) == ({"rmse": 1.5}, {"loss": (3.0, None)})
    assert (found.evaluation, found.gate and found.gate.verdict) == (measured, GateVerdict.FAILED)


def test_a_training_that_failed_shows_what_its_script_wrote_before(past: Past) -> None:
    """From its last log lines, because a failed job has no output; without access to logs the run is shown without."""
    past.execution("20170820-one", 1, "FAILED", cause="train.py ended with exit code 1")
    job = "demand-forecast-20170820-one-train"
    past.kept.jobs = {job: {"TrainingJobName": job, "TrainingJobStatus": "Failed", "FailureReason": "diverged"}}
    written = TrainingMetrics(metrics={"rmse": 9.5}, step="epoch", steps=(1.0,), curves={"loss": (3.0,)})
    past.kept.lines = {f"{job}/": [*["epoch"] * 150, log_line(written), "mlops train: diverged"]}
    found = past.history.run("20170820-one")
    assert (found.run.outcome, found.training) == ("FAILED", written)
    past.kept.is_denied = True
    assert past.history.run("20170820-one").training is None


def test_two_runs_are_compared_by_their_ids(past: Past, evaluation: Make, measured: Evaluation) -> None:
    """With the metrics of their scripts."""
    for name, each in (("one", measured), ("two", evaluation({"candidate": [15.0] * 20, "naive": NAIVE}))):
        past.execution(name, 1)
        past.measured(name, each)
        metrics = TrainingMetrics(metrics={"rmse": 1.0 if name == "one" else 0.5})
        past.put(f"evaluations/demand-forecast/{name}/training.json", metrics)
    found = past.history.compare("one", "two")
    assert (found.verdict, found.training) == ("two is better", {"rmse": (1.0, 0.5)})


def test_a_jobs_log_is_read(past: Past) -> None:
    """The training's by default; for a model made elsewhere the evaluation's; the newest lines only."""
    past.execution("one", 1)
    with pytest.raises(RunError, match="one has no log of train or evaluate; its jobs are none"):
        list(past.history.log("one"))
    past.kept.lines = {"demand-forecast-one-eval/": ["measured"]}
    assert list(past.history.log("one")) == ["measured"]
    past.kept.lines["demand-forecast-one-train/"] = ["a", "b", "c"]
    assert list(past.history.log("latest", last=2)) == ["b", "c"]
    assert list(past.history.log("one", "evaluate")) == ["measured"]
    past.kept.jobs = {"demand-forecast-one-eval": {}}
    with pytest.raises(RunError, match="one has no log of set; its jobs are evaluate"):
        list(past.history.log("one", "set"))


def test_a_run_is_found_by_its_version(past: Past) -> None:
    """By the registry's number, with or without the group; an unknown version is reported with the newest."""
    past.execution("one", 1)
    group = past.history.pipeline.group
    arn = f"arn:aws:sagemaker:us-east-1:123456789012:model-package/{group}/"
    past.kept.packages = [
        {
            "ModelPackageArn": f"{arn}{number}",
            "ModelPackageDescription": f"trained by {run}",
            "ModelApprovalStatus": "Approved",
        }
        for number, run in ((8, "two"), (7, "one"))
    ]
    assert past.history.run("7").run.id == past.history.run(f"{group}/7").run.id == "one"
    with pytest.raises(
        RunError, match="has no version 9, the newest is 8; name a version of `mlops models list` or a run"
    ):
        past.history.run("9")
    with pytest.raises(RunError, match="run 'others/7' of demand-forecast not found"):
        past.history.run("others/7")
    past.kept.packages = []
    with pytest.raises(RunError, match="has no version 7, it has none yet"):
        past.history.run("7")


def test_fails_by_name(past: Past) -> None:
    """With the newest existing ones, or the fix."""
    with pytest.raises(RunError, match="demand-forecast has no run yet; start one: mlops train demand-forecast"):
        past.history.run("latest")
    past.execution("one", 1)
    with pytest.raises(RunError, match="run 'two' of demand-forecast not found; the newest are one"):
        past.history.run("two")


def test_jobs_that_ask_a_server_are_steps_of_a_run(past: Past) -> None:
    """For candidate and champion, with their logs; other pipelines have no such jobs."""
    past.execution("a", 1)
    names = ("rows1", "asks1", "rows2", "asks2")
    steps = ("rows", "answers", "champion-rows", "champion-answers")
    for number, name in enumerate(names):
        job, kind = f"demand-forecast-a-{name}", "Transform" if name.startswith("asks") else "Processing"
        times = {f"{kind}StartTime": NOW, f"{kind}EndTime": NOW + timedelta(seconds=number)}
        past.kept.jobs[job] = {f"{kind}JobName": job, f"{kind}JobStatus": "Completed", **times}
        past.kept.lines[f"{job}/"] = [f"of {name}"]
    past.kept.jobs["demand-forecast-a-asks2"] |= {
        "TransformJobStatus": "Failed",
        "FailureReason": "AlgorithmError: it died",
    }
    assert past.history.run("a").steps == ()
    with pytest.raises(RunError, match="a has no log of answers; its jobs are none"):
        list(past.history.log("a", "answers"))
    asking = replace(past.history, pipeline=replace(PIPELINE, asks_servers=True))
    found = asking.run("a").steps
    assert [(each.step, each.job.rpartition("-")[2], each.seconds) for each in found] == [
        (step, name, float(number)) for number, (step, name) in enumerate(zip(steps, names, strict=True))
    ]
    assert (found[-1].status, found[-1].failure) == ("Failed", "AlgorithmError: it died")
    for step, name in zip(steps, names, strict=True):
        assert list(asking.log("a", step)) == [f"of {name}"]
    with pytest.raises(RunError, match="its jobs are rows, answers, champion-rows, champion-answers"):
        list(asking.log("a", "train"))


@pytest.mark.parametrize("name", ["x" * 300, "a/../b", "", " ", "arn:aws:states:us-east-1:1:execution:Other:one", "é"])
def test_what_no_run_can_be_named_is_not_asked_for(past: Past, name: str) -> None:
    """It is reported as missing together with the existing ones, without a failing service call."""
    past.execution("20170820-one", 1, "RUNNING")
    with pytest.raises(RunError, match="not found; the newest are 20170820-one: mlops runs list"):
        past.history.run(name)
    assert past.kept.described == []
