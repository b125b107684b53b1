"""EKS clusters of templates, of either of CDK's libraries: cdk-nag's rules see those of ``aws_eks`` alone."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from mlops_constructs.compliance.assembly import Assembly, Resource


def clusters(assembly: Assembly) -> Iterator[Resource]:
    """Yield the clusters with CloudFormation's names of properties; ``aws_eks`` makes some by a custom resource."""
    yield from assembly.of("AWS::EKS::Cluster")
    for custom in assembly.of("Custom::AWSCDK-EKS-Cluster"):
        yield replace(custom, properties=_capitalized(custom.properties.get("Config") or {}))


def _capitalized(value: Any) -> Any:
    if isinstance(value, list):
        return [_capitalized(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {key[:1].upper() + key[1:]: _capitalized(item) for key, item in value.items()}
