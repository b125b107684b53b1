"""Check of a rollout's instances against the quotas of the account. Pure.

A blue/green deployment starts a complete second fleet. Without the quota, SageMaker rejects the endpoint or rolls back after all
earlier steps were done. The usage of other endpoints is unknown here: only the endpoint's own need is checked.

See: https://docs.aws.amazon.com/general/latest/gr/sagemaker.html (quotas are by instance type, for endpoint usage)
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.rollout.live_fleet import Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """Quotas of the account: instances for endpoints by type, if they could be read; otherwise the reason."""

    instances: Mapping[str, float] = field(default_factory=dict)
    unread: str = ""


def quota_name(instance_type: str) -> str:
    """Return the name in Service Quotas of an instance type's quota.

    Example:
        >>> quota_name("ml.m5.large")
        'ml.m5.large for endpoint usage'
    """
    return f"{instance_type} for endpoint usage"


def needed(spec: ServingSpec, live: Sequence[Variant]) -> dict[str, int]:
    """Return the number of instances of each type that run at once during the rollout of a spec."""
    wanted = [(spec.instance_type, spec.instance_count)]
    wanted += [(variant.instance_type, variant.instance_count) for variant in spec.variants or ()]
    counts: Counter[str] = Counter()
    share = 1.0
    if spec.rollout.kind == "ROLLING" and live:
        # the old capacity is removed as the new one is added
        share = (100 if spec.rollout.percent is None else spec.rollout.percent) / 100
    for kind, count in wanted:
        counts[kind] += math.ceil(count * share)
    for variant in live:
        counts[variant.instance_type] += variant.instance_count
    return {kind: count for kind, count in sorted(counts.items()) if kind and count}


def quota_problems(counts: Mapping[str, int], quotas: Quotas) -> list[str]:
    """Return the types whose quota is too small, with the number needed, the quota and the fix."""
    return [
        f"the rollout needs {count} {kind} at once for both fleets, but the account's quota is {quotas.instances[kind]:g}; "
        f"request {count} of {quota_name(kind)!r} in Service Quotas, or use fewer or other instances"
        for kind, count in counts.items()
        if kind in quotas.instances and quotas.instances[kind] < count
    ]
