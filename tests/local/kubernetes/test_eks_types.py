"""CloudFormation's types of EKS: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/AWS_EKS.html."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from mlops_local.cloud import Cloud

EDIT = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSEditPolicy"
VIEW = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"


def _template(
    name: str, role: str, *, policy: str = EDIT, tags_off: Any = True, groups: tuple[str, ...] = ("appliers",)
) -> str:
    narrow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}
    settings = {"SubnetIds": ["subnet-1"]}
    cluster = {
        "Name": name,
        "RoleArn": role,
        "ResourcesVpcConfig": settings,
        "AccessConfig": {"AuthenticationMode": "API"},
    }
    entry = {
        "ClusterName": {"Ref": "Cluster"}, "PrincipalArn": role, "KubernetesGroups": list(groups),
        "AccessPolicies": [{"PolicyArn": policy, "AccessScope": {"Type": "namespace", "Namespaces": ["demand"]}}],
    }  # fmt: skip
    association = {
        "ClusterName": {"Ref": "Cluster"}, "Namespace": "demand", "ServiceAccount": "forecast", "RoleArn": role,
        "Policy": json.dumps(narrow), "DisableSessionTags": tags_off,
    }  # fmt: skip
    resources = {
        "Cluster": {"Type": "AWS::EKS::Cluster", "Properties": cluster},
        "Entry": {"Type": "AWS::EKS::AccessEntry", "Properties": entry},
        "Association": {"Type": "AWS::EKS::PodIdentityAssociation", "Properties": association},
    }
    outputs = {
        "Endpoint": {"Value": {"Fn::GetAtt": ["Cluster", "Endpoint"]}},
        "Entry": {"Value": {"Ref": "Entry"}},
        "Id": {"Value": {"Fn::GetAtt": ["Association", "AssociationId"]}},
    }
    return json.dumps({"Resources": resources, "Outputs": outputs})


@pytest.fixture
def stack(cloud: Cloud, unique: str, make_role: Any) -> Iterator[tuple[Any, str, str]]:
    """A stack with the three types: CloudFormation's client, the stack's name and the role."""
    client, role, name = cloud.client("cloudformation"), make_role(service="pods.eks.amazonaws.com"), f"{unique}-stack"
    client.create_stack(StackName=name, TemplateBody=_template(unique, role))
    client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    yield client, name, role
    client.delete_stack(StackName=name)
    client.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    assert unique not in cloud.client("eks").list_clusters()["clusters"]


def test_the_types_do_what_their_operations_do(cloud: Cloud, stack: tuple[Any, str, str], unique: str) -> None:
    """Created, updated in place, and deleted with their cluster."""
    client, name, role = stack
    eks = cloud.client("eks")
    outputs = {
        row["OutputKey"]: row["OutputValue"] for row in client.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
    }
    assert outputs["Endpoint"].startswith("http://127.0.0.1:")
    assert outputs["Entry"] == f"{role}|{unique}"
    found = eks.describe_pod_identity_association(clusterName=unique, associationId=outputs["Id"])["association"]
    assert (found["serviceAccount"], found["disableSessionTags"]) == ("forecast", True)
    assert "s3:GetObject" in found["policy"]

    client.update_stack(StackName=name, TemplateBody=_template(unique, role, policy=VIEW, groups=("readers",)))
    client.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig={"Delay": 1})

    assert eks.describe_access_entry(clusterName=unique, principalArn=role)["accessEntry"]["kubernetesGroups"] == [
        "readers"
    ]
    policies = eks.list_associated_access_policies(clusterName=unique, principalArn=role)["associatedAccessPolicies"]
    assert [row["policyArn"] for row in policies] == [VIEW]


def test_a_template_switches_auto_mode_on(cloud: Cloud, unique: str, make_role: Any) -> None:
    """AWS::EKS::Cluster has the members of its operation: ComputeConfig, with load balancing and block storage."""
    client = cloud.client("cloudformation")
    properties = {
        "Name": unique,
        "RoleArn": make_role(service="eks.amazonaws.com"),
        "ResourcesVpcConfig": {"SubnetIds": ["subnet-00000001", "subnet-00000002"]},
        "ComputeConfig": {"Enabled": "true"},
        "KubernetesNetworkConfig": {"ElasticLoadBalancing": {"Enabled": True}},
        "StorageConfig": {"BlockStorage": {"Enabled": True}},
    }
    template = {"Resources": {"Cluster": {"Type": "AWS::EKS::Cluster", "Properties": properties}}}

    client.create_stack(StackName=unique, TemplateBody=json.dumps(template))
    client.get_waiter("stack_create_complete").wait(StackName=unique, WaiterConfig={"Delay": 1})

    assert cloud.client("eks").describe_cluster(name=unique)["cluster"]["computeConfig"]["enabled"] is True
    client.delete_stack(StackName=unique)
    client.get_waiter("stack_delete_complete").wait(StackName=unique, WaiterConfig={"Delay": 1})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policy": "arn:aws:eks::aws:cluster-access-policy/Nope"}, "is not in the embedded cloud"),
        ({"tags_off": False}, "disableSessionTags"),
    ],
)
def test_what_the_operations_refuse_fails_the_stack(
    cloud: Cloud, unique: str, make_role: Any, change: dict[str, Any], message: str
) -> None:
    """The stack event has the operation's reason, and nothing is left."""
    client, role = cloud.client("cloudformation"), make_role(service="pods.eks.amazonaws.com")

    client.create_stack(StackName=unique, TemplateBody=_template(unique, role, **change), OnFailure="DELETE")
    with pytest.raises(Exception, match="StackCreateComplete"):
        client.get_waiter("stack_create_complete").wait(StackName=unique, WaiterConfig={"Delay": 1})

    pages = client.get_paginator("list_stacks").paginate()
    stack_id = next(s["StackId"] for page in pages for s in page["StackSummaries"] if s["StackName"] == unique)
    events = client.describe_stack_events(StackName=stack_id)["StackEvents"]
    assert any(message in row.get("ResourceStatusReason", "") for row in events)
    assert unique not in cloud.client("eks").list_clusters()["clusters"]
