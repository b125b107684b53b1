"""Target group bindings: https://docs.aws.amazon.com/eks/latest/userguide/auto-configure-alb.html."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.local.kubernetes.conftest import Caller, path, thing
from tests.local.load_balancer.conftest import SUBNETS

from mlops_local.cloud import Cloud
from mlops_local.kubernetes.nodes import ZONE

AUTO, CONTROLLER = "eks.amazonaws.com/v1", "elbv2.k8s.aws/v1beta1"
Make = Callable[..., dict[str, Any]]
_TERMS = [{"matchExpressions": [{"key": ZONE, "operator": "In", "values": ["us-east-1a", "us-east-1b"]}]}]
# pods stay in the two zones of the load balancer; the cluster has three
IN_ZONES = {
    "affinity": {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": _TERMS}},
    }
}


@pytest.fixture
def group(cloud: Cloud, cluster_name: str, unique: str) -> Iterator[Callable[..., str]]:
    """Make a target group of addresses behind a listener, with the tag that Auto Mode needs or without."""
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
    """Registered when they serve, others taken out, and deregistered with their binding."""
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
    """https://docs.aws.amazon.com/eks/latest/userguide/auto-elb-example.html; the controller one installs needs no tag."""
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
    """Its target is Target.NotInUse (elbv2, TargetHealth.Reason), and the gate opens for healthy targets alone."""
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
