"""What SageMaker serves, read back."""

import pytest
from botocore.exceptions import ClientError
from rollout_world import ENDPOINT, World

from mlops_runtime.rollout.serving import Variant, Version, read_description, read_serving, read_version


def test_an_endpoint_is_read_down_to_its_package(world: World) -> None:
    """Config, model, size and package."""
    package = world.package()
    world.version("v1", package, count=3, instance_type="ml.m5.xlarge")
    world.serve("v1")
    serving = read_serving(world.sagemaker, ENDPOINT)
    assert serving is not None
    assert (serving.status, serving.config, serving.is_answering) == ("InService", "v1", True)
    assert serving.version == Version(
        config="v1",
        variants=(Variant(name="AllTraffic", instance_type="ml.m5.xlarge", instance_count=3, weight=1.0),),
        model="v1",
        package=package,
    )
    assert serving.version.variant_names == ("AllTraffic",)


def test_what_does_not_exist_is_none(world: World) -> None:
    """Endpoint, config, package."""
    assert read_serving(world.sagemaker, ENDPOINT) is None
    assert read_version(world.sagemaker, "v1") is None
    arn = "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/7"
    assert read_description(world.sagemaker, arn) is None


def test_a_deleted_model_leaves_no_version(world: World) -> None:
    """The endpoint serves on, but could not be made again."""
    world.version("v1", world.package())
    world.serve("v1")
    world.sagemaker.delete_model(ModelName="v1")
    serving = read_serving(world.sagemaker, ENDPOINT)
    assert serving is not None
    assert (serving.config, serving.version) == ("v1", None)


class _Denied:
    def describe_endpoint(self, EndpointName: str) -> None:  # noqa: N803 - the API's own name
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": EndpointName}}, "DescribeEndpoint")


def test_fails_when_sagemaker_does_not_say() -> None:
    """A denied read is an error, not an absent endpoint."""
    with pytest.raises(ClientError, match="AccessDenied"):
        read_serving(_Denied(), ENDPOINT)
