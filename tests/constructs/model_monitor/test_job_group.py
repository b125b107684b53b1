"""The security group of jobs with several instances."""

from collections.abc import Callable
from typing import Any

from mlops_constructs import ModelImage, MonitorEngine
from mlops_runtime.monitor.spec import MonitorSpec

IMAGE = ModelImage.from_ecr(repository_name="mlops-explain", digest="sha256:" + "0" * 64)


def _rules(made: Any, kind: str) -> set[tuple[str, int | None]]:
    other = "SourceSecurityGroupId" if kind == "Ingress" else "DestinationSecurityGroupId"
    found = [rule for name, rule in made.resources(f"AWS::EC2::SecurityGroup{kind}").items() if "JobGroup" in name]
    assert all(rule[other] == rule["GroupId"] for rule in found)
    return {(rule["IpProtocol"], rule.get("FromPort")) for rule in found}


def test_several_instances_have_a_group_that_admits_itself(define_once: Callable[..., Any]):
    """Allows TCP, IKE and ESP within the group, and 443 to the network's endpoints; the unit's group has no ingress."""
    engine = MonitorEngine.processing(image=IMAGE, spark=True, instance_count=3)
    made = define_once(monitor={"spec": MonitorSpec(), "engine": engine})
    rules = {("tcp", 0), ("udp", 500), ("50", 50)}
    assert (_rules(made, "Ingress"), _rules(made, "Egress")) == (rules, rules)
    group = made.one("AWS::EC2::SecurityGroup", "MonitorJobGroup")
    assert [(rule["IpProtocol"], rule["FromPort"]) for rule in group["SecurityGroupEgress"]] == [("tcp", 443)]
    create = next(s for s in made.statements("MonitorStartRole") if s["Action"] == "sagemaker:CreateProcessingJob")
    placed = create["Condition"]["ForAllValues:StringEquals"]["sagemaker:VpcSecurityGroupIds"]
    assert "MonitorJobGroup" in str(placed)


def test_one_instance_stays_in_the_units_group(define_once: Callable[..., Any]):
    """A single instance has no peers."""
    made = define_once(monitor={"spec": MonitorSpec(), "engine": MonitorEngine.processing(image=IMAGE, spark=True)})
    assert not [name for name in made.resources("AWS::EC2::SecurityGroup") if "JobGroup" in name]
