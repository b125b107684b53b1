"""Images in the registry of another account."""

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from conftest import Plane

OWNER = "111111111111"
IMAGE = f"{OWNER}.dkr.ecr.us-east-1.amazonaws.com/tiny@sha256:" + "0" * 64
PULL = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]


@pytest.fixture
def model(plane: "Plane", unique: str) -> str:
    """A model whose image is there, and whose role has no right to pull yet."""
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "sagemaker.amazonaws.com"}}
    role = plane.cloud.client("iam").create_role(
        RoleName=unique, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]})
    )["Role"]["Arn"]
    give(plane, unique)
    container = {"Image": IMAGE, "ModelDataUrl": plane.put_model(unique)}
    plane.sagemaker.create_model(ModelName=unique, ExecutionRoleArn=role, PrimaryContainer=container)
    return unique


def give(plane: "Plane", role: str, *statements: dict[str, Any]) -> None:
    """Let a role write its logs, read model data, and more."""
    own = {"Effect": "Allow", "Action": ["logs:*", "s3:GetObject", "s3:ListBucket"], "Resource": "*"}
    document = json.dumps({"Statement": [own, *statements]})
    plane.cloud.client("iam").put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=document)


def test_an_endpoint_pulls_where_both_sides_allow(plane: "Plane", model: str) -> None:
    """Each side that is missing fails the endpoint by name."""
    ecr = plane.cloud.at(OWNER).client("ecr")
    ecr.create_repository(repositoryName="tiny")
    pull: dict[str, Any] = {"Effect": "Allow", "Action": PULL}
    plane.config(model)

    def start(name: str) -> Any:
        plane.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=model)
        described = plane.settled(name)
        plane.sagemaker.delete_endpoint(EndpointName=name)
        return described.get("FailureReason", "")

    assert "no identity-based policy allows the ecr:BatchGetImage action" in start(f"{model}-a")
    give(plane, model, {**pull, "Resource": f"arn:aws:ecr:us-east-1:{OWNER}:repository/tiny"})
    assert "no resource-based policy allows the ecr:BatchGetImage action" in start(f"{model}-b")
    statement = {**pull, "Principal": {"AWS": "arn:aws:iam::000000000000:root"}}
    ecr.set_repository_policy(repositoryName="tiny", policyText=json.dumps({"Statement": [statement]}))
    assert start(f"{model}-c") == ""


def test_a_serverless_endpoint_refuses_a_foreign_image(plane: "Plane", model: str) -> None:
    """github.com/aws/amazon-sagemaker-feedback/issues/181: it takes images of its own account alone."""
    config = {"MemorySizeInMB": 2048, "MaxConcurrency": 1}
    variant = {"VariantName": "AllTraffic", "ModelName": model, "ServerlessConfig": config}
    with pytest.raises(ClientError, match="Serverless endpoints do not support images from another account's registry"):
        plane.sagemaker.create_endpoint_config(EndpointConfigName=model, ProductionVariants=[variant])
