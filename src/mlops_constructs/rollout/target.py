"""Where a model is rolled out: the pure description of one target's steps in the Deploy machine."""

from typing import Protocol

from mlops_constructs._states import State
from mlops_constructs.rollout.policy import RolloutKind, RolloutPolicy
from mlops_runtime.contracts.rollout import RolloutSpec

# states of the Deploy machine to which a target's steps lead; each has set $reason
PROMOTED = "Promoted"
ROLLED_BACK = "RolledBack"
TURNED_DOWN = "TurnedDown"
FAILED = "Failed"

# grace for starting and stopping instances beyond the time that a target itself allows a rollout
POLL_GRACE_SECONDS = 900


class RolloutTarget(Protocol):
    """What the Deploy machine needs to know of a target: SageMaker's endpoints are one, the slots of EKS another."""

    @property
    def name(self) -> str:
        """Name for errors and descriptions."""
        ...

    @property
    def kinds(self) -> frozenset[RolloutKind]:
        """Kinds of rollout that the target executes."""
        ...

    @property
    def is_reset_by_stack(self) -> bool:
        """Whether a deployment of the stack may put what serves back to the template, so that a run has to look after each."""
        ...

    @property
    def functions(self) -> tuple[str, ...]:
        """ARNs of the functions that the target's own steps call."""
        ...

    def effective_percent(self, percent: int) -> float:
        """Return which share a step of ``percent`` really moves."""
        ...

    def problems(self, policy: RolloutPolicy) -> list[str]:
        """Return why the target cannot execute a policy."""
        ...

    def lead_seconds(self, rollout: RolloutSpec) -> int:
        """Return how long what comes before the first step may take at most."""
        ...

    def busy(self, *, next_state: str, partition: str) -> tuple[str, dict[str, State]]:
        """Return the first state's name and the states that come before a plan that waits is waited for.

        They end what an execution that died has begun, where nobody else would; none of them can fail.
        """
        ...

    def steps(self, *, rollout: RolloutSpec, golden_arn: str | None, partition: str) -> tuple[str, dict[str, State]]:
        """Return the first state's name and the states from the plan to one of the exits, ``$reason`` being set.

        They set ``$orphan`` to false as long as what was made may be in use, ``$applied`` to true once the endpoint was touched.
        """
        ...

    def unrecorded(self, *, next_state: str, partition: str) -> tuple[str, dict[str, State]]:
        """Return the first state's name and the states that follow a record that failed; none of them can fail.

        They take back what must not serve without a record, where the next execution would.
        """
        ...

    def clean_up(self, *, next_state: str, partition: str) -> tuple[str, dict[str, State]]:
        """Return the first state's name and the states that remove what no longer serves; none of them can fail."""
        ...
