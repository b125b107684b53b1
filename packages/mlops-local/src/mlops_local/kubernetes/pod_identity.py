"""AWS credentials of a pod: its pod identity association's role, restricted by the association's session policy.

On a real node the agent serves them over HTTP; here a container gets them in its environment.
https://docs.aws.amazon.com/eks/latest/userguide/pod-id-abac.html (the session tags) and
https://docs.aws.amazon.com/eks/latest/userguide/pod-id-role.html (the trust policy)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ministack.core import iam_evaluator
from ministack.services import eks, iam, sts

from mlops_local import settings
from mlops_local.iam import source_keys
from mlops_local.iam.signatures import session_keys

PRINCIPAL = "pods.eks.amazonaws.com"


class NoCredentialsError(Exception):
    """A pod gets no credentials; the message gives the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """The pod that requests credentials."""

    cluster_arn: str
    namespace: str
    service_account: str
    name: str
    uid: str

    @property
    def cluster(self) -> str:
        """Name of the cluster."""
        return self.cluster_arn.rpartition("/")[2]

    def tags(self) -> dict[str, str]:
        """Return the six session tags that EKS sets."""
        return {
            "eks-cluster-arn": self.cluster_arn,
            "eks-cluster-name": self.cluster,
            "kubernetes-namespace": self.namespace,
            "kubernetes-service-account": self.service_account,
            "kubernetes-pod-name": self.name,
            "kubernetes-pod-uid": self.uid,
        }


def association(pod: Pod) -> Mapping[str, Any] | None:
    """Return the association of a pod's service account, or ``None``."""
    return next(
        (
            row
            for row in list(eks._pod_identity_associations.values())
            if (row["clusterName"], row["namespace"], row["serviceAccount"])
            == (pod.cluster, pod.namespace, pod.service_account)
        ),
        None,
    )


def environment(pod: Pod) -> dict[str, str]:
    """Return a pod's credentials as environment variables; empty without an association.

    Raises:
        NoCredentialsError: If the role does not allow EKS to assume it for this pod.
    """
    found = association(pod)
    if found is None:
        return {}
    if found.get("targetRoleArn"):
        raise NoCredentialsError(
            "role chaining by targetRoleArn is not in the embedded cloud; associate the role itself"
        )
    return _session(pod, found)


def _session(pod: Pod, found: Mapping[str, Any]) -> dict[str, str]:
    arn, account = found["roleArn"], found["roleArn"].split(":")[4]
    tags = {} if found.get("disableSessionTags") else pod.tags()
    role = iam._roles.get_scoped(account, None, arn.rpartition("/")[2])
    # EKS requests both at once; the trust policy has to allow both
    # claim: pod-identity-session-tags
    requested = ("sts:AssumeRole", "sts:TagSession") if tags else ("sts:AssumeRole",)
    for action in requested:
        _check_trust(role, action, arn, tags, pod)
    # claim: pod-identity-narrowed-by-session-policy
    key, secret, token = session_keys(f"{arn}|{pod.cluster_arn}|{pod.uid}|{found.get('policy', '')}")
    session = f"eks-{pod.cluster}-{pod.name}"[:64]
    record = {
        "Arn": f"arn:aws:sts::{account}:assumed-role/{arn.rpartition('/')[2]}/{session}", "UserId": f"{role['RoleId']}:{session}",
        "AccountId": account, "PrincipalType": "AssumedRole", "SecretAccessKey": secret, "SessionToken": token,
        "SessionTags": [{"Key": name, "Value": value} for name, value in tags.items()],
        "SessionPolicies": {"Policy": found["policy"], "PolicyArns": []} if found.get("policy") else None,
    }  # fmt: skip
    sts.register_session(key, record)
    return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token}


def _check_trust(role: Any, action: str, arn: str, tags: Mapping[str, str], pod: Pod) -> None:
    # claim: pod-identity-needs-the-roles-trust
    context = dict(source_keys.sent(PRINCIPAL, action, source_arn=pod.cluster_arn, account=settings.account))
    question = iam_evaluator.EvalContext(
        principal_arn=f"service:{PRINCIPAL}", principal_type="Service", principal_account="", action=action,
        resource_arn=arn, region=settings.region, request_tags=dict(tags), tag_keys=list(tags), service_context=context,
    )  # fmt: skip
    answer = iam_evaluator.evaluate_resource_policy(
        (role or {}).get("AssumeRolePolicyDocument"), question, service=PRINCIPAL
    )
    if role is None or answer.decision != "Allow":
        raise NoCredentialsError(
            f"{PRINCIPAL} may not call {action} on {arn} for service account {pod.namespace}/{pod.service_account}: "
            "the role's trust policy has to allow sts:AssumeRole and, unless session tags are disabled, sts:TagSession"
        )
