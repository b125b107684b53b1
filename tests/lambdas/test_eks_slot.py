"""The function of slots as Lambda calls it, with a listener rule of moto and a cluster over HTTP."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from tests.runtime.eks.fake_cluster import fake_cluster

from mlops_runtime.contracts import canonical_json, content_hash, to_dict
from mlops_runtime.contracts.rollout import RolloutSpec, ServingSpec, spec_key
from mlops_runtime.contracts.serving import SLOTS, EksSpec, SlotVersion
from mlops_runtime.eks.cluster_client import Address, Cluster

ENDPOINT = "demand-forecast"
EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:Deploy:one"
NOW = "2017-08-01T09:00:00Z"
VERSION = SlotVersion(
    config=f"{ENDPOINT}-0a1b2c3d",
    package="arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/1",
    image="123456789012.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "a" * 64,
    artifact_uri="s3://artifacts/models/job/output/model.tar.gz",
    artifact_sha256="b" * 64,
    model_sha256="c" * 64,
    spec_sha256="d" * 64,
)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster that every session reaches."""
    with fake_cluster() as made:
        monkeypatch.setattr(Cluster, "connect", lambda *_: Cluster(Address(url=made.url), token=lambda: "t"))
        yield made


@pytest.fixture
def environment(world: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Create a rule with all weight on blue, and set the environment of the constructs."""
    ec2, elb = boto3.client("ec2"), boto3.client("elbv2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=f"us-east-1{zone}")["Subnet"][
            "SubnetId"
        ]
        for n, zone in enumerate("ab")
    ]
    balancer = elb.create_load_balancer(Name="demand", Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"]
    groups = {
        slot: elb.create_target_group(Name=slot, Protocol="HTTP", Port=8080, VpcId=vpc)["TargetGroups"][0][
            "TargetGroupArn"
        ]
        for slot in SLOTS
    }
    weights = [{"TargetGroupArn": groups["blue"], "Weight": 100}, {"TargetGroupArn": groups["green"], "Weight": 0}]
    forward = [{"Type": "forward", "ForwardConfig": {"TargetGroups": weights}}]
    listener = elb.create_listener(LoadBalancerArn=balancer, Protocol="HTTP", Port=80, DefaultActions=forward)
    rule = elb.create_rule(
        ListenerArn=listener["Listeners"][0]["ListenerArn"],
        Conditions=[{"Field": "path-pattern", "Values": ["/*"]}],
        Priority=1,
        Actions=forward,
    )["Rules"][0]["RuleArn"]
    reported = {
        "TARGET": "EKS",
        "CLUSTER": "platform",
        "NAMESPACE": "demand",
        "RULE": rule,
        "TARGET_GROUPS": json.dumps(groups),
    }
    for name, value in reported.items():
        monkeypatch.setenv(name, value)
    return reported


def plan(world: Any, environment: dict[str, str]) -> dict[str, Any]:
    """Return the plan's values that the function reads, for a candidate in green."""
    spec = ServingSpec(
        endpoint=ENDPOINT,
        variant="AllTraffic",
        instance_type="",
        instance_count=0,
        execution_role="arn:aws:iam::123456789012:role/forecast",
        subnets=(),
        security_groups=(),
        rollout=RolloutSpec(kind="CANARY", bake=300, maximum=1800, percent=10),
        eks=EksSpec(
            cluster=environment["CLUSTER"],
            namespace=environment["NAMESPACE"],
            service_account="forecast",
            rule=environment["RULE"],
            target_groups=json.loads(environment["TARGET_GROUPS"]),
            minimum=2,
            maximum=4,
            cpu="500m",
            memory="1Gi",
            ingress_cidrs=("10.0.0.0/24",),
            egress_cidrs=("10.0.0.0/16",),
            zones=(),
        ),
    )
    key = spec_key(ENDPOINT, content_hash(spec))
    world.s3.put_object(Bucket="artifacts", Key=key, Body=canonical_json(spec))
    eks = {"slot": "green", "live_slot": None, "pods": 3, "version": to_dict(replace(VERSION))}
    return {"config_name": VERSION.config, "eks": {**eks, "service": f"s3://artifacts/{key}"}, "live": {}}


def test_a_slot_is_applied_looked_at_and_rests(
    world: Any, fake: Any, environment: dict[str, str], load: Callable[[str], Any]
) -> None:
    """Its responses are small JSON."""
    handler, made = load("eks_slot").handler, plan(world, environment)
    boto3.client("dynamodb").put_item(
        TableName="rollout", Item={"endpoint": {"S": ENDPOINT}, "owner": {"S": EXECUTION}}
    )
    ask = {
        action: {"action": action, "plan": made, "outcome": "FAILED", "execution": EXECUTION, "now": NOW}
        for action in ("apply", "observe", "idle")
    }
    assert handler(ask["apply"], None) == {"slot": "green", "objects": 5}
    place = "/apis/apps/v1/namespaces/demand/deployments/demand-forecast-green"
    assert fake.objects[place]["spec"]["replicas"] == 3
    fake.objects[place]["metadata"]["generation"] = 1
    fake.objects[place]["status"] = {
        "observedGeneration": 1,
        **dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas"), 3),
    }
    assert handler(ask["observe"], None) == {"is_ready": True, "is_failed": False, "pods": 3, "reason": ""}
    assert handler(ask["idle"], None) == {"slot": "green"}
    assert fake.objects[place]["spec"]["replicas"] == 0


def test_a_function_that_is_told_of_no_cluster_does_not_start(world: object, load: Callable[[str], Any]) -> None:
    """SageMaker endpoints have no slots."""
    with pytest.raises(RuntimeError, match="TARGET must be EKS, got None"):
        load("eks_slot")
