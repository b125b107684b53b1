"""EKS's control plane, where it completes MiniStack's."""

import http.client
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local.kubernetes.conftest import AUTO_MODE, Caller, sign, thing

from mlops_local.cloud import Cloud


def _create(cloud: Cloud, name: str, role: str, **options: Any) -> str:
    eks = cloud.client("eks")
    made = eks.create_cluster(name=name, roleArn=role, resourcesVpcConfig={}, **options)["cluster"]
    assert made["status"] == "CREATING"
    cluster = eks.describe_cluster(name=name)["cluster"]
    assert cluster["status"] == "ACTIVE"
    return str(cluster["endpoint"])


def test_a_cluster_is_reached_at_its_endpoint_until_it_is_deleted(cloud: Cloud, unique: str, make_role: Any) -> None:
    """On 127.0.0.1, over plain HTTP, without a certificate authority."""
    endpoint = _create(
        cloud, unique, make_role(service="eks.amazonaws.com"), accessConfig={"authenticationMode": "API"}
    )
    assert endpoint.startswith("http://127.0.0.1:")
    root = Caller(endpoint, sign(unique, cloud.root_keys()))
    assert root.call("GET", "/api/v1/namespaces")[0] == 200

    cloud.client("eks").delete_cluster(name=unique)

    with pytest.raises((OSError, http.client.HTTPException)):
        for _ in range(200):
            root.call("GET", "/api/v1/namespaces")


def test_clusters_are_in_the_first_account_and_region_alone(cloud: Cloud, unique: str) -> None:
    """Elsewhere they are rejected by name."""
    for place in (cloud.at("111111111111"), cloud.at(region="eu-west-1")):
        with pytest.raises(ClientError, match=r"has clusters only in account 000000000000 and us-east-1, got"):
            place.client("eks").create_cluster(name=unique, roleArn="arn:aws:iam::1:role/r", resourcesVpcConfig={})


def test_entries_need_a_mode_that_has_them(cloud: Cloud, unique: str, make_role: Any) -> None:
    """API_CreateAccessConfigRequest: the API's default is CONFIG_MAP, which has no access entries."""
    role = make_role(service="eks.amazonaws.com")
    _create(cloud, unique, role)

    with pytest.raises(ClientError, match="authentication mode must be set to one of") as refused:
        cloud.client("eks").create_access_entry(clusterName=unique, principalArn=role)

    assert refused.value.response["Error"]["Code"] == "InvalidRequestException"
    cloud.client("eks").delete_cluster(name=unique)


def test_a_session_policy_needs_session_tags_disabled(
    cloud: Cloud, admin: Caller, cluster_name: str, make_role: Any
) -> None:
    """The model of CreatePodIdentityAssociationRequest.policy: "When using this policy, disableSessionTags must be set to true"."""
    eks, role = cloud.client("eks"), make_role(service="pods.eks.amazonaws.com")
    requested = {"clusterName": cluster_name, "namespace": "demand", "serviceAccount": "narrow", "roleArn": role}
    policy = '{"Version":"2012-10-17","Statement":[]}'

    with pytest.raises(ClientError, match="disableSessionTags must be set to true"):
        eks.create_pod_identity_association(**requested, policy=policy)

    made = eks.create_pod_identity_association(**requested, policy=policy, disableSessionTags=True)["association"]
    with pytest.raises(ClientError, match="disableSessionTags must be set to true"):
        eks.update_pod_identity_association(
            clusterName=cluster_name, associationId=made["associationId"], disableSessionTags=False
        )


def test_a_cluster_and_its_load_balancer_are_there_after_a_stop(
    own_cloud: Callable[..., Cloud], deployment: Callable[..., dict[str, Any]], wait_for: Callable[..., Any]
) -> None:
    """Objects with their field owners, new pods behind the same addresses, and none of the earlier targets."""
    cloud = own_cloud(clock_scale=10)
    trust = {"Effect": "Allow", "Principal": {"Service": "eks.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = cloud.client("iam").create_role(RoleName="cluster", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    root = Caller(
        _create(cloud, "kept", role, accessConfig={"authenticationMode": "API"}, **AUTO_MODE),
        sign("kept", cloud.root_keys()),
    )
    elb = cloud.client("elbv2")
    group = elb.create_target_group(
        Name="kept", Protocol="HTTP", Port=8080, TargetType="ip", VpcId="vpc-1", HealthCheckPath="/ping",
        Tags=[{"Key": "eks:eks-cluster-name", "Value": "kept"}],
    )["TargetGroups"][0]["TargetGroupArn"]  # fmt: skip
    balancer = elb.create_load_balancer(Name="kept", Subnets=["subnet-a", "subnet-b"])["LoadBalancers"][0]
    action = {"Type": "forward", "TargetGroupArn": group}
    elb.create_listener(LoadBalancerArn=balancer["LoadBalancerArn"], Port=80, Protocol="HTTP", DefaultActions=[action])
    made = deployment("forecast", replicas=2)
    ports = [{"port": 80, "targetPort": "http"}]
    binding = {"serviceRef": {"name": "forecast", "port": 80}, "targetGroupARN": group, "targetType": "ip"}
    for manifest in (
        thing("Namespace", "demand", ""),
        thing("ServiceAccount", "forecast"),
        thing("Service", "forecast", spec={"selector": {"app": "forecast"}, "ports": ports}),
        thing("TargetGroupBinding", "forecast", api="eks.amazonaws.com/v1", spec=binding),
        made,
    ):
        assert root.apply(manifest)[0] == 201
    wait_for(lambda: root.get(made).get("status", {}).get("readyReplicas") == 2)
    before = root.get(made)["metadata"]
    addresses = cloud.call("/_mlops/load-balancers")
    cloud.down()

    cloud = own_cloud()
    root = Caller(root.endpoint, sign("kept", cloud.root_keys()))
    assert cloud.client("eks").describe_cluster(name="kept")["cluster"]["endpoint"] == root.endpoint
    after = root.get(made)["metadata"]
    for name in ("uid", "creationTimestamp", "generation", "managedFields"):
        assert after[name] == before[name], name
    assert cloud.call("/_mlops/load-balancers") == addresses
    (listener,) = addresses["load_balancers"][0]["listeners"].values()

    def answer() -> str | None:
        connection = http.client.HTTPConnection(listener.removeprefix("http://"), timeout=5)
        try:
            connection.request("POST", "/", "hello")
            found = connection.getresponse()
            return found.read().decode() if found.status == 200 else None
        finally:
            connection.close()

    assert wait_for(answer) == "v1"
    wait_for(lambda: root.get(made).get("status", {}).get("readyReplicas") == 2)

    def states() -> list[str]:
        rows = elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return [row["TargetHealth"]["State"] for row in rows if row["TargetHealth"]["State"] != "draining"]

    wait_for(lambda: states() == ["healthy", "healthy"])
    assert root.apply(deployment("forecast", version="v2", replicas=2))[0] == 200
    wait_for(lambda: answer() == "v2")
