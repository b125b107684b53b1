"""Images in a registry of another account or Region, and data of another Region."""

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
    """A model with an existing image, whose role has no permission to pull yet."""
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "sagemaker.amazonaws.com"}}
    role = plane.cloud.client("iam").create_role(
        RoleName=unique, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]})
    )["Role"]["Arn"]
    give(plane, unique)
    container = {"Image": IMAGE, "ModelDataUrl": plane.put_model(unique)}
    plane.sagemaker.create_model(ModelName=unique, ExecutionRoleArn=role, PrimaryContainer=container)
    return unique


def give(plane: "Plane", role: str, *statements: dict[str, Any]) -> None:
    """Give a role permissions for its logs, model data, and more."""
    own = {"Effect": "Allow", "Action": ["logs:*", "s3:GetObject", "s3:ListBucket"], "Resource": "*"}
    document = json.dumps({"Statement": [own, *statements]})
    plane.cloud.client("iam").put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=document)


def test_an_endpoint_pulls_where_both_sides_allow(plane: "Plane", model: str) -> None:
    """Each missing permission fails the endpoint with its side."""
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
    """github.com/aws/amazon-sagemaker-feedback/issues/181: only images of its own account are accepted."""
    config = {"MemorySizeInMB": 2048, "MaxConcurrency": 1}
    variant = {"VariantName": "AllTraffic", "ModelName": model, "ServerlessConfig": config}
    with pytest.raises(ClientError, match="Serverless endpoints do not support images from another account's registry"):
        plane.sagemaker.create_endpoint_config(EndpointConfigName=model, ProductionVariants=[variant])


def test_a_model_is_of_one_region(plane: "Plane", model: str, unique: str) -> None:
    """Its image and its data; a training job's image too."""
    here = plane.sagemaker.describe_model(ModelName=model)
    elsewhere = IMAGE.replace("us-east-1", "eu-central-1")

    def create(**changed: str) -> None:
        container = {**here["PrimaryContainer"], **changed}
        plane.sagemaker.create_model(
            ModelName=f"{unique}-no", ExecutionRoleArn=here["ExecutionRoleArn"], PrimaryContainer=container
        )

    with pytest.raises(
        ClientError, match=f'Region of "{elsewhere}" does not match expected region of us-east-1. Cross region'
    ):
        create(Image=elsewhere)
    s3 = plane.cloud.at(region="eu-central-1").client("s3")
    s3.create_bucket(Bucket=f"{unique}-far", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_object(Bucket=f"{unique}-far", Key="model.tar.gz", Body=b"x")
    with pytest.raises(ClientError, match=r"Could not access model data .* the object is located in us-east-1"):
        create(ModelDataUrl=f"s3://{unique}-far/model.tar.gz")
    with pytest.raises(
        ClientError, match=r"Invalid DNS suffix 'amazonaws\.com' for region 'eu-central-1' in training image"
    ):
        plane.sagemaker.create_training_job(
            TrainingJobName=unique,
            RoleArn=here["ExecutionRoleArn"],
            AlgorithmSpecification={"TrainingImage": elsewhere, "TrainingInputMode": "File"},
            OutputDataConfig={"S3OutputPath": f"s3://{unique}-far/out"},
            ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
            StoppingCondition={"MaxRuntimeInSeconds": 60},
        )
