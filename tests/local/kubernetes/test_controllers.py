"""The controllers of a cluster on the cloud: real servers come, go and are exchanged as manifests say."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.local.kubernetes.conftest import MERGE, Caller, path, thing

from mlops_local.cloud import Cloud

Make = Callable[..., dict[str, Any]]
PODS = "/api/v1/namespaces/demand/pods?labelSelector="


def _status(admin: Caller, manifest: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = admin.get(manifest).get("status", {})
    return found


def _pods(admin: Caller, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = admin.call("GET", f"{PODS}app%3D{name}")[1]["items"]
    return found


def _is_done(admin: Caller, manifest: dict[str, Any], pods: int) -> bool:
    status = _status(admin, manifest)
    generation = admin.get(manifest)["metadata"]["generation"]
    return (
        status.get("observedGeneration") == generation
        and [status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas")] == [pods] * 3
    )


def test_a_deployment_is_real_servers_and_its_template_is_exchanged(
    admin: Caller, deployment: Make, wait_for: Callable[..., Any]
) -> None:
    """Ready, exchanged one by one, and gone with their Deployment."""
    manifest = deployment("rolled", replicas=2)
    assert admin.apply(manifest)[0] == 201
    wait_for(lambda: _is_done(admin, manifest, 2))
    first = {pod["metadata"]["name"] for pod in _pods(admin, "rolled")}
    assert len(first) == 2

    admin.apply(deployment("rolled", replicas=2, version="v2"))
    wait_for(lambda: _is_done(admin, manifest, 2) and len(_pods(admin, "rolled")) == 2)

    second = {pod["metadata"]["name"] for pod in _pods(admin, "rolled")}
    assert first.isdisjoint(second)
    log = admin.call("GET", f"/api/v1/namespaces/demand/pods/{second.pop()}/log")[1]
    assert "serving v2" in log
    admin.call("DELETE", path(manifest))
    wait_for(lambda: _pods(admin, "rolled") == [])


def test_the_minimum_of_an_autoscaler_holds_and_a_slot_at_rest_is_left_alone(
    cloud: Cloud, cluster_name: str, admin: Caller, deployment: Make, wait_for: Callable[..., Any]
) -> None:
    """https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#implicit-maintenance-mode-deactivation."""
    manifest = deployment("slot")
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "slot"}
    spec = {"scaleTargetRef": reference, "minReplicas": 2, "maxReplicas": 3}
    scaler = thing("HorizontalPodAutoscaler", "slot", api="autoscaling/v2", spec=spec)
    admin.apply(scaler)
    admin.apply(manifest)
    wait_for(lambda: _is_done(admin, manifest, 2))
    assert admin.get(scaler)["status"]["desiredReplicas"] == 2
    active = admin.get(scaler)["status"]["conditions"][0]
    assert (active["status"], active["reason"]) == ("False", "FailedGetResourceMetric")
    cloud.client("eks").create_addon(clusterName=cluster_name, addonName="metrics-server")
    wait_for(lambda: admin.get(scaler)["status"]["conditions"][0]["status"] == "True")

    status, answer = admin.apply(deployment("slot", replicas=0))
    assert (status, answer["details"]["causes"][0]["field"]) == (409, ".spec.replicas")
    admin.call("PATCH", f"{path(manifest)}/scale?fieldManager=mlops-constructs", {"spec": {"replicas": 0}}, MERGE)

    wait_for(lambda: _is_done(admin, manifest, 0) and _pods(admin, "slot") == [])
    assert admin.get(manifest)["spec"]["replicas"] == 0
    assert admin.get(scaler)["status"]["conditions"][0]["reason"] == "ScalingDisabled"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pod": {"serviceAccountName": "nobody"}}, 'serviceaccount "nobody" not found'),
        ({"container": {"image": "elsewhere/model@sha256:0"}}, "no runner for image repository 'elsewhere/model'"),
    ],
)
def test_what_keeps_a_slot_from_running_can_be_read(
    admin: Caller, deployment: Make, wait_for: Callable[..., Any], change: dict[str, Any], said: str
) -> None:
    """At the Deployment when no pod can be made, at the pod when its container cannot."""
    manifest = deployment("stuck", replicas=1, **change)
    admin.apply(manifest)

    def told() -> str:
        states = [pod["status"]["containerStatuses"][0]["state"] for pod in _pods(admin, "stuck")]
        rows = [row.get("message", "") for row in _status(admin, manifest).get("conditions", [])]
        return " ".join([*rows, *(state.get("waiting", {}).get("message", "") for state in states)])

    wait_for(lambda: said in told())
    assert "readyReplicas" not in _status(admin, manifest)
    admin.call("DELETE", path(manifest))
    wait_for(lambda: _pods(admin, "stuck") == [])


def test_a_quota_that_two_slots_exceed_stops_the_second(
    admin: Caller, deployment: Make, wait_for: Callable[..., Any]
) -> None:
    """Both slots are there while a version is baked; a quota for one alone says so at the Deployment."""
    assert admin.apply(thing("Namespace", "tight", ""))[0] in {200, 201}
    admin.apply(thing("ServiceAccount", "forecast", "tight"))
    admin.apply(thing("ResourceQuota", "pods", "tight", spec={"hard": {"pods": "1"}}))
    manifest = deployment("both", replicas=2)
    manifest["metadata"]["namespace"] = "tight"
    admin.apply(manifest)

    def failed() -> bool:
        rows = {row["type"]: row for row in _status(admin, manifest).get("conditions", [])}
        return "exceeded quota: pods" in rows.get("ReplicaFailure", {}).get("message", "")

    wait_for(failed)
    wait_for(lambda: _status(admin, manifest).get("readyReplicas") == 1)
    admin.call("DELETE", "/api/v1/namespaces/tight")


def test_pods_are_told_to_whoever_asks_for_the_clouds_state(
    cloud: Cloud, admin: Caller, deployment: Make, wait_for: Callable[..., Any], cluster_name: str
) -> None:
    """Their ports and restarts, as ``mlops local status`` shows them."""
    manifest = deployment("told", replicas=1)
    admin.apply(manifest)
    wait_for(lambda: _is_done(admin, manifest, 1))

    clusters = {row["name"]: row for row in cloud.call("/_mlops/clusters")["clusters"]}

    (pod,) = [pod for pod in clusters[cluster_name]["pods"] if pod["name"].startswith("told-")]
    assert (pod["state"], pod["ready"], pod["restarts"]) == ("Running", True, 0)
    admin.call("DELETE", path(manifest))
