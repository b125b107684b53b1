"""Security group rules as separate resources, and multi-instance jobs that need them.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/train-encrypt.html
"""

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

TRUST = {
    "Effect": "Allow",
    "Principal": {"Service": "sagemaker.amazonaws.com"},
    "Action": "sts:AssumeRole",
    "Condition": {"StringEquals": {"aws:SourceAccount": "000000000000"}},
}


def rule(kind: str, protocol: str, first: int | None, last: int | None = None) -> dict[str, Any]:
    """Return a rule of the group to itself, as written by CDK."""
    group = {"Fn::GetAtt": ["Group", "GroupId"]}
    other = "SourceSecurityGroupId" if kind == "Ingress" else "DestinationSecurityGroupId"
    ports = {} if first is None else {"FromPort": first, "ToPort": first if last is None else last}
    properties = {"GroupId": group, other: group, "IpProtocol": protocol, **ports}
    return {"Type": f"AWS::EC2::SecurityGroup{kind}", "Properties": properties}


def apply(cloud: Any, name: str, rules: dict[str, Any]) -> str:
    """Create or update a stack with a group that allows only egress to 443, and these rules; return the group's id."""
    stacks = cloud.client("cloudformation")
    egress = [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "0.0.0.0/0"}]
    group = {"Type": "AWS::EC2::SecurityGroup", "Properties": {"GroupDescription": "g", "SecurityGroupEgress": egress}}
    body = json.dumps(
        {"Resources": {"Group": group, **rules}, "Outputs": {"Id": {"Value": {"Fn::GetAtt": ["Group", "GroupId"]}}}}
    )
    known = [stack["StackName"] for stack in stacks.describe_stacks()["Stacks"]]
    (stacks.update_stack if name in known else stacks.create_stack)(StackName=name, TemplateBody=body)
    while (stack := stacks.describe_stacks(StackName=name)["Stacks"][0])["StackStatus"].endswith("_IN_PROGRESS"):
        time.sleep(0.05)
    assert stack["StackStatus"].endswith("_COMPLETE"), stack
    return str(stack["Outputs"][0]["OutputValue"])


def start(cloud: Any, role: str, group: str, *, encrypted: bool) -> str:
    """Request a job on two instances; return why it is rejected."""
    network = {"VpcConfig": {"SecurityGroupIds": [group], "Subnets": ["subnet-1"]}}
    with pytest.raises(ClientError) as refused:
        cloud.client("sagemaker").create_processing_job(
            ProcessingJobName="two",
            AppSpecification={
                "ImageUri": "000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "0" * 64,
                "ContainerEntrypoint": ["python", "-c", "pass"],
            },
            RoleArn=role,
            ProcessingResources={
                "ClusterConfig": {"InstanceCount": 2, "InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 10}
            },
            NetworkConfig={"EnableInterContainerTrafficEncryption": encrypted, **network},
        )
    return str(refused.value.response["Error"]["Message"])


def test_instances_of_an_encrypted_job_need_rules_to_each_other(cloud: Any, make_role: Any, unique: str) -> None:
    """UDP 500 and ESP both ways; missing rules are reported immediately, where AWS would let the job wait."""
    role = make_role(trust=TRUST)
    inward = {"KeysIn": rule("Ingress", "udp", 500), "EspIn": rule("Ingress", "50", None)}
    outward = {"KeysOut": rule("Egress", "udp", 500), "EspOut": rule("Egress", "50", None)}

    group = apply(cloud, unique, {})
    missing = "inbound UDP 500, inbound protocol 50 (ESP), outbound UDP 500, outbound protocol 50 (ESP)"
    assert f"{group}: it has no rule to itself for {missing}; " in start(cloud, role, group, encrypted=True)

    assert apply(cloud, unique, inward) == group
    missing = "outbound UDP 500, outbound protocol 50 (ESP)"
    assert f"no rule to itself for {missing}; " in start(cloud, role, group, encrypted=True)

    apply(cloud, unique, {**inward, **outward})
    assert start(cloud, role, group, encrypted=True) == "a processing job has 1 instance in the embedded SageMaker"
    missing = "inbound all TCP ports, outbound all TCP ports"
    assert missing in start(cloud, role, group, encrypted=False)

    apply(cloud, unique, {"In": rule("Ingress", "tcp", 443), "Out": rule("Egress", "tcp", 0, 65535)})
    assert "rule to itself for inbound all TCP ports; " in start(cloud, role, group, encrypted=False)
    apply(cloud, unique, {"In": rule("Ingress", "tcp", 0, 65535), "Out": rule("Egress", "tcp", 0, 65535)})
    assert start(cloud, role, group, encrypted=False) == "a processing job has 1 instance in the embedded SageMaker"

    apply(cloud, unique, outward)
    (described,) = cloud.client("ec2").describe_security_groups(GroupIds=[group])["SecurityGroups"]
    assert described["IpPermissions"] == []
    assert "inbound UDP 500" in start(cloud, role, group, encrypted=True)
    cloud.client("cloudformation").delete_stack(StackName=unique)
