"""How a new model takes over where nobody says it: as carefully as SageMaker can on that capacity."""

import aws_cdk as cdk

from mlops_constructs.model_endpoint.capacity import EndpointCapacity
from mlops_constructs.model_endpoint.ownership import Ownership
from mlops_constructs.rollout import RolloutChecks, RolloutPolicy

_CANARY_NEEDS = 2


def default_policy(capacity: EndpointCapacity, ownership: Ownership) -> RolloutPolicy:
    """Return the policy of a capacity.

    A canary needs two instances in every fleet, however far it scales in. Serverless and Inf1 endpoints have no deployment
    guardrails. An asynchronous endpoint publishes no number of calls that could be evidence, and CloudFormation waits for none.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-exclusions.html

    Args:
        capacity: On what the endpoint runs.
        ownership: Who makes the endpoint.
    """
    is_excluded = capacity.is_serverless or any(kind.startswith("ml.inf1.") for kind in capacity.instance_types)
    if is_excluded or capacity.smallest_fleet < _CANARY_NEEDS:
        return RolloutPolicy.all_at_once()
    bake = cdk.Duration.minutes(10)
    if capacity.is_asynchronous or ownership is Ownership.CLOUDFORMATION:
        return RolloutPolicy.canary(percent=50, bake=bake, checks=RolloutChecks(min_invocations=0))
    return RolloutPolicy.canary(percent=50, bake=bake)
