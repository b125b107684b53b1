"""Leftovers of dead executions, found by name and tag, and the serving version as SageMaker reports it."""

from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.runtime.rollout.world import ENDPOINT, SPEC, VARIANT, World

from mlops_runtime.rollout.live_fleet import (
    MAXIMUM,
    Leftovers,
    Made,
    Variant,
    Version,
    read_description,
    read_serving,
    read_status,
    read_version,
)


def made(world: World) -> Made:
    """Return the resources made for the endpoint."""
    return Made(sagemaker=world.sagemaker, cloudwatch=world.cloudwatch, endpoint=ENDPOINT)


def rehearse(world: World, name: str, **tags: str) -> None:
    """Create the endpoint and config of a rehearsal."""
    world.version("demand-forecast-0000000a", world.package())
    variant = {"VariantName": VARIANT, "ModelName": "demand-forecast-0000000a", "InstanceType": "ml.m5.large"}
    request: dict[str, Any] = {
        "Tags": [{"Key": "mlops:endpoint", "Value": ENDPOINT}, *({"Key": k, "Value": v} for k, v in tags.items())]
    }
    world.sagemaker.create_endpoint_config(
        EndpointConfigName=name, ProductionVariants=[variant | {"InitialInstanceCount": 1}], **request
    )
    world.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name, **request)


def test_an_empty_account_has_none(world: World) -> None:
    """Nothing was created."""
    assert made(world).leftovers(set()) == Leftovers()


def test_what_is_used_is_not_left_over(world: World) -> None:
    """Serving and kept versions are excluded; the others are listed once, though each is a config and a model."""
    package = world.package()
    for number in (1, 2, 3):
        world.version(f"demand-forecast-0000000{number}", package)
    left = made(world).leftovers({"demand-forecast-00000001", "demand-forecast-00000003"})
    assert left.versions == ("demand-forecast-00000002",)


def test_rehearsals_and_alarms_of_fleets_are_left_over(world: World) -> None:
    """They are unused between two executions."""
    rehearse(world, "demand-forecast-golden-0badc0de")
    world.alarm("demand-forecast-rollout-0badc0de-errors", "OK")
    world.alarm("demand-forecast-errors", "OK")
    left = made(world).leftovers({"demand-forecast-0000000a"})
    assert left.rehearsals == ("demand-forecast-golden-0badc0de",)
    assert left.versions == ("demand-forecast-golden-0badc0de",)
    assert left.alarms == ("demand-forecast-rollout-0badc0de-errors",)


@pytest.mark.parametrize(
    "name", ["demand-forecast-by-hand", "demand-forecast-eu-00000001", "my-demand-forecast-00000001"]
)
def test_other_names_are_none_of_ours(world: World, name: str) -> None:
    """Only the endpoint's own name with eight digits matches, whatever is tagged."""
    world.version(name, world.package())
    assert made(world).leftovers(set()).versions == ()


def test_what_has_no_tag_of_ours_is_none_of_ours(world: World) -> None:
    """The name alone is not enough."""
    world.sagemaker.create_model(
        ModelName="demand-forecast-00000001",
        ExecutionRoleArn=SPEC.execution_role,
        Containers=[{"ModelPackageName": world.package()}],
    )
    assert list(made(world).models()) == []


def test_a_plan_takes_along_a_bounded_number(world: World) -> None:
    """The next execution removes the rest."""
    package = world.package()
    for number in range(MAXIMUM + 3):
        world.version(f"demand-forecast-{number:08x}", package)
    assert len(made(world).leftovers(set()).versions) == MAXIMUM


def test_an_endpoint_is_read_down_to_its_package(world: World) -> None:
    """Returns config, model, size and package."""
    package = world.package()
    world.version("v1", package, count=3, instance_type="ml.m5.xlarge")
    world.serve("v1")
    serving = read_serving(world.sagemaker, ENDPOINT)
    assert serving is not None
    assert (serving.status, serving.config, serving.is_answering) == ("InService", "v1", True)
    assert read_status(world.sagemaker, ENDPOINT) == ("InService", "v1")
    assert serving.version == Version(
        config="v1",
        variants=(Variant(name="AllTraffic", instance_type="ml.m5.xlarge", instance_count=3, weight=1.0),),
        model="v1",
        package=package,
    )
    assert serving.version.variant_names == ("AllTraffic",)


def test_what_does_not_exist_is_none(world: World) -> None:
    """Covers endpoint, config and package."""
    assert read_serving(world.sagemaker, ENDPOINT) is None
    assert read_status(world.sagemaker, ENDPOINT) is None
    assert read_version(world.sagemaker, "v1") is None
    arn = "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/7"
    assert read_description(world.sagemaker, arn) is None


def test_a_deleted_model_leaves_no_version(world: World) -> None:
    """The endpoint still serves, but could not be created again."""
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
    """A denied read is an error, not a missing endpoint."""
    with pytest.raises(ClientError, match="AccessDenied"):
        read_serving(_Denied(), ENDPOINT)
