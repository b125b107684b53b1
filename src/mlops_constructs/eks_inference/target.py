"""Two slots on a Kubernetes cluster behind one listener rule as a target of the Deploy machine."""

from dataclasses import dataclass

from mlops_constructs._arguments import checked
from mlops_constructs._states import State
from mlops_constructs.eks_inference.steps import START_SECONDS, SlotSteps
from mlops_constructs.rollout.policy import POLL_GRACE_SECONDS, RolloutKind, RolloutPolicy
from mlops_runtime.contracts.rollout import RolloutSpec
from mlops_runtime.eks.slot_limits import GOLDEN_PROBLEM, policy_problems


@checked("InvalidEksTarget")
@dataclass(frozen=True, slots=True, kw_only=True)
class EksTarget:
    """A service in two slots, whose traffic moves by the weights of its listener rule.

    Args:
        endpoint_name: Name of the service.
        slot_arn: ARN of the function ``eks_slot``, which the states ask.

    Example:
        >>> EksTarget(endpoint_name="demand-forecast", slot_arn="arn:aws:lambda:us-east-1:1:function:slot").effective_percent(7)
        7.0
    """

    endpoint_name: str
    slot_arn: str

    @property
    def name(self) -> str:
        """Name for errors and descriptions."""
        return "EKS"

    @property
    def kinds(self) -> frozenset[RolloutKind]:
        """Kinds of rollout that the target executes: a slot is complete in itself, so there are no batches."""
        return frozenset(RolloutKind) - {RolloutKind.ROLLING}

    @property
    def is_reset_by_stack(self) -> bool:
        """Yes: CloudFormation writes a rule's weights with whatever else it changes there, tags of the whole stack among it."""
        return True

    @property
    def functions(self) -> tuple[str, ...]:
        """ARNs of the functions that the target's own steps call."""
        return (self.slot_arn,)

    def effective_percent(self, percent: int) -> float:
        """Return which share of the requests a step moves: exactly the one asked for."""
        return float(percent)

    def problems(self, policy: RolloutPolicy) -> list[str]:
        """Return why slots cannot execute a policy."""
        found = list(policy_problems(policy.to_spec()))
        if policy.checks.golden is not None and GOLDEN_PROBLEM not in found:
            found.append(GOLDEN_PROBLEM)
        return found

    def lead_seconds(self, rollout: RolloutSpec) -> int:
        """Return how long what comes before the first step may take at most: the pods of a slot start."""
        del rollout
        return START_SECONDS

    def busy(self, *, next_state: str, partition: str) -> tuple[str, dict[str, State]]:
        """Return the state that puts the weights where the plan says: nobody else ends what an execution that died has begun."""
        return "TakeBack", self._steps(0, partition).take_back(next_state=next_state)

    def steps(self, *, rollout: RolloutSpec, golden_arn: str | None, partition: str) -> tuple[str, dict[str, State]]:
        """Return the states from the plan to one of the exits."""
        del golden_arn
        return "PutAlarms", self._steps(rollout.maximum + POLL_GRACE_SECONDS, partition).steps()

    def unrecorded(self, *, next_state: str, partition: str) -> tuple[str, dict[str, State]]:
        """Return the states that put the weights back: there is no promotion without a record."""
        return "IsUnrecorded", self._steps(0, partition).unrecorded(next_state=next_state)

    def clean_up(self, *, next_state: str, partition: str) -> tuple[str, dict[str, State]]:
        """Return the states that delete the run's alarms, and scale the slot without traffic to nothing."""
        return "HasPlan", self._steps(0, partition).rest(next_state=next_state)

    def _steps(self, limit: int, partition: str) -> SlotSteps:
        return SlotSteps(slot_arn=self.slot_arn, limit=limit, partition=partition)
