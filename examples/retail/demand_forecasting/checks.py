"""What a model of the unit passes before and while it gets traffic."""

import aws_cdk as cdk

from examples.retail.demand_forecasting import declaration
from mlops_constructs import GoldenRequests, RolloutChecks


def rehearsed_and_timed() -> RolloutChecks:
    """Return checks by golden requests, timed beside the live model, and by the latency under real traffic."""
    return RolloutChecks(
        golden=GoldenRequests.from_file(
            declaration.GOLDEN,
            max_deviation=declaration.MAX_DEVIATION,
            max_latency=cdk.Duration.millis(declaration.MAX_MILLISECONDS),
            max_slowdown=declaration.MAX_SLOWDOWN,
        ),
        max_latency=cdk.Duration.seconds(1),  # whole weeks are asked for at once, too
    )
