"""A cluster's secrets are encrypted with a key of the unit."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly
from mlops_constructs.compliance.rules._clusters import clusters
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation


def _check(assembly: Assembly) -> Iterator[Violation]:
    for cluster in clusters(assembly):
        configs = cluster.get("EncryptionConfig") or []
        if not any((c.get("Provider") or {}).get("KeyArn") and "secrets" in c.get("Resources", ()) for c in configs):
            yield violation(cluster, "EncryptionConfig")


RULE = Rule(
    id="ClusterSecrets",
    problem="The cluster's secrets are not encrypted with a key of the unit.",
    fix="Set EncryptionConfig with the key for the resource secrets.",
    source="https://docs.aws.amazon.com/eks/latest/userguide/envelope-encryption.html",
    check=_check,
)
