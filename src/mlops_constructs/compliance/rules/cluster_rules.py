"""Rules for EKS clusters: private endpoints, logs, encrypted secrets."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from mlops_constructs.compliance.assembly import Assembly, Resource
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation

_KINDS = {"api", "audit", "authenticator", "controllerManager", "scheduler"}


def clusters(assembly: Assembly) -> Iterator[Resource]:
    """Yield the clusters with CloudFormation's property names; ``aws_eks`` creates some by a custom resource."""
    yield from assembly.of("AWS::EKS::Cluster")
    for custom in assembly.of("Custom::AWSCDK-EKS-Cluster"):
        yield replace(custom, properties=_capitalized(custom.properties.get("Config") or {}))


def _capitalized(value: Any) -> Any:
    if isinstance(value, list):
        return [_capitalized(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {key[:1].upper() + key[1:]: _capitalized(item) for key, item in value.items()}


def _cluster_endpoint(assembly: Assembly) -> Iterator[Violation]:
    for cluster in clusters(assembly):
        network = cluster.get("ResourcesVpcConfig") or {}
        is_public = str(network.get("EndpointPublicAccess", True)).lower() != "false"
        is_private = str(network.get("EndpointPrivateAccess", False)).lower() == "true"
        if is_public or not is_private:
            yield violation(cluster, "ResourcesVpcConfig.EndpointPublicAccess")


CLUSTER_ENDPOINT = Rule(
    id="ClusterEndpoint",
    problem="The cluster's API endpoint is public.",
    fix="Set EndpointPublicAccess false and EndpointPrivateAccess true.",
    source="https://docs.aws.amazon.com/eks/latest/userguide/cluster-endpoint.html",
    check=_cluster_endpoint,
)


def _cluster_logs(assembly: Assembly) -> Iterator[Violation]:
    for cluster in clusters(assembly):
        enabled = cluster.get("Logging.ClusterLogging.EnabledTypes") or []
        if not {str(kind.get("Type")) for kind in enabled} >= _KINDS:
            yield violation(cluster, "Logging.ClusterLogging.EnabledTypes")


CLUSTER_LOGS = Rule(
    id="ClusterLogs",
    problem="The cluster does not log all components of its control plane, such as the audit log.",
    fix="Enable the log types api, audit, authenticator, controllerManager and scheduler.",
    source="https://docs.aws.amazon.com/eks/latest/userguide/control-plane-logs.html",
    check=_cluster_logs,
)


def _cluster_secrets(assembly: Assembly) -> Iterator[Violation]:
    for cluster in clusters(assembly):
        configs = cluster.get("EncryptionConfig") or []
        if not any((c.get("Provider") or {}).get("KeyArn") and "secrets" in c.get("Resources", ()) for c in configs):
            yield violation(cluster, "EncryptionConfig")


CLUSTER_SECRETS = Rule(
    id="ClusterSecrets",
    problem="The cluster's secrets are not encrypted with a key of the unit.",
    fix="Set EncryptionConfig with the key for the resource secrets.",
    source="https://docs.aws.amazon.com/eks/latest/userguide/envelope-encryption.html",
    check=_cluster_secrets,
)
