"""How many instances a rollout needs at once, and whether the account may have as many. Pure.

Blue/green starts a whole second fleet beside the first one. SageMaker refuses the endpoint, or rolls back, if the account may not
have it, after everything before was done. What other endpoints of the account use is not known here: what this one needs by itself
must fit.

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
    """What the account may have: instances for endpoints by type, as far as it could be read; else why not."""

    instances: Mapping[str, float] = field(default_factory=dict)
    unread: str = ""


def quota_name(instance_type: str) -> str:
    """Return how Service Quotas calls the quota of a type.

    Example:
        >>> quota_name("ml.m5.large")
        'ml.m5.large for endpoint usage'
    """
    return f"{instance_type} for endpoint usage"


def needed(spec: ServingSpec, live: Sequence[Variant]) -> dict[str, int]:
    """Return how many instances of each type run at once while the spec comes to serve."""
    wanted = [(spec.instance_type, spec.instance_count)]
    wanted += [(variant.instance_type, variant.instance_count) for variant in spec.variants or ()]
    counts: Counter[str] = Counter()
    share = 1.0
    if spec.rollout.kind == "ROLLING" and live:
        # as much of the old capacity goes as comes
        share = (100 if spec.rollout.percent is None else spec.rollout.percent) / 100
    for kind, count in wanted:
        counts[kind] += math.ceil(count * share)
    for variant in live:
        counts[variant.instance_type] += variant.instance_count
    return {kind: count for kind, count in sorted(counts.items()) if kind and count}


def quota_problems(counts: Mapping[str, int], quotas: Quotas) -> list[str]:
    """Return which types an account may not have enough of, with the number needed, the number allowed and the fix."""
    return [
        f"the rollout needs {count} {kind} at once for both fleets, and the account may have {quotas.instances[kind]:g}; ask "
        f"Service Quotas for {count} of {quota_name(kind)!r}, or serve on fewer or other instances"
        for kind, count in counts.items()
        if kind in quotas.instances and quotas.instances[kind] < count
    ]
