"""Pausing and resuming a unit by command."""

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from deployed_unit import DeployedUnit

from mlops_runtime.business_unit.automation import pause_of
from mlops_runtime.contracts.rollout import Outcome

Run = Callable[..., subprocess.CompletedProcess[str]]
ROOT = "arn:aws:iam::000000000000:root"


def test_a_unit_is_paused_and_resumed_on_the_record(on_cloud: Run, deployed: DeployedUnit) -> None:
    """Each once; asking again says who did it, and changes nothing."""
    name = deployed.name

    paused = on_cloud("pause", name, "--reason", " stocktaking ")
    again = on_cloud("pause", name, "--reason", "me too")

    state = pause_of(deployed.unit_chain.table.read())
    assert state is not None
    assert (state.is_paused, state.by, state.reason) == (True, ROOT, "stocktaking")
    assert (paused.returncode, paused.stderr) == (0, "")
    assert paused.stdout == f"{name} is paused: automatic retraining, approval and promotion rest (record 1)\n"
    assert (again.returncode, again.stdout) == (
        0,
        f"{name} is paused since {state.at} by {ROOT}: stocktaking; nothing changed\n",
    )

    resumed = on_cloud("resume", name, "--reason", "done")

    assert resumed.stdout == f"{name} is resumed (record 2)\n"
    assert on_cloud("resume", name, "--reason", "done").stdout == f"{name} is not paused; nothing changed\n"
    records = deployed.unit_chain.newest(deployed.unit_chain.table.read(), 5)
    assert [record.outcome for record in records] == [Outcome.PAUSED, Outcome.RESUMED]
    assert deployed.problems(deployed.unit_chain) == []


def test_the_time_is_the_clouds(on_cloud: Run, deployed: DeployedUnit) -> None:
    """A laptop's clock says nothing about when it was."""
    deployed.cloud.clock_jump(by=timedelta(days=2))

    on_cloud("pause", deployed.name, "--reason", "x")

    state = pause_of(deployed.unit_chain.table.read())
    assert state is not None
    assert datetime.fromisoformat(state.at) > datetime.now(UTC) + timedelta(days=1)


def test_fails_without_a_reason(on_cloud: Run, deployed: DeployedUnit) -> None:
    """Whoever reads the record will ask; nothing is written."""
    missing = on_cloud("pause", deployed.name)
    blank = on_cloud("pause", deployed.name, "--reason", " ")

    assert missing.returncode == 2
    assert blank.returncode == 1
    assert blank.stderr == "mlops: --reason must say why, got only spaces; whoever reads the audit record will ask\n"
    assert deployed.unit_chain.table.read().audit_sequence == 0


@pytest.mark.parametrize("verb", ["pause", "resume", "rollback"])
def test_fails_on_a_reason_that_no_record_should_hold(verb: str, mlops: Run) -> None:
    """A record is read by people; nobody is asked for anything."""
    result = mlops(verb, "demand", "--reason", "x" * 501)

    assert result.returncode == 1
    assert result.stderr == "mlops: --reason must be at most 500 characters, got 501; name a ticket instead\n"


def test_fails_on_a_unit_that_is_not_there(on_cloud: Run, deployed: DeployedUnit) -> None:
    """Those that are there are named."""
    result = on_cloud("pause", "nobody", "--reason", "x")

    assert result.returncode == 1
    assert result.stderr.startswith("mlops: there is no business unit 'nobody' here; there are: ")
    assert deployed.name in result.stderr.split(": ")[-1].strip().split(", ")
