"""Which combinations of variants a config may have."""

from typing import Any

import pytest

from mlops_local.sagemaker import variants
from mlops_local.sagemaker.errors import ServiceError

INSTANCES = {"VariantName": "a", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
SERVERLESS = {"VariantName": "a", "ModelName": "m", "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5}}
ASYNC = {"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://b/out"}}}
CAPTURE = {"DataCaptureConfig": {"EnableCapture": True}}


def other(variant: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a variant of another name."""
    return variant | {"VariantName": "b"} | changes


def test_weights_are_one_where_none_is_given() -> None:
    """The default of ``InitialVariantWeight`` in botocore's model."""
    request = {
        "ProductionVariants": [INSTANCES],
        "ShadowProductionVariants": [other(INSTANCES, InitialVariantWeight=0.5)],
    }
    config = variants.checked(request, {})
    assert config["ProductionVariants"][0]["InitialVariantWeight"] == 1.0
    assert config["ShadowProductionVariants"][0]["InitialVariantWeight"] == 0.5
    assert variants.instance_types(config) == {"a": "ml.m5.large"}
    assert not variants.is_serverless(config)


def test_asks_whether_a_variant_is_registered() -> None:
    """Whoever registers scalable targets says so."""
    variants.add_look(lambda endpoint, variant: (endpoint, variant) == ("e", "scaled-here"))
    assert variants.is_scaled("e", "scaled-here")
    assert not variants.is_scaled("e", "elsewhere")


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
    """Each combination is refused by name."""
    with pytest.raises(ServiceError, match=message):
        variants.checked(request_, {"m": model})
