"""The stock `aws` command creates, calls, scales and trains like the constructs."""

import json
import subprocess
import time
from typing import Any

import pytest
from tests.local.sagemaker.conftest import BUCKET, IMAGE, plane

__all__ = ["plane"]
INSTANCES = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 2}


@pytest.fixture
def aws(plane, command_line):
    """Run the AWS CLI on the cloud with tiny containers, and return its JSON."""
    command, environment = command_line("aws", plane.cloud)

    def run(*arguments: str) -> Any:
        line = [command, *arguments, "--output", "json"]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else {}

    return run


def test_an_asynchronous_endpoint_scales_and_answers(aws, plane, tmp_path):
    """Config, endpoint, scalable target, both kinds of policy, schedule, and an asynchronous call from S3 to S3."""
    variant = {"VariantName": "AllTraffic", "ModelName": plane.model("cli-async"), **INSTANCES}
    config = {"OutputConfig": {"S3OutputPath": f"s3://{BUCKET}/cli"}}
    name = ["--endpoint-config-name", "cli-async", "--production-variants", json.dumps([variant])]
    aws("sagemaker", "create-endpoint-config", *name, "--async-inference-config", json.dumps(config))
    plane.endpoint("cli-async", "cli-async")
    target = ["--service-namespace", "sagemaker", "--resource-id", "endpoint/cli-async/variant/AllTraffic"]
    dimension = ["--scalable-dimension", "sagemaker:variant:DesiredInstanceCount"]
    bounds = ["--min-capacity", "0", "--max-capacity", "4"]
    assert aws("application-autoscaling", "register-scalable-target", *target, *dimension, *bounds)["ScalableTargetARN"]
    backlog = {
        "TargetValue": 5.0,
        "CustomizedMetricSpecification": {
            "Namespace": "AWS/SageMaker",
            "MetricName": "ApproximateBacklogSizePerInstance",
            "Dimensions": [{"Name": "EndpointName", "Value": "cli-async"}],
            "Statistic": "Average",
        },
    }
    tracking = [
        "--policy-type",
        "TargetTrackingScaling",
        "--target-tracking-scaling-policy-configuration",
        json.dumps(backlog),
    ]
    policy = aws("application-autoscaling", "put-scaling-policy", *target, *dimension, "--policy-name", "p", *tracking)
    assert len(policy["Alarms"]) == 2
    action = ["--scheduled-action-name", "night", "--schedule", "cron(0 22 * * ? *)", "--timezone", "Europe/Berlin"]
    night = ["--scalable-target-action", "MinCapacity=0,MaxCapacity=0"]
    aws("application-autoscaling", "put-scheduled-action", *target, *dimension, *action, *night)
    (found,) = aws("application-autoscaling", "describe-scheduled-actions", *target)["ScheduledActions"]
    assert (found["Timezone"], found["ScalableTargetAction"]) == ("Europe/Berlin", {"MinCapacity": 0, "MaxCapacity": 0})
    plane.s3.put_object(Bucket=BUCKET, Key="cli/in.json", Body=b"{}")
    call = ["--endpoint-name", "cli-async", "--content-type", "application/json"]
    taken = aws("sagemaker-runtime", "invoke-endpoint-async", *call, "--input-location", f"s3://{BUCKET}/cli/in.json")
    file = tmp_path / "out.json"

    def answered():
        listed = plane.s3.list_objects_v2(Bucket=BUCKET, Prefix=taken["OutputLocation"].partition(f"{BUCKET}/")[2])
        return listed["KeyCount"]

    plane.wait(answered, "the answer")
    aws("s3", "cp", taken["OutputLocation"], str(file), "--quiet")
    assert json.loads(file.read_text())["model"] == "cli-async"
    aws("application-autoscaling", "deregister-scalable-target", *target, *dimension)


def test_a_shadow_and_a_serverless_endpoint_answer(aws, plane, tmp_path):
    """Both configs from the CLI's JSON, and InvokeEndpoint with the CLI's arguments."""
    live = {"VariantName": "Live", "ModelName": plane.model("cli-live"), **INSTANCES}
    shadow = {"VariantName": "Shadow", "ModelName": plane.model("cli-shadow"), "InitialVariantWeight": 0.5, **INSTANCES}
    lists = ["--production-variants", json.dumps([live]), "--shadow-production-variants", json.dumps([shadow])]
    aws("sagemaker", "create-endpoint-config", "--endpoint-config-name", "cli-shadowed", *lists)
    serverless = {"MemorySizeInMB": 1024, "MaxConcurrency": 2}
    variant = {"VariantName": "AllTraffic", "ModelName": "cli-live", "ServerlessConfig": serverless}
    name = ["--endpoint-config-name", "cli-serverless", "--production-variants", json.dumps([variant])]
    aws("sagemaker", "create-endpoint-config", *name)
    file, body = tmp_path / "out.json", tmp_path / "in.json"
    body.write_text("{}")
    for endpoint in ("cli-shadowed", "cli-serverless"):
        plane.endpoint(endpoint, endpoint)
        call = [
            "--endpoint-name",
            endpoint,
            "--content-type",
            "application/json",
            "--body",
            f"fileb://{body}",
            str(file),
        ]
        aws("sagemaker-runtime", "invoke-endpoint", *call)
        assert json.loads(file.read_text())["model"] == "cli-live"
    described = aws("sagemaker", "describe-endpoint", "--endpoint-name", "cli-shadowed")
    assert described["ShadowProductionVariants"][0]["CurrentWeight"] == 0.5


def test_a_spot_job_trains_with_checkpoints(aws, plane):
    """`create-training-job` with `--enable-managed-spot-training` and `--checkpoint-config`."""
    specification = {
        "TrainingImage": IMAGE,
        "TrainingInputMode": "File",
        "ContainerArguments": ["end=counts", "steps=1"],
    }
    aws(
        "sagemaker", "create-training-job", "--training-job-name", "cli-spot", "--role-arn", plane.role,
        "--algorithm-specification", json.dumps(specification), "--output-data-config", f"S3OutputPath=s3://{BUCKET}/out",
        "--resource-config", "InstanceType=ml.m5.large,InstanceCount=1,VolumeSizeInGB=5",
        "--stopping-condition", "MaxRuntimeInSeconds=60,MaxWaitTimeInSeconds=120", "--enable-managed-spot-training",
        "--checkpoint-config", f"S3Uri=s3://{BUCKET}/cli-checkpoints",
    )  # fmt: skip
    described: dict[str, Any] = {}
    end = time.monotonic() + 60
    while described.get("TrainingJobStatus", "InProgress") == "InProgress":
        assert time.monotonic() < end, described
        described = aws("sagemaker", "describe-training-job", "--training-job-name", "cli-spot")
    assert (described["TrainingJobStatus"], described["EnableManagedSpotTraining"]) == ("Completed", True)
    assert plane.s3.list_objects_v2(Bucket=BUCKET, Prefix="cli-checkpoints/")["KeyCount"] == 1
