"""What keeps a pod from being made."""

from decimal import Decimal
from typing import Any

import pytest

from mlops_local.kubernetes import admission

_SAFE = {
    "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}  # fmt: skip


def _pod(**container: Any) -> dict[str, Any]:
    resources = {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}
    model = {"name": "model", "resources": resources, "securityContext": _SAFE, **container}
    return {"serviceAccountName": "forecast", "containers": [model]}


def _refused(
    pod: dict[str, Any],
    *,
    hard: dict[str, str] | None = None,
    running: int = 0,
    accounts: list[str] | None = None,
) -> str | None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    quotas = [{"metadata": {"name": "demand"}, "spec": {"hard": hard}}] if hard else []
    return admission.refusal(
        pod,
        namespace={"metadata": {"name": "demand", "labels": labels}},
        accounts=["forecast"] if accounts is None else accounts,
        quotas=quotas,
        running=[_pod()] * running,
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500m", "0.5"),
        ("2", "2"),
        ("1Ki", "1024"),
        ("1.5Gi", "1610612736"),
        ("3k", "3000"),
        ("2M", "2000000"),
        (2, "2"),
    ],
)
def test_quantities_stand_for_numbers(text: str | int, value: str) -> None:
    """https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/."""
    assert admission.quantity(text) == Decimal(value)


def test_a_safe_pod_within_its_quota_is_made() -> None:
    """Nothing is said of it."""
    assert _refused(_pod(), hard={"pods": "2", "requests.cpu": "1", "limits.memory": "2Gi"}, running=1) is None


def test_a_service_account_has_to_be_there() -> None:
    """The message of the ServiceAccount admission plugin."""
    assert _refused(_pod(), accounts=[]) == (
        'error looking up service account demand/forecast: serviceaccount "forecast" not found'
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"allowPrivilegeEscalation": True}, "allowPrivilegeEscalation=false"),
        ({"capabilities": {}}, 'capabilities.drop=["ALL"]'),
        ({"runAsNonRoot": False}, "runAsNonRoot=true"),
        ({"runAsUser": 0}, "runAsUser=0"),
        ({"seccompProfile": {"type": "Unconfined"}}, "seccompProfile.type"),
        ({"privileged": True}, "privileged=true"),
    ],
)
def test_the_standard_restricted_is_enforced_where_the_namespace_says_so(change: dict[str, Any], said: str) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted."""
    refused = _refused(_pod(securityContext={**_SAFE, **change}))

    assert refused is not None
    assert 'violates PodSecurity "restricted:latest"' in refused
    assert said in refused


def test_host_namespaces_and_paths_are_not_restricted() -> None:
    """The same page, for the pod as a whole."""
    pod = {**_pod(), "hostNetwork": True, "volumes": [{"name": "root", "hostPath": {"path": "/"}}]}

    assert len(admission.violations(pod)) == 2


@pytest.mark.parametrize(
    ("hard", "said"),
    [
        ({"pods": "2"}, "requested: pods=1, used: pods=2, limited: pods=2"),
        ({"requests.cpu": "1200m"}, "requested: requests.cpu=0.5, used: requests.cpu=1.0, limited: requests.cpu=1200m"),
        ({"limits.cpu": "8"}, "must specify limits.cpu for: model"),
    ],
)
def test_a_quota_counts_what_runs(hard: dict[str, str], said: str) -> None:
    """https://kubernetes.io/docs/concepts/policy/resource-quotas/: a slot that cannot start beside the one that serves."""
    assert _refused(_pod(), hard=hard, running=2) == f"exceeded quota: demand, {said}"


def test_the_largest_init_container_counts_beside_the_others() -> None:
    """https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers."""
    pod = {
        **_pod(),
        "initContainers": [{"name": "fetch", "resources": {"requests": {"cpu": "3"}}, "securityContext": _SAFE}],
    }

    assert _refused(pod, hard={"requests.cpu": "2"}) is not None
