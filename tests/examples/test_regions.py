"""``examples/regions.py`` on the embedded cloud with IAM enforced: a rollout over Regions, a pilot light, and its failover."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import examples.regions
import pytest
from examples.regions import AMERICAS, BUILD, PRODUCTION, RECOVERY, Serving, compose
from tests.examples.linked_accounts import LinkedAccounts, served
from tools.page_code import shown

from mlops_constructs import EndpointCapacity, Environment
from mlops_constructs.compliance.harness import check
from mlops_local import cloud as local_cloud
from mlops_local.stacks import deployer
from mlops_runtime.changes import Action, compare, read_schemas
from mlops_runtime.changes.template import Template
from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.release import ReleaseRecord
from mlops_runtime.price import monthly_price, price_lines, price_table
from mlops_runtime.promotion.offer_table import Offer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


UNIT, MODEL = "demand", "forecast"
GROUP = f"{UNIT}-{MODEL}"
PROBATION = timedelta(hours=6)
ROW = [{"x": 2.0}]


def test_the_stacks_are_short() -> None:
    """The page's three Regions take less than 80 lines."""
    assert len(shown(Path(examples.regions.__file__).read_text(), "regions").splitlines()) < 80


def test_the_stacks_pass_every_check(tmp_path: Path) -> None:
    """The packs have no open finding."""
    app = cdk.App(outdir=str(tmp_path), context={"@aws-cdk/core:validateAgainstDefaultRules": True})
    compose(app)

    assert [problem for stack in check(app).stacks for problem in stack.problems] == []


def test_the_page_has_the_price_of_a_pilot_light(tmp_path: Path) -> None:
    """Covers both capacities, and the network that a platform would provide."""
    page, table = Path("docs/capabilities/accounts.md").read_text(), price_table(RECOVERY.region)
    one = EndpointCapacity.instances("ml.m5.large", instance_count=1)
    light = EndpointCapacity.serverless(memory=cdk.Size.gibibytes(2), max_concurrency=5)
    totals: list[list[float]] = []
    for name, capacity in (("light", light), ("one", one)):
        app = cdk.App(outdir=str(tmp_path / name))
        Serving(app, RECOVERY, source=PRODUCTION, deploy_to=[], capacity=capacity)
        template = Template(document=app.synth().get_stack_by_name("Recovery").template, values={})
        lines = list(price_lines({}, {"Recovery": monthly_price(template, table)}, table))
        assert any(line.endswith(" 140.16") for line in lines)
        totals.append([float(number) for number in re.findall(r"\d+\.\d+", lines[-1])])
    (idle, most_idle, *_), (*_, serving, most_serving) = totals
    reported = [int(number) for number in re.findall(r"\| about (\d+) (?:idle|serving) \|", page)]
    # other resources of the unit change by cents
    assert reported == [
        pytest.approx((idle + most_idle) / 2, abs=3),
        pytest.approx((serving + most_serving) / 2, abs=3),
    ]


def synthesize(folder: Path, **context: str) -> Path:
    """Synthesize the example with outputs for the tests."""
    app = cdk.App(outdir=str(folder), context=context)
    for stack in compose(app):
        outputs = {
            "ApproverRoleArn": stack.registry.approver_role.role_arn,
            "ArtifactsBucket": stack.unit.artifacts.bucket_name,
            "AuditBucket": stack.unit.audit_bucket.bucket_name,
            "Key": stack.unit.key.key_arn,
        }
        if isinstance(stack, Serving):
            assert stack.registry.inbox is not None
            outputs |= {
                "EndpointName": stack.endpoint.endpoint_name,
                "RolloutTable": stack.endpoint.rollout.table.table_name,
                "DeployMachineArn": stack.endpoint.rollout.machine.state_machine_arn,
                "PromotionsTable": stack.registry.inbox.table.table_name,
            }
        release_of: Any = stack.registry.node.try_find_child("Release")
        if release_of is not None:
            outputs["ReleaseMachineArn"] = release_of.machine.state_machine_arn
        for name, value in outputs.items():
            cdk.CfnOutput(stack, name, value=value)
    app.synth()
    return folder


@pytest.fixture(scope="module")
def assemblies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return its assemblies before and after the failover."""
    folder = tmp_path_factory.mktemp("assemblies")
    after = synthesize(folder / "failover", failover="true")
    return {"before": synthesize(folder / "before"), "failover": after}


def test_a_failover_replaces_nothing(assemblies: dict[str, Path]) -> None:
    """Except policies: the source of models and the number of calls change."""
    schemas = read_schemas(json.loads(resources.files("mlops_cli").joinpath("replacement.json").read_text("utf-8")))
    for name in ("Recovery", "Build"):
        files = (assemblies[side] / f"{name}.template.json" for side in ("before", "failover"))
        old, new = (Template(document=json.loads(file.read_text()), values={}) for file in files)
        changes = compare(name, old, new, schemas).changes
        assert changes
        # their names contain the source's
        replaced = [each for each in changes if each.action in (Action.REPLACED, Action.MAY_BE_REPLACED)]
        assert {each.type for each in replaced} <= {"AWS::IAM::ManagedPolicy", "AWS::Events::EventBusPolicy"}


class Regions(LinkedAccounts):
    """The deployed stacks."""

    def __init__(self, cloud: local_cloud.Cloud, assembly: Path) -> None:
        super().__init__(cloud, unit=UNIT, model=MODEL)
        # targets first: nothing of a source exists yet
        for name in ("Recovery", "Americas", "Production", "Build"):
            self.outputs |= deployer.deploy(cloud, assembly, [name])
        self.production, self.recovery, self.americas = map(self.loop, (PRODUCTION, RECOVERY, AMERICAS))


@pytest.fixture(scope="module")
def regions(tmp_path_factory: pytest.TempPathFactory, assemblies: dict[str, Path]) -> Iterator[Regions]:
    """Deploy all in their own cloud, whose clock the tests move; the tests depend on their order."""
    folder = tmp_path_factory.mktemp("regions")
    cloud = local_cloud.up(folder / "cloud", clock_scale=60.0, account_count=4)
    try:
        yield Regions(cloud, assemblies["before"])
    finally:
        cloud.down(forget=True)


def promoted(regions: Regions, wait_for: Callable[..., Any], factor: float) -> tuple[str, ReleaseRecord]:
    """Approve a model in build and serve it in production, with traffic for its canary; return its package there."""
    in_build = regions.approve(BUILD, factor)
    built = wait_for(lambda: regions.released(BUILD, in_build), seconds=180.0)
    with regions.production.traffic(ROW, f"production-{factor}"):
        produced = wait_for(lambda: regions.offer(PRODUCTION, built), seconds=180.0)
        assert produced.state == "APPROVED", produced
        assert wait_for(lambda: served(regions.production, produced.package), seconds=180.0)
    return produced.package, built


def arrives(regions: Regions, wait_for: Callable[..., Any], factor: float, package: str) -> ReleaseRecord:
    """Wait until both other Regions serve production's release, with the same bytes under their own keys."""
    arriving, offered = {RECOVERY: regions.recovery, AMERICAS: regions.americas}, dict[Environment, Offer]()
    # both receive it at once, and only Americas has a canary
    with regions.americas.traffic(ROW, f"americas-{factor}"):
        passed_on: ReleaseRecord = wait_for(lambda: regions.released(PRODUCTION, package), seconds=180.0)
        for place, loop in arriving.items():
            offered[place] = wait_for(lambda place=place: regions.offer(place, passed_on), seconds=180.0)
            assert offered[place].state == "APPROVED", offered[place]
            assert wait_for(lambda place=place, loop=loop: served(loop, offered[place].package), seconds=180.0)
    for place, loop in arriving.items():
        arrived = offered[place]
        assert loop.invoke(ROW, "after")[0].predictions[0] == pytest.approx(2.0 * factor)
        described = loop.sagemaker.describe_model_package(ModelPackageName=arrived.package)
        archive = described["InferenceSpecification"]["Containers"][0]["ModelDataUrl"].removeprefix("s3://")
        bucket, _, key = archive.partition("/")
        outputs = regions.outputs[place.name.capitalize()]
        assert bucket == outputs["ArtifactsBucket"]
        head = loop.s3.head_object(Bucket=bucket, Key=key)
        assert head["SSEKMSKeyId"] == outputs["Key"]
        # its functions reach no registry of another Region
        assert f"its registry, in {PRODUCTION.region}, was not checked again" in described["ApprovalDescription"]
        assert described["CustomerMetadataProperties"]["source_package"] == package
        assert described["CustomerMetadataProperties"]["artifact_sha256"] == passed_on.artifact.sha256
    return passed_on


@pytest.fixture
def served_regions(regions: Regions, wait_for: Callable[..., Any]) -> Regions:
    """Let all of them serve a first model, which has no probation."""
    if regions.production.live() is None:
        package, _ = promoted(regions, wait_for, 3.0)
        arrives(regions, wait_for, 3.0, package)
    return regions


@pytest.mark.cloud
def test_a_model_goes_from_production_to_its_other_regions(served_regions: Regions) -> None:
    """Covers a Region of the same account and of another one, whose stacks were deployed before their source's."""
    assert all(loop.live() for loop in (served_regions.production, served_regions.recovery, served_regions.americas))


@pytest.mark.cloud
def test_a_new_model_meets_one_region_first(served_regions: Regions, wait_for: Callable[..., Any]) -> None:
    """The others receive it after production's probation."""
    regions = served_regions
    package, _ = promoted(regions, wait_for, 5.0)
    live = regions.production.live()
    assert live is not None
    assert live.probation_until is not None
    assert regions.released(PRODUCTION, package) is None
    assert [len(regions.offers(place)) for place in (RECOVERY, AMERICAS)] == [1, 1]

    regions.cloud.clock_jump(by=PROBATION + timedelta(minutes=61))
    passed_on = arrives(regions, wait_for, 5.0, package)
    assert passed_on.released_at > live.probation_until


@pytest.mark.cloud
def test_what_production_takes_back_meets_no_other_region(
    served_regions: Regions, wait_for: Callable[..., Any]
) -> None:
    """It is rolled back during its probation, in its first Region only."""
    regions = served_regions
    production, before = regions.production, regions.production.live()
    offered = [len(regions.offers(place)) for place in (RECOVERY, AMERICAS)]
    package, _ = promoted(regions, wait_for, 7.0)
    deployed = {each["executionArn"] for each in production.executions("DeployMachineArn")}
    regions.client(PRODUCTION, "stepfunctions").start_execution(
        stateMachineArn=production.outputs["DeployMachineArn"],
        input=json.dumps({"reason": "rollback", "requested_by": "ann", "requested_at": to_dict(regions.now())}),
    )
    production.wait_execution("DeployMachineArn", deployed, appear=30, finish=120)
    live = production.live()
    assert (live and live.model_package_arn) == (before and before.model_package_arn)
    requested = {each["executionArn"] for each in production.executions("ReleaseMachineArn")}

    regions.cloud.clock_jump(by=PROBATION + timedelta(minutes=61))
    production.wait_execution("ReleaseMachineArn", requested, appear=60, finish=60)
    assert regions.released(PRODUCTION, package) is None
    assert [len(regions.offers(place)) for place in (RECOVERY, AMERICAS)] == offered


@pytest.mark.cloud
def test_the_pilot_light_takes_over(
    served_regions: Regions, assemblies: dict[str, Path], wait_for: Callable[..., Any]
) -> None:
    """Production's key and thus its data are lost: recovery serves more calls, and receives build's releases."""
    regions = served_regions
    kms, key = regions.client(PRODUCTION, "kms"), regions.outputs["Production"]["Key"]
    kms.disable_key(KeyId=key)
    recovery = regions.recovery
    for name in ("Recovery", "Build"):
        regions.outputs |= deployer.deploy(regions.cloud, assemblies["failover"], [name])

    def concurrency() -> int:
        endpoint = recovery.sagemaker.describe_endpoint(EndpointName=recovery.endpoint)
        (variant,) = endpoint["ProductionVariants"]
        return int(variant["CurrentServerlessConfig"]["MaxConcurrency"])

    assert wait_for(lambda: concurrency() == 100 and recovery.lock_owner() is None, seconds=120.0)
    assert recovery.invoke(ROW, "failover")[0].predictions[0] == pytest.approx(10.0)

    in_build = regions.approve(BUILD, 9.0)
    built = wait_for(lambda: regions.released(BUILD, in_build), seconds=180.0)
    arrived = wait_for(lambda: regions.offer(RECOVERY, built))
    assert arrived.state == "APPROVED", arrived
    assert wait_for(lambda: served(recovery, arrived.package), seconds=180.0)
    assert recovery.invoke(ROW, "without")[0].predictions[0] == pytest.approx(18.0)
    kms.enable_key(KeyId=key)
    # offers to production wait for it, and all chains are valid
    assert [loop.audit_problems() for loop in (regions.production, recovery, regions.americas)] == [[], [], []]
