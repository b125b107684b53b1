"""Rollouts in one step, two or many, and their checks."""

from pathlib import Path

import aws_cdk as cdk

from mlops_constructs import GoldenRequests, RolloutChecks, RolloutPolicy, ShadowTraffic

# [start:canary]
CANARY = RolloutPolicy.canary(percent=50, bake=cdk.Duration.minutes(10))
# [end:canary]

# [start:linear]
LINEAR = RolloutPolicy.linear(step_percent=25, bake=cdk.Duration.minutes(5))
ROLLING = RolloutPolicy.rolling(batch_percent=25, bake=cdk.Duration.minutes(5))
# [end:linear]


# [start:checks]
def careful(golden: Path) -> RolloutPolicy:
    """Return a canary with all checks: golden requests, a shadow, evidence, and an hour of probation."""
    checks = RolloutChecks(
        min_invocations=200,
        max_latency=cdk.Duration.millis(300),
        max_latency_ratio=1.5,
        golden=GoldenRequests.from_file(golden, max_deviation=0.3),
        synthetic_invocations=30,
        shadow=ShadowTraffic(percent=10, bake=cdk.Duration.minutes(30)),
        probation=cdk.Duration.hours(1),
        retained_versions=3,
    )
    return RolloutPolicy.canary(percent=50, bake=cdk.Duration.minutes(10), checks=checks)


# [end:checks]
