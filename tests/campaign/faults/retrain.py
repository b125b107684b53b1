"""One deployed pipeline with its endpoint for the cells of the Retrain machine, and the invariant after each.

A training set of 600 rows in S3, a processing step, a training and an evaluation against the live model, each a real job; a model
that passes is approved by the policy and deployed all at once.
"""

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.campaign.faults.cells import FOR_GOOD, Cell, retrain_cells
from tests.campaign.faults.control import put_faults
from tests.examples.models import leftovers
from tests.examples.test_retraining import Sample, synthesize

from mlops_constructs import RolloutPolicy
from mlops_local.cloud import Cloud

MACHINE, DEPLOY = "RetrainMachineArn", "DeployMachineArn"
_BUDGET = 24  # retrainings a day, the maximum of a pipeline
_TRAIN = "sagemaker:createTrainingJob.sync"
# condition under which a call happens, and how the retraining then ends without a fault of that call
MODES = {"": "APPROVED", "paused": "REGISTERED", "rejected": "REJECTED", "failing": "FAILED"}


class RetrainFaults:
    """The pipeline, and the faults of its cloud.

    Args:
        cloud: The embedded cloud.
        folder: Folder of the assembly.
    """

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        assembly = synthesize(folder, daily_budget=_BUDGET, rollout=RolloutPolicy.all_at_once())
        self.sample, self.number, self.left_of_day = Sample(cloud, assembly), 0, _BUDGET
        self.loop = self.sample.loop
        self._lay_down("")
        self._retrain()
        assert self._problems_of_serving() == []

    def cells(self) -> list[Cell]:
        """Return every cell of the machine."""
        return retrain_cells()

    def run(self, cell: Cell) -> dict[str, Any]:
        """Retrain under the cell's fault, then without; return the problems and the met faults."""
        started, packages = time.monotonic(), self._packages()
        records = len(self.loop.audit())
        self._next_day()
        self._lay_down(cell.mode)
        self._pause(cell, is_paused=True)
        broken_training = {"integration": _TRAIN, "error": "SageMaker.AmazonSageMakerException", "count": FOR_GOOD}
        put_faults(self.sample.cloud, cell.fault(), *([broken_training] if cell.mode == "failing" else []))
        execution = self._retrain()
        met = put_faults(self.sample.cloud)
        self._pause(cell, is_paused=False)
        made = {arn: p for arn, p in self._packages().items() if arn not in packages}
        written = [r for r in self.loop.audit()[records:] if r.execution == execution["executionArn"]]
        problems = [*self._problems(cell, execution, made), *self._problems_of_records(cell, execution, written)]
        problems += self._problems_of_serving()
        outcome = written[-1].outcome.value if written else self._outcome(execution)
        if cell.mode:
            self._lay_down("")
        after = self._retrain()
        problems += [] if self._outcome(after) == "APPROVED" else [f"the next retraining is {self._outcome(after)}"]
        problems += [f"after the next: {problem}" for problem in self._problems_of_serving()]
        newest, live = self.loop.newest_package()["ModelPackageArn"], self.loop.live()
        if live is None or live.model_package_arn != newest:
            last = self.loop.audit()[-1]
            problems.append(f"the next model does not serve: {last.outcome.value}: {last.reason}")
        return cell.as_dict() | {
            "problems": problems,
            "met": met[0]["met"],
            "outcome": outcome,
            "seconds": round(time.monotonic() - started, 1),
        }

    def _retrain(self) -> dict[str, Any]:
        """Request a retraining as a person does; return its execution once everything that it started has ended."""
        self.number += 1
        self.left_of_day -= 1
        seen, deployed = self._seen(MACHINE), self._seen(DEPLOY)
        packages = self._packages()
        self.loop.request_retraining("the campaign", f"faults-{self.number}")
        self._until(lambda: self._seen(MACHINE) - seen, "no retraining was started")
        self.loop.wait_idle(MACHINE, seconds=120)
        (arn,) = self._seen(MACHINE) - seen
        # the guard cleans up after a stopped execution; if that fails, the next request does
        deadline = time.monotonic() + 10
        while self.sample.owner("ExportsTable") is not None and time.monotonic() < deadline:
            time.sleep(0.1)
        approved = [a for a, status in self._packages().items() if status == "Approved" and packages.get(a) != status]
        if approved:
            self._until(lambda: self._seen(DEPLOY) - deployed, "no rollout of what was approved")
        self.loop.wait_idle(DEPLOY, seconds=120)
        client = self.sample.cloud.client("stepfunctions")
        return dict(client.describe_execution(executionArn=arn))

    def _problems(self, cell: Cell, execution: dict[str, Any], made: dict[str, str]) -> list[str]:
        problems = [] if len(made) <= 1 else [f"{len(made)} packages of one candidate"]
        if made and cell.mode in ("rejected", "failing"):
            problems.append("what failed was registered")
        if cell.mode == "paused" and "Approved" in made.values():
            problems.append("a package was approved while automation rests")
        owner = self.sample.owner("ExportsTable")
        if owner is not None and not (cell.match == "last_outcome" and cell.count == FOR_GOOD):
            problems.append(f"the lock is held by {owner}")
        expected = MODES[cell.mode]
        if cell.kind == "latency" and self._outcome(execution) != expected:
            problems.append(f"ended {self._outcome(execution)} instead of {expected}")
        return problems

    def _problems_of_records(self, cell: Cell, execution: dict[str, Any], written: list[Any]) -> list[str]:
        """Rejections and failures have one record; a registered model is shown by its package, a stopped run by its execution."""
        got, ended = [record.outcome.value for record in written], self._outcome(execution)
        allowed = [[ended]] if ended in ("REJECTED", "FAILED") else [[]]
        if ended == "ABORTED":
            allowed = [[], ["REJECTED"], ["FAILED"]]
        if cell.mode in ("rejected", "failing") and cell.count == FOR_GOOD:
            allowed += [[], [MODES[cell.mode]]]  # only this call could write it
        return [] if got in allowed else [f"ended {ended}, recorded are {got}"]

    def _problems_of_serving(self) -> list[str]:
        """The serving model is approved and recorded, the chain is valid, and nothing is left over."""
        live, packages = self.loop.live(), self._packages()
        if live is None:
            return ["nothing serves"]
        problems = [] if live.config == self.loop.serving_config() else ["something else serves than is recorded"]
        if packages.get(live.model_package_arn) != "Approved":
            problems.append(f"{live.model_package_arn} serves and is {packages.get(live.model_package_arn)}")
        return [*problems, *self.loop.audit_problems(), *(f"left: {name}" for name in leftovers(self.loop))]

    def _outcome(self, execution: dict[str, Any]) -> str:
        """Result of the execution: the outcome in its output, its error, or how it was ended."""
        if execution["status"] == "SUCCEEDED":
            return str(json.loads(execution["output"])["outcome"])
        return str(execution.get("error") or execution["status"]) if execution["status"] == "FAILED" else "ABORTED"

    def _next_day(self) -> None:
        """Go on to the next day before the daily budget is used up."""
        if self.left_of_day < 2:
            self.sample.cloud.clock_jump(to=self.sample.now() + timedelta(days=1))
            self.left_of_day = _BUDGET

    def _lay_down(self, mode: str) -> None:
        """Write a set whose training split leads to a good model, or to one that is worse than last week's sales."""
        self.sample.lay_down(price=0.2 if mode == "rejected" else 2.0, promoted=10.0)

    def _pause(self, cell: Cell, *, is_paused: bool) -> None:
        if cell.mode == "paused":
            self.sample.pause(is_paused=is_paused)

    def _packages(self) -> dict[str, str]:
        pages = self.loop.sagemaker.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=self.loop.endpoint
        )
        found = [p for page in pages for p in page["ModelPackageSummaryList"]]
        return {p["ModelPackageArn"]: p["ModelApprovalStatus"] for p in found}

    def _seen(self, machine: str) -> set[str]:
        return {e["executionArn"] for e in self.loop.executions(machine)}

    @staticmethod
    def _until(look: Any, otherwise: str) -> None:
        deadline = time.monotonic() + 60
        while not look():
            assert time.monotonic() < deadline, otherwise
            time.sleep(0.1)
