"""What Application Auto Scaling knows: one store an account and region, in memory.

A target is known by its resource: of its service namespace and dimension there is one here each, SageMaker's variants.
"""

import threading
from dataclasses import dataclass, field

from ministack.core.responses import get_account_id, get_region

from mlops_local.sagemaker.shapes import Record

NAMESPACE = "sagemaker"
DIMENSION = "sagemaker:variant:DesiredInstanceCount"


# claim: targets-of-endpoints-are-checked
@dataclass(slots=True, kw_only=True)
class Target:
    """A registered variant.

    Args:
        record: As DescribeScalableTargets shows it.
        policies: Its policies, by name, as DescribeScalingPolicies shows them.
        actions: Its scheduled actions, by name, as DescribeScheduledActions shows them.
        activities: What was done and what failed, the oldest first.
        scaled_out: When it last got more instances, epoch seconds.
        scaled: When it last got more or fewer.
        is_out_of_bounds: Whether a scheduled action has set bounds that the capacity may not keep yet.
    """

    record: Record
    policies: dict[str, Record] = field(default_factory=dict)
    actions: dict[str, Record] = field(default_factory=dict)
    activities: list[Record] = field(default_factory=list)
    scaled_out: float = float("-inf")
    scaled: float = float("-inf")
    is_out_of_bounds: bool = False

    @property
    def endpoint(self) -> str:
        """The endpoint's name."""
        return split(self.record["ResourceId"])[0]

    @property
    def variant(self) -> str:
        """The variant's name."""
        return split(self.record["ResourceId"])[1]


@dataclass(slots=True)
class Store:
    """The targets of one account and region, by resource id, and whether the service-linked role has been made."""

    targets: dict[str, Target] = field(default_factory=dict)
    has_role: bool = False


LOCK = threading.RLock()
_STORES: dict[tuple[str, str], Store] = {}


def store() -> Store:
    """Return the store of the calling account and region."""
    with LOCK:
        return _STORES.setdefault((get_account_id(), get_region()), Store())


def everywhere() -> list[tuple[str, str, Target]]:
    """Return all targets with their account and region."""
    with LOCK:
        return [(*scope, target) for scope, kept in _STORES.items() for target in kept.targets.values()]


def is_registered(endpoint: str, variant: str) -> bool:
    """Return whether a variant of the calling account and region is a scalable target."""
    return f"endpoint/{endpoint}/variant/{variant}" in store().targets


def split(resource: str) -> tuple[str, str]:
    """Return endpoint and variant of a resource id.

    Example:
        >>> split("endpoint/demand-forecast/variant/AllTraffic")
        ('demand-forecast', 'AllTraffic')
    """
    _, endpoint, _, variant = resource.split("/")
    return endpoint, variant
