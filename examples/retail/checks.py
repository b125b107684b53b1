"""What the models of the smaller units pass before they get any traffic."""

from types import ModuleType

import aws_cdk as cdk

from mlops_constructs import GoldenRequests, RolloutChecks


def rehearsed(declaration: ModuleType) -> RolloutChecks:
    """Return checks by a unit's golden requests, each of which is answered within a second."""
    second = cdk.Duration.seconds(1)
    golden = GoldenRequests.from_file(declaration.GOLDEN, max_deviation=declaration.MAX_DEVIATION, max_latency=second)
    return RolloutChecks(golden=golden)
