"""What is kept of a trip that missed: the embedded cloud's log, and what its machines and alarms did."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from examples.retail.loop import Loop
from mlops_local.cloud import Cloud


def keep(folder: Path, running: Cloud, loop: Loop | None) -> Path:
    """Write the log, and of a deployed unit the histories of its executions and alarms; return the folder.

    Args:
        folder: Where; what an earlier trip left there is replaced.
        running: The cloud, still up.
        loop: The deployed unit. Default: none was deployed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copyfile(running.log_path, folder / "cloud.log")
    if loop is not None:
        _write(folder / "executions.json", lambda: _executions(running, loop))
        _write(folder / "alarms.json", lambda: _alarms(running))
    return folder


def _write(path: Path, read: Callable[[], object]) -> None:
    """Write what can be read; a cloud that does not answer is itself what happened."""
    try:
        found = read()
    except (BotoCoreError, ClientError) as error:
        found = f"{type(error).__name__}: {error}"
    path.write_text(json.dumps(found, indent=1, default=str))


def _executions(running: Cloud, loop: Loop) -> dict[str, Any]:
    machines = running.client("stepfunctions")
    return {
        execution["executionArn"]: {
            "described": machines.describe_execution(executionArn=execution["executionArn"]),
            "history": machines.get_execution_history(executionArn=execution["executionArn"])["events"],
        }
        for machine in ("RetrainMachineArn", "DeployMachineArn")
        for execution in loop.executions(machine)
    }


def _alarms(running: Cloud) -> dict[str, Any]:
    cloudwatch = running.client("cloudwatch")
    return {
        "now": running.clock()["now"],
        "alarms": cloudwatch.describe_alarms()["MetricAlarms"],
        "history": cloudwatch.describe_alarm_history()["AlarmHistoryItems"],
    }
