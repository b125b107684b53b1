"""Removing an endpoint."""

import pytest
from rollout_world import ENDPOINT, World

from mlops_runtime.rollout.removal import Removal, RemovalError


def _removal(world: World) -> Removal:
    return Removal(sagemaker=world.sagemaker, cloudwatch=world.cloudwatch, stepfunctions=world.stepfunctions)


def test_what_is_gone_already_is_success(world: World) -> None:
    """Nothing there, twice."""
    _removal(world).remove_endpoint(ENDPOINT)
    _removal(world).remove_endpoint(ENDPOINT)


def test_an_endpoint_with_a_longer_name_is_not_touched(world: World) -> None:
    """``demand-forecast`` is a prefix of ``demand-forecast-eu``, whose versions and alarms are its own."""
    world.version("demand-forecast-eu-0123abcd", world.package())
    world.alarm("demand-forecast-eu-rollout-0123abcd-errors", "OK")
    _removal(world).remove_endpoint(ENDPOINT)
    assert len(world.sagemaker.list_endpoint_configs()["EndpointConfigs"]) == 1
    assert len(world.cloudwatch.describe_alarms()["MetricAlarms"]) == 1


def test_many_alarms_go_in_groups(world: World) -> None:
    """DeleteAlarms takes 100 at a time."""
    for number in range(105):
        world.alarm(f"demand-forecast-rollout-{number:08d}-errors", "OK")
    _removal(world).remove_endpoint(ENDPOINT)
    assert world.cloudwatch.describe_alarms()["MetricAlarms"] == []


class _UnderWay:
    def __init__(self, status: str) -> None:
        self.status = status

    def describe_endpoint(self, EndpointName: str) -> dict[str, str]:  # noqa: N803 - the API's own name
        return {"EndpointName": EndpointName, "EndpointStatus": self.status}


@pytest.mark.parametrize("status", ["Creating", "Updating", "SystemUpdating", "RollingBack"])
def test_fails_when_a_deployment_is_under_way(world: World, status: str) -> None:
    """It says what to do instead of waiting."""
    removal = Removal(
        sagemaker=_UnderWay(status),
        cloudwatch=world.cloudwatch,
        stepfunctions=world.stepfunctions,
    )
    with pytest.raises(RemovalError, match=f"endpoint demand-forecast is {status}.*delete the stack again"):
        removal.remove_endpoint(ENDPOINT)
