"""The Retrain machine: its graph, its calls against AWS's API, and its behavior when run against a fake AWS."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from mlops_constructs._state_machine import successors, tasks
from mlops_constructs.retraining.job_requests import FeaturePlan, JobEnvironment, ProcessingPlan, ServerPlan, SparkPlan
from mlops_constructs.retraining.retrain_machine import Registration, RetrainPlan, registration_states, retrain_machine
from mlops_runtime.aws_api import check_machine
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.retraining import EvaluationPlan, JobTags, TrainingSetPlan
from mlops_runtime.registry.model_package import ALSO_BOUND, BOUND, METADATA

PLAN = Registration(
    group_name="demand-forecast", image_uri="i", code_sha256="c", is_automatic=True, waiting_message={"Message": "m"}
)


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
    roles=dict.fromkeys(("set", "prep", "train", "live", "eval", "rows", "asks"), ROLE),
    subnets=["subnet-1"],
    security_groups=["sg-1"],
    kms_key="arn:aws:kms:us-east-1:123456789012:key/1",
    artifacts_bucket="artifacts",
    training_set="'s3://sets/sets/demand/' & $name",
    tags=JobTags(unit="demand", owner="ann", cost_center="42", model="forecast", execution="{% $execution %}"),
)
RETRAIN_PLAN = RetrainPlan(
    pipeline=NAME,
    unit_name="demand",
    endpoint_name=NAME,
    jobs=JOBS,
    features=FeaturePlan(
        plan=TRAINING_SET,
        database="demand_features",
        tables=("weekly_demand_v1", "demand_history_v1"),
        read=("weekly_demand_v1",),
        tags_arn=f"{FUNCTION}tags",
        manifests="s3://sets/manifests",
        catalog="arn:aws:glue:us-east-1:123456789012",
        lineage="s3://sets/lineage",
        namespace="mlops.demand",
    ),
    evaluation=EvaluationPlan(label="units", block="store", baselines=("last_week",)),
    script="train.py",
    code_uri="s3://assets/code.zip",
    gate_arn=f"{FUNCTION}gate",
    record_arn=f"{FUNCTION}record",
    rollout_table="rollout",
    retraining_table="retraining",
    bus_name="demand",
    topic_arn="arn:aws:sns:us-east-1:123456789012:demand",
    registration=Registration(
        group_name=NAME,
        image_uri=JOBS.image_uri,
        code_sha256="d" * 64,
        is_automatic=True,
        waiting_message={
            "TopicArn": "arn:aws:sns:us-east-1:123456789012:t",
            "Subject": "a model waits",
            "Message": "{% $package & ' waits: ' & $reason %}",
        },
    ),
)
STEP = ProcessingPlan(
    image_uri=JOBS.image_uri,
    instance_type="ml.m5.xlarge",
    maximum=600,
    script="step.py",
    code_uri="s3://assets/step.zip",
    channel="processed",
)
SERVER = ServerPlan(
    image_uri="123456789012.dkr.ecr.us-east-1.amazonaws.com/mlflow@sha256:5",
    content_type="application/json",
    environment={"MLFLOW_DISABLE_ENV_CREATION": "true"},
    trust="pickle",
)
SPARK = replace(
    RETRAIN_PLAN, features=replace(RETRAIN_PLAN.features, spark=SparkPlan(job_name="builds", maximum=14_400))
)
PERSON = replace(RETRAIN_PLAN, registration=replace(RETRAIN_PLAN.registration, is_automatic=False))
VARIANTS = {
    "automatic": RETRAIN_PLAN,
    "manual": PERSON,
    "processing": replace(RETRAIN_PLAN, processing=STEP),
    "spark": SPARK,
    "container": replace(RETRAIN_PLAN, server=SERVER),
    "former container": replace(RETRAIN_PLAN, former_server=SERVER),
    "from S3": replace(RETRAIN_PLAN, features=None, jobs=replace(JOBS, training_set="'s3://data/exports/demand'")),
    "spot": replace(RETRAIN_PLAN, jobs=replace(JOBS, maximum_wait=7200, has_checkpoints=True, environment={"A": "b"})),
}
REQUEST = {"trigger": "alarm", "event_id": "1", "as_of": "2017-08-01T00:00:00Z", "requested_by": "guard"}
# the input of StartExecution, which no state reads
FORGED = {"trigger": "manual", "event_id": "9", "as_of": "2031-01-01T00:00:00Z", "requested_by": "the owner"}
KEPT = f"s3://artifacts/models/{NAME}/one/model.tar.gz"
CONTAINER = {"Image": "image@sha256:1", "ModelDataUrl": KEPT, "Environment": {"MLOPS_MODEL_SHA256": "b" * 64}}
GATE = {
    "verdict": "PASSED",
    "reason": "beats last_week",
    "gate_uri": "s3://artifacts/g",
    "artifact_sha256": "a" * 64,
    "model_sha256": "b" * 64,
    "container": CONTAINER,
    "container_fields": "Image=00000000",
    "training_set_id": "c" * 64,
    "baseline_uri": "s3://artifacts/b",
    "evaluation_uri": "s3://artifacts/e",
    "evaluation_sha256": "e" * 64,
    "baseline_sha256": "8" * 64,
    "signing_key": "arn:aws:kms:us-east-1:123456789012:key/1",
    "code": "s3://assets/code.zip",
    "trained_until": "2017-07-01T00:00:00+00:00",
    "container_sha256": "f" * 64,
    "may_approve": True,
    "rest": "",
}
CHAMPION = "s3://artifacts/old/model.tar.gz"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mlops-model@sha256:9"
EXECUTION = "alarm-2017-08-01T00-00-00"
OWNER = f"arn:aws:states:us-east-1:123456789012:execution:m:{EXECUTION}"
STATE = {"owner": {"S": OWNER}, "request": {"S": json.dumps(REQUEST)}}
MACHINE = retrain_machine(RETRAIN_PLAN)


@pytest.mark.parametrize("is_automatic", [True, False])
def test_a_package_carries_all_that_an_approval_is_bound_to(is_automatic: bool):
    """Packages start pending, whoever approves, and lack the fields of packages from other environments."""
    states = registration_states(
        Registration(
            group_name="g", image_uri="i", code_sha256="c", is_automatic=is_automatic, waiting_message={"Message": "m"}
        ),
    )
    arguments = states["Register"]["Arguments"]
    assert arguments["ModelApprovalStatus"] == "PendingManualApproval"
    carried = set(re.findall(r"'(\w+)'", arguments["CustomerMetadataProperties"]))
    bound = {each for each in (*METADATA, *BOUND, *ALSO_BOUND) if not each.startswith("source_")}
    assert {*bound, "container_fields", "container_sha256"} <= carried
    assert not any(each.startswith("source_") for each in carried)
    assert ("Approve" in states) is is_automatic


def test_a_chat_hears_of_what_waits_and_a_lost_message_changes_nothing():
    """The chat message follows the one to people, whether that was sent or not; without a chat there is no such state."""
    reported = replace(PLAN, waiting_notification={"TopicArn": "t", "Message": "m"})
    states = registration_states(reported)
    for name, after in (("TellPeople", "TellChat"), ("TellChat", "Registered")):
        assert (states[name]["Next"], {catch["Next"] for catch in states[name]["Catch"]}) == (after, {after})
    assert states["TellChat"]["Arguments"] == reported.waiting_notification
    assert "TellChat" not in registration_states(PLAN)


def test_the_policys_approval_names_its_binding():
    """Preflight compares the binding with the package."""
    description = registration_states(PLAN)["Approve"]["Arguments"]["ApprovalDescription"]
    assert description.startswith("{% 'approved by policy: '")
    assert "[binding ' & $gate.container_sha256" in description


def aws(
    *,
    gate: dict[str, Any] = GATE,
    champion: str | None = None,
    fail: tuple[str, Exception] | None = None,
    state: dict[str, Any] | None = STATE,
    image: str | None = None,
    flavor: str | None = None,
    trained_until: str | None = None,
    predictions: int = 0,
    published: Sequence[str] = ("Monday",),
    engine: str = "duckdb",
) -> Any:
    """A fake AWS in which every job succeeds and the gate returns the given result; ``published`` has the set's time per call."""
    looks = iter([*published, published[-1]])

    def answer(name: str, arguments: dict[str, Any]) -> Any:
        if fail is not None and name == fail[0]:
            raise fail[1]
        match name:
            case "dynamodb:getItem" if arguments["TableName"] == "retraining":
                assert (arguments["Key"]["item"], arguments["ConsistentRead"]) == ({"S": "STATE"}, True)
                return {} if state is None else {"Item": state}
            case "dynamodb:getItem":
                pointer = {
                    "artifact_uri": champion,
                    "artifact_sha256": "7" * 64,
                    "model_sha256": "6" * 64,
                    "model_package_arn": "arn:champion",
                    **({} if trained_until is None else {"trained_until": trained_until}),
                    **({} if image is None else {"image": image}),
                    **({} if flavor is None else {"flavor": flavor}),
                }
                return {} if champion is None else {"Item": {"live": {"S": json.dumps(pointer)}}}
            case "s3:listObjectsV2" if arguments["Bucket"] == "artifacts":
                return {"KeyCount": predictions}
            case "s3:listObjectsV2" if arguments["Prefix"].endswith("/manifest/"):
                manifest = {"Key": f"{arguments['Prefix']}manifest.json", "ETag": '"1"', "LastModified": next(looks)}
                return {"KeyCount": 1, "Contents": [manifest], "IsTruncated": False}
            case "s3:listObjectsV2":
                files = [{"Key": f"{arguments['Prefix']}part-{n}.parquet", "ETag": f'"{n}"'} for n in range(2)]
                return {"KeyCount": 2, "Contents": files, "IsTruncated": False}
            case "sagemaker:createTrainingJob.sync":
                uri = f"{arguments['OutputDataConfig']['S3OutputPath']}/{arguments['TrainingJobName']}/output/model.tar.gz"
                return {"ModelArtifacts": {"S3ModelArtifacts": uri}, "InputDataConfig": arguments["InputDataConfig"]}
            case "sagemaker:createProcessingJob.sync" if arguments["ProcessingJobName"].endswith("-set"):
                return {"ExitMessage": GATE["training_set_id"]}
            case "lambda:invoke" if "as_of" in arguments["Payload"]:
                return {
                    "Payload": {
                        "tag": "ts-0123456789abcdef",
                        "engine": engine,
                        "reason": "400 GiB do not fit into 6 GiB",
                    }
                }
            case "lambda:invoke" if "trained_uri" in arguments["Payload"]:
                return {"Payload": {"artifact_uri": KEPT, "artifact_sha256": "a" * 64}}
            case "lambda:invoke":
                return {"Payload": gate if arguments["FunctionName"].endswith("gate") else {"sequence": 1}}
            case "sagemaker:createModelPackage":
                return {"ModelPackageArn": "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/1"}
        return {}

    return answer


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_call_is_one_that_aws_takes(variant: str):
    """No task has a finding against botocore's models."""
    assert check_machine(retrain_machine(VARIANTS[variant])) == []


@pytest.mark.parametrize(
    ("name", "state"),
    [*tasks(MACHINE), *tasks(retrain_machine(VARIANTS["processing"])), *tasks(retrain_machine(VARIANTS["container"]))],
    ids=lambda value: str(value)[:20],
)
def test_every_task_has_retry_catch_and_timeout(name: str, state: dict[str, Any]):
    """A task without one of them could hang, or end the execution without a release of the lock."""
    assert state["Retry"], name
    assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"]
    assert state["TimeoutSeconds"] > 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_path_ends_without_release(variant: str):
    """Every end except the refusal without a lock follows Release; every successor exists and every state is reachable."""
    states: dict[str, Any] = retrain_machine(VARIANTS[variant])["States"]  # type: ignore[assignment]
    ends = {name for name, state in states.items() if state.get("End") or state["Type"] == "Fail"}
    for barrier in ("Release", ""):
        reached, waiting = set[str](), ["Start"]
        while waiting:
            name = waiting.pop()
            if name not in reached and name != barrier:
                reached.add(name)
                waiting += successors(states[name])
        assert reached & ends == ({"NotAccepted"} if barrier else ends)
    assert reached == set(states)


def test_registers_and_approves_a_better_candidate(run_machine: Any):
    """A passing candidate is registered with its evidence and approved by policy; the lock is released."""
    run = run_machine(MACHINE, FORGED, aws())
    assert run.status == "SUCCEEDED"
    assert run.output["outcome"] == "APPROVED"
    package = run.arguments("sagemaker:createModelPackage")
    assert package["CustomerMetadataProperties"]["model_sha256"] == "b" * 64
    assert package["InferenceSpecification"]["Containers"] == [CONTAINER]
    assert run.arguments("sagemaker:updateModelPackage")["ModelApprovalStatus"] == "Approved"
    release = run.arguments("dynamodb:updateItem")
    assert release["Key"] == {"pipeline": {"S": NAME}, "item": {"S": "STATE"}}
    assert release["ExpressionAttributeValues"][":me"]["S"].endswith(EXECUTION)
    assert release["ExpressionAttributeValues"][":outcome"] == {"S": "APPROVED"}
    assert run.arguments("sagemaker:updateModelPackage")["ApprovalDescription"] == (
        f"approved by policy: beats last_week [binding {'f' * 64}]"
    )


@pytest.mark.parametrize(
    "state",
    [
        None,
        {},
        {"request": STATE["request"]},
        {"owner": {"S": OWNER.replace("alarm", "manual")}, "request": STATE["request"]},
        {"owner": {"S": OWNER}},
    ],
    ids=["no row", "an empty row", "nobody owns the lock", "another execution owns it", "no request"],
)
def test_what_the_guard_did_not_accept_is_refused(run_machine: Any, state: dict[str, Any] | None):
    """A caller of StartExecution cannot start a job or write a record by its input, and the lock stays."""
    run = run_machine(MACHINE, FORGED, aws(state=state))
    assert (run.status, run.output["Error"]) == ("FAILED", "NOT_ACCEPTED")
    assert run.output["Cause"] == (
        f"the guard of {NAME} accepted no request for {OWNER}; request a retraining with mlops train, or by an event on the bus "
        "of the unit"
    )
    assert run.names() == ["dynamodb:getItem"]


def test_the_request_is_what_the_guard_accepted(run_machine: Any):
    """Training set, package, record and event use the row's request, and nothing of the input."""
    run = run_machine(MACHINE, FORGED, aws(gate=GATE | {"verdict": "FAILED", "reason": "loses to last_week"}))
    assert run.arguments("lambda:invoke")["Payload"]["request"] == REQUEST
    assert run.arguments("events:putEvents")["Entries"][0]["Detail"]["attributes"]["trigger"] == "alarm"
    for forged in (FORGED["as_of"], FORGED["requested_by"], "manual"):
        assert forged not in json.dumps(run.calls)


def test_what_a_training_set_reads_is_tagged_before_its_job_starts(run_machine: Any):
    """A function tags the snapshots at the time of the request, and the job reads the tag."""
    run = run_machine(MACHINE, FORGED, aws())
    called = [name for name, _ in run.calls]
    requested = next(arguments for name, arguments in run.calls if name == "lambda:invoke")
    job = next(arguments for name, arguments in run.calls if name == "sagemaker:createProcessingJob.sync")
    assert called.index("lambda:invoke") < called.index("sagemaker:createProcessingJob.sync")
    assert (requested["FunctionName"], requested["Payload"]["as_of"]) == (f"{FUNCTION}tags", REQUEST["as_of"])
    arguments = job["AppSpecification"]["ContainerArguments"]
    assert arguments[arguments.index("--tag") + 1] == "ts-0123456789abcdef"


def test_what_does_not_fit_the_job_is_built_by_spark_and_checked(run_machine: Any):
    """The run has plan, time, tag and location of the job, which then checks the result; training gets the set's id."""
    run = run_machine(retrain_machine(SPARK), FORGED, aws(engine="spark"))
    assert run.output["outcome"] == "APPROVED"
    started = run.arguments("glue:startJobRun.sync")
    place = f"s3://sets/sets/demand/{EXECUTION}"
    assert started["JobName"] == "builds"
    assert started["Arguments"] == {
        "--build": EXECUTION,
        "--plan": canonical_json(TRAINING_SET).decode(),
        "--as_of": REQUEST["as_of"],
        "--tables": "weekly_demand_v1",
        "--tag": "ts-0123456789abcdef",
        "--output": place,
    }
    (job,) = (
        arguments
        for name, arguments in run.calls
        if name == "sagemaker:createProcessingJob.sync" and arguments["ProcessingJobName"].endswith("-set")
    )
    arguments = job["AppSpecification"]["ContainerArguments"]
    assert "--built" in arguments
    assert arguments[arguments.index("--output") + 1] == place
    trained = run.arguments("sagemaker:createTrainingJob.sync")
    assert trained["Environment"]["MLOPS_TRAINING_SET_ID"] == GATE["training_set_id"]


def test_what_fits_the_job_is_built_by_it_whatever_jobs_there_are(run_machine: Any):
    """Starts no Glue run."""
    run = run_machine(retrain_machine(SPARK), FORGED, aws())
    assert run.output["outcome"] == "APPROVED"
    assert "glue:startJobRun.sync" not in run.names()
    assert "--built" not in json.dumps(run.calls)


def test_what_does_not_fit_is_refused_by_name_without_a_job(run_machine: Any):
    """Starts nothing; the audit record has sizes and fix as its reason."""
    run = run_machine(MACHINE, FORGED, aws(engine="spark"))
    assert run.status == "FAILED"
    assert "sagemaker:createProcessingJob.sync" not in run.names()
    reason = next(a["Payload"]["reason"] for n, a in run.calls if n == "lambda:invoke" and "outcome" in a["Payload"])
    assert reason == (
        "the training set does not fit the training-set job of demand-forecast, on ml.m5.large: 400 GiB do not fit into 6 GiB; "
        "give the pipeline training_set_job=TrainingSetJob(...), or a larger instance_type, and deploy the stack"
    )


@pytest.mark.parametrize(
    ("call", "expected", "reason"),
    [
        (
            "glue:startJobRun.sync",
            {
                "JobRunState": "FAILED",
                "ErrorMessage": "SystemExit: mlops training set: snapshot 7 was expired",
                "Attempt": 0,
            },
            "States.TaskFailed: SystemExit: mlops training set: snapshot 7 was expired",
        ),
        (
            "sagemaker:createProcessingJob.sync",
            {"ExitMessage": "train/part-0.parquet has different bytes", "ProcessingJobStatus": "Failed"},
            "States.TaskFailed: train/part-0.parquet has different bytes",
        ),
    ],
)
def test_a_set_that_spark_does_not_build_ends_the_run_by_name(
    run_machine: Any, aws_error: Any, call: str, expected: dict[str, Any], reason: str
):
    """Records the failure with its cause, releases the lock and trains nothing."""
    failure = aws_error("States.TaskFailed", json.dumps(expected))
    run = run_machine(retrain_machine(SPARK), FORGED, aws(engine="spark", fail=(call, failure)))
    assert run.status == "FAILED"
    reported = next(a["Payload"]["reason"] for n, a in run.calls if n == "lambda:invoke" and "outcome" in a["Payload"])
    assert reported == (
        f"Spark failed to build the training set, which it builds because 400 GiB do not fit into 6 GiB: {reason}; "
        "nothing was changed: request the retraining again"
    )
    assert "sagemaker:createTrainingJob.sync" not in run.names()
    assert run.arguments("dynamodb:updateItem")["UpdateExpression"].endswith("REMOVE #owner, lock_until")


def test_a_run_is_asked_for_again_where_glue_has_no_room(run_machine: Any, aws_error: Any):
    """The build keeps its name, so written files are not written again."""
    failure = aws_error("Glue.ConcurrentRunsExceededException", "too many runs")
    run = run_machine(retrain_machine(SPARK), FORGED, aws(engine="spark", fail=("glue:startJobRun.sync", failure)))
    assert run.status == "FAILED"
    assert run.names().count("glue:startJobRun.sync") == 7


def test_what_was_trained_is_kept_before_anybody_looks_at_it(run_machine: Any):
    """Evaluation, gate and registry use only the copy, which no training can write."""
    run = run_machine(MACHINE, FORGED, aws(champion="s3://artifacts/old/model.tar.gz"))
    trained = run.arguments("sagemaker:createTrainingJob.sync")["OutputDataConfig"]["S3OutputPath"]
    _, *calls = [each["Payload"] for name, each in run.calls if name == "lambda:invoke"]
    assert trained == f"s3://artifacts/training/{NAME}"
    assert calls[0]["trained_uri"].startswith(trained)
    assert calls[1] | {"image": JOBS.image_uri, "artifact_uri": KEPT} == calls[1]
    job = [each for name, each in run.calls if name == "sagemaker:createProcessingJob.sync"][-1]
    inputs = {each["InputName"]: each["S3Input"]["S3Uri"] for each in job["ProcessingInputs"]}
    assert (inputs["candidate"], inputs["champion"]) == (KEPT, "s3://artifacts/old/model.tar.gz")
    arguments = job["AppSpecification"]["ContainerArguments"]
    assert arguments[arguments.index("--champion-sha256") + 1] == "7" * 64


@pytest.mark.parametrize("until", ["2017-07-01T00:00:00+00:00", None])
def test_the_evaluation_knows_up_to_when_the_champion_was_trained(run_machine: Any, until: str | None):
    """The live pointer has the time; without it the champion is compared with a note."""
    run = run_machine(MACHINE, FORGED, aws(champion=CHAMPION, trained_until=until))
    arguments = run.arguments("sagemaker:createProcessingJob.sync")["AppSpecification"]["ContainerArguments"]
    assert arguments[arguments.index("--champion-trained-until") + 1] == (until or "unknown")


@pytest.mark.parametrize(("live", "champion"), [(None, "none"), ("s3://artifacts/old/model.tar.gz", "arn:champion")])
def test_a_package_says_where_it_comes_from(run_machine: Any, live: str | None, champion: str):
    """Names training set, evaluation, code, execution, request and champion."""
    run = run_machine(MACHINE, FORGED, aws(champion=live))
    metadata = run.arguments("sagemaker:createModelPackage")["CustomerMetadataProperties"]
    assert metadata == {
        **{name: GATE[name] for name in ("artifact_sha256", "model_sha256", "training_set_id", "baseline_uri")},
        **{
            name: GATE[name]
            for name in (
                "evaluation_uri",
                "evaluation_sha256",
                "baseline_sha256",
                "signing_key",
                "code",
                "trained_until",
            )
        },
        "container_fields": "Image=00000000",
        "container_sha256": "f" * 64,
        "execution": metadata["execution"],
        "code_sha256": "d" * 64,
        "champion": champion,
        "trigger": "alarm",
    }
    assert metadata["execution"].endswith(EXECUTION)


def test_what_passed_is_signed_before_it_is_registered(run_machine: Any):
    """The recorder signs the gate's result; without a signature nothing is registered."""
    run = run_machine(MACHINE, FORGED, aws())
    calls = [
        (name, arguments) for name, arguments in run.calls if name in ("lambda:invoke", "sagemaker:createModelPackage")
    ]
    assert calls[-2][1]["FunctionName"].endswith("record")
    assert calls[-2][1]["Payload"] == {"gate_uri": "s3://artifacts/g"}
    assert calls[-1][0] == "sagemaker:createModelPackage"


def test_the_gate_gets_the_code_that_sagemaker_says_was_run(run_machine: Any):
    """The hash comes from the training job's response, not from the template; empty if missing."""
    for channels, code in (
        ([{"ChannelName": "code", "DataSource": {"S3DataSource": {"S3Uri": "s3://ran.zip"}}}], "s3://ran.zip"),
        ([], ""),
    ):
        given = aws()

        def answer(name: str, arguments: dict[str, Any], given: Any = given, channels: Any = channels) -> Any:
            found = given(name, arguments)
            return found | {"InputDataConfig": channels} if name == "sagemaker:createTrainingJob.sync" else found

        run = run_machine(MACHINE, FORGED, answer)
        (judged,) = [a["Payload"] for n, a in run.calls if n == "lambda:invoke" and "evaluation_uri" in a["Payload"]]
        assert judged["code"] == code


def test_while_automation_rests_what_passed_is_left_for_a_person(run_machine: Any):
    """The package is registered without approval, and people get a message with the reason."""
    rest = "frozen by 'peak' until 2017-08-02T00:00:00Z"
    run = run_machine(MACHINE, FORGED, aws(gate=GATE | {"may_approve": False, "rest": rest}))
    assert (run.status, run.output["outcome"]) == ("SUCCEEDED", "REGISTERED")
    assert "sagemaker:updateModelPackage" not in run.names()
    assert run.output["reason"] == f"not approved automatically: {rest}; beats last_week"
    assert run.arguments("sns:publish")["Message"].endswith(f"waits: {run.output['reason']}")


def test_a_message_that_is_lost_changes_nothing(run_machine: Any, aws_error: Any):
    """The package stays pending."""
    run = run_machine(retrain_machine(PERSON), FORGED, aws(fail=("sns:publish", aws_error("States.TaskFailed"))))
    assert (run.status, run.output["outcome"]) == ("SUCCEEDED", "REGISTERED")


def test_a_step_before_training_sees_the_training_split_alone(run_machine: Any):
    """The step has its own instance and image; its output is an additional channel."""
    run = run_machine(retrain_machine(VARIANTS["processing"]), FORGED, aws())
    jobs = [arguments for name, arguments in run.calls if name == "sagemaker:createProcessingJob.sync"]
    step = jobs[1]
    assert step["ProcessingJobName"].endswith("-prep")
    assert len(step["ProcessingJobName"]) <= 63
    assert {i["InputName"]: i["S3Input"]["S3Uri"] for i in step["ProcessingInputs"]} == {
        "train": f"s3://sets/sets/demand/{EXECUTION}/train",
        "code": "s3://assets/step.zip",
    }
    assert step["ProcessingResources"]["ClusterConfig"]["InstanceType"] == "ml.m5.xlarge"
    assert step["NetworkConfig"]["EnableNetworkIsolation"] is True
    (output,) = step["ProcessingOutputConfig"]["Outputs"]
    channel = run.arguments("sagemaker:createTrainingJob.sync")["InputDataConfig"][2]
    assert channel["ChannelName"] == "processed"
    assert channel["DataSource"]["S3DataSource"]["S3Uri"] == output["S3Output"]["S3Uri"]


def test_a_set_from_s3_is_read_where_it_lies(run_machine: Any):
    """No job builds it; training and evaluation read the prefix."""
    run = run_machine(retrain_machine(VARIANTS["from S3"]), FORGED, aws())
    assert run.names().count("sagemaker:createProcessingJob.sync") == 1
    inputs = run.arguments("sagemaker:createProcessingJob.sync")["ProcessingInputs"]
    uris = {i["InputName"]: i["S3Input"]["S3Uri"] for i in inputs}
    assert uris["holdout"] == "s3://data/exports/demand/holdout"
    assert uris["manifest"] == "s3://data/exports/demand/manifest"


def _brought() -> dict[str, Any]:
    """Return the row of a pipeline whose guard accepted an externally trained model."""
    candidate = {"uri": f"s3://artifacts/registered/{NAME}/{'a' * 64}/model.tar.gz", "sha256": "a" * 64}
    return STATE | {"request": {"S": json.dumps(REQUEST | {"trigger": "manual", "candidate": candidate})}}


def test_a_set_that_is_published_again_fails_the_run(run_machine: Any):
    """Training and evaluation could use different sets: nothing is registered, and the record has the fix."""
    machine = retrain_machine(VARIANTS["from S3"])
    assert run_machine(machine, FORGED, aws()).status == "SUCCEEDED"
    run = run_machine(machine, FORGED, aws(published=("Monday", "Tuesday")))
    assert run.status == "FAILED"
    assert "sagemaker:createModelPackage" not in run.names()
    record = next(a for n, a in run.calls if n == "lambda:invoke" and a["FunctionName"].endswith("record"))
    assert record["Payload"]["reason"] == (
        "the training set was published again during the run, which may have trained on one set and evaluated on the other; "
        "request it again: mlops train demand-forecast --reason ..."
    )
    brought = run_machine(machine, FORGED, aws(state=_brought(), published=("Monday", "Tuesday")))
    assert brought.output["Cause"] == (
        "the training set was published again during the run, which may have read two sets; register the model again: mlops "
        "models register demand-forecast MODEL"
    )
    places = [(a["Bucket"], a["Prefix"]) for n, a in run.calls if n == "s3:listObjectsV2"]
    assert places == [("data", "exports/demand/manifest/")] * 2


def test_a_run_without_a_manifest_says_so_where_it_is_read(run_machine: Any):
    """The listing of the set's manifest may be empty: the evaluation reports it."""
    answer = aws()

    def empty(name: str, arguments: dict[str, Any]) -> Any:
        return {"KeyCount": 0} if name == "s3:listObjectsV2" else answer(name, arguments)

    assert run_machine(retrain_machine(VARIANTS["from S3"]), FORGED, empty).status == "SUCCEEDED"


def test_spare_capacity_may_wait_longer_than_it_runs(run_machine: Any):
    """MaxWaitTimeInSeconds includes both; checkpoints are per execution; the state waits as long as the job may."""
    machine = retrain_machine(VARIANTS["spot"])
    job = run_machine(machine, FORGED, aws()).arguments("sagemaker:createTrainingJob.sync")
    assert job["EnableManagedSpotTraining"] is True
    assert job["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200}
    assert job["CheckpointConfig"]["S3Uri"] == f"s3://artifacts/checkpoints/{NAME}/{EXECUTION}"
    assert job["Environment"] == {"A": "b", "MLOPS_TRAINING_SET_ID": GATE["training_set_id"]}
    states: dict[str, Any] = machine["States"]  # type: ignore[assignment]
    assert states["Train"]["TimeoutSeconds"] > 7200
    assert machine["TimeoutSeconds"] == VARIANTS["spot"].seconds == RETRAIN_PLAN.seconds + 3600


def test_job_names_fit_and_outputs_stand_by_execution(run_machine: Any):
    """Names have at most 63 characters; every job reads and writes below the execution's own prefix."""
    run = run_machine(MACHINE, FORGED, aws())
    first = next(a for n, a in run.calls if n == "sagemaker:createProcessingJob.sync")
    assert first["ProcessingJobName"] == f"{NAME}-{EXECUTION[:24]}-set"
    assert first["ProcessingOutputConfig"]["Outputs"] == []  # the job writes its files itself
    arguments = first["AppSpecification"]["ContainerArguments"]
    place = arguments[arguments.index("--output") + 1]
    assert place == f"s3://sets/sets/demand/{EXECUTION}"
    assert arguments[arguments.index("--as-of") + 1] == REQUEST["as_of"]
    training = run.arguments("sagemaker:createTrainingJob.sync")
    assert training["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] == f"{place}/train"
    tags = {tag["Key"]: tag["Value"] for tag in training["Tags"]}
    assert tags["mlops:cost-center"] == "42"
    assert tags["mlops:execution"].endswith(EXECUTION)


def test_the_training_sets_id_travels(run_machine: Any):
    """The id goes from the building job to training, by environment and tag, and through the gate to the package."""
    digest = GATE["training_set_id"]
    run = run_machine(MACHINE, FORGED, aws())
    training = run.arguments("sagemaker:createTrainingJob.sync")
    assert training["Environment"]["MLOPS_TRAINING_SET_ID"] == digest
    assert {"Key": "mlops:training-set", "Value": digest} in training["Tags"]
    package = run.arguments("sagemaker:createModelPackage")
    assert package["CustomerMetadataProperties"]["training_set_id"] == digest
    from_s3 = run_machine(retrain_machine(VARIANTS["from S3"]), FORGED, aws())
    training = from_s3.arguments("sagemaker:createTrainingJob.sync")
    assert "Environment" not in training
    assert "mlops:training-set" not in str(training["Tags"])


def test_the_training_set_job_tells_lineage(run_machine: Any):
    """The job has the catalog, the outbox and the unit's namespace."""
    run = run_machine(MACHINE, FORGED, aws())
    job = next(a for n, a in run.calls if n == "sagemaker:createProcessingJob.sync")
    arguments = job["AppSpecification"]["ContainerArguments"]
    reported = {name: arguments[arguments.index(name) + 1] for name in ("--catalog", "--lineage", "--namespace")}
    assert reported == {
        "--catalog": "arn:aws:glue:us-east-1:123456789012",
        "--lineage": "s3://sets/lineage",
        "--namespace": "mlops.demand",
    }


@pytest.mark.parametrize("champion", [None, "s3://artifacts/old/model.tar.gz"])
def test_measures_the_champion_if_there_is_one(run_machine: Any, champion: str | None):
    """The champion is an input of the evaluation only if one serves."""
    run = run_machine(MACHINE, FORGED, aws(champion=champion))
    inputs = run.arguments("sagemaker:createProcessingJob.sync")["ProcessingInputs"]
    names = {i["InputName"]: i["S3Input"]["S3Uri"] for i in inputs}
    assert names.get("champion") == champion


@pytest.mark.parametrize("image", [None, JOBS.image_uri])
def test_a_champion_that_this_image_can_load_predicts_in_the_evaluation(run_machine: Any, image: str | None):
    """ONNX models run in any image, other models in their own."""
    run = run_machine(MACHINE, FORGED, aws(champion=CHAMPION, image=image))
    assert "s3:listObjectsV2" not in run.names()
    assert inputs_of(run.arguments("sagemaker:createProcessingJob.sync"))["champion"] == CHAMPION


@pytest.mark.parametrize("source", ["automatic", "from S3"])
def test_a_champion_of_another_image_predicts_there(run_machine: Any, source: str):
    """Inputs are holdout and model; the evaluation gets the predictions and no archive."""
    run = run_machine(retrain_machine(VARIANTS[source]), FORGED, aws(champion=CHAMPION, image=IMAGE))
    listed = [a for n, a in run.calls if n == "s3:listObjectsV2"]
    holdout = f"sets/demand/{EXECUTION}/holdout/" if source == "automatic" else "exports/demand/holdout/"
    bucket = "sets" if source == "automatic" else "data"
    if source == "from S3":
        listed = [a for a in listed if not a["Prefix"].endswith("/manifest/")]
    assert (listed[0]["Bucket"], listed[0]["Prefix"]) == (bucket, holdout)
    files = f'{holdout}part-0.parquet "0" {holdout}part-1.parquet "1"'
    prefix = f"predictions/{NAME}/{'6' * 64}-{hashlib.sha256(files.encode()).hexdigest()}"
    assert (listed[1]["Bucket"], listed[1]["Prefix"]) == ("artifacts", f"{prefix}/")
    requested, measured = [a for n, a in run.calls if n == "sagemaker:createProcessingJob.sync"][-2:]
    assert requested["AppSpecification"]["ImageUri"] == IMAGE
    assert requested["AppSpecification"]["ContainerArguments"] == ["--artifact-sha256", "7" * 64]
    assert inputs_of(requested) == {"holdout": f"s3://{bucket}/{holdout.rstrip('/')}", "model": CHAMPION}
    assert requested["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"] == f"s3://artifacts/{prefix}"
    assert requested["NetworkConfig"]["EnableNetworkIsolation"] is True
    assert inputs_of(measured)["predictions"] == f"s3://artifacts/{prefix}"
    assert "champion" not in inputs_of(measured)
    assert measured["AppSpecification"]["ContainerArguments"][-4:] == [
        *("--champion-sha256", "7" * 64),
        *("--champion-trained-until", "unknown"),
    ]


def test_a_champion_is_asked_once_a_holdout(run_machine: Any):
    """Earlier predictions are reused."""
    run = run_machine(MACHINE, FORGED, aws(champion=CHAMPION, image=IMAGE, predictions=1))
    jobs = [a for n, a in run.calls if n == "sagemaker:createProcessingJob.sync"]
    assert [job["ProcessingJobName"].rpartition("-")[2] for job in jobs] == ["set", "eval"]
    assert inputs_of(jobs[1])["predictions"].startswith(f"s3://artifacts/predictions/{NAME}/{'6' * 64}-")


def inputs_of(job: dict[str, Any]) -> dict[str, str]:
    """Return the source of each input of a processing job."""
    return {i["InputName"]: i["S3Input"]["S3Uri"] for i in job["ProcessingInputs"]}


def test_records_a_rejection(run_machine: Any):
    """A failing candidate is recorded as rejected and not registered; the execution succeeds."""
    run = run_machine(MACHINE, FORGED, aws(gate=GATE | {"verdict": "FAILED", "reason": "loses to last_week"}))
    assert (run.status, run.output["outcome"]) == ("SUCCEEDED", "REJECTED")
    assert "sagemaker:createModelPackage" not in run.names()
    payload = run.arguments("lambda:invoke")["Payload"]
    assert (payload["outcome"], payload["reason"]) == ("REJECTED", "loses to last_week")
    assert payload["candidate"] == {"model_sha256": "b" * 64, "training_set_id": "c" * 64}


def test_waits_for_a_person_when_approval_is_manual(run_machine: Any):
    """Ends with a pending package; the machine has no approving state."""
    manual = retrain_machine(PERSON)
    assert "Approve" not in manual["States"]  # type: ignore[operator]  # a machine is plain JSON
    run = run_machine(manual, FORGED, aws())
    assert run.output["outcome"] == "REGISTERED"
    assert run.arguments("sagemaker:createModelPackage")["ModelApprovalStatus"] == "PendingManualApproval"


QUESTION = "the feed looks broken, so nothing was trained: price: null in 40 % of the rows; alarm: demand-drift"
ASKING = STATE | {"request": {"S": json.dumps(REQUEST | {"question": QUESTION})}}


def test_a_question_is_recorded_and_asked_and_trains_nothing(run_machine: Any):
    """Starts no job and registers no package: writes an audit record, a message and an event, and releases the lock."""
    run = run_machine(MACHINE, FORGED, aws(state=ASKING))
    assert (run.status, run.output["outcome"], run.output["reason"]) == ("SUCCEEDED", "ASKED", QUESTION)
    names = ["dynamodb:getItem", "lambda:invoke", "sns:publish", "dynamodb:updateItem", "events:putEvents"]
    assert run.names() == names
    payload = run.arguments("lambda:invoke")["Payload"]
    assert (payload["outcome"], payload["reason"], payload["plan"]) == ("ASKED", QUESTION, None)
    message = run.arguments("sns:publish")
    assert (message["TopicArn"], message["Message"]) == (RETRAIN_PLAN.topic_arn, QUESTION.replace("; ", "\n"))
    assert message["Subject"] == "demand-forecast: the feed looks broken, nothing was trained"
    assert run.arguments("dynamodb:updateItem")["ExpressionAttributeValues"][":outcome"] == {"S": "ASKED"}


def test_a_question_that_reaches_no_person_is_recorded_all_the_same(run_machine: Any, aws_error: Any):
    """The lock is released, and people get the message again after a day."""
    run = run_machine(MACHINE, FORGED, aws(state=ASKING, fail=("sns:publish", aws_error("States.TaskFailed"))))
    assert (run.status, run.output["outcome"]) == ("SUCCEEDED", "ASKED")


@pytest.mark.parametrize("name", ["dynamodb:getItem", "sagemaker:createTrainingJob.sync", "lambda:invoke"])
def test_a_failure_releases_the_lock_and_is_told(run_machine: Any, aws_error: Any, name: str):
    """An error differs from a missing champion: the execution fails, releases the lock and puts an event with the reason."""
    run = run_machine(MACHINE, FORGED, aws(fail=(name, aws_error("States.TaskFailed", "no capacity"))))
    assert run.status == "FAILED"
    assert "dynamodb:updateItem" in run.names()
    detail = run.arguments("events:putEvents")["Entries"][0]["Detail"]
    assert (detail["outcome"], detail["reason"]) == ("FAILED", "States.TaskFailed: no capacity")
    recorded = run.arguments("lambda:invoke")
    assert recorded["FunctionName"].endswith("record")
    assert (recorded["Payload"]["outcome"], recorded["Payload"]["reason"]) == ("FAILED", detail["reason"])


def test_a_job_that_failed_is_not_run_again(run_machine: Any, aws_error: Any):
    """A second job of the same name would be rejected, and would cost twice."""
    run = run_machine(MACHINE, FORGED, aws(fail=("sagemaker:createTrainingJob.sync", aws_error("States.TaskFailed"))))
    assert run.names().count("sagemaker:createTrainingJob.sync") == 1


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (
            '{"ProcessingJobName": "a", "FailureReason": "AlgorithmError: no \\"week\\"", "B": 1}',
            'AlgorithmError: no \\"week\\"',
        ),
        ('{"errorMessage":"late","errorType":"X","stackTrace":[]}', "late"),
        (
            '{"ExitMessage": "evaluate: no \\"week\\"", "FailureReason": "AlgorithmError: See job logs", "B": 1}',
            'evaluate: no \\"week\\"',
        ),
        ('{"FailureReason": "AlgorithmError: train.py ended\\nTraceback (most"}', "AlgorithmError: train.py ended"),
        ('{"ExitMessage": "", "FailureReason": "ClientError: no such image"}', "ClientError: no such image"),
        ("{half a document", "{half a document"),
        ("", ""),
    ],
)
def test_a_reason_is_one_sentence(run_machine: Any, aws_error: Any, cause: str, reason: str):
    """Extracts the error from a job's description or a function's trace; other text is unchanged."""
    fail = ("sagemaker:createProcessingJob.sync", aws_error("States.TaskFailed", cause))
    run = run_machine(MACHINE, FORGED, aws(fail=fail))
    assert run.output["Cause"] == f"States.TaskFailed: {reason}"


@pytest.mark.parametrize("has_step", [False, True])
def test_a_model_made_elsewhere_is_measured_and_not_trained(run_machine: Any, has_step: bool):
    """Uses the same training set, copy, evaluation, gate and registration; the package names no training job."""
    root = f"s3://artifacts/registered/{NAME}/{'a' * 64}"
    candidate = {"uri": f"{root}/model.tar.gz", "sha256": "a" * 64, "predictions_uri": f"{root}/p.parquet"}
    accepted = STATE | {"request": {"S": json.dumps(REQUEST | {"trigger": "manual", "candidate": candidate})}}
    machine = retrain_machine(VARIANTS["processing"]) if has_step else MACHINE
    run = run_machine(machine, FORGED, aws(state=accepted))
    assert run.status == "SUCCEEDED"
    assert "sagemaker:createTrainingJob.sync" not in run.names()
    jobs = [each for name, each in run.calls if name == "sagemaker:createProcessingJob.sync"]
    assert [job["ProcessingJobName"].rpartition("-")[2] for job in jobs] == ["set", "eval"]
    keep = next(e["Payload"] for n, e in run.calls if n == "lambda:invoke" and "trained_uri" in e["Payload"])
    assert (keep["trained_uri"], keep["candidate"]) == (candidate["uri"], candidate)
    inputs = {each["InputName"]: each["S3Input"]["S3Uri"] for each in jobs[-1]["ProcessingInputs"]}
    assert (inputs["candidate"], inputs["expected"]) == (KEPT, f"{root}/p.parquet")
    package = run.arguments("sagemaker:createModelPackage")
    assert package["ModelPackageDescription"].startswith("made elsewhere, registered by ")
    assert package["CustomerMetadataProperties"]["code_sha256"] == "none"
    kept = [arguments for name, arguments in run.calls if name == "dynamodb:updateItem"]
    assert [each["Key"]["item"]["S"] for each in kept] == [f"CANDIDATE#{'a' * 64}", "STATE"]
    values = {name: value["S"] for name, value in kept[0]["ExpressionAttributeValues"].items()}
    assert values.pop(":at")
    assert values == {
        ":outcome": "APPROVED",
        ":execution": OWNER,
        ":reason": GATE["reason"],
        ":package": "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/1",
        ":predictions_uri": f"{root}/p.parquet",
    }


def test_what_came_of_an_archive_is_kept_before_the_lock_is_released(run_machine: Any, aws_error: Any):
    """Applies to rejected archives too, but not to trained models; a failed write does not block."""
    accepted = _brought()
    rejected = GATE | {"verdict": "FAILED", "reason": "loses"}
    run = run_machine(MACHINE, FORGED, aws(state=accepted, gate=rejected))
    kept = next(arguments for name, arguments in run.calls if name == "dynamodb:updateItem")
    values = kept["ExpressionAttributeValues"]
    assert (values[":outcome"]["S"], values[":predictions_uri"]["S"], values[":package"]["S"]) == ("REJECTED", "", "")
    assert [each for each in run.names() if each == "dynamodb:updateItem"] == ["dynamodb:updateItem"] * 2
    trained = run_machine(MACHINE, FORGED, aws(gate=rejected))
    assert (trained.status, trained.names().count("dynamodb:updateItem")) == ("SUCCEEDED", 1)
    failing = run_machine(MACHINE, FORGED, aws(state=accepted, fail=("dynamodb:updateItem", aws_error("Throttled"))))
    assert failing.names().count("dynamodb:updateItem") > 2  # retried, then the lock is released


def test_an_archive_whose_approval_fails_is_known_as_registered(run_machine: Any, aws_error: Any):
    """An archive has one version: the run fails and names the version that a person may approve."""
    failing = ("sagemaker:updateModelPackage", aws_error("SageMaker.SageMakerException", "throttled"))
    run = run_machine(MACHINE, FORGED, aws(state=_brought(), fail=failing))
    assert run.output["Cause"] == (
        "registered as demand-forecast/1, which could not be approved: SageMaker.SageMakerException: throttled; approve it: mlops "
        "models approve demand-forecast/1"
    )
    kept = [arguments for name, arguments in run.calls if name == "dynamodb:updateItem"]
    assert [each["Key"]["item"]["S"] for each in kept] == [f"CANDIDATE#{'a' * 64}", "STATE"]
    values = kept[0]["ExpressionAttributeValues"]
    assert values[":outcome"]["S"] == "REGISTERED"
    assert values[":package"]["S"].endswith(":model-package/demand-forecast/1")
    registering = ("sagemaker:createModelPackage", aws_error("SageMaker.SageMakerException", "throttled"))
    nothing = run_machine(MACHINE, FORGED, aws(state=_brought(), fail=registering))
    assert nothing.names().count("dynamodb:updateItem") == 1  # this one may be submitted again


def test_a_champion_that_no_server_of_the_pipeline_answers_for_is_named(run_machine: Any):
    """Fails before training: the serving model needs a container that the pipeline no longer declares."""
    container = "123456789012.dkr.ecr.us-east-1.amazonaws.com/other@sha256:" + "5" * 64
    run = run_machine(MACHINE, FORGED, aws(champion="s3://artifacts/live.tar.gz", image=container, flavor="container"))
    assert (run.status, "sagemaker:createTrainingJob.sync" in run.names()) == ("FAILED", False)
    assert run.output["Cause"] == (
        f"the live model of demand-forecast needs a third-party container, {container}, which demand-forecast does not declare: "
        "give its TrainingJob former_serving=ServingContainer(image=...) with that image, and deploy the stack"
    )


def test_what_loads_a_model_is_in_its_package_and_its_rejection(run_machine: Any):
    """Recorded if the gate names it; packages of ONNX models have no such entry."""
    found = GATE | {"flavor": "lightgbm", "trust": "data"}
    run = run_machine(MACHINE, FORGED, aws(gate=found))
    metadata = run.arguments("sagemaker:createModelPackage")["CustomerMetadataProperties"]
    assert (metadata["flavor"], metadata["trust"]) == ("lightgbm", "data")
    rejected = run_machine(MACHINE, FORGED, aws(gate=found | {"verdict": "FAILED", "reason": "loses"}))
    claim = [each["Payload"] for name, each in rejected.calls if name == "lambda:invoke"][-1]
    assert claim["candidate"] == {name: found[name] for name in ("model_sha256", "training_set_id", "flavor", "trust")}
