"""Execution roles: https://docs.aws.amazon.com/sagemaker/latest/dg/security-confused-deputy-prevention.html."""

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from conftest import Plane

IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/tiny@sha256:" + "0" * 64
SERVICE = {"Service": "sagemaker.amazonaws.com"}


def _role(plane: "Plane", name: str, principal: dict[str, str], condition: dict[str, Any]) -> str:
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", "Condition": condition}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    arn: str = plane.cloud.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    return arn


def _create(plane: "Plane", name: str, role: str) -> None:
    plane.sagemaker.create_model(ModelName=name, ExecutionRoleArn=role, PrimaryContainer={"Image": IMAGE})


@pytest.mark.parametrize(
    ("name", "resource", "is_assumed"), [("any", "*", True), ("own", "model/bound*", False), ("none", "x", False)]
)
def test_role_of_a_model_may_be_bound_to_account_and_region(
    plane: "Plane", name: str, resource: str, is_assumed: bool
) -> None:
    """For inference SageMaker sends its account and ``...:*``, letter by letter, and no ARN of a model or endpoint."""
    source = f"arn:aws:sagemaker:us-east-1:000000000000:{resource}"
    condition = {"StringEquals": {"aws:SourceAccount": "000000000000"}, "ArnLike": {"aws:SourceArn": source}}
    role = _role(plane, f"bound-{name}", SERVICE, condition)
    if is_assumed:
        _create(plane, f"bound-{name}", role)
        return
    with pytest.raises(ClientError, match=f"Could not assume role {role}"):
        _create(plane, f"bound-{name}", role)


@pytest.mark.parametrize(
    ("name", "principal", "condition"),
    [
        ("other-service", {"Service": "lambda.amazonaws.com"}, {}),
        ("own-account", {"AWS": "000000000000"}, {}),
        ("other-source", SERVICE, {"StringEquals": {"aws:SourceAccount": "111111111111"}}),
    ],
)
def test_fails_on_a_role_that_does_not_trust_the_service(
    plane: "Plane", name: str, principal: dict[str, str], condition: dict[str, Any]
) -> None:
    """Another service, the account itself, or another account's resources are not enough."""
    role = _role(plane, f"untrusting-{name}", principal, condition)
    with pytest.raises(
        ClientError, match=r"exists and allows principal 'sagemaker\.amazonaws\.com' to assume the role"
    ):
        _create(plane, "untrusted", role)


def _isolated_network(plane: "Plane", *, endpoint: bool) -> dict[str, list[str]]:
    """Make a network without a way to the internet, with or without a gateway endpoint of S3; return its ``VpcConfig``."""
    ec2 = plane.cloud.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.4.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.4.0.0/24")["Subnet"]["SubnetId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(SubnetId=subnet, RouteTableId=table)
    group = ec2.create_security_group(GroupName="jobs", Description="jobs", VpcId=vpc)["GroupId"]
    if endpoint:
        ec2.create_vpc_endpoint(VpcId=vpc, ServiceName="com.amazonaws.us-east-1.s3", RouteTableIds=[table])
    return {"Subnets": [subnet], "SecurityGroupIds": [group]}


def _train(plane: "Plane", name: str, network: dict[str, list[str]]) -> dict[str, Any]:
    """Run a training job with one channel in a network to its end."""
    plane.s3.put_object(Bucket="plane", Key="reach/rows.csv", Body=b"1")
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://plane/reach/"}}
    plane.sagemaker.create_training_job(
        TrainingJobName=name,
        RoleArn=plane.role,
        AlgorithmSpecification={
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "ContainerArguments": ["end=well", "path=/opt/ml/input/data"],
        },
        InputDataConfig=[{"ChannelName": "train", "DataSource": source}],
        OutputDataConfig={"S3OutputPath": "s3://plane/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        StoppingCondition={"MaxRuntimeInSeconds": 60},
        VpcConfig=network,
        EnableNetworkIsolation=True,
    )

    def done() -> Any:
        described = plane.sagemaker.describe_training_job(TrainingJobName=name)
        return described if described["TrainingJobStatus"] not in ("InProgress", "Stopping") else None

    found: dict[str, Any] = plane.wait(done, f"the end of job {name}")
    return found


def test_a_job_loads_its_data_through_its_network(plane: "Plane") -> None:
    """Also in isolation: "SageMaker downloads and uploads customer data and model artifacts through the specified VPC"."""
    failed = _train(plane, "unreached", _isolated_network(plane, endpoint=False))

    assert failed["TrainingJobStatus"] == "Failed"
    assert "TrainingJob unreached in subnet-" in failed["FailureReason"]
    assert "no gateway endpoint of s3" in failed["FailureReason"]


def test_a_job_with_an_endpoint_of_s3_needs_no_other_for_its_logs(plane: "Plane") -> None:
    """Log lines and metrics are the service's own calls, from its own network."""
    ended = _train(plane, "reached", _isolated_network(plane, endpoint=True))

    assert ended["TrainingJobStatus"] == "Completed", ended.get("FailureReason")
    streams = plane.logs.describe_log_streams(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix="reached/"
    )["logStreams"]
    assert len(streams) == 1
