"""The load balancer between callers and pods, in a template."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from mlops_constructs.eks_inference import slot_load_balancer

BALANCER = "AWS::ElasticLoadBalancingV2"


def test_it_is_internal_logged_and_deletable(served: Any) -> None:
    """Has no public address and logs to the service's prefix; failed creations roll back, in production too."""
    found = served.one(f"{BALANCER}::LoadBalancer")
    attributes = {a["Key"]: a["Value"] for a in found["LoadBalancerAttributes"]}
    assert (found["Scheme"], found["Type"], len(found["Subnets"])) == ("internal", "application", 2)
    assert attributes["access_logs.s3.enabled"] == "true"
    assert attributes["deletion_protection.enabled"] == "false"
    assert attributes["routing.http.drop_invalid_header_fields.enabled"] == "true"
    policy = json.dumps(served.one("AWS::S3::BucketPolicy", "UnitAccessLogs"))
    assert "logdelivery.elasticloadbalancing.amazonaws.com" in policy
    assert "/load-balancer/demand-forecast/AWSLogs/" in policy


def test_the_rule_begins_with_all_traffic_for_one_slot(served: Any) -> None:
    """Two target groups with weights that sum to 100, without stickiness: a step is a share of the requests."""
    rule = served.one(f"{BALANCER}::ListenerRule")
    (action,) = rule["Actions"]
    config = action["ForwardConfig"]
    assert [group["Weight"] for group in config["TargetGroups"]] == [100, 0]
    assert config["TargetGroupStickinessConfig"] == {"Enabled": False}
    assert rule["Conditions"][0]["PathPatternConfig"]["Values"] == ["/ping", "/invocations", "/v2", "/v2/*"]


def test_nothing_that_changes_stands_beside_the_weights(served: Any) -> None:
    """Updating the rule would reset the weights: it references only its listener and target groups, and has no tags."""
    rule = served.one(f"{BALANCER}::ListenerRule")
    assert set(rule) == {"Actions", "Conditions", "ListenerArn", "Priority"}


def test_a_rule_that_changes_starts_the_machine(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """CloudFormation then resets the weights to a slot without pods: the resource that requests a run changes with the rule."""
    reported = served.one("Custom::MLOpsServingSpec")["Rule"]
    hash_of = slot_load_balancer.ServiceLoadBalancer.rule_hash.fget
    assert hash_of is not None
    assert reported == hash_of(SimpleNamespace(_stage=None))
    monkeypatch.setattr(slot_load_balancer, "_PATHS", ("/invocations",))
    assert hash_of(SimpleNamespace(_stage=None)) != reported


def test_both_slots_are_checked_drained_and_known_to_the_cluster(served: Any) -> None:
    """Targets are checked by IP on /ping as in SageMaker; the tag lets EKS Auto Mode register targets."""
    groups = [r["Properties"] for r in served.resources(f"{BALANCER}::TargetGroup").values()]
    assert len(groups) == 2
    for group in groups:
        attributes = {a["Key"]: a["Value"] for a in group["TargetGroupAttributes"]}
        tags = {tag["Key"]: tag["Value"] for tag in group["Tags"]}
        assert (group["TargetType"], group["Port"], group["HealthCheckPath"]) == ("ip", 8080, "/ping")
        assert attributes["deregistration_delay.timeout_seconds"] == "30"
        assert tags["eks:eks-cluster-name"] == "retail"
    assert {next(t["Value"] for t in g["Tags"] if t["Key"] == "mlops:slot") for g in groups} == {"blue", "green"}


def test_a_controller_of_ones_own_has_a_tag_of_its_own(developed: Any) -> None:
    """The AWS Load Balancer Controller identifies its resources by another tag."""
    for resource in developed.resources(f"{BALANCER}::TargetGroup").values():
        tags = {tag["Key"] for tag in resource["Properties"]["Tags"]}
        assert "elbv2.k8s.aws/cluster" in tags
        assert "eks:eks-cluster-name" not in tags


def test_calls_are_encrypted_with_a_certificate(served: Any) -> None:
    """Allows TLS 1.2 and 1.3; the load balancer answers requests without a rule."""
    listener = served.one(f"{BALANCER}::Listener")
    assert (listener["Port"], listener["Protocol"], listener["SslPolicy"]) == (
        443,
        "HTTPS",
        "ELBSecurityPolicy-TLS13-1-2-2021-06",
    )
    assert listener["DefaultActions"][0]["FixedResponseConfig"]["StatusCode"] == "404"


def test_development_may_do_without(developed: Any) -> None:
    """Development allows plain HTTP and deletion."""
    listener = developed.one(f"{BALANCER}::Listener")
    assert (listener["Port"], listener["Protocol"]) == (80, "HTTP")
    attributes = developed.one(f"{BALANCER}::LoadBalancer")["LoadBalancerAttributes"]
    assert {"Key": "deletion_protection.enabled", "Value": "false"} in attributes


def test_it_reaches_pods_and_nobody_reaches_it(served: Any) -> None:
    """One egress rule to the pods' group on their port and one ingress rule there; none into the load balancer's group."""
    group = served.one("AWS::EC2::SecurityGroup", "ServiceLoadBalancerSecurityGroup")
    assert "SecurityGroupIngress" not in group
    assert "SecurityGroupEgress" not in group or "0.0.0.0/0" not in json.dumps(group["SecurityGroupEgress"])
    egress = served.one("AWS::EC2::SecurityGroupEgress", "ServiceLoadBalancer")
    assert (egress["FromPort"], egress["DestinationSecurityGroupId"]) == (8080, "sg-0123456789abcdef0")
    ingress = served.one("AWS::EC2::SecurityGroupIngress", "PodIngress")
    assert (ingress["FromPort"], ingress["GroupId"]) == (8080, "sg-0123456789abcdef0")


def test_callers_are_let_in_by_name(changed: Any) -> None:
    """One rule per group on the listener's port."""
    rule = changed.one("AWS::EC2::SecurityGroupIngress", "fromDemandCallers")
    assert (rule["SourceSecurityGroupId"], rule["FromPort"], rule["ToPort"]) == ("sg-87654321", 443, 443)
