"""Clients of execution roles: https://docs.aws.amazon.com/sagemaker/latest/dg/security-confused-deputy-prevention.html.

S3 keys map to paths, and archives depend on their contents only.
"""

import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from mlops_local.sagemaker import role_clients

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
    """For inference SageMaker sends its account and ``...:*`` literally, and no ARN of a model or endpoint."""
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
    """Make a network without internet access, with or without a gateway endpoint of S3; return its ``VpcConfig``."""
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
    """Log lines and metrics are sent by the service from its own network."""
    ended = _train(plane, "reached", _isolated_network(plane, endpoint=True))

    assert ended["TrainingJobStatus"] == "Completed", ended.get("FailureReason")
    streams = plane.logs.describe_log_streams(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix="reached/"
    )["logStreams"]
    assert len(streams) == 1


class _Bucket:
    """An identity with an in-memory S3."""

    def __init__(self, **objects: bytes) -> None:
        self.objects = objects

    def client(self, service: str) -> "_Bucket":
        """Return itself."""
        assert service == "s3"
        return self

    def get_paginator(self, name: str) -> "_Bucket":
        """Return itself."""
        assert name == "list_objects_v2"
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> list[dict[str, Any]]:  # noqa: N803 - boto3's names
        """Return one page."""
        assert Bucket == "b"
        return [{"Contents": [{"Key": key} for key in self.objects if key.startswith(Prefix)]}, {}]

    def download_file(self, bucket: str, key: str, path: str) -> None:
        """Write an object to a file."""
        assert bucket == "b"
        Path(path).write_bytes(self.objects[key])

    def upload_file(self, path: str, bucket: str, key: str, ExtraArgs: dict[str, str]) -> None:  # noqa: N803 - boto3's
        """Store a file."""
        assert (bucket, ExtraArgs) == ("b", {})
        self.objects[key] = Path(path).read_bytes()


@pytest.mark.parametrize(
    ("prefix", "key", "expected"),
    [
        ("a/train/", "a/train/x/y.csv", "x/y.csv"),
        ("a/train", "a/train/y.csv", "y.csv"),
        ("a/code.zip", "a/code.zip", "code.zip"),
        ("a/tr", "a/train/y.csv", "train/y.csv"),
        ("", "a/y.csv", "a/y.csv"),
    ],
)
def test_objects_lie_relative_to_their_prefix(prefix: str, key: str, expected: str) -> None:
    """A folder, an object and a part of a name as prefix."""
    assert role_clients.relative(prefix, key) == expected


def test_downloads_all_objects_but_folder_markers(tmp_path: Path) -> None:
    """Every object under the prefix becomes a file; keys that end with a slash are skipped."""
    bucket = _Bucket(**{"in/": b"", "in/a": b"1", "in/deep/b": b"2", "out": b"3"})
    assert role_clients.download("s3://b/in/", tmp_path / "data", bucket) == 2  # type: ignore[arg-type]
    assert (tmp_path / "data/a").read_bytes() == b"1"
    assert (tmp_path / "data/deep/b").read_bytes() == b"2"


def test_fails_on_a_key_that_leaves_the_folder(tmp_path: Path) -> None:
    """A key with parent folders is rejected."""
    bucket = _Bucket(**{"in/../../x": b"1"})
    with pytest.raises(ValueError, match="leads out of the folder"):
        role_clients.download("s3://b/in/", tmp_path / "data", bucket)  # type: ignore[arg-type]


def test_uploads_files_under_the_prefix(tmp_path: Path) -> None:
    """Paths below the folder become keys below the prefix, also at the bucket's root."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/a").write_bytes(b"1")
    for uri, key in (("s3://b/out/", "out/deep/a"), ("s3://b", "deep/a")):
        bucket = _Bucket()
        role_clients.upload(tmp_path, uri, bucket, None)  # type: ignore[arg-type]
        assert bucket.objects == {key: b"1"}


def test_archives_of_equal_contents_are_equal(tmp_path: Path) -> None:
    """Times, owners and modes are normalized, so a model's hash depends on its contents."""
    digests = []
    for name, moment in (("one", 0), ("two", 1_000_000_000)):
        folder = tmp_path / name / "model"
        (folder / "deep").mkdir(parents=True)
        for path in (folder / "b", folder / "a", folder / "deep/c"):
            path.write_text(path.name)
            os.utime(path, (moment, moment))
        bucket = _Bucket()
        role_clients.upload_archive(folder, "s3://b/k/model.tar.gz", bucket, None)  # type: ignore[arg-type]
        digests.append(hashlib.sha256(bucket.objects["k/model.tar.gz"]).hexdigest())
        (tmp_path / "x.tar.gz").write_bytes(bucket.objects["k/model.tar.gz"])
        with tarfile.open(tmp_path / "x.tar.gz") as tar:
            assert tar.getnames() == ["a", "b", "deep", "deep/c"]
    assert digests[0] == digests[1]
