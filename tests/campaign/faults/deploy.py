"""One deployed endpoint for the cells of the Deploy machine, and the invariant after each."""

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from tests.campaign.faults.cells import FOR_GOOD, Cell, cells
from tests.campaign.faults.control import put_faults
from tests.examples.test_rollouts import MINUTES, NAME, Shop

from mlops_constructs import RolloutChecks, RolloutPolicy
from mlops_constructs._state_machine import tasks
from mlops_local.cloud import Cloud
from mlops_runtime.contracts.rollout import Outcome
from mlops_runtime.rollout.fleet_minutes import HISTORY
from mlops_runtime.rollout.probation_alarm import probation_alarm, probation_rule

# effects of a permanently failing call, which are excused until the next execution
_LEAVES = ("delete", "Unlock ", "Record ", "describeEndpoint", "Watch ")
# of cells: captured responses of earlier ones are not read again, and the model before is still on probation
APART = HISTORY + timedelta(hours=1)
PAUSE = 0.2  # real seconds between two calls: the checks of captured responses read each again
_RULE, _ALARM = probation_rule(NAME), probation_alarm(NAME)


def policy(checks: RolloutChecks) -> RolloutPolicy:
    """Half first, one minute each, with the campaign's own calls."""
    del checks
    return RolloutPolicy.canary(
        percent=50,
        bake=MINUTES(1),
        checks=RolloutChecks(min_invocations=1, retained_versions=1, probation=cdk.Duration.hours(6)),
    )


class DeployFaults:
    """The endpoint, and the faults of its cloud.

    Args:
        cloud: The embedded cloud.
        folder: Folder of the assemblies.
    """

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        self.shop = Shop(cloud, folder)
        self.shop.deploy("campaign", policy)
        self.factor = 4.0
        self.shop.approve(2.0)
        self.others = self.shop.seen()
        self.shop.approve(3.0)
        self.shop.approve(self.factor)

    def cells(self) -> list[Cell]:
        """Return every cell of the deployed machine."""
        return cells(self.tasks())

    def tasks(self) -> dict[str, str]:
        """Return the integration of each task that rollouts after the first model's entered."""
        client, machine = self.shop.cloud.client("stepfunctions"), self.shop.loop.outputs["DeployMachineArn"]
        definition = json.loads(client.describe_state_machine(stateMachineArn=machine)["definition"])
        entered = {name for arn in self.shop.seen() - self.others for name in self._entered(arn)}
        calls = {
            name: str(state["Resource"]).partition(":::")[2].removeprefix("aws-sdk:")
            for name, state in tasks(definition)
        }
        return {name: call for name, call in calls.items() if name in entered}

    def _entered(self, execution: str) -> list[str]:
        pages = self.shop.cloud.client("stepfunctions").get_paginator("get_execution_history")
        events = [event for page in pages.paginate(executionArn=execution) for event in page["events"]]
        return [e["stateEnteredEventDetails"]["name"] for e in events if e["type"] == "TaskStateEntered"]

    def run(self, cell: Cell) -> dict[str, Any]:
        """Approve a model under the cell's fault, then another without; return the problems and the met faults."""
        loop, before = self.shop.loop, self.shop.ask()
        started = time.monotonic()
        records = len(loop.audit())
        put_faults(self.shop.cloud, cell.fault())
        self._approve(self.factor + 1)
        met = put_faults(self.shop.cloud)
        problems = [] if self.shop.ask() in (before, 2 * (self.factor + 1)) else ["something else serves"]
        problems += loop.audit_problems()
        excused = cell.count == FOR_GOOD and any(part in cell.key for part in _LEAVES)
        written = loop.audit()[records:]
        # a stopped execution is recovered by another, which writes its record; without the lock it has done nothing
        is_untouched = cell.kind == "stop" and cell.state == "Lock" and not cell.after
        if not written and not is_untouched and not (cell.count == FOR_GOOD and cell.state == "Record"):
            problems.append("no audit record")
        if written and written[-1].serving_config != self._serving():
            problems.append("the record says that something else serves")
        problems += [] if excused else [f"left: {name}" for name in self.shop.leftovers()]
        if written and written[-1].outcome is Outcome.PROMOTED:
            problems += self._problems_of_probation(cell, written[-1].reason)
        self.factor += 2
        self._approve(self.factor)
        problems += [] if self.shop.ask() == 2 * self.factor else ["the next model does not serve"]
        problems += [f"left after the next: {name}" for name in self.shop.leftovers()]
        self.shop.cloud.clock_jump(by=APART)
        return cell.as_dict() | {
            "problems": problems,
            "met": met[0]["met"] if met else 0,
            "outcome": written[-1].outcome.value if written else None,
            "seconds": round(time.monotonic() - started, 1),
        }

    def _problems_of_probation(self, cell: Cell, reason: str) -> list[str]:
        """A promotion has its alarm and a schedule that ends it, or its record says that it has none."""
        events = self.shop.cloud.client("events")
        is_watched = events.describe_rule(Name=_RULE)["State"] == "ENABLED" or (
            cell.count == FOR_GOOD and cell.state == "Watch"
        )
        has_alarm = _ALARM in self.shop.loop.alarms() or "the alarm of its probation" in reason
        return [
            *([] if is_watched else ["no schedule watches"]),
            *([] if has_alarm else ["the probation has no alarm"]),
        ]

    def _approve(self, factor: float) -> None:
        loop = self.shop.loop
        package, seen = self.shop.register(factor), self.shop.seen()
        loop.approve(package, "the campaign")
        with loop.traffic([{"x": 2.0}], f"faults-{factor}", pause=PAUSE):
            deadline = time.monotonic() + 30
            while not self.shop.seen() - seen:
                assert time.monotonic() < deadline, "no execution for the approval"
                time.sleep(0.05)
            loop.wait_idle("DeployMachineArn", seconds=180)
            # another execution recovers a stopped one
            deadline = time.monotonic() + 30
            while loop.lock_owner() is not None and time.monotonic() < deadline:
                time.sleep(0.1)
            loop.wait_idle("DeployMachineArn", seconds=180)

    def _serving(self) -> str:
        return str(self.shop.loop.sagemaker.describe_endpoint(EndpointName=NAME)["EndpointConfigName"])
