"""Following an approval, against moto's Step Functions; the machine's actions happen while the command waits."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.runtime.rollout.world import MACHINE, World, record_of

from mlops_runtime.contracts import canonical_json, content_hash
from mlops_runtime.contracts.rollout import Outcome
from mlops_runtime.rollout.approval_rollout import ApprovalRollout, RolloutMissingError

PACKAGE = "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/3"
OTHER = PACKAGE.replace("/3", "/2")


def followed(world: World, *steps: Callable[[], None], messages: list[str] | None = None) -> ApprovalRollout:
    """Follow an approval; each wait runs one of the steps."""
    left: Iterator[Callable[[], None]] = iter(steps)

    def wait(_execution: str | None) -> None:
        next(left)()

    return ApprovalRollout(
        stepfunctions=world.stepfunctions,
        chain=world.chain,
        machine_arn=MACHINE,
        wait=wait,
        echo=([] if messages is None else messages).append,
        looks=3,
    )


def starts(world: World, package: str = PACKAGE) -> Callable[[], None]:
    """Let the guard start the machine for a package."""

    def start() -> None:
        request = canonical_json(world.request("approval", package)).decode()
        world.stepfunctions.start_execution(stateMachineArn=MACHINE, input=request)

    return start


def newest(world: World) -> str:
    """Return the name of the newest execution."""
    (execution, *_) = world.stepfunctions.list_executions(stateMachineArn=MACHINE)["executions"]
    return str(execution["name"])


def ends(
    world: World, outcome: Outcome, serves: str, *, records: bool = True, name: str | None = None
) -> Callable[[], None]:
    """End the newest execution, or the named one, with a record."""

    def end() -> None:
        found = world.stepfunctions.list_executions(stateMachineArn=MACHINE)["executions"]
        execution = next(each for each in found if name in (None, each["name"]))
        world.point(world.pointer("demand-forecast-1", serves))
        if records:
            row = world.table.read()
            empty = record_of(row.audit_sequence + 1, row.audit_head)
            record = replace(empty, outcome=outcome, reason="2 calls failed", execution=execution["executionArn"])
            world.table.move_head(row, record, content_hash(record))
            world.chain.write(record, None)
        world.stepfunctions.stop_execution(executionArn=execution["executionArn"])

    return end


BEFORE = datetime.now(UTC) - timedelta(minutes=1)


def test_a_promotion_is_followed_to_its_record(world: World) -> None:
    """From before its execution starts."""
    messages: list[str] = []

    answer = followed(world, starts(world), ends(world, Outcome.PROMOTED, PACKAGE), messages=messages).follow(
        PACKAGE, BEFORE
    )

    assert answer.is_served
    assert answer.text == f"PROMOTED: 2 calls failed; live: {PACKAGE}"
    assert messages[0].startswith("following arn:aws:states:")


def test_a_rollback_serves_the_version_before(world: World) -> None:
    """The approved package does not serve."""
    answer = followed(world, starts(world), ends(world, Outcome.ROLLED_BACK, OTHER)).follow(PACKAGE, BEFORE)

    assert not answer.is_served
    assert answer.text == f"ROLLED_BACK: 2 calls failed; live: {OTHER}"


def test_an_end_without_a_record_is_said(world: World) -> None:
    """The reason is unknown."""
    answer = followed(world, starts(world), ends(world, Outcome.FAILED, OTHER, records=False)).follow(PACKAGE, BEFORE)

    assert (answer.is_served, answer.record) == (False, None)
    assert "ended ABORTED without a record" in answer.text


def test_rollouts_of_others_and_of_before_are_not_it(world: World) -> None:
    """Reports after a timeout that no rollout of this approval starts, with the fix."""
    starts(world)()
    later = datetime.now(UTC) + timedelta(minutes=1)

    with pytest.raises(RolloutMissingError, match=r"mlops models approve .*/3 --again"):
        followed(world, *[lambda: None] * 3).follow(PACKAGE, later)
    with pytest.raises(RolloutMissingError):
        followed(world, starts(world, OTHER), *[lambda: None] * 2).follow(PACKAGE.replace("/3", "/4"), BEFORE)


def test_an_approval_that_was_followed_before_is_followed_again(world: World) -> None:
    """Finds the newest rollout of the approval, running or ended, and no other rollout of the package."""
    messages: list[str] = []
    rollback = canonical_json(world.request("rollback", PACKAGE)).decode()

    assert followed(world).follow_again(PACKAGE) is None
    starts(world)()
    approved = newest(world)
    world.stepfunctions.start_execution(stateMachineArn=MACHINE, input=rollback)
    answer = followed(world, ends(world, Outcome.PROMOTED, PACKAGE, name=approved), messages=messages).follow_again(
        PACKAGE
    )
    later = followed(world).follow_again(PACKAGE)

    assert messages == [f"following {MACHINE.replace(':stateMachine:', ':execution:')}:{approved}"]
    assert answer is not None
    assert (answer.is_served, answer) == (True, later)
