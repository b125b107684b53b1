"""Checks of the smaller units' models before they get traffic."""

from types import ModuleType

import aws_cdk as cdk

from mlops_constructs import GoldenRequests, RolloutChecks


def rehearsed(declaration: ModuleType) -> RolloutChecks:
    """Return checks with a unit's golden requests and a latency limit of one second."""
    second = cdk.Duration.seconds(1)
    golden = GoldenRequests.from_file(declaration.GOLDEN, max_deviation=declaration.MAX_DEVIATION, max_latency=second)
    return RolloutChecks(golden=golden)
