"""The chain of ``examples/accounts.py`` on the embedded cloud with IAM enforced: a model goes through three accounts."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import examples.accounts
import numpy as np
import pandas as pd
import pytest
from examples.accounts import BUILD, PRODUCTION, STAGING, Serving, compose
from examples.own_model.export import manifest
from tests.called_command import call_command
from tests.examples.linked_accounts import LinkedAccounts, served
from tools.page_code import shown

from mlops_constructs.compliance.harness import check
from mlops_local import cloud as local_cloud
from mlops_local.stacks import deployer
from mlops_runtime.contracts import canonical_json, from_json, to_dict
from mlops_runtime.contracts.model import Evaluation
from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import DriftResult, FeatureDrift, MonitorReport
from mlops_runtime.monitor.monitors.monitor_table import metrics
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.stored_reports import REPORT, report_folder

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from mlops_constructs import Environment
    from mlops_runtime.contracts.served_model import ServedState, ServedVersion

UNIT, MODEL = "demand", "forecast"
GROUP = f"{UNIT}-{MODEL}"
PROBATION = timedelta(hours=6)


def test_the_stacks_are_short() -> None:
    """The page's three accounts take less than 60 lines."""
    assert len(shown(Path(examples.accounts.__file__).read_text(), "chain").splitlines()) < 60


def test_the_stacks_obey_and_pass_every_check(tmp_path: Path) -> None:
    """The packs have no open finding, and every statement for another account requires the organization."""
    context = {"@aws-cdk/core:validateAgainstDefaultRules": True, "organization": "o-a1b2c3d4e5"}
    app = cdk.App(outdir=str(tmp_path), context=context)
    compose(app)
    evidence = check(app)

    assert [problem for stack in evidence.stacks for problem in stack.problems] == []
    assert [value for stack in evidence.stacks for value in stack.loosened] == []


def synthesize(folder: Path, organization: str) -> Path:
    """Synthesize the example with outputs for the tests."""
    app = cdk.App(outdir=str(folder / "assembly"), context={"organization": organization})
    for stack in compose(app):
        outputs = {
            "ApproverRoleArn": stack.registry.approver_role.role_arn,
            "ArtifactsBucket": stack.unit.artifacts.bucket_name,
            "AuditBucket": stack.unit.audit_bucket.bucket_name,
            "AutomationTable": stack.unit.automation_table.table_name,
        }
        if not isinstance(stack, Serving):
            outputs |= {
                "RetrainingTable": stack.retraining.table.table_name,
                "RetrainMachineArn": stack.retraining.machine.state_machine_arn,
            }
        if isinstance(stack, Serving):
            assert stack.registry.inbox is not None
            outputs["FeaturesAlarm"] = stack.alarms.alarms["features"].alarm_name
            outputs |= {
                "EndpointName": stack.endpoint.endpoint_name,
                "RolloutTable": stack.endpoint.rollout.table.table_name,
                "DeployMachineArn": stack.endpoint.rollout.machine.state_machine_arn,
                "PromotionsTable": stack.registry.inbox.table.table_name,
            }
        release: Any = stack.registry.node.try_find_child("Release")
        if release is not None:
            outputs["ReleaseMachineArn"] = release.machine.state_machine_arn
        for name, value in outputs.items():
            cdk.CfnOutput(stack, name, value=value)
    app.synth()
    return folder / "assembly"


class Chain(LinkedAccounts):
    """The three deployed accounts."""

    def __init__(self, cloud: local_cloud.Cloud, folder: Path) -> None:
        super().__init__(cloud, unit=UNIT, model=MODEL)
        # accounts are in the organization from their first call
        organization = cloud.client("organizations").describe_organization()["Organization"]["Id"]
        self.outputs |= deployer.deploy(cloud, synthesize(folder, organization))
        self.staging, self.production = self.loop(STAGING), self.loop(PRODUCTION)

    def reported_state(self, source: Environment, name: str) -> ServedState | None:
        """Return an account's view of the models that another one serves."""
        return next((each for each in self.downstream(source).read().states if each.name == name), None)

    def serving(self, source: Environment, name: str) -> ServedState | None:
        """Wait until the other account serves a model, and return the view."""
        found = self.reported_state(source, name)
        return found if found is not None and found.serves is not None else None


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """Deploy all three in their own cloud, whose clock the tests move."""
    folder = tmp_path_factory.mktemp("chain")
    cloud = local_cloud.up(folder / "cloud", clock_scale=120.0, account_count=4)
    try:
        yield Chain(cloud, folder)
    finally:
        cloud.down(forget=True)


def version(package: str) -> str:
    """Return the name of a package."""
    return package.rpartition(":model-package/")[2]


def rolled_back(state: ServedState | None) -> tuple[ServedVersion, ...]:
    """Return the versions that an environment is known to have rolled back."""
    return () if state is None else state.rolled_back


def verify(chain: Chain, *environments: Environment) -> subprocess.CompletedProcess[str]:
    """Verify production's chain and its sources, with the credentials of some accounts."""
    profiles = [option for each in environments for option in ("--source-profile", f"mlops-{each.account}")]
    arguments = [
        "audit",
        "verify",
        f"{GROUP}.promotions",
        "--profile",
        f"mlops-{PRODUCTION.account}",
        "--follow",
        "--json",
    ]
    return call_command(*arguments, *profiles, MLOPS_LOCAL_HOME=str(chain.cloud.home), AWS_REGION=PRODUCTION.region)


def hops_are_verified(chain: Chain) -> None:
    """From production back to the approval: each record names the previous account's record."""
    whole, partly = verify(chain, BUILD, STAGING), verify(chain, STAGING)

    assert whole.returncode == 0, whole.stdout
    found = json.loads(whole.stdout)
    assert (found["is_whole"], found["records"]) == (True, 1)
    hops = [(each["name"], each["chain"], each["unread"]) for each in found["sources"]]
    assert hops == [("staging", GROUP, None), ("build", f"{GROUP}.releases", None)]
    unread = json.loads(partly.stdout)
    assert (partly.returncode, unread["is_whole"]) == (1, True)
    assert "the chain of build (111111111111 eu-west-1) was not read" in unread["error"]
    assert f"name a profile of {BUILD.account} with --source-profile" in unread["sources"][1]["unread"]


@pytest.mark.cloud
def test_production_serves_what_build_approved_and_staging_served(chain: Chain, wait_for: Callable[..., Any]) -> None:
    """Approved once in build, by policy in staging, and by a second person in production; one command verifies all chains."""
    in_build = chain.approve(BUILD, 3.0)
    built = wait_for(lambda: chain.released(BUILD, in_build))
    staged = wait_for(lambda: chain.offer(STAGING, built))
    assert (staged.state, "approved there by" in staged.reason) == ("APPROVED", True), staged
    assert wait_for(lambda: served(chain.staging, staged.package), seconds=180.0)
    assert chain.staging.invoke([{"x": 2.0}], "staging")[0].predictions[0] == pytest.approx(6.0)
    # a first model has no probation
    passed_on = wait_for(lambda: chain.released(STAGING, staged.package))
    produced = wait_for(lambda: chain.offer(PRODUCTION, passed_on))
    assert produced.state == "REGISTERED", produced
    described = chain.production.sagemaker.describe_model_package(ModelPackageName=produced.package)
    assert described["ModelApprovalStatus"] == "PendingManualApproval"
    assert described["CustomerMetadataProperties"]["source_package"] == staged.package
    assert described["CustomerMetadataProperties"]["source_record"] == passed_on.audit_hash
    assert chain.production.live() is None

    chain.production.approve(produced.package, "staging served it")
    assert wait_for(lambda: served(chain.production, produced.package), seconds=180.0)
    assert chain.production.invoke([{"x": 2.0}], "production")[0].predictions[0] == pytest.approx(6.0)
    assert built.artifact.sha256 == passed_on.artifact.sha256
    hops_are_verified(chain)


@pytest.mark.cloud
def test_build_and_staging_know_what_production_serves(chain: Chain, wait_for: Callable[..., Any]) -> None:
    """Identified by hash; each names its own version. Staging reports production's state to build, one event per hop."""
    live = chain.production.live()
    assert live is not None
    in_staging = wait_for(lambda: chain.serving(STAGING, "production"))
    in_build = wait_for(lambda: chain.serving(BUILD, "production"))
    of_staging = wait_for(lambda: chain.serving(BUILD, "staging"))
    assert (in_staging.serves.model_sha256, in_build.serves.model_sha256) == (live.model_sha256, live.model_sha256)
    assert (in_staging.serves.version, in_build.serves.version) == (version(live.model_package_arn),) * 2
    assert (in_staging.hops, in_build.hops, in_build.via, of_staging.hops) == (1, 2, "staging", 1)
    released = {each.released_as for each in (in_staging.serves, in_build.serves)}
    assert released == {f"{GROUP}/1"}


@pytest.mark.cloud
def test_the_next_model_is_released_when_its_probation_is_over(chain: Chain, wait_for: Callable[..., Any]) -> None:
    """Rolled out by canary in staging, kept there until its probation ends, then by canary in production."""
    in_build = chain.approve(BUILD, 5.0)
    built = wait_for(lambda: chain.released(BUILD, in_build))
    with chain.staging.traffic([{"x": 2.0}], "staging-canary"):
        staged = wait_for(lambda: chain.offer(STAGING, built))
        assert staged.state == "APPROVED", staged
        assert wait_for(lambda: served(chain.staging, staged.package), seconds=180.0)
    live = chain.staging.live()
    assert live is not None
    assert live.probation_until is not None
    assert chain.released(STAGING, staged.package) is None

    chain.cloud.clock_jump(by=PROBATION + timedelta(minutes=61))
    passed_on = wait_for(lambda: chain.released(STAGING, staged.package))
    assert passed_on.released_at > live.probation_until
    produced = wait_for(lambda: chain.offer(PRODUCTION, passed_on))
    assert produced.state == "REGISTERED", produced
    with chain.production.traffic([{"x": 2.0}], "production-canary"):
        chain.production.approve(produced.package, "it served staging through its probation")
        assert wait_for(lambda: served(chain.production, produced.package), seconds=180.0)
    assert chain.production.invoke([{"x": 2.0}], "after")[0].predictions[0] == pytest.approx(10.0)
    assert [loop.audit_problems() for loop in (chain.staging, chain.production)] == [[], []]


@pytest.mark.cloud
def test_what_staging_takes_back_never_reaches_production(chain: Chain, wait_for: Callable[..., Any]) -> None:
    """After a rollback during its probation, the scheduled check finds the previous model and releases nothing new."""
    staging, before = chain.staging, chain.staging.live()
    in_build = chain.approve(BUILD, 7.0)
    built = wait_for(lambda: chain.released(BUILD, in_build))
    with staging.traffic([{"x": 2.0}], "taken-back"):
        staged = wait_for(lambda: chain.offer(STAGING, built))
        assert wait_for(lambda: served(staging, staged.package), seconds=180.0)
        deployed = {each["executionArn"] for each in staging.executions("DeployMachineArn")}
        chain.client(STAGING, "stepfunctions").start_execution(
            stateMachineArn=staging.outputs["DeployMachineArn"],
            input=json.dumps({"reason": "rollback", "requested_by": "ann", "requested_at": to_dict(chain.now())}),
        )
        staging.wait_execution("DeployMachineArn", deployed, appear=30, finish=120)
    live = staging.live()
    assert (live and live.model_package_arn) == (before and before.model_package_arn)
    requested = {each["executionArn"] for each in staging.executions("ReleaseMachineArn")}

    chain.cloud.clock_jump(by=PROBATION + timedelta(minutes=61))
    staging.wait_execution("ReleaseMachineArn", requested, appear=60, finish=60)
    assert chain.released(STAGING, staged.package) is None
    assert staging.audit_problems() == []
    known = wait_for(lambda: rolled_back(chain.reported_state(BUILD, "staging")))
    assert [each.released_as for each in known] == [version(in_build)]


@pytest.mark.cloud
def test_what_production_rolls_back_is_known_before_it(chain: Chain, wait_for: Callable[..., Any]) -> None:
    """Staging and build name the version that production rolled back; the champion is the serving one again."""
    production = chain.production
    before = production.live()
    assert before is not None
    deployed = {each["executionArn"] for each in production.executions("DeployMachineArn")}
    requested = {"reason": "rollback", "requested_by": "ann", "requested_at": to_dict(chain.now())}
    chain.client(PRODUCTION, "stepfunctions").start_execution(
        stateMachineArn=production.outputs["DeployMachineArn"], input=json.dumps(requested)
    )
    production.wait_execution("DeployMachineArn", deployed, appear=60, finish=180)
    for source, own in ((STAGING, f"{GROUP}/2"), (BUILD, f"{GROUP}/2")):
        (back,) = wait_for(lambda source=source: rolled_back(chain.reported_state(source, "production")))
        assert (back.model_sha256, back.version, back.released_as) == (
            before.model_sha256,
            version(before.model_package_arn),
            own,
        )
    options = ["--home", str(chain.cloud.home), "--profile", f"mlops-{BUILD.account}"]
    shown = call_command("promotions", GROUP, *options, AWS_REGION=BUILD.region)
    assert "production, reported by staging" in shown.stdout, shown.stderr
    assert f"{GROUP}/2 (target version {version(before.model_package_arn)})" in shown.stdout


def fire(chain: Chain) -> None:
    """Report drift of a feature in production's monitor, and let its alarm fire."""
    outputs, now = chain.outputs["Production"], chain.now()
    drifted = FeatureDrift(name="x", psi=0.9, p_value=0.0, drifted=True, persistent=True)
    report = MonitorReport(
        endpoint=GROUP,
        variant="AllTraffic",
        window_from=str(to_dict(now - timedelta(days=1))),
        window_until=str(to_dict(now)),
        drift=DriftResult(state=MonitorState.VIOLATION, features=(drifted,)),
        rows=1000,
        baseline_sha256="a" * 64,
        model_package_arn="arn",
        spec=MonitorSpec(alarm_features=("x",)),
        state=MonitorState.VIOLATION,
    )
    content = canonical_json(replace(report, metrics=metrics(report)))
    key = f"{report_folder(GROUP, now)}/{REPORT}"
    chain.client(PRODUCTION, "s3").put_object(Bucket=outputs["ArtifactsBucket"], Key=key, Body=content)
    cloudwatch = chain.client(PRODUCTION, "cloudwatch")
    for state in ("OK", "ALARM"):
        cloudwatch.set_alarm_state(AlarmName=outputs["FeaturesAlarm"], StateValue=state, StateReason="test")


def publish(chain: Chain, factor: float) -> pd.DataFrame:
    """Publish a training set in build whose labels are about a factor times the input; return its holdout."""
    number = np.arange(600)
    x = 1.0 + number * 37 % 200
    noise = 1 + 0.2 * np.sin(number)
    rows = pd.DataFrame(
        {"x": x, "y": factor * x * noise, "mean": factor * 100.0, "store": [f"s{each % 20:02}" for each in number]}
    )
    rows["at"] = pd.to_datetime("2026-01-01", utc=True) + pd.to_timedelta(number, "h")
    s3, bucket = chain.client(BUILD, "s3"), chain.outputs["Build"]["ArtifactsBucket"]
    for name, part in (("train", rows[:300]), ("holdout", rows[300:])):
        buffer = io.BytesIO()
        part.to_parquet(buffer, index=False)
        s3.put_object(Bucket=bucket, Key=f"exports/forecast/{name}/part-0.parquet", Body=buffer.getvalue())
    described = canonical_json(
        manifest(rows[:300].rename(columns={"at": "visited"}), rows[300:].rename(columns={"at": "visited"}))
    )
    s3.put_object(Bucket=bucket, Key="exports/forecast/manifest/manifest.json", Body=described)
    return rows[300:]


@pytest.mark.cloud
def test_drift_in_production_retrains_in_build_beside_the_model_of_production(
    chain: Chain, wait_for: Callable[..., Any]
) -> None:
    """Requested once along the chain; the candidate is compared with production's model, not with build's last approval."""
    holdout = publish(chain, 9.0)
    fire(chain)
    machines, machine = chain.client(BUILD, "stepfunctions"), chain.outputs["Build"]["RetrainMachineArn"]
    (run,) = wait_for(lambda: machines.list_executions(stateMachineArn=machine)["executions"], seconds=120.0)
    state = wait_for(
        lambda: (found := chain.reported_state(BUILD, "production")) is not None and found.requested and found
    )
    assert (state.requested.answer, state.hops) == (f"passed to {GROUP}", 2)
    table = chain.client(BUILD, "dynamodb").scan(TableName=chain.outputs["Build"]["RetrainingTable"])["Items"]
    (decided,) = [each for each in table if each.get("trigger", {}).get("S") == "target"]
    assert (decided["decision"]["S"], decided["requested_by"]["S"].split()[0]) == ("STARTED", "production")

    def ended() -> Any:
        found = machines.describe_execution(executionArn=run["executionArn"])
        return found if found["status"] != "RUNNING" else None

    done = wait_for(ended, seconds=240.0)
    assert done["status"] == "SUCCEEDED", done.get("cause")
    output = json.loads(done["output"])
    assert output["outcome"] == "REGISTERED", output
    arn = output["package"]
    described = chain.client(BUILD, "sagemaker").describe_model_package(ModelPackageName=arn)
    uri = described["CustomerMetadataProperties"]["evaluation_uri"].removeprefix("s3://")
    bucket, _, key = uri.partition("/")
    content = chain.client(BUILD, "s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    measured = from_json(Evaluation, content).metrics
    serves = chain.production.live()
    assert serves is not None
    factor = chain.production.invoke([{"x": 1.0}], "factor")[0].predictions[0]
    assert factor == pytest.approx(3.0)
    lost = float((holdout["y"] - factor * holdout["x"]).abs().mean())
    assert measured["champion"] == pytest.approx(lost, rel=1e-3)
    assert measured["candidate"] < lost / 2
