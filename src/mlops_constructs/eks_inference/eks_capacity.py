"""Capacity of a service on Kubernetes: number of pods per slot, and resources of each pod."""

from dataclasses import dataclass
from typing import Literal

from mlops_constructs._arguments import checked
from mlops_constructs._validation import check_pattern, check_range, raise_problems
from mlops_runtime.eks.slot_limits import MAXIMUM_PODS, quantity

Architecture = Literal["amd64", "arm64"]

_CPU = r"(?:[1-9]\d*m|[1-9]\d{0,2}(?:\.\d{1,3})?|0\.\d{0,2}[1-9])"
_MEMORY = r"[1-9]\d*(?:Mi|Gi)"
_SLOTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Largest resource use of a service in its namespace: both slots at maximum size, each with the extra pod of an update."""

    cpu: float
    memory: float
    pods: int


@checked("InvalidEksCapacity")
@dataclass(frozen=True, slots=True, kw_only=True)
class EksCapacity:
    """Number and size of the pods of a slot that serves.

    Autoscaling follows the CPU utilization of the pods. The slot that does not serve has no pods; during a rollout both have some.

    Args:
        min_pods: Minimum pods of a slot that serves. Default: two.
        max_pods: Maximum pods. Default: ten.
        cpu: CPU of a pod, such as ``500m`` or ``2``. Default: one core.
        memory: Memory of a pod, in ``Mi`` or ``Gi``, as request and limit. Default: ``1Gi``.
        target_cpu_percent: Target CPU utilization in percent, 10 to 95. Default: 60.
        architecture: CPU architecture of the nodes, for which the image must be built. Default: ``amd64``.

    Raises:
        ValidationError: With every value that is not allowed.

    Example:
        >>> EksCapacity(min_pods=2, max_pods=4, cpu="500m").demand.pods
        10
    """

    min_pods: int = 2
    max_pods: int = 10
    cpu: str = "1"
    memory: str = "1Gi"
    target_cpu_percent: int = 60
    architecture: Architecture = "amd64"

    def __post_init__(self) -> None:
        problems = [
            check_range("min_pods", self.min_pods, minimum=1, maximum=MAXIMUM_PODS),
            check_range("max_pods", self.max_pods, minimum=1, maximum=MAXIMUM_PODS),
            f"max_pods must be at least min_pods ({self.min_pods}), got {self.max_pods}; raise max_pods or lower min_pods"
            if self.max_pods < self.min_pods
            else None,
            check_pattern("cpu", self.cpu, pattern=_CPU, allowed="a quantity such as '500m', '2' or '1.5'"),
            check_pattern(
                "memory", self.memory, pattern=_MEMORY, allowed="whole 'Mi' or 'Gi', such as '512Mi' or '2Gi'"
            ),
            check_range("target_cpu_percent", self.target_cpu_percent, minimum=10, maximum=95),
            None
            if self.architecture in ("amd64", "arm64")
            else f"architecture must be 'amd64' or 'arm64', got {self.architecture!r}",
        ]
        raise_problems("InvalidEksCapacity", problems)

    @property
    def demand(self) -> Demand:
        """Largest resource use of the service in its namespace."""
        pods = _SLOTS * (self.max_pods + 1)
        return Demand(cpu=float(quantity(self.cpu)) * pods, memory=float(quantity(self.memory)) * pods, pods=pods)
