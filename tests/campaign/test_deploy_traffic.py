"""An update of SageMaker's whose metrics are missing, late, or bad on both fleets: the record says what serves and why."""

from typing import Any

import pytest
from tests.campaign.machine import Fault
from tests.campaign.traffic import CASES, FAILED_OF, JUMPS, Traffic, at_second_verdict, check_end, steady

_UPDATE_SECONDS = 840.0


@pytest.mark.parametrize("case", CASES)
def test_an_update_ends_well(deploy: Any, case: str) -> None:
    """On SageMaker, whose fleet is judged at the latest before it is promoted."""
    traffic, outcome, why = CASES[case]
    world = deploy(duration=_UPDATE_SECONDS, traffic=traffic)
    traffic.account = world.account
    check_end(world, world.run(), outcome, why)


def _on_sagemaker(deploy: Any, failed: int) -> Any:
    """An endpoint whose candidate fails some of sixty calls a minute; its update goes through to the end."""
    traffic = Traffic(new=steady(60, failed), old=steady(540))
    world = deploy(duration=_UPDATE_SECONDS, traffic=traffic)
    traffic.account = world.account
    return world


@pytest.mark.parametrize("seconds", JUMPS)
@pytest.mark.parametrize(("failed", "outcome"), FAILED_OF)
def test_a_clock_that_jumps_changes_no_verdict(deploy: Any, seconds: float, failed: int, outcome: str) -> None:
    """An hour ahead in the bake, or ten minutes back: what was counted decides."""
    world = _on_sagemaker(deploy, failed)

    def jump() -> None:
        world.account.now += seconds

    check_end(world, world.run(hook=at_second_verdict(jump)), outcome, "answers failed against")


@pytest.mark.parametrize(("failed", "outcome"), FAILED_OF)
def test_alarms_that_are_deleted_by_hand_change_no_verdict(deploy: Any, failed: int, outcome: str) -> None:
    """SageMaker then watches nothing: the machine judges before it promotes, and takes the old config back."""
    world = _on_sagemaker(deploy, failed)
    hook = at_second_verdict(world.account.alarms.clear)
    check_end(world, world.run(hook=hook), outcome, "answers failed against")
    (record,) = world.records(world.executions)
    # what fails all its answers is stopped by the first verdict, before they are deleted
    assert ("; deleted meanwhile, so no longer watched: " in record.reason) is (outcome == "PROMOTED")


@pytest.mark.parametrize("failed", [0, 60])
def test_a_function_that_fails_promotes_nothing(deploy: Any, failed: int) -> None:
    """Nothing is known of the calls: the old config comes back, and the record says what could not be asked."""
    world = _on_sagemaker(deploy, failed)
    fault = Fault("lambda:invoke verdict", "access denied", always=True)
    check_end(world, world.run(fault), "ROLLED_BACK", "alarms or invocations could not be read: ")
