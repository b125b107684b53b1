"""Progressive delivery on the embedded cloud: every kind of rollout and rollback of one deployed endpoint."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_cloudwatch as cloudwatch
from examples.retail.loop import Loop, Traffic
from tests.campaign.candidates import images
from tests.examples import models

from mlops_constructs import (
    BusinessUnit,
    DataCapture,
    EndpointCapacity,
    GoldenRequests,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Profile,
    RolloutChecks,
    RolloutPolicy,
    ShadowTraffic,
    Tolerance,
)
from mlops_local import cloud as local_cloud
from mlops_local.runners import EXTRA
from mlops_local.stacks import deployer
from mlops_runtime.contracts.rollout import Outcome, taken_back
from mlops_runtime.contracts.serving import MetricRule
from mlops_runtime.rollout.execution_names import version_name
from mlops_runtime.rollout.kept_minutes import read_bytes, read_minutes
from mlops_runtime.rollout.rollout_table import RolloutTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.cloud

NAME = "shop-price"
CLOCK_SCALE = 120.0
PACE = 10.0  # embedded seconds of a step while the clock moves in steps
TURNS, FAILS = (images.TURNS, "constant/calls/25"), (images.TURNS, "error/calls/5")
TURNS_LATE = (images.TURNS, "constant/calls/600")
DAWDLES = (images.DAWDLES, "1")  # per call
MINUTES = cdk.Duration.minutes


def linear(checks: RolloutChecks) -> RolloutPolicy:
    """Return a policy that shifts half of the instances at a time."""
    return RolloutPolicy.linear(step_percent=50, bake=MINUTES(5), checks=checks)


def rolling(checks: RolloutChecks) -> RolloutPolicy:
    """Return a policy that replaces half of the instances at a time, after a shadow with a copy of every call."""
    tolerance = Tolerance(relative=0.5)
    shadowed = replace(checks, shadow=ShadowTraffic(percent=100, bake=MINUTES(10), tolerance=tolerance))
    return RolloutPolicy.rolling(batch_percent=50, bake=MINUTES(5), checks=shadowed)


def synthesize(folder: Path, policy: Callable[[RolloutChecks], RolloutPolicy]) -> Path:
    """Synthesize a unit whose endpoint uses every check, and return the assembly."""
    folder.mkdir()
    golden = folder / "golden.jsonl"
    line = {"name": "two", "body": json.dumps({"instances": [{"x": 2.0}]}), "rows": 1, "minimum": 0, "maximum": 100}
    golden.write_text(json.dumps(line) + "\n")
    stack = cdk.Stack(app := cdk.App(outdir=str(folder / "assembly")), "Rollouts")
    unit = BusinessUnit(stack, "Unit", name="shop", profile=Profile.DEVELOPMENT)
    registry = ModelRegistry(stack, "Registry", business_unit=unit, name="price")
    refunds = cloudwatch.Metric(namespace="Shop", metric_name="Refunds").create_alarm(
        stack,
        "Refunds",
        threshold=1,
        evaluation_periods=1,
        treat_missing_data=cloudwatch.TreatMissingData.IGNORE,
    )
    checks = RolloutChecks(
        golden=GoldenRequests.from_file(golden, max_deviation=5.0),
        synthetic_invocations=60,
        max_latency_ratio=100,  # delays of a busy machine must not stop a rollout; a separate test covers that
        metrics=[MetricRule(namespace="Shop", metric="Complaints", threshold=5)],
        probation=cdk.Duration.days(2),
        probation_alarms=[refunds],
        retained_versions=2,
    )
    endpoint = ModelEndpoint(
        stack,
        "Endpoint",
        business_unit=unit,
        registry=registry,
        name="price",
        image=ModelImage.from_ecr(repository_name="mlops-runtime", digest=models.DIGEST),
        capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
        rollout=policy(checks),
        capture=DataCapture(sampling_percent=100),
    )
    outputs = {
        "ApproverRoleArn": registry.approver_role.role_arn,
        "EndpointName": endpoint.endpoint_name,
        "RolloutTable": endpoint.rollout.table.table_name,
        "DeployMachineArn": endpoint.rollout.machine.state_machine_arn,
        "ArtifactsBucket": unit.artifacts.bucket_name,
        "AuditBucket": unit.audit_bucket.bucket_name,
        "RefundsAlarm": refunds.alarm_name,
    }
    for name, value in outputs.items():
        cdk.CfnOutput(stack, name, value=value)
    app.synth()
    return folder / "assembly"


class Shop:
    """The deployed endpoint; its models multiply by a factor."""

    def __init__(self, cloud: local_cloud.Cloud, folder: Path) -> None:
        self.cloud, self.folder, self.packages = cloud, folder, dict[float, str]()
        self.deploy("linear", linear)

    def deploy(self, name: str, policy: Callable[[RolloutChecks], RolloutPolicy]) -> None:
        """Deploy the stack with a policy, and wait for the Deploy machine."""
        outputs = deployer.deploy(self.cloud, synthesize(self.folder / name, policy))["Rollouts"]
        self.loop = Loop(
            client=self.cloud.client,
            outputs=outputs,
            unit="shop",
            now=lambda: datetime.fromisoformat(self.cloud.clock()["now"]),
        )
        self.loop.wait_idle("DeployMachineArn")

    def register(self, factor: float, *, image: str = models.IMAGE) -> str:
        """Register a model and return its package."""
        self.packages[factor] = models.register(self.loop, factor, image=image)
        return self.packages[factor]

    def seen(self) -> set[str]:
        """Return the executions so far."""
        return {e["executionArn"] for e in self.loop.executions("DeployMachineArn")}

    def approve(
        self,
        factor: float,
        *,
        error: str | None = None,
        then: Callable[[], None] | None = None,
        has_traffic: bool = True,
        image: str = models.IMAGE,
        is_paced: bool = False,
        calls: int = 0,
    ) -> None:
        """Register and approve a model under traffic, run a function meanwhile, and wait for its rollout to end.

        Args:
            factor: Factor of the model.
            error: Error with which the rollout ends. Default: none.
            then: Function to call during the rollout. Default: none.
            has_traffic: Whether there is traffic.
            image: Serving image.
            is_paced: Whether the clock moves in steps.
            calls: Minimum number of answers per step of the clock.
        """
        package, seen = self.register(factor, image=image), self.seen()
        self.loop.approve(package, "a person looked at it")
        has_traffic = has_traffic and self.loop.live() is not None
        rows = [{"x": 2.0 + number / 1000} for number in range(900)]
        with (
            self.loop.traffic(rows, f"rollout-{factor}") if has_traffic else nullcontext() as traffic,
            self.paced(traffic, calls) if is_paced else nullcontext(),
        ):
            if then is not None:
                then()
            self.loop.wait_execution("DeployMachineArn", seen, appear=30, finish=120, error=error)

    @contextmanager
    def paced(self, traffic: Traffic | None, calls: int) -> Iterator[None]:
        """Let time pass only while the Deploy machine waits: its functions take no part of a bake on any machine.

        Args:
            traffic: Concurrent calls, if any.
            calls: Minimum number of answers per step.
        """
        machines, is_over = self.cloud.client("stepfunctions"), threading.Event()

        def is_waiting(arn: str) -> bool:
            (last,) = machines.get_execution_history(executionArn=arn, reverseOrder=True, maxResults=1)["events"]
            return bool(last["type"] == "WaitStateEntered")

        def pace() -> None:
            answered = 0
            while not is_over.wait(PACE / CLOCK_SCALE):
                if traffic is not None and traffic.answered < answered + calls:
                    continue
                executions = self.loop.executions("DeployMachineArn")
                if all(is_waiting(each["executionArn"]) for each in executions if each["status"] == "RUNNING"):
                    answered = 0 if traffic is None else traffic.answered
                    self.cloud.clock_jump(by=timedelta(seconds=PACE))

        self.cloud.clock_scale(1.0)
        pacing = threading.Thread(target=pace, daemon=True)
        pacing.start()
        try:
            yield
        finally:
            is_over.set()
            pacing.join()
            self.cloud.clock_scale(CLOCK_SCALE)

    def ask_for(self, **checks: Any) -> None:
        """Store a spec with changed checks; the next approval uses it."""
        models.ask_for(self.loop, self.cloud.client("dynamodb"), **checks)

    def start(self, **request: str) -> None:
        """Start the Deploy machine as a person does, and wait for its end."""
        seen, machine = self.seen(), self.loop.outputs["DeployMachineArn"]
        requested = {"requested_by": "ann", "requested_at": "2017-08-01T00:00:00Z", **request}
        self.cloud.client("stepfunctions").start_execution(stateMachineArn=machine, input=json.dumps(requested))
        self.loop.wait_execution("DeployMachineArn", seen, appear=30, finish=120)

    def die(self, factor: float, *, error: str | None) -> tuple[str, str]:
        """Approve a model, stop its execution during the traffic shift, and wait for the recovery's end; return both ARNs."""
        seen, package = self.seen(), self.register(factor)
        self.loop.approve(package, "a person looked at it")
        self.until_updating()
        (running,) = self.seen() - seen
        stop = self.cloud.client("stepfunctions").stop_execution
        stop(executionArn=running, error="Stopped", cause="a test")
        self.loop.wait_execution("DeployMachineArn", seen | {running}, appear=30, finish=120, error=error)
        return package, running

    def until_updating(self) -> None:
        """Wait until SageMaker shifts traffic."""
        deadline = time.monotonic() + 60
        while self.loop.sagemaker.describe_endpoint(EndpointName=NAME)["EndpointStatus"] != "Updating":
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait for a condition."""
        deadline = time.monotonic() + 120
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def deployment(self) -> dict[str, Any]:
        """Return the config of the last deployment."""
        return dict(self.loop.sagemaker.describe_endpoint(EndpointName=NAME)["LastDeploymentConfig"])

    def ask(self) -> float:
        """Return the endpoint's answer for 2."""
        return self.loop.invoke([{"x": 2.0}], "ask")[0].predictions[0]

    def leftovers(self) -> list[str]:
        """Return resources that should not exist between two rollouts: excess versions, alarms, rehearsals, a lock."""
        return models.leftovers(self.loop)


def set_quotas(cloud: local_cloud.Cloud, quotas: dict[str, float]) -> None:
    """Replace the account's quotas."""
    cloud.call("/_mlops/quotas", quotas)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Deploy the stack; the tests of this file depend on their order."""
    folder = tmp_path_factory.mktemp("rollouts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(EXTRA, images.serve_commands([TURNS, TURNS_LATE, FAILS, DAWDLES]))
        cloud = local_cloud.up(folder / "cloud", clock_scale=CLOCK_SCALE)
    try:
        yield Shop(cloud, folder)
    finally:
        cloud.down(forget=True)


def test_a_first_candidate_answers_golden_requests_before_it_serves(shop: Shop) -> None:
    """A bad candidate leaves no endpoint; a good one creates it."""
    shop.approve(-3.0, error="REFUSED")
    assert shop.loop.audit()[-1].reason.startswith("golden requests: ")
    assert shop.loop.sagemaker.list_endpoints()["Endpoints"] == []

    shop.approve(3.0)

    assert shop.ask() == pytest.approx(6.0)
    assert shop.leftovers() == []


def test_a_second_fleet_that_the_account_may_not_have_is_refused(shop: Shop) -> None:
    """The machine calls Service Quotas, which the functions' network does not reach."""
    quota = "ml.m5.large for endpoint usage"
    set_quotas(shop.cloud, {quota: 3})
    try:
        shop.approve(3.2, error="REFUSED", has_traffic=False)
    finally:
        set_quotas(shop.cloud, {})

    assert (
        "the rollout needs 4 ml.m5.large at once for both fleets, but the account's quota is 3"
        in shop.loop.audit()[-1].reason
    )
    assert shop.ask() == pytest.approx(6.0)
    assert shop.leftovers() == []


def test_an_artefact_that_the_endpoint_may_not_read_is_refused_before_anything_is_made(shop: Shop) -> None:
    """Covers approvals without the command: the record names the readable location."""
    seen, package = shop.seen(), models.register(shop.loop, 3.5, folder="by-hand")
    shop.loop.approve(package, "a person looked at it")
    shop.loop.wait_execution("DeployMachineArn", seen, appear=30, finish=120, error="REFUSED")

    bucket = shop.loop.outputs["ArtifactsBucket"]
    assert f"the artefact must be below s3://{bucket}/models/{NAME}/" in shop.loop.audit()[-1].reason
    assert shop.ask() == pytest.approx(6.0)
    assert shop.leftovers() == []


def test_a_good_model_is_promoted_step_by_step(shop: Shop) -> None:
    """Without callers, synthetic calls are the evidence; then its probation begins, and the old version stays for rollbacks."""
    before = shop.loop.live()
    assert before is not None

    shop.approve(4.0, has_traffic=False, is_paced=True)

    live = shop.loop.live()
    assert live is not None
    assert shop.ask() == pytest.approx(8.0)
    assert shop.deployment()["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["Type"] == "LINEAR"
    assert live.previous == before.config
    assert live.probation_until is not None
    assert shop.leftovers() == []


def test_an_alarm_during_probation_takes_it_back(shop: Shop) -> None:
    """Its change to ALARM starts a rollback, which ends the probation; a second alarm has no effect."""
    seen, alarm = shop.seen(), shop.loop.outputs["RefundsAlarm"]
    shop.cloud.client("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="refunds")
    shop.loop.wait_execution("DeployMachineArn", seen, appear=30, finish=120)

    live = shop.loop.live()
    assert live is not None
    assert (live.probation_until, live.previous) == (None, None)
    assert shop.ask() == pytest.approx(6.0)
    assert shop.loop.audit()[-1].reason.endswith(f"{alarm} is in ALARM during probation")
    assert shop.leftovers() == []
    shop.cloud.client("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue="OK", StateReason="quiet")


def test_an_image_that_turns_constant_after_its_promotion_is_taken_back_before_its_probation_ends(shop: Shop) -> None:
    """Calls trigger the fault within its bounds; the next scheduled check sends golden requests, and the schedule ends."""
    events, rule = shop.cloud.client("events"), f"{NAME}-probation"
    shop.ask_for(max_latency_ratio=None, synthetic=10, min_invocations=0)
    shop.approve(4.5, has_traffic=False, image=models.faulty_image(*TURNS_LATE))
    live = shop.loop.live()
    assert live is not None
    assert live.probation_until is not None
    assert events.describe_rule(Name=rule)["State"] == "ENABLED"
    assert f"{NAME}-probation-errors" in shop.loop.alarms()
    assert shop.ask() == pytest.approx(9.0)

    seen = shop.seen()
    while 1.0 not in {shop.ask(), shop.ask()}:
        shop.loop.invoke([{"x": 2.0}], "many")
    shop.loop.wait_execution("DeployMachineArn", seen, appear=120, finish=120)

    record = shop.loop.audit()[-1]
    assert record.reason.startswith(
        f"back to {shop.packages[3.0]}: golden requests, sent again during probation: 1 of 1"
    )
    assert "got another answer than before it had traffic, first row 0: got 1.0 after 9.0" in record.reason
    assert record.requested_by == "golden requests of the probation"
    assert shop.ask() == pytest.approx(6.0)
    assert shop.leftovers() == []
    shop.until(lambda: events.describe_rule(Name=rule)["State"] == "DISABLED")
    assert f"{NAME}-probation-errors" not in shop.loop.alarms()
    shop.ask_for(max_latency_ratio=100.0, synthetic=60, min_invocations=20)


def test_a_candidate_that_fails_golden_requests_gets_no_traffic(shop: Shop) -> None:
    """Its answers are out of bounds: refused on a separate endpoint, while the old model keeps serving."""
    before = shop.loop.live()

    shop.approve(-5.0, error="REFUSED")

    assert shop.loop.live() == before
    assert shop.ask() == pytest.approx(6.0)
    assert shop.leftovers() == []


def test_an_abort_goes_back_at_once(shop: Shop) -> None:
    """A person's alarm rolls back while the old fleet exists; the record names the person."""

    def abort() -> None:
        shop.until_updating()
        (name,) = (name for name in shop.loop.alarms() if name.endswith("-abort"))
        shop.cloud.client("cloudwatch").set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="ann: too slow")

    shop.approve(5.0, error="ROLLED_BACK", then=abort)

    assert shop.ask() == pytest.approx(6.0)
    assert "ann: too slow" in shop.loop.audit()[-1].reason
    assert shop.leftovers() == []


def test_a_metric_of_the_unit_takes_a_rollout_back(shop: Shop) -> None:
    """A metric known only to the unit counts like errors."""

    def complain() -> None:
        shop.until_updating()
        data = [{"MetricName": "Complaints", "Value": 9.0}]
        while shop.loop.lock_owner() is not None:  # they continue, so that the alarm still fires then
            shop.cloud.client("cloudwatch").put_metric_data(Namespace="Shop", MetricData=data)
            time.sleep(0.1)

    shop.approve(5.5, error="ROLLED_BACK", then=complain)

    assert shop.ask() == pytest.approx(6.0)
    assert "-metric-1 (Threshold Crossed" in shop.loop.audit()[-1].reason
    assert shop.leftovers() == []


def test_a_rollback_goes_to_the_version_that_is_named(shop: Shop) -> None:
    """Any approved version serves again at once."""
    shop.start(reason="rollback", model_package_arn=shop.packages[4.0])

    assert shop.ask() == pytest.approx(8.0)
    assert shop.leftovers() == []


def test_an_execution_that_dies_is_recovered(shop: Shop) -> None:
    """Stopped during an update: its candidate has taken over with calls, and the recovery evaluates it."""
    with shop.loop.traffic([{"x": 2.0}], "dies"):
        package, died = shop.die(6.0, error=None)

    assert shop.ask() == pytest.approx(12.0)
    live, record = shop.loop.live(), shop.loop.audit()[-1]
    assert live is not None
    assert (live.model_package_arn, live.config) == (package, version_name(NAME, died))
    assert (record.outcome, record.recovers, record.candidate_package) == (Outcome.PROMOTED, died, package)
    assert shop.leftovers() == []


def test_what_an_execution_that_died_left_without_evidence_goes_back(shop: Shop) -> None:
    """The candidate had no calls: SageMaker let it take over, and the recovery rolls it back."""
    before = shop.loop.live()
    shop.ask_for(synthetic=None)  # otherwise at most the synthetic calls that the machine sent before it was stopped

    package, died = shop.die(6.2, error="ROLLED_BACK")

    assert shop.loop.live() == before
    assert shop.ask() == pytest.approx(12.0)
    record = shop.loop.audit()[-1]
    assert (record.outcome, record.recovers, record.candidate_package) == (Outcome.ROLLED_BACK, died, package)
    assert "the new fleet served 0 invocations, a promotion needs 20" in record.reason
    assert shop.leftovers() == []


def test_a_fleet_that_is_much_too_slow_is_taken_back(shop: Shop) -> None:
    """Its answers are correct but take 0.4 seconds: the alarm on its latency fires."""
    shop.ask_for(max_latency_ms=100, golden=None, synthetic=None)

    shop.approve(6.5, error="ROLLED_BACK", image=models.faulty_image(*DAWDLES), is_paced=True, calls=3)

    record = shop.loop.audit()[-1]
    assert "-latency (Threshold Crossed" in record.reason
    assert record.verdict is not None
    assert record.verdict.action != "stop"
    # the evidence beside the record gives the same result again
    assert record.verdict.minutes_uri.startswith(f"s3://{shop.loop.outputs['AuditBucket']}/minutes/{NAME}/")
    kept = read_minutes(read_bytes(shop.cloud.client("s3"), record.verdict))
    assert kept.sentence() == record.verdict.sentence
    row = RolloutTable(shop.cloud.client("dynamodb"), shop.loop.outputs["RolloutTable"], NAME).read()
    last = taken_back(row)[-1]
    assert (row.locked_at, last.until) == (None, record.at)
    assert timedelta(0) < datetime.fromisoformat(record.at) - datetime.fromisoformat(last.since) < timedelta(hours=2)
    assert shop.ask() == pytest.approx(12.0)
    assert shop.leftovers() == []


def test_a_fleet_that_is_slower_than_the_one_beside_it_is_stopped(shop: Shop) -> None:
    """Without a limit in milliseconds its latency is compared with the live fleet's of the previous hours."""
    shop.ask_for(max_latency_ratio=3.0, golden=None, synthetic=None)

    shop.approve(6.6, error="ROLLED_BACK", image=models.faulty_image(*DAWDLES), is_paced=True, calls=3)

    record = shop.loop.audit()[-1]
    assert record.verdict is not None
    assert record.verdict.action == "stop"
    assert "answers took longer than" in record.verdict.sentence
    assert record.verdict.sentence in record.reason
    assert shop.ask() == pytest.approx(12.0)
    assert shop.leftovers() == []


def test_an_image_that_turns_constant_goes_back_while_the_old_fleet_still_waits(shop: Shop) -> None:
    """It passes its rehearsal, its first calls and all bounds: repeated golden requests detect it."""
    shop.ask_for(max_latency_ratio=None)

    shop.approve(6.7, error="ROLLED_BACK", image=models.faulty_image(*TURNS), is_paced=True)

    record = shop.loop.audit()[-1]
    assert "golden requests, sent again: 1 of 1 golden requests failed: two: " in record.reason
    assert "got another answer than before it had traffic, first row 0: got 1.0 after 13.4" in record.reason
    assert "SageMaker rolled back to" in record.reason
    assert shop.ask() == pytest.approx(12.0)
    assert shop.leftovers() == []


def test_errors_that_say_200_stop_a_rollout(shop: Shop) -> None:
    """No metric and no golden request detects them: captures have answers without numbers."""
    shop.ask_for(max_latency_ratio=None, golden=None, synthetic=None)
    shop.cloud.clock_scale(30.0)  # two seconds a minute: each has calls of both fleets

    shop.approve(6.8, error="ROLLED_BACK", image=models.faulty_image(*FAILS))

    shop.cloud.clock_scale(CLOCK_SCALE)
    reason = shop.loop.audit()[-1].reason
    assert "captured answers had no readable numbers, 0 of " in reason
    assert "false alarm probability below" in reason
    assert shop.ask() == pytest.approx(12.0)
    assert shop.leftovers() == []


def test_a_good_model_is_promoted_batch_by_batch(shop: Shop) -> None:
    """Another policy, with a shadow before the first batch; callers never see the shadow's answers."""
    shop.deploy("rolling", rolling)
    seen: list[bool] = []

    def watch() -> None:
        shop.until_updating()
        deadline = time.monotonic() + 30
        while not seen:
            assert time.monotonic() < deadline
            described = shop.loop.sagemaker.describe_endpoint(EndpointName=NAME)
            seen.extend([True] if described.get("ShadowProductionVariants") else [])
        assert shop.ask() == pytest.approx(12.0)

    shop.approve(7.0, then=watch)

    assert shop.ask() == pytest.approx(14.0)
    assert " pairs of answers 0 changed beyond the tolerance, by 17 % in the median" in shop.loop.audit()[-1].reason
    assert shop.deployment()["RollingUpdatePolicy"]["MaximumBatchSize"] == {"Type": "CAPACITY_PERCENT", "Value": 50}
    assert shop.leftovers() == []


def test_a_shadow_whose_answers_changed_too_much_gets_no_traffic(shop: Shop) -> None:
    """Its errors, latency and golden answers are correct: captures pair its answers with the live model's."""
    shop.approve(20.0, error="REFUSED")

    reason = shop.loop.audit()[-1].reason
    assert "the shadow was rejected: of " in reason
    assert " pairs of answers " in reason
    assert "changed beyond the tolerance, by 1.9e+02 % in the median, at most 5 % may" in reason
    assert shop.ask() == pytest.approx(14.0)
    assert shop.leftovers() == []


def test_the_chain_is_whole(shop: Shop) -> None:
    """One record per execution; recoveries record stopped executions, once each."""
    records = shop.loop.audit()
    assert shop.loop.audit_problems() == []
    reported = [*(r.execution for r in records), *(r.recovers for r in records if r.recovers is not None)]
    assert sorted(reported) == sorted(shop.seen())
    assert [r.outcome for r in records if r.outcome not in (Outcome.PROMOTED, Outcome.UNCHANGED)] == [
        *[Outcome.REFUSED] * 4,
        *[Outcome.ROLLED_BACK] * 7,
        Outcome.REFUSED,
    ]
