"""Removing an endpoint."""

from dataclasses import replace

import pytest
from botocore.exceptions import WaiterError
from tests.runtime.rollout.world import ENDPOINT, World

from mlops_runtime.rollout.fleet_removal import Removal, RemovalError


def _removal(world: World) -> Removal:
    return Removal(
        sagemaker=world.sagemaker,
        cloudwatch=world.cloudwatch,
        stepfunctions=world.stepfunctions,
    )


def test_what_is_gone_already_is_success(world: World) -> None:
    """Also the second time."""
    _removal(world).remove_endpoint(ENDPOINT)
    _removal(world).remove_endpoint(ENDPOINT)


def test_an_endpoint_with_a_longer_name_is_not_touched(world: World) -> None:
    """``demand-forecast`` is a prefix of ``demand-forecast-eu``, whose versions and alarms stay."""
    world.version("demand-forecast-eu-0123abcd", world.package())
    world.alarm("demand-forecast-eu-rollout-0123abcd-errors", "OK")
    _removal(world).remove_endpoint(ENDPOINT)
    assert len(world.sagemaker.list_endpoint_configs()["EndpointConfigs"]) == 1
    assert len(world.cloudwatch.describe_alarms()["MetricAlarms"]) == 1


def test_many_alarms_go_in_groups(world: World) -> None:
    """DeleteAlarms accepts 100 at a time."""
    for number in range(105):
        world.alarm(f"demand-forecast-rollout-{number:08d}-errors", "OK")
    _removal(world).remove_endpoint(ENDPOINT)
    assert world.cloudwatch.describe_alarms()["MetricAlarms"] == []


def test_the_alarm_of_a_probation_goes_too(world: World) -> None:
    """It is created by a promotion, not by the stack."""
    world.alarm("demand-forecast-probation-errors", "OK")
    _removal(world).remove_endpoint(ENDPOINT)
    assert world.cloudwatch.describe_alarms()["MetricAlarms"] == []


class _UnderWay:
    """A SageMaker whose endpoint changes until a waiter has polled, or for longer; records requests."""

    def __init__(self, status: str, then: str) -> None:
        self.status, self.then, self.deleted, self.waited = status, then, list[str](), dict[str, int]()

    def describe_endpoint(self, EndpointName: str) -> dict[str, str]:  # noqa: N803 - the API's own name
        return {"EndpointName": EndpointName, "EndpointStatus": self.status}

    def delete_endpoint(self, EndpointName: str) -> None:  # noqa: N803 - the API's own name
        self.deleted.append(EndpointName)

    def get_waiter(self, name: str) -> "_UnderWay":
        assert name == "endpoint_in_service"
        return self

    def wait(self, EndpointName: str, WaiterConfig: dict[str, int]) -> None:  # noqa: N803 - the API's own names
        self.status, self.waited = self.then, WaiterConfig
        if self.then != "InService":
            raise WaiterError("EndpointInService", f"{EndpointName} is {self.then}", {})

    def get_paginator(self, operation: str) -> "_Nothing":
        del operation
        return _Nothing()


class _Nothing:
    def paginate(self, **_: object) -> list[dict[str, list[object]]]:
        return [{"EndpointConfigs": [], "Models": [], "Endpoints": []}]


@pytest.mark.parametrize("status", ["Creating", "Updating", "SystemUpdating", "RollingBack"])
@pytest.mark.parametrize("then", ["InService", "Failed"])
def test_a_deployment_under_way_is_taken_back_first(world: World, status: str, then: str) -> None:
    """Its abort alarm is set, and the endpoint is removed once it is stable in any state."""
    world.alarm("demand-forecast-rollout-0123abcd-abort", "OK")
    world.alarm("demand-forecast-rollout-0123abcd-errors", "OK")
    fired, sagemaker = list[str](), _UnderWay(status, then)

    class _Alarms:
        def set_alarm_state(self, **request: str) -> None:
            fired.append(f"{request['AlarmName']} {request['StateValue']}")

        def __getattr__(self, name: str) -> object:
            return getattr(world.cloudwatch, name)

    replace(_removal(world), sagemaker=sagemaker, cloudwatch=_Alarms()).remove_endpoint(ENDPOINT)

    assert fired == ["demand-forecast-rollout-0123abcd-abort ALARM"]
    assert sagemaker.waited == {"Delay": 5, "MaxAttempts": 96}
    assert sagemaker.deleted == [ENDPOINT]


def test_fails_when_a_deployment_does_not_come_to_rest(world: World) -> None:
    """After eight minutes the error has the fix, and nothing is deleted."""
    sagemaker = _UnderWay("Updating", "RollingBack")
    with pytest.raises(
        RemovalError, match=r"endpoint demand-forecast is still RollingBack after 480 s.*delete the stack"
    ):
        replace(_removal(world), sagemaker=sagemaker).remove_endpoint(ENDPOINT)
    assert sagemaker.deleted == []
