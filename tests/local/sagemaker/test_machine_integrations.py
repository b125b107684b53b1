"""State machines that call SageMaker on the embedded cloud."""

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from conftest import Plane

BUCKET = "plane"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/tiny@sha256:" + "0" * 64


def _training(plane: "Plane", name: str, end: str = "well") -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "HyperParameters": {"end": end},
        "RoleArn": plane.role,
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }


@pytest.fixture(scope="module")
def machine_role(plane: "Plane") -> str:
    """A role for the machines of this file."""
    iam = plane.cloud.client("iam")
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    arn: str = iam.create_role(RoleName="machine", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    allowed = [{"Effect": "Allow", "Action": ["sagemaker:*", "iam:PassRole", "events:*"], "Resource": "*"}]
    iam.put_role_policy(
        RoleName="machine",
        PolicyName="all",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": allowed}),
    )
    return arn


def _start(plane: "Plane", role: str, name: str, *, resource: str, arguments: dict[str, Any], **task: Any) -> str:
    states = plane.cloud.client("stepfunctions")
    state = {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Arguments": arguments, "End": True, **task}
    definition = {"QueryLanguage": "JSONata", "StartAt": "Do", "States": {"Do": state}}
    machine = states.create_state_machine(name=name, definition=json.dumps(definition), roleArn=role)
    arn: str = states.start_execution(stateMachineArn=machine["stateMachineArn"])["executionArn"]
    return arn


def _run(
    plane: "Plane", role: str, name: str, *, resource: str, arguments: dict[str, Any], **task: Any
) -> dict[str, Any]:
    arn = _start(plane, role, name, resource=resource, arguments=arguments, **task)
    states = plane.cloud.client("stepfunctions")

    def ended() -> Any:
        described = states.describe_execution(executionArn=arn)
        return described if described["status"] != "RUNNING" else None

    found: dict[str, Any] = plane.wait(ended, f"the end of machine {name}")
    return found


def test_sync_answers_with_the_jobs_description(plane: "Plane", machine_role: str) -> None:
    """createTrainingJob.sync ends with its job, whose description is the result, with times in milliseconds."""
    ended = _run(
        plane,
        machine_role,
        "trains",
        resource="sagemaker:createTrainingJob.sync",
        arguments=_training(plane, "by-machine"),
    )
    assert ended["status"] == "SUCCEEDED", ended
    output = json.loads(ended["output"])
    described = plane.sagemaker.describe_training_job(TrainingJobName="by-machine")
    assert output["TrainingJobStatus"] == "Completed"
    assert output["ModelArtifacts"] == described["ModelArtifacts"]
    assert output["CreationTime"] == int(described["CreationTime"].timestamp() * 1000)


def test_failed_job_fails_the_task_with_its_description(plane: "Plane", machine_role: str) -> None:
    """A failed job is States.TaskFailed; the cause is the job's description."""
    ended = _run(
        plane,
        machine_role,
        "fails",
        resource="sagemaker:createTrainingJob.sync",
        arguments=_training(plane, "by-machine-fails", "failure"),
    )
    assert (ended["status"], ended["error"]) == ("FAILED", "States.TaskFailed")
    cause = json.loads(ended["cause"])
    assert cause["TrainingJobStatus"] == "Failed"
    assert cause["FailureReason"] == "AlgorithmError: the data make no sense, exit code: 3"


def test_stopped_execution_stops_its_job(plane: "Plane", machine_role: str) -> None:
    """StopExecution stops the job of a .sync task."""
    arn = _start(
        plane,
        machine_role,
        "stops",
        resource="sagemaker:createTrainingJob.sync",
        arguments=_training(plane, "by-machine-stops", "never"),
    )
    _wait_status(plane, "by-machine-stops", "InProgress")
    plane.cloud.client("stepfunctions").stop_execution(executionArn=arn)
    _wait_status(plane, "by-machine-stops", "Stopped")


def test_task_out_of_time_stops_its_job(plane: "Plane", machine_role: str) -> None:
    """A task with TimeoutSeconds fails with States.Timeout, and its job is stopped."""
    ended = _run(
        plane,
        machine_role,
        "late",
        resource="sagemaker:createTrainingJob.sync",
        arguments=_training(plane, "by-machine-late", "never"),
        TimeoutSeconds=2,
    )
    assert (ended["status"], ended["error"]) == ("FAILED", "States.Timeout")
    _wait_status(plane, "by-machine-late", "Stopped")


def _wait_status(plane: "Plane", job: str, status: str) -> None:
    def reached() -> bool:
        jobs = plane.sagemaker.list_training_jobs(NameContains=job)["TrainingJobSummaries"]
        return [row["TrainingJobStatus"] for row in jobs] == [status]

    plane.wait(reached, f"status {status} of job {job}")


def test_a_server_that_hangs_ends_with_its_task(plane: "Plane", machine_role: str) -> None:
    """Step Functions has no ModelClientConfig, so the task's limit ends a transform job whose server does not respond."""
    plane.model("hanging")
    plane.s3.put_object(Bucket=BUCKET, Key="rows/hanging/a.jsonl", Body=b'{"sleep": 60}\n')
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/rows/hanging/"}
    arguments = {
        "TransformJobName": "by-machine-hangs",
        "ModelName": "hanging",
        "TransformInput": {"DataSource": {"S3DataSource": source}, "ContentType": "application/json"},
        "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/answers/hanging"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    resource = "sagemaker:createTransformJob.sync"
    ended = _run(plane, machine_role, "hangs", resource=resource, arguments=arguments, TimeoutSeconds=3)
    assert (ended["status"], ended["error"]) == ("FAILED", "States.Timeout")

    def stopped() -> bool:
        job = plane.sagemaker.describe_transform_job(TransformJobName="by-machine-hangs")
        return bool(job["TransformJobStatus"] == "Stopped")

    plane.wait(stopped, "the stop of the transform job")
    limited = arguments | {"TransformJobName": "limited", "ModelClientConfig": {"InvocationsMaxRetries": 0}}
    with pytest.raises(ClientError, match='The field "ModelClientConfig" is not supported by Step Functions'):
        _run(plane, machine_role, "limits", resource=resource, arguments=limited)


def test_optimized_calls_make_an_endpoint(plane: "Plane", machine_role: str) -> None:
    """createModel, createEndpointConfig and createEndpoint return ARNs."""
    data = plane.put_model("made")
    container = {"Image": IMAGE, "ModelDataUrl": data}
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": "made",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    calls: list[tuple[str, dict[str, Any], str]] = [
        (
            "createModel",
            {"ModelName": "made", "ExecutionRoleArn": plane.role, "PrimaryContainer": container},
            "ModelArn",
        ),
        (
            "createEndpointConfig",
            {"EndpointConfigName": "made", "ProductionVariants": [variant]},
            "EndpointConfigArn",
        ),
        ("createEndpoint", {"EndpointName": "made", "EndpointConfigName": "made"}, "EndpointArn"),
    ]
    for name, arguments, member in calls:
        ended = _run(plane, machine_role, name, resource=f"sagemaker:{name}", arguments=arguments)
        assert ended["status"] == "SUCCEEDED", ended
        assert list(json.loads(ended["output"])) == [member]
    assert plane.settled("made")["EndpointStatus"] == "InService"


@pytest.mark.parametrize(
    ("resource", "arguments", "error"),
    [
        (
            "sagemaker:updateEndpoint",
            {"EndpointName": "absent", "EndpointConfigName": "absent"},
            "SageMaker.AmazonSageMakerException",
        ),
        ("aws-sdk:sagemaker:describeEndpoint", {"EndpointName": "absent"}, "SageMaker.SageMakerException"),
    ],
)
def test_fails_with_the_names_of_aws(
    plane: "Plane", machine_role: str, resource: str, arguments: dict[str, Any], error: str
) -> None:
    """Optimized and SDK integrations name the service's ValidationException differently."""
    ended = _run(plane, machine_role, resource.replace(":", "-"), resource=resource, arguments=arguments)
    assert (ended["status"], ended["error"]) == ("FAILED", error)
    assert "Could not find endpoint" in ended["cause"]


def test_sdk_integration_describes_with_iso_times(plane: "Plane", machine_role: str) -> None:
    """aws-sdk:sagemaker returns the API's members and ISO 8601 times."""
    plane.model("by-sdk")
    ended = _run(
        plane,
        machine_role,
        "describes",
        resource="aws-sdk:sagemaker:describeModel",
        arguments={"ModelName": "by-sdk"},
    )
    assert ended["status"] == "SUCCEEDED", ended
    output = json.loads(ended["output"])
    assert output["ModelName"] == "by-sdk"
    assert output["CreationTime"].endswith("Z")


def test_a_transform_job_needs_its_own_rights(plane: "Plane") -> None:
    """createTransformJob.sync requires the job, its description, its stop and the rule of transform jobs; a key has the model."""
    iam = plane.cloud.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role: str = iam.create_role(RoleName="asks", AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))["Role"][
        "Arn"
    ]
    prefix = "arn:aws:sagemaker:us-east-1:000000000000"
    job, rule = f"{prefix}:transform-job/asks*", "StepFunctionsGetEventsForSageMakerTransformJobsRule"
    allowed = [
        {
            "Effect": "Allow",
            "Action": "sagemaker:CreateTransformJob",
            "Resource": job,
            "Condition": {"ArnEquals": {"sagemaker:ModelArn": f"{prefix}:model/asked"}},
        },
        {
            "Effect": "Allow",
            "Action": ["sagemaker:DescribeTransformJob", "sagemaker:StopTransformJob"],
            "Resource": job,
        },
    ]
    events = {
        "Effect": "Allow",
        "Action": ["events:PutTargets", "events:PutRule", "events:DescribeRule"],
        "Resource": f"arn:aws:events:us-east-1:000000000000:rule/{rule}",
    }
    for model in ("asked", "another"):
        plane.model(model)
    plane.s3.put_object(Bucket=BUCKET, Key="rows/asks/a.csv", Body=b"x\n")
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/rows/asks/"}
    arguments = {
        "TransformInput": {"DataSource": {"S3DataSource": source}, "ContentType": "text/csv", "SplitType": "Line"},
        "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/answers/asks", "AssembleWith": "Line"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    outcomes = {}
    for number, (model, statements) in enumerate(
        {"another": [*allowed, events], "asked": allowed, "asked ": [*allowed, events]}.items()
    ):
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_role_policy(RoleName="asks", PolicyName="all", PolicyDocument=policy)
        name = f"asks-{number}"
        named = arguments | {"TransformJobName": name, "ModelName": model.strip()}
        ended = _run(plane, role, name, resource="sagemaker:createTransformJob.sync", arguments=named)
        outcomes[model] = ended["status"], ended.get("error")
    refused = ("FAILED", "SageMaker.AmazonSageMakerException")
    assert outcomes == {"another": refused, "asked": refused, "asked ": ("SUCCEEDED", None)}
