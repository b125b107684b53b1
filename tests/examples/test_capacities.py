"""Serverless, queued and scaled endpoints on the embedded cloud, under their own permissions: from approval to answer."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import boto3
import pytest
from aws_cdk import aws_iam as iam
from examples.retail.loop import Loop
from tests.examples import models

from mlops_constructs import (
    BusinessUnit,
    EndpointCapacity,
    EndpointVariant,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Profile,
    Scaling,
    off_hours,
)
from mlops_local import cloud as local_cloud
from mlops_local.stacks import deployer
from mlops_runtime.contracts.rollout import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.cloud

NAMES = ("rarely", "nightly", "always")


def _fleets(arm: str, *, is_scaled: bool) -> EndpointCapacity:
    hours = off_hours(min_capacity=2, max_capacity=4, off_min_capacity=2, off_max_capacity=2)
    return EndpointCapacity.instances(
        "ml.m5.large",
        instance_count=2,
        scaling=Scaling(min_capacity=2, max_capacity=4, target_invocations=600, schedules=hours) if is_scaled else None,
        variants=[EndpointVariant(name="Arm", instance_type=arm, instance_count=2, weight=0.5)],
    )


class Capacities(cdk.Stack):
    """Three endpoints of a development unit, and a caller of the queue."""

    def __init__(self, app: cdk.App, *, arm: str, is_scaled: bool) -> None:
        super().__init__(app, "Capacities")
        unit = BusinessUnit(self, "Unit", name="pilot", profile=Profile.DEVELOPMENT)
        queue = Scaling(min_capacity=0, max_capacity=2, target_backlog=5)
        capacities = {
            "rarely": EndpointCapacity.serverless(memory=cdk.Size.gibibytes(1), max_concurrency=5),
            "nightly": EndpointCapacity.asynchronous(
                "ml.m5.large", instance_count=1, scaling=queue, success_topic=unit.topic, error_topic=unit.topic
            ),
            "always": _fleets(arm, is_scaled=is_scaled),
        }
        cdk.CfnOutput(self, "Topic", value=unit.topic.topic_arn)
        cdk.CfnOutput(self, "ArtifactsBucket", value=unit.artifacts.bucket_name)
        cdk.CfnOutput(self, "AuditBucket", value=unit.audit_bucket.bucket_name)
        for name in NAMES:
            registry = ModelRegistry(self, f"{name}Registry", business_unit=unit, name=name)
            endpoint = ModelEndpoint(
                self,
                name,
                business_unit=unit,
                registry=registry,
                name=name,
                image=ModelImage.from_ecr(repository_name="mlops-runtime", digest=models.DIGEST),
                capacity=capacities[name],
            )
            outputs = {
                "ApproverRoleArn": registry.approver_role.role_arn,
                "RolloutTable": endpoint.rollout.table.table_name,
                "DeployMachineArn": endpoint.rollout.machine.state_machine_arn,
            }
            if endpoint.exchange is not None:
                caller = iam.Role(self, "Caller", assumed_by=iam.AccountRootPrincipal())
                endpoint.grant_invoke_async(caller)
                outputs |= {"Exchange": endpoint.exchange.bucket.bucket_name, "Caller": caller.role_arn}
            for key, value in outputs.items():
                cdk.CfnOutput(self, f"{name}{key}", value=value)


class Pilot:
    """The deployed stack, and a loop for each endpoint."""

    def __init__(self, cloud: local_cloud.Cloud, folder: Path) -> None:
        self.cloud, self.folder, self.number = cloud, folder, 0
        self.deploy(arm="ml.c7g.large", is_scaled=True)

    def deploy(self, *, arm: str, is_scaled: bool) -> None:
        """Deploy the stack and let all Deploy machines end."""
        self.number += 1
        app = cdk.App(outdir=str(self.folder / str(self.number)))
        Capacities(app, arm=arm, is_scaled=is_scaled)
        app.synth()
        self.outputs = deployer.deploy(self.cloud, self.folder / str(self.number))["Capacities"]
        self.loops = {name: self._loop(name) for name in NAMES}
        for loop in self.loops.values():
            loop.wait_idle("DeployMachineArn")

    def _loop(self, name: str) -> Loop:
        own = {key.removeprefix(name): value for key, value in self.outputs.items()}
        return Loop(
            client=self.cloud.client,
            outputs={**own, "EndpointName": f"pilot-{name}"},
            unit="pilot",
            now=lambda: datetime.fromisoformat(self.cloud.clock()["now"]),
        )

    def approve(self, name: str, factor: float) -> None:
        """Register and approve a model that answers ``factor`` times its input, and wait for its rollout to end."""
        loop = self.loops[name]
        package = models.register(loop, factor)
        seen = {e["executionArn"] for e in loop.executions("DeployMachineArn")}
        loop.approve(package, "a person looked at it")
        loop.wait_execution("DeployMachineArn", seen, appear=30, finish=120)

    def targets(self, name: str) -> dict[str, tuple[int, int]]:
        """Bounds of an endpoint's registered variants, by variant."""
        found = self.cloud.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="sagemaker")
        return {
            target["ResourceId"].rpartition("/")[2]: (target["MinCapacity"], target["MaxCapacity"])
            for target in found["ScalableTargets"]
            if target["ResourceId"].startswith(f"endpoint/pilot-{name}/")
        }

    def policies(self, name: str) -> set[str]:
        """Names of an endpoint's scaling policies."""
        found = self.cloud.client("application-autoscaling").describe_scaling_policies(ServiceNamespace="sagemaker")
        return {
            policy["PolicyName"]
            for policy in found["ScalingPolicies"]
            if policy["ResourceId"].startswith(f"endpoint/pilot-{name}/")
        }


@pytest.fixture(scope="module")
def pilot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pilot]:
    """Deploy the stack in an account without any model; the tests of this file go on from each other."""
    folder = tmp_path_factory.mktemp("capacities")
    cloud = local_cloud.up(folder / "cloud", clock_scale=120.0)
    try:
        yield Pilot(cloud, folder)
    finally:
        cloud.down(forget=True)


def _ask(loop: Loop) -> Any:
    return loop.invoke([{"x": 2.0}], "ask")[0].predictions[0]


def _listen(pilot: Pilot) -> str:
    """Return the URL of a queue that hears the unit's topic."""
    sqs, topic = pilot.cloud.client("sqs"), pilot.outputs["Topic"]
    url = sqs.create_queue(QueueName="answers")["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allow = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    pilot.cloud.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
    return str(url)


def test_a_serverless_endpoint_is_born_and_takes_a_new_model(pilot: Pilot) -> None:
    """No network, no key, no guardrails: two approvals, two models, all at once."""
    pilot.approve("rarely", 3.0)
    assert _ask(pilot.loops["rarely"]) == pytest.approx(6.0)
    pilot.approve("rarely", 4.0)
    assert _ask(pilot.loops["rarely"]) == pytest.approx(8.0)
    assert [r.outcome for r in pilot.loops["rarely"].audit()][-2:] == [Outcome.PROMOTED, Outcome.PROMOTED]
    assert pilot.targets("rarely") == {}


def test_a_queue_is_worked_off_for_who_may_use_it(pilot: Pilot, wait_for: Callable[..., Any]) -> None:
    """A caller with the grant leaves a request and finds the answer, the topic hears of it, and an empty fleet would be woken."""
    pilot.approve("nightly", 5.0)
    outputs = pilot.loops["nightly"].outputs
    keys = pilot.cloud.client("sts").assume_role(RoleArn=outputs["Caller"], RoleSessionName="caller")["Credentials"]
    caller = boto3.Session(
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
        region_name="us-east-1",
    )
    s3, runtime = (caller.client(name, endpoint_url=pilot.cloud.endpoint_url) for name in ("s3", "sagemaker-runtime"))
    sqs, url = pilot.cloud.client("sqs"), _listen(pilot)
    key = "requests/pilot-nightly/one.json"
    s3.put_object(Bucket=outputs["Exchange"], Key=key, Body=json.dumps({"instances": [{"x": 2.0}]}).encode())
    left = runtime.invoke_endpoint_async(
        EndpointName="pilot-nightly", InputLocation=f"s3://{outputs['Exchange']}/{key}", ContentType="application/json"
    )
    bucket, _, answer = left["OutputLocation"].removeprefix("s3://").partition("/")
    assert (bucket, answer.split("/")[:2]) == (outputs["Exchange"], ["answers", "pilot-nightly"])
    listed = pilot.loops["nightly"].s3.list_objects_v2
    wait_for(lambda: listed(Bucket=bucket, Prefix=answer).get("Contents"), seconds=60)
    assert "10" in s3.get_object(Bucket=bucket, Key=answer)["Body"].read().decode()
    told = wait_for(lambda: sqs.receive_message(QueueUrl=url).get("Messages"))
    assert left["InferenceId"] in told[0]["Body"]
    assert pilot.targets("nightly") == {"AllTraffic": (0, 2)}
    assert pilot.policies("nightly") == {"pilot-nightly-AllTraffic-target", "pilot-nightly-AllTraffic-wake"}
    assert "pilot-nightly-scaling-AllTraffic-wake" in pilot.loops["nightly"].alarms()


def test_every_fleet_scales_once_it_serves(pilot: Pilot) -> None:
    """Both variants are registered after the first model, with policies and off hours."""
    pilot.approve("always", 2.0)
    assert _ask(pilot.loops["always"]) == pytest.approx(4.0)
    assert pilot.targets("always") == {"AllTraffic": (2, 4), "Arm": (2, 4)}
    assert pilot.policies("always") == {"pilot-always-AllTraffic-target", "pilot-always-Arm-target"}
    actions = pilot.cloud.client("application-autoscaling").describe_scheduled_actions(ServiceNamespace="sagemaker")
    names = [(a["ResourceId"].rpartition("/")[2], a["ScheduledActionName"]) for a in actions["ScheduledActions"]]
    assert sorted(names) == [(v, n) for v in ("AllTraffic", "Arm") for n in ("OffHoursEnd", "OffHoursStart")]


def test_the_type_of_a_scaled_fleet_can_change(pilot: Pilot) -> None:
    """SageMaker refuses it while the variant is registered: it is taken back, updated, and registered again."""
    pilot.deploy(arm="ml.c7g.xlarge", is_scaled=True)
    live: Any = pilot.loops["always"].live()
    config = pilot.loops["always"].sagemaker.describe_endpoint_config(EndpointConfigName=live.config)
    assert [v["InstanceType"] for v in config["ProductionVariants"]] == ["ml.m5.large", "ml.c7g.xlarge"]
    assert pilot.loops["always"].audit()[-1].outcome is Outcome.PROMOTED
    assert pilot.targets("always") == {"AllTraffic": (2, 4), "Arm": (2, 4)}


def test_scaling_that_is_no_longer_wanted_is_gone(pilot: Pilot) -> None:
    """Targets go, and policies and schedules with them; the model still serves."""
    pilot.deploy(arm="ml.c7g.xlarge", is_scaled=False)
    assert pilot.targets("always") == {}
    assert pilot.policies("always") == set()
    assert _ask(pilot.loops["always"]) == pytest.approx(4.0)
    assert pilot.loops["always"].audit_problems() == []
