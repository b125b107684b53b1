"""Who calls a cluster, and what they may: access entries, access policies and RBAC.

The token is a presigned ``sts:GetCallerIdentity``; MiniStack verifies its signature. IAM alone grants nothing in a cluster.
https://docs.aws.amazon.com/eks/latest/userguide/access-entries.html and
https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ministack.services import eks

from mlops_local import compat, settings
from mlops_local.kubernetes import kinds
from mlops_local.kubernetes.kinds import Kind
from mlops_local.kubernetes.objects import Objects

compat.expect(
    "ministack.services.eks",
    _verify_eks_token="(token, cluster_name)",  # noqa: S106 - a signature
    _access_entry_for_principal="(cluster_name, account_id, region, principal_arn)",
    _access_policy_associations="(cluster_name, account_id, region)",
    _access_policy_name="(policy_arn)",
    _ACCESS_POLICY_RULES=dict,
)

_RBAC = "rbac.authorization.k8s.io/v1"
_ROLE, _ROLE_BINDING = kinds.BY_NAME[_RBAC, "Role"], kinds.BY_NAME[_RBAC, "RoleBinding"]
_CLUSTER_ROLE, _CLUSTER_ROLE_BINDING = kinds.BY_NAME[_RBAC, "ClusterRole"], kinds.BY_NAME[_RBAC, "ClusterRoleBinding"]
# the user-facing roles, which bindings may name: https://kubernetes.io/docs/reference/access-authn-authz/rbac/#user-facing-roles
_BUILT_IN = {
    "cluster-admin": "AmazonEKSClusterAdminPolicy",
    "admin": "AmazonEKSAdminPolicy",
    "edit": "AmazonEKSEditPolicy",
    "view": "AmazonEKSViewPolicy",
}
Rule = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the user's name, groups, and the IAM principal of the access entry."""

    user: str
    groups: tuple[str, ...]
    principal: str


@dataclass(frozen=True, slots=True)
class Question:
    """What a caller wants to do."""

    verb: str
    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def resource(self) -> str:
        """The resource as rules name it: ``deployments/scale``."""
        return f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural


def authenticate(cluster: str, token: str) -> Caller | None:
    """Return who holds a token, or ``None`` for nobody with an access entry.

    Args:
        cluster: Name of the cluster.
        token: ``k8s-aws-v1.`` and the presigned URL.
    """
    # claim: token-is-a-presigned-caller-identity
    credential = eks._verify_eks_token(token, cluster)
    if credential is None:
        return None
    arn = credential.principal_arn
    # claim: iam-alone-grants-nothing-in-a-cluster
    entry = eks._access_entry_for_principal(cluster, settings.account, settings.region, arn)
    if entry is None:
        return None
    user = entry.get("username") or arn
    return Caller(user, ("system:authenticated", *(entry.get("kubernetesGroups") or [])), entry["principalArn"])


def refusal(cluster: str, objects: Objects, caller: Caller, question: Question) -> str | None:
    """Return why a caller may not do something, in Kubernetes' words, or ``None``.

    Args:
        cluster: Name of the cluster.
        objects: Its objects, with its roles and bindings.
        caller: Who asks.
        question: What for.
    """
    if any(_allows(rule, question) for rule in _rules(cluster, objects, caller, question.namespace)):
        return None
    where = f' in the namespace "{question.namespace}"' if question.namespace else " at the cluster scope"
    return f'User "{caller.user}" cannot {question.verb} resource "{question.resource}" in API group "{question.kind.group}"{where}'


def _rules(cluster: str, objects: Objects, caller: Caller, namespace: str) -> Iterator[Rule]:
    for principal, policy, association in eks._access_policy_associations(cluster, settings.account, settings.region):
        # claim: access-policy-reaches-its-namespaces
        scope = association["accessScope"]
        reaches = scope["type"] == "cluster" or any(fnmatch.fnmatchcase(namespace, p) for p in scope["namespaces"])
        if principal == caller.principal and reaches:
            yield from eks._ACCESS_POLICY_RULES[eks._access_policy_name(policy)]
    bindings = objects.list(_CLUSTER_ROLE_BINDING) + (objects.list(_ROLE_BINDING, namespace) if namespace else [])
    for binding in bindings:
        if any(_is_subject(subject, caller) for subject in binding.get("subjects") or []):
            yield from _role(objects, binding["roleRef"], namespace)


# claim: entry-groups-are-kubernetes-groups
def _is_subject(subject: Mapping[str, Any], caller: Caller) -> bool:
    return (subject["kind"] == "Group" and subject["name"] in caller.groups) or (
        subject["kind"] == "User" and subject["name"] == caller.user
    )


def _role(objects: Objects, reference: Mapping[str, Any], namespace: str) -> list[Rule]:
    name = reference["name"]
    if reference["kind"] == "ClusterRole":
        found = objects.find(_CLUSTER_ROLE, "", name)
        if found is None and name in _BUILT_IN:
            return list(eks._ACCESS_POLICY_RULES[_BUILT_IN[name]])
    else:
        found = objects.find(_ROLE, namespace, name)
    return list((found or {}).get("rules") or [])


def _allows(rule: Rule, question: Question) -> bool:
    names = rule.get("resourceNames") or []
    return (
        _has(rule.get("verbs"), question.verb)
        and _has(rule.get("apiGroups"), question.kind.group)
        and _has(rule.get("resources"), question.resource)
        # "you cannot restrict create or deletecollection requests by resource name"
        and (not names or (question.verb != "create" and question.name in names))
    )


def _has(listed: Any, value: str) -> bool:
    return "*" in (listed or []) or value in (listed or [])
