"""How a new model takes over where nobody says it."""

import aws_cdk as cdk
import pytest

from mlops_constructs import EndpointCapacity, Ownership, Scaling
from mlops_constructs.model_endpoint.default_policy import default_policy
from mlops_constructs.rollout import RolloutKind

TWO = EndpointCapacity.instances("ml.m5.large", instance_count=2)


@pytest.mark.parametrize(
    "capacity",
    [
        EndpointCapacity.instances("ml.m5.large", instance_count=1),
        EndpointCapacity.instances(
            "ml.m5.large", instance_count=4, scaling=Scaling(min_capacity=1, max_capacity=4, target_invocations=60)
        ),
        EndpointCapacity.serverless(memory=cdk.Size.gibibytes(2), max_concurrency=2),
    ],
    ids=["one instance", "scaled in to one", "serverless"],
)
def test_what_cannot_be_sliced_takes_over_all_at_once(capacity: EndpointCapacity) -> None:
    """A canary is whole instances of the smallest fleet that there may be."""
    assert default_policy(capacity, Ownership.PIPELINE).kind is RolloutKind.ALL_AT_ONCE


@pytest.mark.parametrize(("ownership", "invocations"), [(Ownership.PIPELINE, 20), (Ownership.CLOUDFORMATION, 0)])
def test_two_instances_take_over_by_canary(ownership: Ownership, invocations: int) -> None:
    """Only the Deploy machine can wait for evidence."""
    policy = default_policy(TWO, ownership)
    assert (policy.kind, policy.percent, policy.min_invocations) == (RolloutKind.CANARY, 50, invocations)
