"""Requirements of a cluster, on clusters of the embedded cloud that lack them or not, like those of EKS."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from tests.runtime.eks.samples import TENANT

from mlops_local.cloud import Cloud
from mlops_runtime.eks.cluster_client import Cluster, ClusterError
from mlops_runtime.eks.cluster_requirements import check_all, check_mode
from mlops_runtime.eks.kubernetes_objects import METRICS, NETWORK_POLICIES, Manifest
from mlops_runtime.eks.manifest_apply import HalfAppliedError, apply
from mlops_runtime.eks.manifest_delivery import ManifestsResource
from mlops_runtime.eks.tenant import enforcement_manifest, tenant_manifests

pytestmark = pytest.mark.cloud
AUTO: dict[str, Any] = {
    "computeConfig": {"enabled": True},
    "kubernetesNetworkConfig": {"elasticLoadBalancing": {"enabled": True}},
    "storageConfig": {"blockStorage": {"enabled": True}},
}


@pytest.fixture
def cluster(
    cloud: Cloud, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[Cluster, str]]]:
    """Create a cluster; return its creator's view and its name."""
    iam, eks, made = cloud.client("iam"), cloud.client("eks"), list[str]()
    for name, value in cloud.environment().items():
        monkeypatch.setenv(name, value)

    def make(**options: Any) -> tuple[Cluster, str]:
        name = f"needs-{abs(hash((request.node.name, len(made)))) % 10**8}"
        trust = {"Effect": "Allow", "Principal": {"Service": "eks.amazonaws.com"}, "Action": "sts:AssumeRole"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
        access = {"endpointPrivateAccess": True}
        eks.create_cluster(
            name=name, roleArn=role, resourcesVpcConfig=access, accessConfig={"authenticationMode": "API"}, **options
        )
        made.append(name)
        return Cluster.connect(boto3.Session(), name), name

    yield make
    for name in made:
        eks.delete_cluster(name=name)


def _network_policies(cloud: Cloud, name: str, value: str) -> None:
    values = json.dumps({"enableNetworkPolicy": value})
    cloud.client("eks").create_addon(clusterName=name, addonName="vpc-cni", configurationValues=values)


def _deliver(cluster: Cluster, name: str, manifests: list[Manifest], requires: list[str]) -> str | None:
    """Let the custom resource create a tenant's namespace; return its failure."""
    properties = {
        "ClusterName": name,
        "Name": TENANT.namespace,
        "Manifests": json.dumps(manifests),
        "AutoMode": "false",
        "Requires": json.dumps(requires),
    }
    event = {"RequestType": "Create", "LogicalResourceId": "Place", "RequestId": "r", "ResourceProperties": properties}
    answers: list[str | None] = []
    ManifestsResource(connect=lambda _: cluster).handle(
        event, lambda _event, *, failure, **_: answers.append(failure), has_time=lambda: True
    )
    return answers[0]


def test_a_cluster_whose_private_endpoint_is_off_is_refused_by_name(
    cloud: Cloud, cluster: Callable[..., tuple[Cluster, str]]
) -> None:
    """As by default; the message has the command that enables it."""
    _, name = cluster()
    eks = cloud.client("eks")
    eks.update_cluster_config(name=name, resourcesVpcConfig={"endpointPrivateAccess": False})

    with pytest.raises(ClusterError, match=f"update-cluster-config --name {name} .* endpointPrivateAccess=true"):
        Cluster.connect(boto3.Session(), name)

    eks.update_cluster_config(name=name, resourcesVpcConfig={"endpointPrivateAccess": True})
    assert Cluster.connect(boto3.Session(), name).is_auto_mode is False


def test_the_config_map_of_the_add_on_is_not_ours_to_write(cluster: Callable[..., tuple[Cluster, str]]) -> None:
    """Without Auto Mode, writing it conflicts with the add-on's manager."""
    found, _ = cluster()

    with pytest.raises(HalfAppliedError, match=r"is managed by 'eks'.*enableNetworkPolicy of vpc-cni"):
        apply(found, [*tenant_manifests(TENANT), enforcement_manifest()])


def test_a_tenant_without_auto_mode_needs_the_add_ons_setting(
    cloud: Cloud, cluster: Callable[..., tuple[Cluster, str]]
) -> None:
    """The error names it and nothing is applied; with the setting the same request succeeds."""
    found, name = cluster()
    cloud.client("eks").create_addon(clusterName=name, addonName="metrics-server")
    manifests, required = tenant_manifests(TENANT), [NETWORK_POLICIES, METRICS]

    reported = _deliver(found, name, manifests, required)

    assert reported is not None
    assert "network policies are not enforced" in reported
    assert f"aws eks update-addon --cluster-name {name} --addon-name vpc-cni" in reported
    assert '{"enableNetworkPolicy": "true"}' in reported
    assert "Namespace" not in reported
    _network_policies(cloud, name, "true")
    assert _deliver(found, name, manifests, required) is None


def test_the_config_map_alone_enforces_nothing(cluster: Callable[..., tuple[Cluster, str]]) -> None:
    """The agent of each node has its own switch: github aws-network-policy-agent, issue 231."""
    found, name = cluster(bootstrapSelfManagedAddons=False)
    apply(found, [enforcement_manifest()])

    with pytest.raises(ClusterError, match="aws-node has no container with --enable-network-policy=true"):
        check_all(found, name, [NETWORK_POLICIES])


@pytest.mark.parametrize("options", [{}, AUTO])
def test_a_cluster_without_metrics_is_refused_by_name(
    cloud: Cloud, cluster: Callable[..., tuple[Cluster, str]], options: dict[str, Any]
) -> None:
    """Auto Mode does not include the metrics server either."""
    found, name = cluster(**options)

    with pytest.raises(ClusterError, match="autoscalers stay at their minimum") as error:
        check_all(found, name, [METRICS])

    assert f"aws eks create-addon --cluster-name {name} --addon-name metrics-server" in str(error.value)
    cloud.client("eks").create_addon(clusterName=name, addonName="metrics-server")
    check_all(found, name, [METRICS])


@pytest.mark.parametrize(
    ("options", "is_auto_mode", "message"),
    [
        ({}, True, "EKS Auto Mode is off .* auto_mode=True; set it to False"),
        (AUTO, False, "EKS Auto Mode is on .* auto_mode=False; omit it"),
    ],
)
def test_what_a_stack_says_is_held_against_describe_cluster(
    cluster: Callable[..., tuple[Cluster, str]], options: dict[str, Any], is_auto_mode: bool, message: str
) -> None:
    """computeConfig.enabled decides; the matching declaration passes."""
    found, name = cluster(**options)

    with pytest.raises(ClusterError, match=message):
        check_mode(found, name, is_auto_mode=is_auto_mode)

    check_mode(found, name, is_auto_mode=not is_auto_mode)
