"""A cluster logs what its control plane does."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly
from mlops_constructs.compliance.rules._clusters import clusters
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation

_KINDS = {"api", "audit", "authenticator", "controllerManager", "scheduler"}


def _check(assembly: Assembly) -> Iterator[Violation]:
    for cluster in clusters(assembly):
        enabled = cluster.get("Logging.ClusterLogging.EnabledTypes") or []
        if not {str(kind.get("Type")) for kind in enabled} >= _KINDS:
            yield violation(cluster, "Logging.ClusterLogging.EnabledTypes")


RULE = Rule(
    id="ClusterLogs",
    problem="The cluster does not log all of its control plane, such as who did what.",
    fix="Enable the log types api, audit, authenticator, controllerManager and scheduler.",
    source="https://docs.aws.amazon.com/eks/latest/userguide/control-plane-logs.html",
    check=_check,
)
