"""Which combinations of variants a config may have.

Models and endpoint configs by boto3.
"""

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from mlops_local.sagemaker import endpoint_configs
from mlops_local.sagemaker.api_shapes import ServiceError

if TYPE_CHECKING:
    from conftest import Plane


INSTANCES = {"VariantName": "a", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
SERVERLESS = {"VariantName": "a", "ModelName": "m", "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5}}
ASYNC = {"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://b/out"}}}
CAPTURE = {"DataCaptureConfig": {"EnableCapture": True}}


IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/tiny@sha256:" + "0" * 64


def other(variant: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a variant with another name."""
    return variant | {"VariantName": "b"} | changes


def test_weights_are_one_where_none_is_given() -> None:
    """The default of ``InitialVariantWeight`` in botocore's model."""
    request = {
        "ProductionVariants": [INSTANCES],
        "ShadowProductionVariants": [other(INSTANCES, InitialVariantWeight=0.5)],
    }
    config = endpoint_configs.checked(request, {})
    assert config["ProductionVariants"][0]["InitialVariantWeight"] == 1.0
    assert config["ShadowProductionVariants"][0]["InitialVariantWeight"] == 0.5
    assert endpoint_configs.instance_types(config) == {"a": "ml.m5.large"}
    assert not endpoint_configs.is_serverless(config)


def test_asks_whether_a_variant_is_registered() -> None:
    """The caller passes whether scalable targets are registered."""
    endpoint_configs.add_look(lambda endpoint, variant: (endpoint, variant) == ("e", "scaled-here"))
    assert endpoint_configs.is_scaled("e", "scaled-here")
    assert not endpoint_configs.is_scaled("e", "elsewhere")


@pytest.mark.parametrize(
    ("request_", "model", "message"),
    [
        ({"ProductionVariants": [SERVERLESS, other(SERVERLESS)]}, {}, "do not support multiple production variants"),
        ({"ProductionVariants": [SERVERLESS], **CAPTURE}, {}, "do not support data capture"),
        ({"ProductionVariants": [SERVERLESS], "KmsKeyId": "k"}, {}, "do not support KmsKeyId"),
        ({"ProductionVariants": [SERVERLESS], **ASYNC}, {}, "do not support asynchronous inference"),
        ({"ProductionVariants": [SERVERLESS]}, {"VpcConfig": {"Subnets": ["s"]}}, "do not support VPC configuration"),
        ({"ProductionVariants": [SERVERLESS]}, {"EnableNetworkIsolation": True}, "do not support network isolation"),
        ({"ProductionVariants": [SERVERLESS | INSTANCES]}, {}, "cannot have InstanceType, InitialInstanceCount"),
        (
            {"ProductionVariants": [SERVERLESS | {"ServerlessConfig": {"MemorySizeInMB": 1000, "MaxConcurrency": 5}}]},
            {},
            "MemorySizeInMB must be one of 1024, .* got 1000",
        ),
        ({"ProductionVariants": [INSTANCES, INSTANCES]}, {}, "names must be unique"),
        (
            {"ProductionVariants": [{"VariantName": "a", "ModelName": "m"}]},
            {},
            "needs InstanceType, or ServerlessConfig",
        ),
        (
            {"ProductionVariants": [INSTANCES | {"AcceleratorType": "ml.eia1.medium"}]},
            {},
            "AcceleratorType is not supported",
        ),
        (
            {
                "ProductionVariants": [INSTANCES, other(INSTANCES)],
                "ShadowProductionVariants": [other(INSTANCES, VariantName="c")],
            },
            {},
            "shadow mode takes 1 production and 1 shadow variant, got 2 and 1",
        ),
        (
            {"ProductionVariants": [INSTANCES], "ShadowProductionVariants": [other(INSTANCES)], **ASYNC},
            {},
            "cannot be combined",
        ),
        (
            {"ProductionVariants": [INSTANCES], "ShadowProductionVariants": [other(SERVERLESS)]},
            {},
            "cannot be serverless",
        ),
        (
            {
                "ProductionVariants": [INSTANCES],
                "ShadowProductionVariants": [other(INSTANCES, InstanceType="ml.inf1.xlarge")],
            },
            {},
            "ml.inf1.xlarge of b cannot be used",
        ),
        (
            {"ProductionVariants": [INSTANCES, other(INSTANCES, InstanceType="ml.g5.xlarge")], "KmsKeyId": "k"},
            {},
            "can't request a KmsKeyId for instance type ml.g5.xlarge",
        ),
        ({"ProductionVariants": [INSTANCES], **ASYNC, **CAPTURE}, {}, "DataCaptureConfig is for real-time endpoints"),
        ({"ProductionVariants": [INSTANCES], "AsyncInferenceConfig": {"OutputConfig": {}}}, {}, "needs S3OutputPath"),
        (
            {"ProductionVariants": [INSTANCES], "ExplainerConfig": {}},
            {},
            "ExplainerConfig of an endpoint config is not supported",
        ),
    ],
)
def test_fails_on_what_aws_refuses(request_: dict[str, Any], model: dict[str, Any], message: str) -> None:
    """Each combination is rejected by name."""
    with pytest.raises(ServiceError, match=message):
        endpoint_configs.checked(request_, {"m": model})


def _model(plane: "Plane", name: str, **container: Any) -> None:
    plane.sagemaker.create_model(
        ModelName=name, ExecutionRoleArn=plane.role, PrimaryContainer={"Image": IMAGE} | container
    )


def test_describes_and_lists_what_was_made(plane: "Plane") -> None:
    """Models and configs are described as given, listed newest first, and deleted."""
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
    """A model's name is unique."""
    plane.model("taken")
    with pytest.raises(ClientError, match='Cannot create already existing model "arn'):
        plane.model("taken")


def test_fails_on_a_config_of_an_absent_model(plane: "Plane") -> None:
    """A config's models must exist."""
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
    """Image, data and mode are checked at creation."""
    with pytest.raises(ClientError, match=message):
        _model(plane, "refused", **container)


def test_fails_on_variants_that_do_not_go_together(plane: "Plane") -> None:
    """An invalid combination is reported; ``test_variants`` has them all."""
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
