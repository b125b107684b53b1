"""Starting the Deploy machine."""

import pytest
from botocore.exceptions import ClientError
from rollout_world import MACHINE, World

from mlops_runtime.rollout.machine import execution_arn, short_hash, start_deploy


def test_a_name_is_started_once(world: World) -> None:
    """The second time, also with another input, is success."""
    first = start_deploy(world.stepfunctions, MACHINE, "one", world.request("spec"))
    second = start_deploy(world.stepfunctions, MACHINE, "one", world.request("rollback"))
    assert first == second == execution_arn(MACHINE, "one")
    assert world.executions() == ["one"]


def test_fails_when_there_is_no_machine(world: World) -> None:
    """Anything but a name that is taken is an error."""
    with pytest.raises(ClientError, match="StateMachineDoesNotExist"):
        start_deploy(world.stepfunctions, MACHINE + "x", "one", world.request("spec"))


def test_hashes_in_names_are_short_and_stable() -> None:
    """16 digits of SHA-256."""
    assert short_hash("demand") == "dffc177fd0bbfd67"
    assert short_hash("demand") != short_hash("pricing")
