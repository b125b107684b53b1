"""Effects of add-ons: https://docs.aws.amazon.com/eks/latest/userguide/cni-network-policy-configure.html."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local.kubernetes.conftest import AUTO_MODE, Caller, sign, thing

from mlops_local.cloud import Cloud

CONFIG = thing("ConfigMap", "amazon-vpc-cni", "kube-system")
AGENT = "/apis/apps/v1/namespaces/kube-system/daemonsets/aws-node"
METRICS = "/apis/metrics.k8s.io/v1beta1"
KEY = "enable-network-policy-controller"


@pytest.fixture
def cluster(cloud: Cloud, unique: str, make_role: Any) -> Iterator[Callable[..., Caller]]:
    """Create a cluster; return its creator."""
    eks = cloud.client("eks")

    def make(**options: Any) -> Caller:
        settings = {"accessConfig": {"authenticationMode": "API"}, **options}
        role = make_role(service="eks.amazonaws.com")
        eks.create_cluster(name=unique, roleArn=role, resourcesVpcConfig={}, **settings)
        endpoint = eks.describe_cluster(name=unique)["cluster"]["endpoint"]
        return Caller(endpoint, sign(unique, cloud.root_keys()))

    yield make
    eks.delete_cluster(name=unique)


def _args(caller: Caller) -> list[str]:
    found: list[str] = caller.call("GET", AGENT)[1]["spec"]["template"]["spec"]["containers"][0]["args"]
    return found


def test_the_vpc_cni_owns_its_config_map(cloud: Cloud, cluster: Callable[..., Caller], unique: str) -> None:
    """Another manager's value conflicts with ``eks``; the add-on's own setting enables controller and agent."""
    caller, eks = cluster(), cloud.client("eks")
    ours = {**CONFIG, "data": {KEY: "true"}}
    assert (caller.get(CONFIG)["data"][KEY], _args(caller)) == ("false", ["--enable-network-policy=false"])

    status, answer = caller.apply(ours, "&force=false")

    assert (status, answer["reason"]) == (409, "Conflict")
    assert answer["details"]["causes"] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "eks"',
            "field": f".data.{KEY}",
        }
    ]
    eks.create_addon(clusterName=unique, addonName="vpc-cni")
    assert caller.get(CONFIG)["data"][KEY] == "false"
    values = json.dumps({"enableNetworkPolicy": "true"})
    eks.update_addon(clusterName=unique, addonName="vpc-cni", configurationValues=values)
    assert (caller.get(CONFIG)["data"][KEY], _args(caller)) == ("true", ["--enable-network-policy=true"])
    assert caller.apply(ours, "&force=false")[0] == 200  # the same value is shared
    eks.delete_addon(clusterName=unique, addonName="vpc-cni")
    assert (caller.call("GET", AGENT)[0], caller.get(CONFIG)["code"]) == (404, 404)


def test_a_value_that_is_no_json_is_refused(cloud: Cloud, cluster: Callable[..., Caller], unique: str) -> None:
    """With EKS' own error code."""
    cluster()
    with pytest.raises(ClientError, match="ConfigurationValue provided in request is not supported"):
        cloud.client("eks").create_addon(clusterName=unique, addonName="vpc-cni", configurationValues="[1]")


@pytest.mark.parametrize("options", [AUTO_MODE, {"bootstrapSelfManagedAddons": False}])
def test_a_cluster_without_the_plugin_has_no_config_map(
    cluster: Callable[..., Caller], options: dict[str, Any]
) -> None:
    """On Auto Mode it is no pod: by https://docs.aws.amazon.com/eks/latest/userguide/auto-net-pol.html users make the map."""
    caller = cluster(**options)

    assert caller.get(CONFIG)["code"] == 404
    assert caller.apply({**CONFIG, "data": {KEY: "true"}}, "&force=false")[0] == 201


@pytest.mark.parametrize("options", [{}, AUTO_MODE])
def test_metrics_come_with_their_add_on(
    cloud: Cloud, cluster: Callable[..., Caller], unique: str, options: dict[str, Any]
) -> None:
    """No cluster has the metrics server by default: https://docs.aws.amazon.com/eks/latest/userguide/metrics-server.html."""
    caller = cluster(**options)
    assert caller.call("GET", METRICS)[0] == 404

    cloud.client("eks").create_addon(clusterName=unique, addonName="metrics-server")

    assert caller.call("GET", METRICS)[0] == 200
    assert "metrics.k8s.io" in {group["name"] for group in caller.call("GET", "/apis")[1]["groups"]}
