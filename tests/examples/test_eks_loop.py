"""Two slots on the embedded cloud: rollouts and rollbacks of a deployed service under load."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import boto3
import pytest
from examples.retail.demo_eks import create_cluster, local_address
from examples.retail.eks_loop import EksLoop, RefusedError
from tests.campaign.candidates import images
from tests.examples import models
from typer.testing import CliRunner

from mlops_cli.__main__ import app as command
from mlops_constructs import (
    BusinessUnit,
    DataCapture,
    EksCapacity,
    EksCluster,
    EksInferenceService,
    EksTenant,
    GoldenRequests,
    ModelRegistry,
    Network,
    Profile,
    RolloutChecks,
    RolloutPolicy,
)
from mlops_local import cloud as local_cloud
from mlops_local.runners import EXTRA
from mlops_local.stacks import deployer
from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.rollout import Outcome, ServingSpec
from mlops_runtime.contracts.serving import GoldenSpec
from mlops_runtime.rollout.kept_minutes import read_bytes, read_minutes
from mlops_runtime.rollout.rollout_table import RolloutTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.cloud

CLOCK_SCALE = 120.0
RUNS = "    runs      rollout "
TURNS, TURNS_LATE = (images.TURNS, "constant/calls/25"), (images.TURNS, "constant/calls/300")
ROWS = [{"x": 2.0}]


def synthesize(folder: Path, group: str) -> Path:
    """Synthesize a unit with one service in the platform team's network and cluster, and return the assembly."""
    golden = folder.with_name("golden.jsonl")
    line = {"name": "two", "body": json.dumps({"instances": [{"x": 2.0}]}), "rows": 1, "minimum": 0, "maximum": 100}
    golden.write_text(json.dumps(line) + "\n")
    checks = RolloutChecks(golden=GoldenRequests.from_file(golden, max_deviation=5.0), probation=cdk.Duration.days(2))
    stack = cdk.Stack(app := cdk.App(outdir=str(folder)), "Slots")
    network = Network.from_shared_vpc(
        vpc_id="vpc-0f3a5c7e9b1d2f4a6",
        availability_zones=["us-east-1a", "us-east-1b"],
        subnet_ids=["subnet-01a2b3c4d5e6f7089", "subnet-098f7e6d5c4b3a210"],
    )
    unit = BusinessUnit(stack, "Unit", name="shop", profile=Profile.DEVELOPMENT, network=network)
    registry = ModelRegistry(stack, "Registry", business_unit=unit, name="price")
    cluster = EksCluster.from_cluster_attributes(
        stack, "Cluster", name="retail", security_group_id=group, subnet_cidrs=["10.0.0.0/20", "10.0.16.0/20"]
    )
    service = EksInferenceService(
        stack,
        "Service",
        tenant=EksTenant(stack, "Tenant", business_unit=unit, cluster=cluster),
        registry=registry,
        name="price",
        capacity=EksCapacity(min_pods=2, max_pods=3),
        capture=DataCapture(sampling_percent=100),
        rollout=RolloutPolicy.canary(percent=25, bake=cdk.Duration.minutes(5), checks=checks),
    )
    assert service.capture_bucket is not None
    outputs = {
        "ApproverRoleArn": registry.approver_role.role_arn,
        "EndpointName": service.endpoint_name,
        "RolloutTable": service.rollout.table.table_name,
        "DeployMachineArn": service.rollout.machine.state_machine_arn,
        "ArtifactsBucket": unit.artifacts.bucket_name,
        "AuditBucket": unit.audit_bucket.bucket_name,
        "CaptureBucket": service.capture_bucket.bucket_name,
        "RuleArn": service.load_balancer.rule_arn,
        "ServiceUrl": service.url,
    }
    for name, value in outputs.items():
        cdk.CfnOutput(stack, name, value=value)
    app.synth()
    return folder


class Shop:
    """The deployed service; its models multiply by a factor."""

    def __init__(self, cloud: local_cloud.Cloud, folder: Path) -> None:
        self.cloud = cloud
        made = create_cluster(cloud, "retail")
        outputs = deployer.deploy(cloud, synthesize(folder / "assembly", made.security_group_id))["Slots"]
        self.loop = EksLoop(
            client=cloud.client,
            outputs=outputs,
            unit="shop",
            now=lambda: datetime.fromisoformat(cloud.clock()["now"]),
            cluster=made.cluster,
            address=local_address(cloud, outputs["ServiceUrl"]),
        )
        self.loop.wait_idle("DeployMachineArn")
        self.golden = self._golden()

    def _golden(self) -> GoldenSpec | None:
        """Return the stack's golden requests."""
        table = RolloutTable(self.cloud.client("dynamodb"), self.loop.outputs["RolloutTable"], self.loop.endpoint)
        bucket, _, key = str(table.read().desired).removeprefix("s3://").partition("/")
        spec = from_json(ServingSpec, self.loop.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        return spec.rollout.golden

    def ask_for(self, **checks: Any) -> None:
        """Store a spec with changed checks; the next approval uses it."""
        models.ask_for(self.loop, self.cloud.client("dynamodb"), **checks)

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait for a condition."""
        deadline = time.monotonic() + 120
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def mlops(self, *arguments: str) -> str:
        """Run the command in this process and return its output."""
        result = CliRunner(env={"COLUMNS": "300"}).invoke(command, [*arguments, "--home", str(self.cloud.home)])
        assert result.exit_code == 0, (arguments, result.output, result.exception)
        return str(result.stdout)

    def watch(self) -> list[str]:
        """Poll the status while a rollout runs."""
        looks, deadline = list[str](), time.monotonic() + 90
        while not looks or RUNS in looks[-1]:
            assert time.monotonic() < deadline
            if RUNS in (look := self.mlops("status", "shop")) or looks:
                looks.append(look)
            time.sleep(0.2)
        return looks

    def approve(
        self,
        factor: float,
        *,
        error: str | None = None,
        then: Callable[[], object] | None = None,
        has_traffic: bool = True,
        **package: Any,
    ) -> Any:
        """Register and approve a model under load, run a function meanwhile, and wait for its end; return the traffic."""
        seen = {e["executionArn"] for e in self.loop.executions("DeployMachineArn")}
        self.loop.approve(models.register(self.loop, factor, **package), "a person looked at it")
        if self.loop.live() is None or not has_traffic:
            self.loop.wait_execution("DeployMachineArn", seen, appear=60, finish=240, error=error)
            return None
        with self.loop.traffic(ROWS, f"rollout-{factor}") as traffic:
            if then is not None:
                then()
            self.loop.wait_execution("DeployMachineArn", seen, appear=60, finish=240, error=error)
        return traffic


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Deploy the service; the tests of this file depend on their order."""
    folder = tmp_path_factory.mktemp("slots")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(EXTRA, images.serve_commands([TURNS, TURNS_LATE]))
        cloud = local_cloud.up(folder / "cloud", clock_scale=CLOCK_SCALE)
    try:
        yield Shop(cloud, folder)
    finally:
        cloud.down(forget=True)


def test_a_service_without_a_model_answers_503(shop: Shop) -> None:
    """Stack and namespace exist, and no model serves."""
    with pytest.raises(RefusedError, match="503"):
        shop.loop.predict(ROWS, "too-early")

    assert shop.loop.live() is None
    assert {state.version for state in shop.loop.slots().values()} == {None}


def test_the_first_model_is_born_on_a_slot(shop: Shop) -> None:
    """It takes the slot without initial weight, with the capacity's number of pods, and gets all traffic."""
    shop.approve(3.0)

    assert shop.loop.predict(ROWS, "first") == pytest.approx((6.0,))
    live = shop.loop.live()
    assert live is not None
    assert shop.loop.serving_config() == live.config
    assert shop.loop.slots()["green"].ready == 2
    assert shop.loop.weights() == {"blue": 0, "green": 100}


def test_a_good_model_takes_over_and_the_other_slot_rests(shop: Shop) -> None:
    """By canary under load: every call is answered, the status shows the progress, and the old slot ends without pods."""
    before, looks = shop.loop.serving_config(), list[str]()
    # failures of a later candidate count for the service too: on a busy machine they last long enough for its alarm
    shop.ask_for(probation=None, probation_alarms=None)
    shop.cloud.clock_scale(30.0)  # so that the command sees each step

    traffic = shop.approve(4.0, then=lambda: looks.extend(shop.watch()))

    shop.cloud.clock_scale(CLOCK_SCALE)
    moves = ("    step      1 of 2: 25 % of the traffic", "    step      2 of 2: 100 % of the traffic")
    steps = [look for look in looks if any(move in look for move in moves)]
    assert steps, looks
    assert all("    left      " in look for look in steps)
    assert " answers failed against 0 of " in steps[-1]
    assert RUNS not in looks[-1]
    assert "3 PROMOTED" in looks[-1]

    assert (traffic.broken, traffic.refused) == (0, 0), traffic.first_broken
    assert traffic.answered > 0
    assert shop.loop.predict(ROWS, "second") == pytest.approx((8.0,))
    assert "golden requests passed again on the serving fleet" in shop.loop.audit()[-1].reason
    assert shop.loop.serving_config() != before
    assert shop.loop.weights() == {"blue": 100, "green": 0}
    assert shop.loop.verify_rest() == "slot green has no pods"


def test_a_bad_model_goes_back_under_load(shop: Shop) -> None:
    """It answers with errors: the slot's alarm fires, the weights are restored, and no connection breaks."""
    before = shop.loop.serving_config()
    shop.ask_for(golden=None)

    traffic = shop.approve(float("inf"), error=Outcome.ROLLED_BACK.value)

    assert traffic.broken == 0, traffic.first_broken
    assert 0 < traffic.refused < traffic.answered
    assert shop.loop.serving_config() == before
    assert shop.loop.predict(ROWS, "after") == pytest.approx((8.0,))
    assert shop.loop.verify_rest() == "slot green has no pods"


def test_calls_are_captured_and_every_decision_is_on_the_record(shop: Shop) -> None:
    """Captures include calls of deleted pods; the chain is valid."""
    assert shop.loop.wait_captured() == shop.loop.answered > 0
    assert shop.loop.audit_problems() == []
    outcomes = [record.outcome for record in shop.loop.audit()]
    assert outcomes[-3:] == [Outcome.PROMOTED, Outcome.PROMOTED, Outcome.ROLLED_BACK]
    shop.loop.verify_shifts()
    assert shop.loop.broken == 0


def test_what_a_verdict_was_computed_from_is_kept_and_drawn(shop: Shop) -> None:
    """As for an endpoint: the evidence beside the record gives the same result again."""
    promoted, stopped = shop.loop.audit()[-2:]
    for record in (promoted, stopped):
        verdict = record.verdict
        assert verdict is not None
        assert verdict.minutes_uri.startswith(f"s3://{shop.loop.outputs['AuditBucket']}/minutes/shop-price/")
        assert read_minutes(read_bytes(shop.loop.s3, verdict)).sentence() == verdict.sentence
        assert " answers failed against " in verdict.sentence
    assert f"; promoted {promoted.verdict.sentence}" in promoted.reason
    drawn = shop.mlops("audit", "show", "shop-price", "--sequence", str(stopped.sequence))
    assert stopped.verdict.sentence in drawn
    assert "computed again from these minutes: the same sentence" in drawn
    assert stopped.verdict.sentence in shop.mlops("status", "shop")


def test_a_candidate_that_fails_golden_requests_gets_no_traffic(shop: Shop) -> None:
    """Its slot answers out of bounds before weights change, as a rehearsal would."""
    before = shop.loop.serving_config()
    shop.ask_for(golden=shop.golden)

    traffic = shop.approve(-3.0, error=Outcome.REFUSED.value)

    assert (traffic.broken, traffic.refused) == (0, 0), traffic.first_broken
    record = shop.loop.audit()[-1]
    assert record.reason.startswith("golden requests: 1 of 1 golden requests failed: two: ")
    assert record.verdict is None
    assert shop.loop.serving_config() == before
    assert shop.loop.verify_rest() == "slot green has no pods"


def test_an_image_that_turns_constant_goes_back_while_the_old_slot_waits(shop: Shop) -> None:
    """It passes its rehearsal, its first calls and all bounds: repeated golden requests detect it."""
    before = shop.loop.serving_config()

    traffic = shop.approve(3.5, error=Outcome.ROLLED_BACK.value, image=models.faulty_image(*TURNS))

    assert (traffic.broken, traffic.refused) == (0, 0), traffic.first_broken
    reason = shop.loop.audit()[-1].reason
    assert reason.startswith("golden requests, sent again: 1 of 1 golden requests failed: two: ")
    assert "got another answer " in reason
    assert "first row 0: got 1.0 after 7.0" in reason
    assert shop.loop.serving_config() == before
    assert shop.loop.predict(ROWS, "still") == pytest.approx((8.0,))
    assert shop.loop.verify_rest() == "slot green has no pods"


def test_an_image_that_turns_constant_after_its_promotion_goes_back_before_its_probation_ends(shop: Shop) -> None:
    """Calls trigger the fault within its bounds; the next scheduled check sends golden requests to the slot and detects it."""
    events, rule, alarm = shop.cloud.client("events"), "shop-price-probation", "shop-price-probation-errors"
    shop.ask_for(min_invocations=0, probation=172_800, probation_alarms=(alarm,))
    shop.approve(4.5, has_traffic=False, image=models.faulty_image(*TURNS_LATE))
    live = shop.loop.live()
    assert live is not None
    assert live.probation_until is not None
    assert shop.loop.weights()[str(live.slot)] == 100
    assert events.describe_rule(Name=rule)["State"] == "ENABLED"
    assert alarm in shop.loop.alarms()
    assert shop.loop.predict(ROWS, "promoted") == pytest.approx((9.0,))

    seen = {e["executionArn"] for e in shop.loop.executions("DeployMachineArn")}
    while 1.0 not in {shop.loop.predict(ROWS, "again")[0] for _ in range(20)}:
        pass
    shop.loop.wait_execution("DeployMachineArn", seen, appear=120, finish=240)

    record = shop.loop.audit()[-1]
    assert ": golden requests, sent again during probation: 1 of 1 golden requests failed: two: " in record.reason
    assert "got another answer than before it had traffic, first row 0: got 1.0 after 9.0" in record.reason
    assert record.requested_by == "golden requests of the probation"
    assert shop.loop.predict(ROWS, "back") == pytest.approx((8.0,))
    assert shop.loop.verify_rest() == f"slot {live.slot} has no pods"
    shop.until(lambda: events.describe_rule(Name=rule)["State"] == "DISABLED")
    assert alarm not in shop.loop.alarms()


def test_nobody_who_was_not_asked_counts_as_no_shift() -> None:
    """A load loop without calls is no evidence."""
    loop = EksLoop(
        client=lambda name: boto3.client(
            name, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
        ),
        outputs={"EndpointName": "shop-price"},
        unit="shop",
        now=datetime.now,
        cluster=None,  # type: ignore[arg-type]  # nothing is looked at
        address="http://127.0.0.1:1",
    )

    with pytest.raises(Exception, match="no client sent a request"):
        loop.verify_shifts()
    with pytest.raises(RefusedError, match="refused"):
        loop.predict(ROWS, "none")
