"""Authorization in a cluster: access entries, access policies, RBAC.

The API server's paths and responses: https://kubernetes.io/docs/reference/using-api/api-concepts/.
"""

from collections.abc import Callable
from typing import Any

import pytest
from tests.local.kubernetes.conftest import APPLY, MERGE, Caller, path, sign, thing

from mlops_local.cloud import Cloud
from mlops_local.kubernetes.api_server import Server
from mlops_local.kubernetes.cluster_objects import Objects

RBAC = "rbac.authorization.k8s.io/v1"
POLICY = "arn:aws:eks::aws:cluster-access-policy/"


CONFIG = thing("ConfigMap", "settings", data={"a": "1"})


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
    """IAM permissions alone grant nothing: https://docs.aws.amazon.com/eks/latest/userguide/access-entries.html."""
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
    """The signature is verified with the secret of the named key."""
    forged = sign(cluster_name, {"aws_access_key_id": "test", "aws_secret_access_key": "guessed"})

    assert Caller(admin.endpoint, forged).call("GET", "/version")[0] == 401


def test_what_is_applied_can_be_read_listed_and_deleted(admin: Caller) -> None:
    """201 for the first apply, 200 for the next, 404 after the deletion."""
    assert admin.apply(CONFIG)[0] == 201
    assert admin.apply({**CONFIG, "data": {"b": "2"}})[0] == 200
    assert admin.get(CONFIG)["data"] == {"b": "2"}
    listed = admin.call("GET", "/api/v1/namespaces/demand/configmaps")[1]
    assert listed["kind"] == "ConfigMapList"
    assert "settings" in [item["metadata"]["name"] for item in listed["items"]]

    status, answer = admin.call("DELETE", path(CONFIG))

    assert (status, answer["status"], answer["details"]["name"]) == (200, "Success", "settings")
    status, answer = admin.call("GET", path(CONFIG))
    assert (status, answer["reason"], answer["message"]) == (404, "NotFound", 'configmaps "settings" not found')


def test_a_list_is_filtered_by_labels(admin: Caller) -> None:
    """https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#list-and-watch-filtering."""
    admin.apply(thing("ConfigMap", "blue", metadata={"labels": {"slot": "blue"}}))
    admin.apply(thing("ConfigMap", "green", metadata={"labels": {"slot": "green"}}))

    found = admin.call("GET", "/api/v1/configmaps?labelSelector=slot%3Dgreen")[1]["items"]

    assert [item["metadata"]["name"] for item in found] == ["green"]


def test_a_conflict_names_field_and_manager(admin: Caller) -> None:
    """https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts."""
    manifest = thing("ConfigMap", "contested", data={"a": "1"})
    admin.apply(manifest, manager="kubectl")

    status, answer = admin.apply({**manifest, "data": {"a": "2"}})

    assert (status, answer["reason"]) == (409, "Conflict")
    assert answer["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl"', "field": ".data.a"}
    ]
    assert admin.get(manifest)["data"] == {"a": "1"}
    assert admin.apply({**manifest, "data": {"a": "2"}}, "&force=true")[0] == 200


def test_a_dry_run_changes_nothing(admin: Caller) -> None:
    """dryRun=All, and nothing else."""
    manifest = thing("ConfigMap", "dry")

    assert admin.apply(manifest, "&dryRun=All")[0] == 201
    assert admin.call("GET", path(manifest))[0] == 404
    assert admin.apply(manifest, "&dryRun=Some")[0] == 422


_A = "/api/v1/namespaces/demand/configmaps/a"
_MINE = f"{_A}?fieldManager=m"


@pytest.mark.parametrize(
    ("method", "address", "body", "media", "expected"),
    [
        ("GET", "/apis/batch/v1/namespaces/demand/jobs", None, MERGE, (404, "NotFound")),
        ("GET", "/apis/apps/v1/namespaces/demand/deployments/a/eviction", None, MERGE, (404, "NotFound")),
        ("PUT", _A, "{}", MERGE, (405, "MethodNotAllowed")),
        ("PATCH", "/api/v1/namespaces/demand/pods/a", "{}", MERGE, (405, "MethodNotAllowed")),
        ("PATCH", _A, "{}", "application/json-patch+json", (415, "UnsupportedMediaType")),
        ("PATCH", _MINE, "{", APPLY, (400, "BadRequest")),
        ("PATCH", _MINE, thing("ConfigMap", "b"), APPLY, (400, "BadRequest")),
        ("PATCH", _MINE, thing("Secret", "a"), APPLY, (400, "BadRequest")),
        ("PATCH", _MINE, thing("ConfigMap", "a", "else"), APPLY, (400, "BadRequest")),
        ("PATCH", _A, thing("ConfigMap", "a"), APPLY, (422, "Invalid")),
        ("PATCH", "/api/v1/namespaces/demand/configmaps/none", "{}", MERGE, (404, "NotFound")),
        ("PATCH", "/api/v1/configmaps/a?fieldManager=m", thing("ConfigMap", "a"), APPLY, (404, "NotFound")),
        ("DELETE", "/api/v1/namespaces/demand/configmaps/none", None, MERGE, (404, "NotFound")),
    ],
)
def test_what_is_refused_and_why(
    admin: Caller, method: str, address: str, body: Any, media: str, expected: tuple[int, str]
) -> None:
    """Status codes and reasons of the API conventions, "HTTP Status codes"."""
    status, answer = admin.call(method, address, body, media)

    assert (status, answer["reason"]) == expected
    assert answer["kind"] == "Status"


def test_a_schema_is_held_to(admin: Caller, deployment: Callable[..., dict[str, Any]]) -> None:
    """An unknown field is a bad request, a wrong value invalid."""
    unknown = deployment("schema")
    unknown["spec"]["replicaCount"] = 2

    assert admin.apply(unknown)[1]["reason"] == "BadRequest"
    assert admin.apply(deployment("schema", minReadySeconds="soon"))[1]["reason"] == "Invalid"


def test_the_scale_of_a_deployment_is_a_resource_of_its_own(
    admin: Caller, deployment: Callable[..., dict[str, Any]]
) -> None:
    """https://kubernetes.io/docs/reference/kubernetes-api/autoscaling-resources/scale-v1/; a merge patch never conflicts."""
    manifest = deployment("scaled", replicas=0)
    admin.apply(manifest)
    scale = f"{path(manifest)}/scale?fieldManager=somebody"

    status, answer = admin.call("PATCH", scale, {"spec": {"replicas": 0}}, MERGE)
    assert (status, answer["kind"], answer["spec"]) == (200, "Scale", {"replicas": 0})
    assert admin.call("PATCH", scale, {"spec": {"replicas": -1}}, MERGE)[0] == 400
    assert admin.call("PATCH", scale, {"spec": {"replicas": 0, "paused": True}}, MERGE)[1]["spec"] == {"replicas": 0}
    assert admin.call("GET", f"{path(manifest)}/scale")[1]["status"] == {"replicas": 0}


def test_whoever_writes_the_scale_owns_the_replicas(admin: Caller, deployment: Callable[..., dict[str, Any]]) -> None:
    """An apply with another number then conflicts with the subresource."""
    manifest = deployment("owned", replicas=0, progressDeadlineSeconds=600)
    admin.apply(deployment("owned", replicas=0))
    admin.call("PATCH", f"{path(manifest)}/scale?fieldManager=scaler", {"spec": {"replicas": 1}}, MERGE)

    status, answer = admin.apply(manifest)

    assert status == 409
    assert answer["message"] == (
        'Apply failed with 1 conflict: conflict with "scaler" with subresource "scale" using apps/v1: .spec.replicas'
    )
    admin.call("DELETE", path(manifest))


def test_discovery_names_what_there_is(admin: Caller) -> None:
    """https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api."""
    assert admin.call("GET", "/version")[1]["gitVersion"].startswith("v1.")
    groups = {group["name"] for group in admin.call("GET", "/apis")[1]["groups"]}
    assert {"apps", "autoscaling", "eks.amazonaws.com", "rbac.authorization.k8s.io"} <= groups
    resources = admin.call("GET", "/apis/apps/v1")[1]["resources"]
    assert [row["kind"] for row in resources] == ["Deployment", "DaemonSet"]
    assert "Namespace" in {row["kind"] for row in admin.call("GET", "/api/v1")[1]["resources"]}
    assert admin.call("GET", "/api")[1]["versions"] == ["v1"]


def test_a_stopped_server_answers_nobody() -> None:
    """Its port is free again."""
    server = Server("none", Objects())
    server.stop()

    with pytest.raises(OSError, match="refused"):
        Caller(server.url, "").call("GET", "/version")
