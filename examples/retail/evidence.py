"""Evidence of a failed trip: the embedded cloud's log, and the histories of its state machines and alarms."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from examples.retail.loop import Loop
from mlops_local.accounts import CloudAccount
from mlops_local.cloud import Cloud


def keep_log(folder: Path, running: Cloud) -> None:
    """Write the cloud's log.

    Args:
        folder: Target folder; files of an earlier trip are replaced.
        running: The cloud, still up.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copyfile(running.log_path, folder / "cloud.log")


def write_histories(folder: Path, account: Cloud | CloudAccount, loop: Loop) -> None:
    """Write the histories of a unit's executions and alarms.

    Args:
        folder: Target folder; created if missing.
        account: The account of the unit.
        loop: The unit.
    """
    folder.mkdir(exist_ok=True)
    _write(folder / "executions.json", lambda: _executions(account, loop))
    _write(folder / "alarms.json", lambda: _alarms(account, loop))


def _write(path: Path, read: Callable[[], object]) -> None:
    """Write everything that can be read; a cloud that does not respond is recorded as such."""
    try:
        found = read()
    except (BotoCoreError, ClientError) as error:
        found = f"{type(error).__name__}: {error}"
    path.write_text(json.dumps(found, indent=1, default=str))


def _executions(account: Cloud | CloudAccount, loop: Loop) -> dict[str, Any]:
    machines = account.client("stepfunctions")
    return {
        execution["executionArn"]: {
            "described": machines.describe_execution(executionArn=execution["executionArn"]),
            "history": machines.get_execution_history(executionArn=execution["executionArn"])["events"],
        }
        for machine in ("RetrainMachineArn", "DeployMachineArn", "PromoteMachineArn")
        if machine in loop.outputs
        for execution in loop.executions(machine)
    }


def _alarms(account: Cloud | CloudAccount, loop: Loop) -> dict[str, Any]:
    cloudwatch = account.client("cloudwatch")
    return {
        "now": loop.now(),
        "alarms": cloudwatch.describe_alarms()["MetricAlarms"],
        "history": cloudwatch.describe_alarm_history()["AlarmHistoryItems"],
    }
