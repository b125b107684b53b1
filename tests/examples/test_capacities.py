"""Serverless, asynchronous and scaled endpoints on the embedded cloud, with their own permissions, from approval to answer."""

from __future__ import annotations

import json
import re
import time
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import boto3
import pytest
from aws_cdk import aws_iam as iam
from botocore.exceptions import ClientError
from examples.retail.loop import Loop
from tests.campaign.candidates import images
from tests.examples import models
from tests.topic_queue import subscribe_queue

from mlops_constructs import (
    BusinessUnit,
    EndpointCapacity,
    EndpointVariant,
    GoldenRequests,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Profile,
    RolloutChecks,
    RolloutPolicy,
    Scaling,
    off_hours,
)
from mlops_local import cloud as local_cloud
from mlops_local.runners import EXTRA
from mlops_local.stacks import deployer
from mlops_runtime.contracts.rollout import Outcome
from mlops_runtime.rollout.probation_alarm import LEAST_ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.cloud

NAMES = ("rarely", "nightly", "always")
PROBATION = "pilot-rarely-probation-errors"
CLOCK_SCALE = 120.0
# the first fault starts after more calls than the machine itself sends to the serving fleet
TURNS, FAILS = (images.TURNS, "constant/calls/200"), (images.TURNS, f"{images.FAILING}/calls/5")


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

    def __init__(self, app: cdk.App, *, arm: str, is_scaled: bool, golden: Path) -> None:
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
        checks = RolloutChecks(golden=GoldenRequests.from_file(golden), probation=cdk.Duration.days(3))
        rollouts = {"rarely": RolloutPolicy.all_at_once(checks=checks)}
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
                rollout=rollouts.get(name),
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
        """Deploy the stack and wait for all Deploy machines."""
        self.number += 1
        golden = self.folder / "golden.jsonl"
        line = {"name": "two", "body": json.dumps({"instances": [{"x": 2.0}]}), "rows": 1, "minimum": 0, "maximum": 100}
        golden.write_text(json.dumps(line) + "\n")
        app = cdk.App(outdir=str(self.folder / str(self.number)))
        Capacities(app, arm=arm, is_scaled=is_scaled, golden=golden)
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

    def approve(self, name: str, factor: float, *, image: str = models.IMAGE) -> None:
        """Register and approve a model that multiplies by ``factor``, and wait for its rollout."""
        loop = self.loops[name]
        package = models.register(loop, factor, image=image)
        seen = self.seen(name)
        loop.approve(package, "a person looked at it")
        loop.wait_execution("DeployMachineArn", seen, appear=30, finish=120)

    def seen(self, name: str) -> set[str]:
        """Return the executions of an endpoint's Deploy machine."""
        return {e["executionArn"] for e in self.loops[name].executions("DeployMachineArn")}

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Let time pass in jumps only."""
        self.cloud.clock_scale(1.0)
        try:
            yield
        finally:
            self.cloud.clock_scale(CLOCK_SCALE)

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait for a condition."""
        deadline = time.monotonic() + 120
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def until_updated(self, config: str) -> None:
        """Wait until the serverless endpoint leaves a config."""

        def serving() -> tuple[str, str]:
            found = self.loops["rarely"].sagemaker.describe_endpoint(EndpointName="pilot-rarely")
            return found["EndpointStatus"], found["EndpointConfigName"]

        self.until(lambda: serving() != ("InService", config))

    def until_no_probation(self) -> None:
        """Wait until the schedule has ended the serverless endpoint's probation."""
        self.cloud.clock_jump(by=timedelta(hours=1))
        rule = self.cloud.client("events").describe_rule
        self.until(lambda: rule(Name="pilot-rarely-probation")["State"] == "DISABLED")
        assert PROBATION not in self.loops["rarely"].alarms()

    def targets(self, name: str) -> dict[str, tuple[int, int]]:
        """Return the scaling bounds of an endpoint's registered variants."""
        found = self.cloud.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="sagemaker")
        return {
            target["ResourceId"].rpartition("/")[2]: (target["MinCapacity"], target["MaxCapacity"])
            for target in found["ScalableTargets"]
            if target["ResourceId"].startswith(f"endpoint/pilot-{name}/")
        }

    def policies(self, name: str) -> set[str]:
        """Return the names of an endpoint's scaling policies."""
        found = self.cloud.client("application-autoscaling").describe_scaling_policies(ServiceNamespace="sagemaker")
        return {
            policy["PolicyName"]
            for policy in found["ScalingPolicies"]
            if policy["ResourceId"].startswith(f"endpoint/pilot-{name}/")
        }


@pytest.fixture(scope="module")
def pilot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pilot]:
    """Deploy the stack in an account without models; the tests of this file depend on their order."""
    folder = tmp_path_factory.mktemp("capacities")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(EXTRA, images.serve_commands([TURNS, FAILS]))
        cloud = local_cloud.up(folder / "cloud", clock_scale=CLOCK_SCALE)
    try:
        yield Pilot(cloud, folder)
    finally:
        cloud.down(forget=True)


def _failing(loop: Loop) -> int:
    """Send more calls than a newly started container answers, and return the number of failures."""
    failed = 0
    for _ in range(15):
        try:
            _ask(loop)
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ModelError"
            failed += 1
    return failed


def _ask(loop: Loop) -> Any:
    return loop.invoke([{"x": 2.0}], "ask")[0].predictions[0]


def test_a_serverless_endpoint_is_born_and_takes_a_new_model(pilot: Pilot) -> None:
    """Without network, key and guardrails: two approvals deploy two models, all at once."""
    pilot.approve("rarely", 3.0)
    assert _ask(pilot.loops["rarely"]) == pytest.approx(6.0)
    pilot.approve("rarely", 4.0)
    assert _ask(pilot.loops["rarely"]) == pytest.approx(8.0)
    assert [r.outcome for r in pilot.loops["rarely"].audit()][-2:] == [Outcome.PROMOTED, Outcome.PROMOTED]
    assert pilot.targets("rarely") == {}


def test_a_serverless_model_that_turns_constant_is_taken_back_before_its_probation_ends(pilot: Pilot) -> None:
    """Calls trigger the fault and keep the container alive, as a new one starts without it; the schedule sends golden requests."""
    loop = pilot.loops["rarely"]
    pilot.approve("rarely", 4.6, image=models.faulty_image(*TURNS))
    live, seen = loop.live(), pilot.seen("rarely")
    assert live is not None
    assert live.rehearsed is not None

    with loop.traffic([{"x": 2.0}] * 40, "awake"):
        loop.wait_execution("DeployMachineArn", seen, appear=120, finish=120)

    record = loop.audit()[-1]
    # by the calls before, or, where few of them were answered, by one of the rounds of golden requests
    assert re.search(
        r"got another answer (than before it had traffic|in round \d+), first row 0: got 1.0 after 9.2", record.reason
    )
    assert record.requested_by == "golden requests of the probation"
    assert _ask(loop) == pytest.approx(8.0)
    assert models.leftovers(loop) == []


def test_a_serverless_model_that_fails_after_its_promotion_is_taken_back(pilot: Pilot) -> None:
    """Errors in three five-minute periods raise the probation's alarm; alarm and schedule end with the probation.

    A model was rolled back for its errors shortly before: neither its predecessor nor its successor is measured by them.
    """
    loop, cloud = pilot.loops["rarely"], pilot.cloud
    models.ask_for(loop, cloud.client("dynamodb"), golden=None)
    for factor in (4.5, 4.7):
        pilot.approve("rarely", factor, image=models.faulty_image(*FAILS))
        live, seen = loop.live(), pilot.seen("rarely")
        assert live is not None
        assert live.probation_until is not None
        assert loop.alarms()[PROBATION] == "OK"

        with pilot.standing():  # each period has the same number of calls on any machine
            # only periods that start after the promotion count
            cloud.clock_jump(by=timedelta(minutes=6))
            start = loop.now()
            for minutes in (5, 10, 12):
                assert _failing(loop) >= LEAST_ERRORS
                cloud.clock_jump(to=start + timedelta(minutes=minutes))
            pilot.until_updated(live.config)
        loop.wait_execution("DeployMachineArn", seen, appear=30, finish=120)

        record = loop.audit()[-1]
        assert record.outcome is Outcome.PROMOTED
        assert record.reason.endswith(f"{PROBATION} is in ALARM during probation")
        assert _ask(loop) == pytest.approx(8.0)
        assert models.leftovers(loop) == []
    pilot.until_no_probation()


def test_a_queue_is_worked_off_for_who_may_use_it(pilot: Pilot, wait_for: Callable[..., Any]) -> None:
    """A permitted caller writes a request and finds the answer, the topic is notified, and an empty fleet would start."""
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
    sqs = pilot.cloud.client("sqs")
    url = subscribe_queue(sqs, pilot.cloud.client("sns"), pilot.outputs["Topic"], "answers")
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
    reported = wait_for(lambda: sqs.receive_message(QueueUrl=url).get("Messages"))
    assert left["InferenceId"] in reported[0]["Body"]
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
    """SageMaker rejects it for a registered variant: it is deregistered, updated and registered again."""
    pilot.deploy(arm="ml.c7g.xlarge", is_scaled=True)
    live: Any = pilot.loops["always"].live()
    config = pilot.loops["always"].sagemaker.describe_endpoint_config(EndpointConfigName=live.config)
    assert [v["InstanceType"] for v in config["ProductionVariants"]] == ["ml.m5.large", "ml.c7g.xlarge"]
    assert pilot.loops["always"].audit()[-1].outcome is Outcome.PROMOTED
    assert pilot.targets("always") == {"AllTraffic": (2, 4), "Arm": (2, 4)}


def test_scaling_that_is_no_longer_wanted_is_gone(pilot: Pilot) -> None:
    """Targets are deleted with their policies and schedules; the model keeps serving."""
    pilot.deploy(arm="ml.c7g.xlarge", is_scaled=False)
    assert pilot.targets("always") == {}
    assert pilot.policies("always") == set()
    assert _ask(pilot.loops["always"]) == pytest.approx(4.0)
    assert pilot.loops["always"].audit_problems() == []
