"""A person's approval, followed until its rollout has promoted the package, or has not."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from mlops_runtime.contracts import ContractError, from_json
from mlops_runtime.contracts.rollout import DeployRequest, LivePointer
from mlops_runtime.rollout.audit_chain import AuditChain
from mlops_runtime.rollout.rollback import Answer

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


class RolloutMissingError(Exception):
    """No rollout of an approved package has started in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRollout:
    """The rollout that an approval starts on one endpoint.

    Args:
        stepfunctions: Client.
        chain: The endpoint's chain and row.
        machine_arn: The Deploy machine.
        wait: Called between two looks.
        say: Called with one line a step.
        looks: How often to look for the execution before it is missed.
    """

    stepfunctions: "SFNClient"
    chain: AuditChain
    machine_arn: str
    wait: Callable[[], None]
    say: Callable[[str], None]
    looks: int

    def follow(self, package: str, since: datetime) -> Answer:
        """Return what came of the rollout of a package when it has ended.

        Args:
            package: ARN of the approved package.
            since: A time before its approval.

        Raises:
            RolloutMissingError: If none starts.
        """
        execution = self._started(package, since)
        self.say(f"following {execution}")
        while self._status(execution) == "RUNNING":
            self.wait()
        record = self.chain.record_of(execution)
        row = self.chain.table.read()
        live = None if row.live is None else from_json(LivePointer, row.live)
        serves = "nothing" if live is None else live.model_package_arn
        if record is None:
            said = f"{execution.rpartition(':')[2]} ended {self._status(execution)} without a record"
        else:
            said = f"{record.outcome.value}: {record.reason}" if record.reason else record.outcome.value
        return Answer(is_served=serves == package, text=f"{said}; {serves} serves", record=record)

    def _started(self, package: str, since: datetime) -> str:
        for _ in range(self.looks):
            found = self._execution(package, since)
            if found is not None:
                return found
            self.wait()
        raise RolloutMissingError(
            f"no rollout of {package} has started on {self.chain.table.endpoint}; check the queue of the Deploy machine's guard "
            f"and its dead letters, then request it again: mlops models approve {package} --again"
        )

    def _execution(self, package: str, since: datetime) -> str | None:
        pages = self.stepfunctions.get_paginator("list_executions").paginate(stateMachineArn=self.machine_arn)
        for page in pages:
            for execution in page["executions"]:  # the newest first
                if execution["startDate"] < since:
                    return None
                if self._package_of(execution["executionArn"]) == package:
                    return execution["executionArn"]
        return None

    def _package_of(self, execution: str) -> str | None:
        try:
            text = self.stepfunctions.describe_execution(executionArn=execution)["input"]
            return from_json(DeployRequest, text).model_package_arn
        except ContractError:
            return None  # started by hand with something else

    def _status(self, execution: str) -> str:
        return str(self.stepfunctions.describe_execution(executionArn=execution)["status"])
