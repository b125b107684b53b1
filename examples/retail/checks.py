"""What the models of the smaller units pass before they get any traffic."""

from pathlib import Path

import aws_cdk as cdk

from mlops_constructs import GoldenRequests, RolloutChecks


def rehearsed(golden: Path, max_deviation: float) -> RolloutChecks:
    """Return checks by golden requests, each of which is answered within a second."""
    requests = GoldenRequests.from_file(golden, max_deviation=max_deviation, max_latency=cdk.Duration.seconds(1))
    return RolloutChecks(golden=requests)
