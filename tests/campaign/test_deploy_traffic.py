"""A SageMaker update with metrics that are missing, late, or bad on both fleets: the record says which model serves and why."""

from typing import Any

import pytest
from tests.campaign.machine import Fault
from tests.campaign.traffic import CASES, FAILED_OF, JUMPS, Traffic, at_second_verdict, check_end, steady

_UPDATE_SECONDS = 840.0


@pytest.mark.parametrize("case", CASES)
def test_an_update_ends_well(deploy: Any, case: str) -> None:
    """On SageMaker the fleet is evaluated before promotion at the latest."""
    traffic, outcome, why = CASES[case]
    world = deploy(duration=_UPDATE_SECONDS, traffic=traffic)
    traffic.account = world.account
    check_end(world, world.run(), outcome, why)


def _on_sagemaker(deploy: Any, failed: int) -> Any:
    """An endpoint whose candidate fails some of sixty calls a minute; its update completes."""
    traffic = Traffic(new=steady(60, failed), old=steady(540))
    world = deploy(duration=_UPDATE_SECONDS, traffic=traffic)
    traffic.account = world.account
    return world


@pytest.mark.parametrize("seconds", JUMPS)
@pytest.mark.parametrize(("failed", "outcome"), FAILED_OF)
def test_a_clock_that_jumps_changes_no_verdict(deploy: Any, seconds: float, failed: int, outcome: str) -> None:
    """An hour ahead in the bake, or ten minutes back: the counted calls decide."""
    world = _on_sagemaker(deploy, failed)

    def jump() -> None:
        world.account.now += seconds

    check_end(world, world.run(hook=at_second_verdict(jump)), outcome, "answers failed against")


@pytest.mark.parametrize(("failed", "outcome"), FAILED_OF)
def test_alarms_that_are_deleted_by_hand_change_no_verdict(deploy: Any, failed: int, outcome: str) -> None:
    """SageMaker then watches nothing: the machine evaluates before it promotes, and restores the old config."""
    world = _on_sagemaker(deploy, failed)
    hook = at_second_verdict(world.account.alarms.clear)
    check_end(world, world.run(hook=hook), outcome, "answers failed against")
    (record,) = world.records(world.executions)
    # the first verdict stops a model that fails every call, before the deletion
    assert ("; deleted meanwhile, so no longer watched: " in record.reason) is (outcome == "PROMOTED")


@pytest.mark.parametrize("failed", [0, 60])
def test_a_function_that_fails_promotes_nothing(deploy: Any, failed: int) -> None:
    """Calls are unknown: the old config is restored, and the record names the failed function."""
    world = _on_sagemaker(deploy, failed)
    fault = Fault("lambda:invoke verdict", "access denied", always=True)
    check_end(world, world.run(fault), "ROLLED_BACK", "alarms or invocations could not be read: ")
