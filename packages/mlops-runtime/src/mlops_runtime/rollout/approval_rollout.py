"""Follow a manual approval until the rollout that it starts has ended."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from mlops_runtime.contracts import ContractError, from_json
from mlops_runtime.contracts.rollout import DeployReason, DeployRequest
from mlops_runtime.rollout.audit_chain import AuditChain
from mlops_runtime.rollout.rollback import Answer, read_end, status_of

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

_NEWEST = 50  # executions that are searched for an approval's


class RolloutMissingError(Exception):
    """No rollout of an approved package started in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRollout:
    """The rollout that an approval starts on one endpoint."""

    stepfunctions: "SFNClient"
    chain: AuditChain  # the endpoint's chain and row
    machine_arn: str  # the Deploy machine
    # called between two polls with the ARN of the followed execution; None until it has started
    wait: Callable[[str | None], None]
    echo: Callable[[str], None]  # called with one line for each step
    looks: int  # polls for the execution before `RolloutMissingError`

    def follow(self, package: str, since: datetime) -> Answer:
        """Wait for the rollout of a package to end, and return its outcome.

        Args:
            package: ARN of the approved package.
            since: A time before its approval.

        Raises:
            RolloutMissingError: If no rollout starts.
        """
        return self._ended(self._started(package, since), package)

    def follow_again(self, package: str) -> Answer | None:
        """Return the outcome of the newest rollout that an approval of a package started, waiting for it if it still runs.

        Args:
            package: ARN of the approved package.

        Returns:
            None if it is not among the newest executions.
        """
        execution = self._execution(package, None)
        return None if execution is None else self._ended(execution, package)

    def _ended(self, execution: str, package: str) -> Answer:
        """Wait for the end of an execution, and return its outcome."""
        if status_of(self.stepfunctions, execution) == "RUNNING":
            self.echo(f"following {execution}")
        while status_of(self.stepfunctions, execution) == "RUNNING":
            self.wait(execution)
        serves, text, record = read_end(self.stepfunctions, self.chain, execution)
        return Answer(is_served=serves == package, text=text, record=record)

    def _started(self, package: str, since: datetime) -> str:
        for _ in range(self.looks):
            found = self._execution(package, since)
            if found is not None:
                return found
            self.wait(None)
        raise RolloutMissingError(
            f"no rollout of {package} has started on {self.chain.table.endpoint}; check the queue of the Deploy machine's guard "
            f"and its dead-letter queue, then request it again: mlops models approve {package} --again"
        )

    def _execution(self, package: str, since: datetime | None) -> str | None:
        found = self.stepfunctions.list_executions(stateMachineArn=self.machine_arn, maxResults=_NEWEST)
        for execution in found["executions"]:  # the newest first
            if since is not None and execution["startDate"] < since:
                return None
            if self._approved(execution["executionArn"]) == package:
                return execution["executionArn"]
        return None

    def _approved(self, execution: str) -> str | None:
        """Return the package whose approval started an execution; None if it was started otherwise."""
        try:
            text = self.stepfunctions.describe_execution(executionArn=execution)["input"]
            request = from_json(DeployRequest, text)
        except ContractError:
            return None  # started by hand with another input
        return request.model_package_arn if request.reason is DeployReason.APPROVAL else None
