"""A business unit on a cluster."""

from dataclasses import replace

import pytest
from tests.runtime.eks.samples import SPEC, TENANT, VERSION

from mlops_runtime.eks.kubernetes_objects import path, ref
from mlops_runtime.eks.manifest_checks import problems
from mlops_runtime.eks.manifests import service_manifests, slot_manifests
from mlops_runtime.eks.slot_limits import ManifestError
from mlops_runtime.eks.tenant import enforcement_manifest, tenant_manifests

_ALL = tenant_manifests(TENANT)
_MADE = {manifest["kind"]: manifest for manifest in _ALL}
_ROLES, _BINDINGS = (
    {manifest["metadata"]["name"]: manifest for manifest in _ALL if manifest["kind"] == kind}
    for kind in ("Role", "RoleBinding")
)


def test_the_namespace_comes_first_and_is_restricted() -> None:
    """With the readiness gates of both controllers, and the unit's labels."""
    labels = tenant_manifests(TENANT)[0]["metadata"]["labels"]

    assert labels == {
        "cost-centre": "4711",
        "mlops.constructs/unit": "demand",
        "app.kubernetes.io/managed-by": "mlops-constructs",
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/audit": "restricted",
        "pod-security.kubernetes.io/warn": "restricted",
        "pod-security.kubernetes.io/enforce-version": "latest",
        "eks.amazonaws.com/pod-readiness-gate-inject": "enabled",
        "elbv2.k8s.aws/pod-readiness-gate-inject": "enabled",
    }


def test_quota_and_default_deny_hold_for_whatever_runs() -> None:
    """No own load balancer, and no traffic that is not allowed."""
    hard = _MADE["ResourceQuota"]["spec"]["hard"]

    assert hard["requests.cpu"] == hard["limits.cpu"] == "64"
    assert hard["requests.memory"] == hard["limits.memory"] == "256Gi"
    assert (hard["pods"], hard["services.loadbalancers"]) == ("100", "0")
    assert _MADE["NetworkPolicy"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_the_applier_may_do_what_a_service_needs_and_nothing_else() -> None:
    """Each kind of a service's objects and the scale of Deployments, with no further verb."""
    rules = _ROLES["mlops-applier"]["rules"]
    allowed = {(group, resource) for rule in rules for group in rule["apiGroups"] for resource in rule["resources"]}
    both = [
        replace(SPEC, eks=replace(SPEC.eks, binding_api=api))
        for api in ("eks.amazonaws.com/v1", "elbv2.k8s.aws/v1beta1")
    ]
    needed = {("apps", "deployments/scale")}
    for spec in both:
        for manifest in (*service_manifests(spec), *slot_manifests(spec, "blue", VERSION)):
            group = manifest["apiVersion"].rpartition("/")[0]
            needed.add((group, path(ref(manifest)).split("/")[-2]))

    assert allowed == needed
    assert {tuple(rule["verbs"]) for rule in rules} == {("create", "delete", "get", "patch"), ("get", "patch")}
    assert _BINDINGS["mlops-applier"]["subjects"] == [
        {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "mlops:demand"}
    ]


def test_who_moves_slots_may_do_that_alone() -> None:
    """No identity, network policy or Role; only autoscalers can be deleted."""
    rules = _ROLES["mlops-slots"]["rules"]
    allowed = {(group, resource) for rule in rules for group in rule["apiGroups"] for resource in rule["resources"]}
    needed = {("apps", "deployments/scale")}
    for api in ("eks.amazonaws.com/v1", "elbv2.k8s.aws/v1beta1"):
        for manifest in slot_manifests(replace(SPEC, eks=replace(SPEC.eks, binding_api=api)), "blue", VERSION):
            needed.add((manifest["apiVersion"].rpartition("/")[0], path(ref(manifest)).split("/")[-2]))

    assert allowed == needed
    assert [rule["resources"] for rule in rules if "delete" in rule["verbs"]] == [["horizontalpodautoscalers"]]
    assert _BINDINGS["mlops-slots"]["roleRef"]["name"] == "mlops-slots"
    assert [subject["name"] for subject in _BINDINGS["mlops-slots"]["subjects"]] == ["mlops:demand:slots"]


def test_tenant_and_service_pass_the_checks_together() -> None:
    """As in a platform team's YAML."""
    made = [
        *tenant_manifests(TENANT),
        *service_manifests(SPEC),
        *slot_manifests(SPEC, "blue", VERSION),
        enforcement_manifest(),
    ]

    assert problems(made) == []


def test_enforcement_is_the_setting_of_the_network_add_on() -> None:
    """Without it Auto Mode enforces no policy."""
    made = enforcement_manifest()

    assert path(ref(made)) == "/api/v1/namespaces/kube-system/configmaps/amazon-vpc-cni"
    assert made["data"] == {"enable-network-policy-controller": "true"}


def test_a_wrong_tenant_makes_nothing() -> None:
    """All problems are reported together."""
    with pytest.raises(ManifestError, match=r"'default'.*pods must be at least 1"):
        tenant_manifests(replace(TENANT, namespace="default", pods=0))
