"""The controllers of a cluster: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/.

Conditions that prevent the creation of a pod.

Target group bindings: https://docs.aws.amazon.com/eks/latest/userguide/auto-configure-alb.html.

On the cloud real servers start, stop and are replaced according to manifests.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.local.kubernetes.conftest import MERGE, Caller, path, thing
from tests.local.load_balancer.conftest import SUBNETS

from mlops_local.cloud import Cloud
from mlops_local.kubernetes import controllers
from mlops_local.kubernetes.controllers import Seen
from mlops_local.kubernetes.nodes import ZONE

_SAFE = {
    "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}  # fmt: skip


AUTO, CONTROLLER = "eks.amazonaws.com/v1", "elbv2.k8s.aws/v1beta1"
Make = Callable[..., dict[str, Any]]
_TERMS = [{"matchExpressions": [{"key": ZONE, "operator": "In", "values": ["us-east-1a", "us-east-1b"]}]}]
# pods stay in the load balancer's two zones; the cluster has three
IN_ZONES = {
    "affinity": {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": _TERMS}},
    }
}


PODS = "/api/v1/namespaces/demand/pods?labelSelector="


def _deployment(
    replicas: int, *, version: str = "v2", surge: Any = "25%", unavailable: Any = 0, kind: str = "RollingUpdate"
) -> dict[str, Any]:
    strategy = {"type": kind, "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    spec = {"replicas": replicas, "strategy": strategy, "template": {"image": version}}
    return {"metadata": {"name": "forecast-blue", "generation": 3}, "spec": spec}


def _hash(version: str) -> str:
    return controllers.template_hash(_deployment(1, version=version))


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [(10, "25%", "25%", (3, 2)), (2, "25%", 0, (1, 0)), (4, 1, 1, (1, 1)), (3, 0, "10%", (0, 1))],
)
def test_percentages_round_up_for_the_surge_and_down_for_the_rest(
    replicas: int, surge: Any, unavailable: Any, expected: tuple[int, int]
) -> None:
    """The page's sections on max surge and max unavailable; both cannot be 0."""
    assert controllers.bounds(_deployment(replicas, surge=surge, unavailable=unavailable)) == expected


def test_recreate_ends_all_before_it_starts_any() -> None:
    """The page's section on Recreate."""
    old = [Seen("a", _hash("v1"), True), Seen("b", _hash("v1"), False, True)]
    deployment = _deployment(2, kind="Recreate")

    assert controllers.next_step(deployment, old) == controllers.Step(end=("a",))
    assert controllers.next_step(deployment, []) == controllers.Step(start=2)


@given(
    replicas=st.integers(0, 5), old=st.integers(0, 5), surge=st.integers(0, 3), unavailable=st.integers(0, 3), choices=st.randoms()
)  # fmt: skip
def test_a_rollout_keeps_its_bounds_and_ends(
    replicas: int, old: int, surge: int, unavailable: int, choices: Any
) -> None:
    """Pods become ready and stop in any order: at most the surge, at least the allowed number ready, and finally all are new."""
    deployment = _deployment(replicas, surge=surge, unavailable=unavailable)
    allowed = controllers.bounds(deployment)
    pods = [Seen(f"old{n}", _hash("v1"), True) for n in range(old)]
    floor = min(old, max(replicas - allowed[1], 0))
    for turn in range(60):
        step = controllers.next_step(deployment, pods)
        pods = [Seen(p.name, p.template, p.is_ready, p.is_going or p.name in step.end) for p in pods]
        pods += [Seen(f"new{turn}-{n}", _hash("v2"), False) for n in range(step.start)]
        living = [p for p in pods if not p.is_going]
        assert len(living) <= max(old, replicas + allowed[0])
        assert sum(p.is_ready for p in living) >= floor
        pods = [p for p in pods if not (p.is_going and choices.random() < 0.7)]
        pods = [Seen(p.name, p.template, p.is_ready or choices.random() < 0.7, p.is_going) for p in pods]

    pods = [p for p in pods if not p.is_going]
    assert [p.template for p in pods] == [_hash("v2")] * replicas
    assert controllers.next_step(deployment, pods) == controllers.Step()


def _conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {row["type"]: (row["status"], row["reason"]) for row in status["conditions"]}


def test_a_status_at_rest() -> None:
    """The page's section on a complete Deployment."""
    pods = [Seen("a", _hash("v2"), True), Seen("b", _hash("v2"), True)]

    status = controllers.deployment_status(_deployment(2), pods, failure=None, is_late=True)

    assert _conditions(status)["Progressing"] == ("True", "NewReplicaSetAvailable")
    assert _conditions(status)["Available"] == ("True", "MinimumReplicasAvailable")
    assert {k: v for k, v in status.items() if k != "conditions"} == {
        "observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2
    }  # fmt: skip


def test_a_status_that_is_late_names_the_deadline() -> None:
    """The page's section on a failed Deployment: ProgressDeadlineExceeded."""
    status = controllers.deployment_status(_deployment(2), [Seen("a", _hash("v2"), False)], failure=None, is_late=True)

    assert _conditions(status)["Progressing"] == ("False", "ProgressDeadlineExceeded")
    assert status["unavailableReplicas"] == 2
    assert "readyReplicas" not in status


def test_a_pod_that_cannot_be_made_is_a_condition() -> None:
    """ReplicaFailure with the reason FailedCreate."""
    status = controllers.deployment_status(_deployment(1), [], failure="exceeded quota: demand", is_late=False)

    assert _conditions(status)["ReplicaFailure"] == ("True", "FailedCreate")
    assert "exceeded quota" in status["conditions"][-1]["message"]


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
    return controllers.refusal(
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
    assert controllers.quantity(text) == Decimal(value)


def test_a_safe_pod_within_its_quota_is_made() -> None:
    """There is no condition."""
    assert _refused(_pod(), hard={"pods": "2", "requests.cpu": "1", "limits.memory": "2Gi"}, running=1) is None


def test_a_service_account_has_to_be_there() -> None:
    """The message of the ServiceAccount admission plugin."""
    assert _refused(_pod(), accounts=[]) == (
        'error looking up service account demand/forecast: serviceaccount "forecast" not found'
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"allowPrivilegeEscalation": True}, "allowPrivilegeEscalation=false"),
        ({"capabilities": {}}, 'capabilities.drop=["ALL"]'),
        ({"runAsNonRoot": False}, "runAsNonRoot=true"),
        ({"runAsUser": 0}, "runAsUser=0"),
        ({"seccompProfile": {"type": "Unconfined"}}, "seccompProfile.type"),
        ({"privileged": True}, "privileged=true"),
    ],
)
def test_the_standard_restricted_is_enforced_where_the_namespace_says_so(change: dict[str, Any], message: str) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted."""
    refused = _refused(_pod(securityContext={**_SAFE, **change}))

    assert refused is not None
    assert 'violates PodSecurity "restricted:latest"' in refused
    assert message in refused


def test_host_namespaces_and_paths_are_not_restricted() -> None:
    """The same page, for the pod as a whole."""
    pod = {**_pod(), "hostNetwork": True, "volumes": [{"name": "root", "hostPath": {"path": "/"}}]}

    assert len(controllers.violations(pod)) == 2


@pytest.mark.parametrize(
    ("hard", "message"),
    [
        ({"pods": "2"}, "requested: pods=1, used: pods=2, limited: pods=2"),
        ({"requests.cpu": "1200m"}, "requested: requests.cpu=0.5, used: requests.cpu=1.0, limited: requests.cpu=1200m"),
        ({"limits.cpu": "8"}, "must specify limits.cpu for: model"),
    ],
)
def test_a_quota_counts_what_runs(hard: dict[str, str], message: str) -> None:
    """https://kubernetes.io/docs/concepts/policy/resource-quotas/: a slot that cannot start beside the serving one."""
    assert _refused(_pod(), hard=hard, running=2) == f"exceeded quota: demand, {message}"


def test_the_largest_init_container_counts_beside_the_others() -> None:
    """https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers."""
    pod = {
        **_pod(),
        "initContainers": [{"name": "fetch", "resources": {"requests": {"cpu": "3"}}, "securityContext": _SAFE}],
    }

    assert _refused(pod, hard={"requests.cpu": "2"}) is not None


@pytest.fixture
def group(cloud: Cloud, cluster_name: str, unique: str) -> Iterator[Callable[..., str]]:
    """Make a target group of addresses behind a listener, with or without the tag that Auto Mode requires."""
    elb, balancers = cloud.client("elbv2"), list[str]()

    def make(*, tagged: bool = True, used: bool = True) -> str:
        tags = [{"Key": "eks:eks-cluster-name", "Value": cluster_name}] if tagged else [{"Key": "a", "Value": "b"}]
        arn = elb.create_target_group(
            Name=unique, Protocol="HTTP", Port=8080, TargetType="ip", VpcId="vpc-1", HealthCheckPath="/ping", Tags=tags
        )["TargetGroups"][0]["TargetGroupArn"]
        if used:
            balancer = elb.create_load_balancer(Name=unique, Subnets=SUBNETS)["LoadBalancers"][0]["LoadBalancerArn"]
            balancers.append(balancer)
            action = {"Type": "forward", "TargetGroupArn": arn}
            elb.create_listener(LoadBalancerArn=balancer, Port=80, Protocol="HTTP", DefaultActions=[action])
        return str(arn)

    yield make
    for balancer in balancers:
        elb.delete_load_balancer(LoadBalancerArn=balancer)


def _bound(name: str, arn: str, *, api: str = AUTO, namespace: str = "demand") -> list[dict[str, Any]]:
    service = thing(
        "Service", name, namespace, spec={"selector": {"app": name}, "ports": [{"port": 80, "targetPort": "http"}]}
    )
    spec = {"serviceRef": {"name": name, "port": 80}, "targetGroupARN": arn, "targetType": "ip"}
    return [service, thing("TargetGroupBinding", name, namespace, api=api, spec=spec)]


def _targets(cloud: Cloud, arn: str) -> list[str]:
    rows = cloud.client("elbv2").describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    return [row["TargetHealth"]["State"] for row in rows if row["TargetHealth"]["State"] != "draining"]


def test_pods_are_the_targets_of_their_group(
    cloud: Cloud, admin: Caller, deployment: Make, group: Callable[..., str], wait_for: Callable[..., Any]
) -> None:
    """Ready pods are registered, other targets removed, and all are deregistered with their binding."""
    arn, name, elb = group(), "bound", cloud.client("elbv2")
    elb.register_targets(TargetGroupArn=arn, Targets=[{"Id": "127.0.0.1", "Port": 9}])
    manifest = deployment(name, replicas=2, pod=IN_ZONES)
    for row in [manifest, *_bound(name, arn)]:
        assert admin.apply(row)[0] == 201

    wait_for(lambda: _targets(cloud, arn) == ["healthy", "healthy"])

    ports = [
        pod["port"]
        for row in cloud.call("/_mlops/clusters")["clusters"]
        for pod in row["pods"]
        if "bound" in pod["name"]
    ]
    health = elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    assert sorted(row["Target"]["Port"] for row in health if row["TargetHealth"]["State"] == "healthy") == sorted(ports)
    admin.call("DELETE", path(_bound(name, arn)[1]))
    wait_for(lambda: _targets(cloud, arn) == [])
    states = [row["TargetHealth"] for row in elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]]
    assert {state["Reason"] for state in states} == {"Target.DeregistrationInProgress"}
    admin.call("DELETE", path(manifest))


def test_auto_mode_leaves_a_group_without_its_tag_alone(
    cloud: Cloud, admin: Caller, deployment: Make, group: Callable[..., str], wait_for: Callable[..., Any]
) -> None:
    """https://docs.aws.amazon.com/eks/latest/userguide/auto-elb-example.html; a self-installed controller needs no tag."""
    arn, name = group(tagged=False), "untagged"
    manifest = deployment(name, replicas=1, pod=IN_ZONES)
    for row in [manifest, *_bound(name, arn)]:
        admin.apply(row)
    wait_for(lambda: admin.get(manifest).get("status", {}).get("readyReplicas") == 1)
    assert _targets(cloud, arn) == []

    admin.call("DELETE", path(_bound(name, arn)[1]))
    admin.apply(_bound(name, arn, api=CONTROLLER)[1])

    wait_for(lambda: _targets(cloud, arn) == ["healthy"])
    admin.call("DELETE", path(manifest))
    wait_for(lambda: _targets(cloud, arn) == [])


def test_a_pod_behind_a_gate_is_ready_once_its_target_is_healthy(
    cloud: Cloud, admin: Caller, deployment: Make, group: Callable[..., str], wait_for: Callable[..., Any]
) -> None:
    """https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/deploy/pod_readiness_gate/."""
    labels = {"eks.amazonaws.com/pod-readiness-gate-inject": "enabled"}
    admin.apply(thing("Namespace", "gated", "", metadata={"labels": labels}))
    admin.apply(thing("ServiceAccount", "forecast", "gated"))
    arn = group()
    cloud.client("elbv2").modify_target_group(TargetGroupArn=arn, HealthCheckPath="/ping", Matcher={"HttpCode": "404"})
    manifest = deployment("gate", replicas=1, pod=IN_ZONES)
    manifest["metadata"]["namespace"] = "gated"
    for row in [*_bound("gate", arn, namespace="gated"), manifest]:
        assert admin.apply(row)[0] == 201
    wait_for(lambda: _targets(cloud, arn) == ["unhealthy"])
    assert "readyReplicas" not in admin.get(manifest)["status"]
    rows = cloud.client("elbv2").describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    assert [row["TargetHealth"]["Reason"] for row in rows] == ["Target.ResponseCodeMismatch"]

    cloud.client("elbv2").modify_target_group(
        TargetGroupArn=arn, Matcher={"HttpCode": "200"}, HealthyThresholdCount=2, HealthCheckIntervalSeconds=5
    )
    cloud.clock_scale(60)
    try:
        wait_for(lambda: admin.get(manifest).get("status", {}).get("readyReplicas") == 1)
    finally:
        cloud.clock_scale(1)
    admin.call("DELETE", "/api/v1/namespaces/gated")


def test_a_pod_in_a_zone_without_the_balancer_is_never_ready(
    cloud: Cloud, admin: Caller, deployment: Make, group: Callable[..., str], wait_for: Callable[..., Any]
) -> None:
    """Its target is Target.NotInUse (elbv2, TargetHealth.Reason), and the gate opens for healthy targets only."""
    labels = {"eks.amazonaws.com/pod-readiness-gate-inject": "enabled"}
    admin.apply(thing("Namespace", "zoned", "", metadata={"labels": labels}))
    admin.apply(thing("ServiceAccount", "forecast", "zoned"))
    arn = group()
    anywhere = deployment("zones", replicas=3)
    chosen = deployment("zones", replicas=3, pod=IN_ZONES)
    for manifest in (anywhere, chosen):
        manifest["metadata"]["namespace"] = "zoned"
    for row in [*_bound("zones", arn, namespace="zoned"), anywhere]:
        assert admin.apply(row)[0] == 201

    wait_for(lambda: sorted(_targets(cloud, arn)) == ["healthy", "healthy", "unused"])
    rows = cloud.client("elbv2").describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    (unused,) = [row["TargetHealth"] for row in rows if row["TargetHealth"]["State"] == "unused"]
    assert unused["Reason"] == "Target.NotInUse"
    assert "Availability Zone that is not enabled" in unused["Description"]
    assert admin.get(anywhere)["status"]["readyReplicas"] == 2

    assert admin.apply(chosen)[0] == 200
    wait_for(lambda: admin.get(chosen).get("status", {}).get("updatedReplicas") == 3)
    wait_for(
        lambda: (
            admin.get(chosen).get("status", {}).get("readyReplicas") == 3 and _targets(cloud, arn) == ["healthy"] * 3
        )
    )
    admin.call("DELETE", "/api/v1/namespaces/zoned")


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
    """They become ready, are replaced one by one, and stop with their Deployment."""
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


def test_a_deployment_that_is_made_again_has_none_of_the_pods_before(
    admin: Caller, deployment: Make, wait_for: Callable[..., Any]
) -> None:
    """Pods belong to the object, not to its name: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#uids."""
    manifest = deployment("again", replicas=2)

    def names() -> list[str]:
        return [pod["metadata"]["name"] for pod in _pods(admin, "again")]

    admin.apply(manifest)
    wait_for(lambda: _is_done(admin, manifest, 2))
    before = set(names())
    admin.call("DELETE", path(manifest))
    admin.apply(manifest)
    wait_for(lambda: _is_done(admin, manifest, 2) and len(names()) == 2)
    assert before.isdisjoint(names())
    admin.call("DELETE", path(manifest))
    wait_for(lambda: names() == [])


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
    ("change", "message"),
    [
        ({"pod": {"serviceAccountName": "nobody"}}, 'serviceaccount "nobody" not found'),
        ({"container": {"image": "elsewhere/model@sha256:0"}}, "no runner for image repository 'elsewhere/model'"),
    ],
)
def test_what_keeps_a_slot_from_running_can_be_read(
    admin: Caller, deployment: Make, wait_for: Callable[..., Any], change: dict[str, Any], message: str
) -> None:
    """On the Deployment if no pod can be created, on the pod if its container cannot start."""
    manifest = deployment("stuck", replicas=1, **change)
    admin.apply(manifest)

    def reported() -> str:
        states = [pod["status"]["containerStatuses"][0]["state"] for pod in _pods(admin, "stuck")]
        rows = [row.get("message", "") for row in _status(admin, manifest).get("conditions", [])]
        return " ".join([*rows, *(state.get("waiting", {}).get("message", "") for state in states)])

    wait_for(lambda: message in reported())
    assert "readyReplicas" not in _status(admin, manifest)
    admin.call("DELETE", path(manifest))
    wait_for(lambda: _pods(admin, "stuck") == [])


def test_a_quota_that_two_slots_exceed_stops_the_second(
    admin: Caller, deployment: Make, wait_for: Callable[..., Any]
) -> None:
    """Both slots run during a bake; a quota for one slot is reported on the Deployment."""
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
