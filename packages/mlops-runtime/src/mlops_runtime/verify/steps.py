"""The steps of a verification as data: their claims, their maximum times on AWS, and their billed resources."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlops_runtime.verify.budget import KEY, NETWORK_ENDPOINT, HourlyPrices

INSTANCE = "ml.m5.large"
FLEET = 2  # the smallest fleet that a canary can split


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step."""

    name: str
    claims: tuple[str, ...]  # ids of its claims, as in the ledger if the ledger has the claim
    minutes: int = 0  # maximum time on AWS; 0 for a free step
    # resources that it creates until the teardown, by kind in the price table
    keeps: Mapping[str, int] = field(default_factory=dict)
    meanwhile: Mapping[str, int] = field(default_factory=dict)  # resources that exist only while it runs

    @property
    def is_free(self) -> bool:
        """Whether it creates no resources that are billed by the hour, and needs no serving image."""
        return self.minutes == 0


TEARDOWN = Step(name="teardown", claims=("unit-is-deleted-while-serving", "verify-leaves-nothing"), minutes=40)


def steps(*, interface_endpoints: int) -> tuple[Step, ...]:
    """Return the steps in order, without the teardown.

    Args:
        interface_endpoints: Interface endpoints of the unit's network, in its one zone.
    """
    return (
        Step(name="region", claims=("region-has-the-endpoint-services",)),
        Step(name="quotas", claims=("quotas-leave-room",)),
        Step(name="policies", claims=("iam-takes-the-policies",)),
        Step(name="definitions", claims=("step-functions-takes-the-definitions",)),
        Step(
            name="change_set", claims=("cloudformation-takes-the-template", "tags-that-decide-are-set-by-tag-resource")
        ),
        Step(
            name="deploy",
            claims=(
                "cloudformation-refuses-a-second-operation",
                "unit-deploys-without-a-model",
                "template-comes-back-as-uploaded",
                "functions-fit-lambda-limits",
            ),
            minutes=15,
            keeps={NETWORK_ENDPOINT: interface_endpoints, KEY: 1},
        ),
        Step(name="approver", claims=("approval-status-key-is-evaluated", "approver-is-a-session"), minutes=2),
        Step(
            name="packages",
            claims=(
                "registering-is-no-modification",
                "packages-gain-two-fields",
                "deleted-versions-are-not-used-again",
                "package-image-is-checked",
            ),
            minutes=2,
        ),
        Step(name="fill", claims=("fill-without-any-datapoint",), minutes=15),
        Step(
            name="first_model",
            claims=("approved-model-serves", "data-capture-in-new-accounts"),
            minutes=20,
            keeps={INSTANCE: FLEET},
        ),
        Step(
            name="approval_events", claims=("approval-event-names-fields", "repeated-approval-sends-event"), minutes=5
        ),
        Step(
            name="canary",
            claims=("canary-promotes", "metrics-by-endpoint-config"),
            minutes=35,
            meanwhile={INSTANCE: FLEET},
        ),
        Step(
            name="rollback",
            claims=("alarm-returns-to-old-config", "errors-are-counted-for-each-answer"),
            minutes=30,
            meanwhile={INSTANCE: FLEET},
        ),
        Step(
            name="requests",
            claims=(
                "only-approved-packages-become-models",
                "local-storage-takes-no-key",
                "training-input-must-exist",
                "batch-strategy-needs-a-split",
                "rollback-alarms-must-exist",
            ),
            minutes=20,
            meanwhile={INSTANCE: FLEET},  # of an update or a job that is accepted against a claim
        ),
        Step(
            name="logs", claims=("sagemaker-logs-from-its-own-network", "isolated-network-reaches-services"), minutes=2
        ),
    )


def estimate(chosen: Sequence[Step], prices: HourlyPrices) -> float:
    """Return USD that a run costs if every step takes its maximum time.

    Example:
        >>> from mlops_runtime.verify.budget import hourly_prices
        >>> round(estimate(steps(interface_endpoints=8), hourly_prices("us-east-1")), 2)
        1.23
    """
    paid = [step for step in (*chosen, TEARDOWN) if not step.is_free]
    if paid == [TEARDOWN]:
        return 0.0
    total = 0.0
    for number, step in enumerate(paid):
        rest = sum(later.minutes for later in paid[number:]) / 60
        total += sum(prices.cost(kind, count=count, hours=rest) for kind, count in step.keeps.items())
        total += cost_meanwhile(step, prices)
    return total


def cost_meanwhile(step: Step, prices: HourlyPrices) -> float:
    """Return USD for resources that exist only while a step runs, if it takes its maximum time."""
    hours = step.minutes / 60
    return sum(prices.cost(kind, count=count, hours=hours) for kind, count in step.meanwhile.items())


def ahead(step: Step, running: Mapping[str, int], prices: HourlyPrices) -> float:
    """Return USD that a step may cost: existing resources and its own, each for its maximum time."""
    hours = step.minutes / 60
    things = [*running.items(), *step.keeps.items(), *step.meanwhile.items()]
    return sum(prices.hourly[kind] * count * hours for kind, count in things)
