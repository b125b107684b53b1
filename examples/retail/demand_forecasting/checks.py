"""Checks of the unit's models before and during their rollout."""

import aws_cdk as cdk

from examples.retail.demand_forecasting import declaration
from mlops_constructs import GoldenRequests, RolloutChecks


def rehearsed_and_timed() -> RolloutChecks:
    """Return checks with golden requests, with latency relative to the live model, and with latency under real traffic."""
    return RolloutChecks(
        golden=GoldenRequests.from_file(
            declaration.GOLDEN,
            max_deviation=declaration.MAX_DEVIATION,
            max_latency=cdk.Duration.millis(declaration.MAX_MILLISECONDS),
            max_slowdown=declaration.MAX_SLOWDOWN,
        ),
        max_latency=cdk.Duration.seconds(1),  # some requests have whole weeks
    )
