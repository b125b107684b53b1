"""What of a rollout and of a serving spec slots cannot do: refused by name, as it would silently be left out."""

from collections.abc import Iterator

from mlops_runtime.contracts.rollout import RolloutSpec, ServingSpec

# one answer of DescribeTargetHealth, which the machine carries, stays below 64 KiB
MAXIMUM_PODS = 140
GOLDEN_PROBLEM = (
    "golden and synthetic requests are sent to a SageMaker endpoint, which EKS has none of; leave golden and synthetic out, and "
    "give the policy alarms and min_invocations"
)


def policy_problems(rollout: RolloutSpec) -> Iterator[str]:
    """Yield why slots cannot execute a policy."""
    if rollout.kind == "ROLLING":
        yield (
            "rollout must be ALL_AT_ONCE, CANARY or LINEAR on EKS, got ROLLING: a slot is complete in itself and no batch of "
            "another one; use RolloutPolicy.linear"
        )
    if rollout.golden is not None or rollout.synthetic is not None:
        yield GOLDEN_PROBLEM
    if rollout.shadow is not None:
        yield (
            "shadow is not possible on EKS: no load balancer copies requests; leave shadow out, and begin with a canary "
            "of a small percent"
        )
    if rollout.keep is not None and rollout.keep > 1:
        yield (
            f"keep must be 1 on EKS, got {rollout.keep}: there are two slots; leave keep out, and go further back with "
            "mlops rollback --to"
        )


def serving_problems(spec: ServingSpec) -> Iterator[str]:
    """Yield what of a serving spec only SageMaker knows, and what a rollout between slots cannot carry."""
    yield from policy_problems(spec.rollout)
    others = {
        "serverless": (spec.serverless, "the pods of a slot are its capacity"),
        "asynchronous": (spec.asynchronous, "a load balancer answers while one waits"),
        "scaling": (spec.scaling, "a slot scales by its CPU; give eks.minimum, maximum and cpu_target"),
        "variants": (spec.variants, "a service is its two slots; define another service"),
    }
    for name, (value, why) in others.items():
        if value:
            yield f"{name} is SageMaker's and not possible on EKS: {why}; leave {name} out"
    if spec.instance_type or spec.instance_count:
        yield (
            f"instance_type and instance_count must be '' and 0 on EKS, got {spec.instance_type!r} and {spec.instance_count}; "
            "give eks.cpu, memory, minimum and maximum"
        )
    if spec.variant != "AllTraffic":
        yield f"variant must be 'AllTraffic' on EKS, got {spec.variant!r}"
    if spec.eks is not None and spec.eks.maximum > MAXIMUM_PODS:
        yield f"eks.maximum must be at most {MAXIMUM_PODS} pods, got {spec.eks.maximum}; give each pod more CPU"
