"""Who may do what in a cluster: access entries, access policies, RBAC."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.local.kubernetes.conftest import Caller, sign, thing

from mlops_local.cloud import Cloud

RBAC = "rbac.authorization.k8s.io/v1"
POLICY = "arn:aws:eks::aws:cluster-access-policy/"


@pytest.fixture
def caller_as(cloud: Cloud, admin: Caller, cluster_name: str) -> Callable[[str], Caller]:
    """Call the cluster as a role."""

    def make(role: str, signed_for: str | None = None) -> Caller:
        got = cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="applier")["Credentials"]
        keys = {
            "aws_access_key_id": got["AccessKeyId"], "aws_secret_access_key": got["SecretAccessKey"],
            "aws_session_token": got["SessionToken"],
        }  # fmt: skip
        return Caller(admin.endpoint, sign(cluster_name, keys, signed_for=signed_for))

    return make


def _may_apply(verbs: list[str], names: list[str] | None = None) -> dict[str, Any]:
    rule = {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "verbs": verbs,
        **({"resourceNames": names} if names else {}),
    }
    return thing("Role", "applier", api=RBAC, rules=[rule])


def _binding(group: str) -> dict[str, Any]:
    subject = {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": group}
    reference = {"kind": "Role", "apiGroup": "rbac.authorization.k8s.io", "name": "applier"}
    return thing("RoleBinding", "applier", api=RBAC, subjects=[subject], roleRef=reference)


def test_nobody_without_an_entry_is_known(
    cloud: Cloud, admin: Caller, cluster_name: str, make_role: Callable[..., str], caller_as: Callable[..., Caller]
) -> None:
    """IAM alone grants nothing: https://docs.aws.amazon.com/eks/latest/userguide/access-entries.html."""
    role = make_role()

    assert caller_as(role).call("GET", "/api/v1/namespaces")[0] == 401
    assert Caller(admin.endpoint, "k8s-aws-v1.aGVsbG8").call("GET", "/api/v1/namespaces")[0] == 401
    assert Caller(admin.endpoint, "").call("GET", "/version")[0] == 401
    cloud.client("eks").create_access_entry(clusterName=cluster_name, principalArn=role)
    assert caller_as(role, signed_for="another").call("GET", "/api/v1/namespaces")[0] == 401
    assert caller_as(role).call("GET", "/api/v1/namespaces")[0] == 403


def test_a_group_of_the_entry_may_what_its_role_says(
    cloud: Cloud, admin: Caller, cluster_name: str, make_role: Callable[..., str], caller_as: Callable[..., Caller]
) -> None:
    """https://docs.aws.amazon.com/eks/latest/userguide/creating-access-entries.html (kubernetesGroups).

    An apply that creates needs both verbs.
    """
    role, config = make_role(), thing("ConfigMap", "mine")
    cloud.client("eks").create_access_entry(
        clusterName=cluster_name, principalArn=role, kubernetesGroups=["demand-appliers"]
    )
    admin.apply(_binding("demand-appliers"))
    admin.apply(_may_apply(["get", "patch"]))
    applier = caller_as(role)

    status, answer = applier.apply(config)
    assert status == 403
    assert answer["message"] == (
        f'configmaps "mine" is forbidden: User "{_user(role)}" cannot create resource "configmaps" in API group "" '
        'in the namespace "demand"'
    )

    admin.apply(_may_apply(["get", "patch", "create"]))
    assert applier.apply(config)[0] == 201
    assert applier.apply(thing("ConfigMap", "mine", "default"))[0] == 403
    assert applier.apply(thing("Service", "mine", spec={"ports": [{"port": 80}]}))[0] == 403
    assert applier.call("DELETE", "/api/v1/namespaces/demand/configmaps/mine")[0] == 403
    assert applier.apply(thing("Namespace", "other", ""))[0] == 403
    assert applier.apply(_may_apply(["*"]))[0] == 403


def _user(role: str) -> str:
    return f"arn:aws:sts::000000000000:assumed-role/{role.rpartition('/')[2]}/applier"


def test_names_restrict_all_but_create(
    cloud: Cloud, admin: Caller, cluster_name: str, make_role: Callable[..., str], caller_as: Callable[..., Caller]
) -> None:
    """https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources."""
    role = make_role()
    cloud.client("eks").create_access_entry(clusterName=cluster_name, principalArn=role, kubernetesGroups=["named"])
    admin.apply(thing("ConfigMap", "known"))
    admin.apply(_binding("named"))
    admin.apply(_may_apply(["get", "patch", "create"], ["known", "unknown"]))
    applier = caller_as(role)

    assert applier.apply(thing("ConfigMap", "known", data={"a": "1"}))[0] == 200
    assert applier.apply(thing("ConfigMap", "unknown"))[0] == 403
    assert applier.call("GET", "/api/v1/namespaces/demand/configmaps")[0] == 403


def test_an_access_policy_reaches_its_namespaces_and_goes_with_the_entry(
    cloud: Cloud, admin: Caller, cluster_name: str, make_role: Callable[..., str], caller_as: Callable[..., Caller]
) -> None:
    """https://docs.aws.amazon.com/eks/latest/userguide/access-policies.html (access scope, namespaces with a wildcard)."""
    role, eks = make_role(), cloud.client("eks")
    eks.create_access_entry(clusterName=cluster_name, principalArn=role)
    eks.associate_access_policy(
        clusterName=cluster_name, principalArn=role, policyArn=f"{POLICY}AmazonEKSEditPolicy",
        accessScope={"type": "namespace", "namespaces": ["dem*"]},
    )  # fmt: skip
    editor = caller_as(role)

    assert editor.apply(thing("ConfigMap", "edited"))[0] == 201
    assert editor.apply(thing("ConfigMap", "edited", "default"))[0] == 403
    assert editor.apply(_may_apply(["*"]))[0] == 403
    assert editor.call("GET", "/api/v1/namespaces/demand")[0] == 200
    eks.delete_access_entry(clusterName=cluster_name, principalArn=role)
    assert editor.call("GET", "/api/v1/namespaces/demand/configmaps")[0] == 401


def test_a_binding_may_name_a_user_facing_role(
    cloud: Cloud, admin: Caller, cluster_name: str, make_role: Callable[..., str], caller_as: Callable[..., Caller]
) -> None:
    """https://kubernetes.io/docs/reference/access-authn-authz/rbac/#user-facing-roles."""
    role = make_role()
    cloud.client("eks").create_access_entry(clusterName=cluster_name, principalArn=role, username="viewer")
    reference = {"kind": "ClusterRole", "apiGroup": "rbac.authorization.k8s.io", "name": "view"}
    subject = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "viewer"}
    admin.apply(thing("RoleBinding", "viewers", api=RBAC, subjects=[subject], roleRef=reference))
    viewer = caller_as(role)

    assert viewer.call("GET", "/api/v1/namespaces/demand/configmaps")[0] == 200
    assert viewer.apply(thing("ConfigMap", "seen"))[1]["message"].startswith(
        'configmaps "seen" is forbidden: User "viewer"'
    )


def test_an_old_key_signs_nothing(cloud: Cloud, admin: Caller, cluster_name: str) -> None:
    """The signature is verified with the secret of the key that it names."""
    forged = sign(cluster_name, {"aws_access_key_id": "test", "aws_secret_access_key": "guessed"})

    assert Caller(admin.endpoint, forged).call("GET", "/version")[0] == 401
