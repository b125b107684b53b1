"""EKS's control plane, as far as MiniStack's is completed."""

import http.client
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local.kubernetes.conftest import Caller, sign

from mlops_local.cloud import Cloud


def _create(cloud: Cloud, name: str, role: str, **options: Any) -> str:
    eks = cloud.client("eks")
    made = eks.create_cluster(name=name, roleArn=role, resourcesVpcConfig={}, **options)["cluster"]
    assert made["status"] == "CREATING"
    cluster = eks.describe_cluster(name=name)["cluster"]
    assert cluster["status"] == "ACTIVE"
    return str(cluster["endpoint"])


def test_a_cluster_is_reached_at_its_endpoint_until_it_is_deleted(cloud: Cloud, unique: str, make_role: Any) -> None:
    """On 127.0.0.1, over plain HTTP, with no authority to trust."""
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


def test_entries_need_a_mode_that_has_them(cloud: Cloud, unique: str, make_role: Any) -> None:
    """API_CreateAccessConfigRequest: the default of the API is CONFIG_MAP, which knows no access entries."""
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
    asked = {"clusterName": cluster_name, "namespace": "demand", "serviceAccount": "narrow", "roleArn": role}
    policy = '{"Version":"2012-10-17","Statement":[]}'

    with pytest.raises(ClientError, match="disableSessionTags must be set to true"):
        eks.create_pod_identity_association(**asked, policy=policy)

    made = eks.create_pod_identity_association(**asked, policy=policy, disableSessionTags=True)["association"]
    with pytest.raises(ClientError, match="disableSessionTags must be set to true"):
        eks.update_pod_identity_association(
            clusterName=cluster_name, associationId=made["associationId"], disableSessionTags=False
        )
