"""Models and endpoint configs by boto3."""

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from conftest import Plane

IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/tiny@sha256:" + "0" * 64


def _model(plane: "Plane", name: str, **container: Any) -> None:
    plane.sagemaker.create_model(
        ModelName=name, ExecutionRoleArn=plane.role, PrimaryContainer={"Image": IMAGE} | container
    )


def test_describes_and_lists_what_was_made(plane: "Plane") -> None:
    """Models and configs are described as they were given, listed newest first, and deleted."""
    for name in ("shelf-a", "shelf-b"):
        plane.config(plane.model(name))
    model = plane.sagemaker.describe_model(ModelName="shelf-a")
    assert model["PrimaryContainer"]["Image"] == IMAGE
    assert model["EnableNetworkIsolation"] is False
    config = plane.sagemaker.describe_endpoint_config(EndpointConfigName="shelf-a")
    assert config["ProductionVariants"][0]["InitialVariantWeight"] == 1.0
    models = plane.sagemaker.list_models(NameContains="shelf")["Models"]
    assert [row["ModelName"] for row in models] == ["shelf-b", "shelf-a"]
    configs = plane.sagemaker.list_endpoint_configs(NameContains="shelf", SortOrder="Ascending")["EndpointConfigs"]
    assert [row["EndpointConfigName"] for row in configs] == ["shelf-a", "shelf-b"]
    plane.sagemaker.delete_endpoint_config(EndpointConfigName="shelf-a")
    plane.sagemaker.delete_model(ModelName="shelf-a")
    with pytest.raises(ClientError, match='Could not find endpoint configuration "arn'):
        plane.sagemaker.describe_endpoint_config(EndpointConfigName="shelf-a")
    with pytest.raises(ClientError, match='Could not find model "arn'):
        plane.sagemaker.describe_model(ModelName="shelf-a")


def test_fails_on_a_name_that_is_taken(plane: "Plane") -> None:
    """A model's name is used once."""
    plane.model("taken")
    with pytest.raises(ClientError, match='Cannot create already existing model "arn'):
        plane.model("taken")


def test_fails_on_a_config_of_an_absent_model(plane: "Plane") -> None:
    """A config names models that exist."""
    with pytest.raises(ClientError, match='Could not find model "arn'):
        plane.config("modelless", model="absent")


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"Image": "x.dkr.ecr.us-east-1.amazonaws.com/xgboost:1"}, "no runner for image repository 'xgboost'"),
        ({"ModelDataUrl": "s3://plane/absent.tar.gz"}, "Could not find model data at s3://plane/absent.tar.gz"),
        ({"ModelDataUrl": "s3://elsewhere/model.tar.gz"}, "Could not access model data|Could not find model data"),
        ({"Mode": "MultiModel"}, "multi-model containers are not supported"),
    ],
)
def test_fails_on_a_model_that_cannot_be_served(plane: "Plane", container: dict[str, Any], message: str) -> None:
    """Image, data and mode are checked when the model is made."""
    with pytest.raises(ClientError, match=message):
        _model(plane, "refused", **container)


def test_fails_on_variants_that_do_not_go_together(plane: "Plane") -> None:
    """A refused combination is named; ``test_variants`` has them all."""
    plane.model("serverless")
    variant: dict[str, Any] = {
        "VariantName": "AllTraffic",
        "ModelName": "serverless",
        "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 1},
    }
    with pytest.raises(ClientError, match=r"Serverless endpoints do not support KmsKeyId\."):
        plane.sagemaker.create_endpoint_config(
            EndpointConfigName="serverless", ProductionVariants=[variant], KmsKeyId="k"
        )
