"""Scheduling of pods: https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.local.kubernetes.conftest import Caller, path, sign

from mlops_local.cloud import Cloud
from mlops_local.kubernetes import nodes
from mlops_local.kubernetes.nodes import ZONE, Neighbour

NODES = nodes.Pool([]).nodes
LABELS = {"app": "model"}


def _required(*expressions: dict[str, Any]) -> dict[str, Any]:
    terms = [{"matchExpressions": [expression]} for expression in expressions]
    return {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    }


def _zones(spec: dict[str, Any], count: int) -> list[str]:
    """Return the zones of pods that are scheduled one after the other."""
    placed: list[Neighbour] = []
    for _ in range(count):
        node = nodes.place(spec, LABELS, NODES, placed)
        assert node is not None
        placed.append(Neighbour(LABELS, node.name))
    zones = {node.name: node.zone for node in NODES}
    return [zones[pod.node] for pod in placed]


def test_pods_of_one_template_are_spread_over_all_zones() -> None:
    """https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/#internal-default-constraints."""
    assert len(set(_zones({}, 3))) == 3
    assert len(set(_zones({}, 2))) == 2


@pytest.mark.parametrize(
    ("expression", "zones"),
    [
        ({"operator": "In", "values": ["us-east-1a", "us-east-1b"]}, {"us-east-1a", "us-east-1b"}),
        ({"operator": "NotIn", "values": ["us-east-1a"]}, {"us-east-1b", "us-east-1c"}),
        ({"operator": "Exists"}, {"us-east-1a", "us-east-1b", "us-east-1c"}),
    ],
)
def test_a_required_affinity_is_kept(expression: dict[str, Any], zones: set[str]) -> None:
    """For each operator, whatever the number of pods."""
    assert set(_zones(_required({"key": ZONE, **expression}), 6)) == zones


def test_terms_are_alternatives() -> None:
    """Of several nodeSelectorTerms, "the Pod can be scheduled onto a node if one of the specified terms can be satisfied"."""
    spec = _required(
        {"key": ZONE, "operator": "In", "values": ["us-east-1a"]},
        {"key": ZONE, "operator": "In", "values": ["us-east-1b"]},
    )
    assert set(_zones(spec, 4)) == {"us-east-1a", "us-east-1b"}


def test_a_selector_and_an_affinity_hold_together() -> None:
    """Kubernetes' page: "If you specify both nodeSelector and nodeAffinity, both must be satisfied"."""
    spec = {"nodeSelector": {"kubernetes.io/arch": "arm64"}, **_required({"key": ZONE, "operator": "Exists"})}
    node = nodes.place(spec, LABELS, NODES, [])
    assert node is not None
    assert node.labels["kubernetes.io/arch"] == "arm64"
    assert nodes.place({"nodeSelector": {"kubernetes.io/arch": "s390x"}}, LABELS, NODES, []) is None
    assert nodes.place(_required({"key": ZONE, "operator": "DoesNotExist"}), LABELS, NODES, []) is None


def test_a_network_of_another_region_has_the_zones_that_pods_require() -> None:
    """Without a subnet in this cloud the zones are unknown, so those that a pod names are assumed to exist."""
    spec = _required({"key": ZONE, "operator": "In", "values": ["eu-central-1a", "us-east-1a"]})
    shared = nodes.Pool(["subnet-0shared1"])

    assert {node.zone for node in shared.grow(spec)} == {"eu-central-1a"}
    assert shared.grow(spec) == []
    assert {node.zone for node in shared.nodes} > {"eu-central-1a", "us-east-1a"}


def test_a_cluster_in_subnets_of_this_cloud_has_their_zones_alone(cloud: Cloud, unique: str, make_role: Any) -> None:
    """Each node's zone is that of one of its subnets: https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html."""
    eks, subnets = cloud.client("eks"), ["subnet-00000001", "subnet-00000003"]
    eks.create_cluster(
        name=unique,
        roleArn=make_role(service="eks.amazonaws.com"),
        resourcesVpcConfig={"subnetIds": subnets},
        accessConfig={"authenticationMode": "API"},
    )
    endpoint = eks.describe_cluster(name=unique)["cluster"]["endpoint"]
    caller = Caller(endpoint, sign(unique, cloud.root_keys()))

    items = caller.call("GET", "/api/v1/nodes")[1]["items"]

    assert {item["metadata"]["labels"][ZONE] for item in items} == {"us-east-1a", "us-east-1c"}
    eks.delete_cluster(name=unique)


def test_a_pod_that_fits_nowhere_waits_and_says_why(
    admin: Caller, deployment: Callable[..., dict[str, Any]], wait_for: Callable[..., Any]
) -> None:
    """Pending, with the scheduler's condition; no container runs."""
    manifest = deployment("nowhere", replicas=1, pod={"nodeSelector": {"kubernetes.io/arch": "s390x"}})
    admin.apply(manifest)

    def reported() -> Any:
        items = admin.call("GET", "/api/v1/namespaces/demand/pods?labelSelector=app%3Dnowhere")[1]["items"]
        return items and items[0]["status"]

    status = wait_for(reported)
    condition = next(row for row in status["conditions"] if row["type"] == "PodScheduled")
    assert (status["phase"], condition["status"], condition["reason"]) == ("Pending", "False", "Unschedulable")
    assert "didn't match Pod's node affinity/selector" in condition["message"]
    admin.call("DELETE", path(manifest))
    wait_for(lambda: not reported())


def test_nodes_are_shown_with_their_zones(admin: Caller) -> None:
    """As ``kubectl get nodes -L topology.kubernetes.io/zone`` reads them; nodes cannot be created."""
    items = admin.call("GET", "/api/v1/nodes")[1]["items"]
    assert {item["metadata"]["labels"][ZONE] for item in items} >= {"us-east-1a", "us-east-1b", "us-east-1c"}
    assert admin.call("POST", "/api/v1/nodes", {"metadata": {"name": "n"}})[0] == 405
