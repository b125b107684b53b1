"""Starting the Deploy machine, and names and tags of an execution's resources."""

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.rollout.world import EXECUTION, MACHINE, SPEC, World

from mlops_runtime.rollout.execution_names import (
    execution_arn,
    rehearsal_name,
    rehearsal_pattern,
    shadow_name,
    short_hash,
    start_once,
    version_name,
    version_tags,
)
from mlops_runtime.wildcards import matches


def test_a_name_is_started_once(world: World) -> None:
    """A second start succeeds, also with another input."""
    first = start_once(world.stepfunctions, MACHINE, "one", world.request("spec"))
    second = start_once(world.stepfunctions, MACHINE, "one", world.request("rollback"))
    assert first == second == execution_arn(MACHINE, "one")
    assert world.executions() == ["one"]


def test_fails_when_there_is_no_machine(world: World) -> None:
    """Only a name in use is success."""
    with pytest.raises(ClientError, match="StateMachineDoesNotExist"):
        start_once(world.stepfunctions, MACHINE + "x", "one", world.request("spec"))


def test_hashes_in_names_are_short_and_stable() -> None:
    """16 digits of SHA-256."""
    assert short_hash("demand") == "dffc177fd0bbfd67"
    assert short_hash("demand") != short_hash("pricing")


def test_names_follow_from_the_execution() -> None:
    """Eight digits of the execution's hash make retries repeatable and executions distinct."""
    assert version_name(SPEC.endpoint, EXECUTION) == "demand-forecast-4588cf62"
    assert rehearsal_name(SPEC.endpoint, EXECUTION) == "demand-forecast-golden-4588cf62"
    assert matches(rehearsal_pattern(SPEC.endpoint), rehearsal_name(SPEC.endpoint, EXECUTION))
    assert not matches(rehearsal_pattern(SPEC.endpoint), rehearsal_name(f"{SPEC.endpoint}-golden-two", EXECUTION))
    assert shadow_name(SPEC.endpoint, EXECUTION) == version_name(SPEC.endpoint, EXECUTION + "/shadow")


@given(st.text(max_size=50), st.text(max_size=50))
def test_another_execution_has_another_name(one: str, other: str) -> None:
    """Otherwise both would create the same model."""
    assert (version_name("e", one) == version_name("e", other)) == (one == other)


def test_tags_say_whose_and_which() -> None:
    """The tags are unit and owner of the spec, endpoint and execution."""
    tags = {tag["Key"]: tag["Value"] for tag in version_tags(SPEC, EXECUTION)}
    assert tags == {
        "mlops:unit": "demand",
        "mlops:owner": "planning",
        "mlops:endpoint": "demand-forecast",
        "mlops:execution": EXECUTION,
    }
