"""The Retrain machine: its graph, its calls against AWS's API, and its behaviour when run against a fake AWS."""

import json
from dataclasses import replace
from typing import Any

import pytest

from mlops_constructs._states import successors, tasks
from mlops_constructs.retraining.jobs import JobEnvironment
from mlops_constructs.retraining.retrain_machine import RetrainPlan, retrain_machine
from mlops_runtime.aws_api import check_machine
from mlops_runtime.contracts.retraining import EvaluationPlan, JobTags, TrainingSetPlan

NAME, ROLE = "demand-forecast", "arn:aws:iam::123456789012:role/r"
FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:"
TRAINING_SET = TrainingSetPlan(
    name="demand", label_group="sales", timestamp="week", label="units", features={"price": ("mean",)}, holdout_days=28
)
JOBS = JobEnvironment(
    pipeline=NAME,
    image_uri="123456789012.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:0",
    instance_type="ml.m5.large",
    maximum=3600,
    roles=dict.fromkeys(("set", "train", "eval"), ROLE),
    subnets=["subnet-1"],
    security_groups=["sg-1"],
    kms_key="arn:aws:kms:us-east-1:123456789012:key/1",
    artifacts_bucket="artifacts",
    training_sets_bucket="sets",
    tags=JobTags(unit="demand", owner="ann", cost_center="42", model="forecast", execution="{% $execution %}"),
)
PLAN = RetrainPlan(
    pipeline=NAME,
    unit_name="demand",
    group_name=NAME,
    endpoint_name=NAME,
    jobs=JOBS,
    training_set=TRAINING_SET,
    evaluation=EvaluationPlan(label="units", block="store", baselines=("last_week",)),
    database="demand_features",
    tables=("weekly_demand_v1", "demand_history_v1"),
    script="train.py",
    code_uri="s3://assets/code.zip",
    gate_arn=f"{FUNCTION}gate",
    record_arn=f"{FUNCTION}record",
    rollout_table="rollout",
    retraining_table="retraining",
    bus_name="demand",
    is_automatic=True,
)
REQUEST = {"trigger": "alarm", "event_id": "1", "as_of": "2017-08-01T00:00:00Z", "requested_by": "guard"}
GATE = {
    "verdict": "PASSED",
    "reason": "beats last_week",
    "gate_uri": "s3://artifacts/g",
    "artifact_sha256": "a" * 64,
    "model_sha256": "b" * 64,
    "training_set_id": "c" * 64,
    "baseline_uri": "s3://artifacts/b",
    "evaluation_uri": "s3://artifacts/e",
}
EXECUTION = "alarm-2017-08-01T00-00-00"
MACHINE = retrain_machine(PLAN)


def aws(*, gate: dict[str, str] = GATE, champion: str | None = None, fail: tuple[str, Exception] | None = None) -> Any:
    """A fake AWS in which every job succeeds and the gate says what it is told."""

    def answer(name: str, arguments: dict[str, Any]) -> Any:
        if fail is not None and name == fail[0]:
            raise fail[1]
        match name:
            case "dynamodb:getItem":
                live = {"live": {"S": json.dumps({"artifact_uri": champion})}}
                return {} if champion is None else {"Item": live}
            case "sagemaker:createTrainingJob.sync":
                uri = f"{arguments['OutputDataConfig']['S3OutputPath']}/{arguments['TrainingJobName']}/output/model.tar.gz"
                return {"ModelArtifacts": {"S3ModelArtifacts": uri}}
            case "lambda:invoke":
                return {"Payload": gate if arguments["FunctionName"].endswith("gate") else {"sequence": 1}}
            case "sagemaker:createModelPackage":
                return {"ModelPackageArn": "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/1"}
        return {}

    return answer


@pytest.mark.parametrize("is_automatic", [True, False])
def test_every_call_is_one_that_aws_takes(is_automatic: bool):
    """No task has a finding against botocore's models."""
    assert check_machine(retrain_machine(replace(PLAN, is_automatic=is_automatic))) == []


@pytest.mark.parametrize(("name", "state"), list(tasks(MACHINE)))
def test_every_task_has_retry_catch_and_timeout(name: str, state: dict[str, Any]):
    """A task without one of the three could hang or end the execution without a release."""
    assert state["Retry"], name
    assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"]
    assert state["TimeoutSeconds"] > 0


@pytest.mark.parametrize("is_automatic", [True, False])
def test_no_path_ends_without_release(is_automatic: bool):
    """Without Release no end can be reached, every successor exists, and no state is dead."""
    states: dict[str, Any] = retrain_machine(replace(PLAN, is_automatic=is_automatic))["States"]  # type: ignore[assignment]
    ends = {name for name, state in states.items() if state.get("End") or state["Type"] == "Fail"}
    for barrier in ("Release", ""):
        reached, waiting = set[str](), ["Start"]
        while waiting:
            name = waiting.pop()
            if name not in reached and name != barrier:
                reached.add(name)
                waiting += successors(states[name])
        assert reached & ends == (set() if barrier else ends)
    assert reached == set(states)


def test_registers_and_approves_a_better_candidate(run_machine: Any):
    """A candidate that passes is registered with its evidence and approved by policy; the lock is released."""
    run = run_machine(MACHINE, REQUEST, aws())
    assert run.status == "SUCCEEDED"
    assert run.output["outcome"] == "APPROVED"
    package = run.arguments("sagemaker:createModelPackage")
    assert package["CustomerMetadataProperties"]["model_sha256"] == "b" * 64
    assert package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"] == (
        f"s3://artifacts/models/{NAME}/{NAME}-{EXECUTION[:24]}-train/output/model.tar.gz"
    )
    assert run.arguments("sagemaker:updateModelPackage")["ModelApprovalStatus"] == "Approved"
    release = run.arguments("dynamodb:updateItem")
    assert release["Key"] == {"pipeline": {"S": NAME}, "item": {"S": "STATE"}}
    assert release["ExpressionAttributeValues"][":me"]["S"].endswith(EXECUTION)


def test_job_names_fit_and_outputs_stand_by_execution(run_machine: Any):
    """Names have at most 63 characters; every job reads and writes below the execution's own prefix."""
    run = run_machine(MACHINE, REQUEST, aws())
    first = next(a for n, a in run.calls if n == "sagemaker:createProcessingJob.sync")
    assert first["ProcessingJobName"] == f"{NAME}-{EXECUTION[:24]}-set"
    outputs = {o["OutputName"]: o["S3Output"]["S3Uri"] for o in first["ProcessingOutputConfig"]["Outputs"]}
    assert outputs["train"] == f"s3://sets/sets/demand/{EXECUTION}/train"
    arguments = first["AppSpecification"]["ContainerArguments"]
    assert arguments[arguments.index("--as-of") + 1] == REQUEST["as_of"]
    training = run.arguments("sagemaker:createTrainingJob.sync")
    assert training["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] == outputs["train"]
    tags = {tag["Key"]: tag["Value"] for tag in training["Tags"]}
    assert tags["mlops:cost-center"] == "42"
    assert tags["mlops:execution"].endswith(EXECUTION)


@pytest.mark.parametrize("champion", [None, "s3://artifacts/old/model.tar.gz"])
def test_measures_the_champion_if_there_is_one(run_machine: Any, champion: str | None):
    """The champion is an input of the evaluation only where one serves."""
    run = run_machine(MACHINE, REQUEST, aws(champion=champion))
    inputs = run.arguments("sagemaker:createProcessingJob.sync")["ProcessingInputs"]
    names = {i["InputName"]: i["S3Input"]["S3Uri"] for i in inputs}
    assert names.get("champion") == champion


def test_records_a_rejection(run_machine: Any):
    """A candidate that fails is recorded as rejected, never registered; that is no failure of the pipeline."""
    run = run_machine(MACHINE, REQUEST, aws(gate=GATE | {"verdict": "FAILED", "reason": "loses to last_week"}))
    assert (run.status, run.output["outcome"]) == ("SUCCEEDED", "REJECTED")
    assert "sagemaker:createModelPackage" not in run.names()
    payload = run.arguments("lambda:invoke")["Payload"]
    assert (payload["outcome"], payload["reason"]) == ("REJECTED", "loses to last_week")
    assert payload["candidate"] == {"model_sha256": "b" * 64, "training_set_id": "c" * 64}


def test_waits_for_a_person_when_approval_is_manual(run_machine: Any):
    """Manual approval ends with a pending package, and the machine has no state that approves."""
    manual = retrain_machine(replace(PLAN, is_automatic=False))
    assert "Approve" not in manual["States"]  # type: ignore[operator]  # a machine is plain JSON
    run = run_machine(manual, REQUEST, aws())
    assert run.output["outcome"] == "REGISTERED"
    assert run.arguments("sagemaker:createModelPackage")["ModelApprovalStatus"] == "PendingManualApproval"


@pytest.mark.parametrize("name", ["dynamodb:getItem", "sagemaker:createTrainingJob.sync", "lambda:invoke"])
def test_a_failure_releases_the_lock_and_is_told(run_machine: Any, aws_error: Any, name: str):
    """An error is no champion-less success: the execution fails, the lock goes, the event says why."""
    run = run_machine(MACHINE, REQUEST, aws(fail=(name, aws_error("States.TaskFailed", "no capacity"))))
    assert run.status == "FAILED"
    assert "dynamodb:updateItem" in run.names()
    detail = run.arguments("events:putEvents")["Entries"][0]["Detail"]
    assert (detail["outcome"], detail["reason"]) == ("FAILED", "States.TaskFailed: no capacity")


def test_a_job_that_failed_is_not_run_again(run_machine: Any, aws_error: Any):
    """A second job under the same name would be refused, and would cost twice."""
    run = run_machine(MACHINE, REQUEST, aws(fail=("sagemaker:createTrainingJob.sync", aws_error("States.TaskFailed"))))
    assert run.names().count("sagemaker:createTrainingJob.sync") == 1


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (
            '{"ProcessingJobName": "a", "FailureReason": "AlgorithmError: no \\"week\\"", "B": 1}',
            'AlgorithmError: no \\"week\\"',
        ),
        ('{"errorMessage":"late","errorType":"X","stackTrace":[]}', "late"),
        ("{half a document", "{half a document"),
        ("", ""),
    ],
)
def test_a_reason_is_one_sentence(run_machine: Any, aws_error: Any, cause: str, reason: str):
    """Of a job's description or a function's trace only what went wrong is kept; anything else is kept as it is."""
    fail = ("sagemaker:createProcessingJob.sync", aws_error("States.TaskFailed", cause))
    run = run_machine(MACHINE, REQUEST, aws(fail=fail))
    assert run.output["Cause"] == f"States.TaskFailed: {reason}"
