"""A cluster's API is reached from its network alone."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly
from mlops_constructs.compliance.rules._clusters import clusters
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation


def _check(assembly: Assembly) -> Iterator[Violation]:
    for cluster in clusters(assembly):
        network = cluster.get("ResourcesVpcConfig") or {}
        is_public = str(network.get("EndpointPublicAccess", True)).lower() != "false"
        is_private = str(network.get("EndpointPrivateAccess", False)).lower() == "true"
        if is_public or not is_private:
            yield violation(cluster, "ResourcesVpcConfig.EndpointPublicAccess")


RULE = Rule(
    id="ClusterEndpoint",
    problem="The cluster's API answers on the internet.",
    fix="Set EndpointPublicAccess false and EndpointPrivateAccess true.",
    source="https://docs.aws.amazon.com/eks/latest/userguide/cluster-endpoint.html",
    check=_check,
)
