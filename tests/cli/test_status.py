"""The status of units, as text and JSON."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.cli.deployed_unit import DeployedUnit
from tests.runtime.business_unit.unit_samples import DEPLOY, NOW, UNIT

from mlops_cli import status
from mlops_runtime.contracts.unit_entries import FreezeSpec, FreezeWindow

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_watch_prints_what_has_changed(in_process: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a terminal: prints everything once, then changed lines with their time, until interrupted."""
    first = status._Seen(now=NOW, caller="arn:aws:iam::123456789012:user/ann", units=[UNIT], unread={})
    same = replace(first, now=NOW + timedelta(minutes=5))
    changed = replace(same, units=[replace(UNIT, pause=None, frozen=None)])
    looks = iter([first, same, changed])

    def look(_aws: object, _unit: object, _rollouts: object) -> object:
        try:
            return next(looks)
        except StopIteration:
            raise KeyboardInterrupt from None

    @contextmanager
    def nowhere(*_: object) -> Iterator[object]:
        yield SimpleNamespace(client=str)

    monkeypatch.setattr(status, "_seen", look)
    monkeypatch.setattr(status, "account", nowhere)
    monkeypatch.setattr(status, "_LOOK_SECONDS", 0)

    shown = in_process("status", "--watch")
    both = in_process("status", "--watch", "--json")

    assert shown.returncode == 130
    assert shown.stdout.splitlines()[0] == "2017-08-10 12:00 UTC, as ann"
    assert shown.stdout.splitlines()[-2:] == ["2017-08-10 12:05 UTC, as ann", "  automation  runs"]
    assert both.returncode == 1
    assert "remove one of the two options" in json.loads(both.stdout)["error"]


def test_the_command_shows_a_unit(on_cloud: Command, deployed: DeployedUnit) -> None:
    """Covers a paused and frozen unit, with a rollout that holds the lock."""
    now = datetime.fromisoformat(deployed.cloud.clock()["now"])
    window = FreezeWindow(name="peak", start=now - timedelta(days=1), end=now + timedelta(days=400))
    deployed.freeze(FreezeSpec(windows=(window,)))
    deployed.serve(2)
    deployed.lock(f"{DEPLOY}:approval-3")
    on_cloud("pause", deployed.name, "--reason", "stocktaking")

    shown = on_cloud("status", deployed.name)
    found = json.loads(on_cloud("status", deployed.name, "--json").stdout)

    assert shown.returncode == 0, shown.stderr
    assert "stopped: paused since" in shown.stdout
    assert "frozen by 'peak' until" in shown.stdout
    assert f"  endpoint {deployed.endpoint}: DELETED" in shown.stdout
    assert "    lock      approval-3 until 2100-01-01 00:00" in shown.stdout
    (unit,) = found["units"]
    (endpoint,) = unit["endpoints"]
    assert (unit["unit"], unit["pause"]["is_paused"], unit["last"]["outcome"]) == (deployed.name, True, "PAUSED")
    assert (endpoint["state"], endpoint["live"]["model_package_arn"]) == ("DELETED", deployed.package(2))
    assert endpoint["last"]["outcome"] == "PROMOTED"
    assert found["caller"] == "arn:aws:iam::000000000000:root"


def test_every_unit_is_shown_without_a_name(on_cloud: Command, deployed: DeployedUnit) -> None:
    """Lists each unit with its endpoints."""
    shown = on_cloud("status").stdout

    assert f"\n{deployed.name}\n" in shown
    assert f"  endpoint {deployed.endpoint}: NOT_YET_DEPLOYED" in shown


def test_a_cloud_without_units_says_so(mlops: Command, home: object) -> None:
    """No deployment is not an error."""
    mlops("local", "up", "--home", home)

    shown = mlops("status", "--home", home)

    assert shown.returncode == 0
    assert shown.stdout.splitlines()[-1] == "no business unit is deployed here; deploy a stack with: mlops deploy"
