"""Two accounts with IAM enforced, read by a third through one role each; every statement is needed."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import boto3
import pytest
from botocore.exceptions import ClientError
from examples.pages.fleet import PlatformAccount
from tests.called_command import call_command
from tests.released import release
from tests.runtime.monitor import reports

from mlops_constructs import (
    BusinessUnit,
    EndpointCapacity,
    Entity,
    Environment,
    Feature,
    FeatureGroup,
    FeatureStore,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    PlatformDefaults,
    Profile,
)
from mlops_local.stacks import deployer
from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.cloud_connection import CloudConnection, embedded_options
from mlops_runtime.console.taken_role import take_role
from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.fleet import FLEET_READER, FleetEnvironment
from mlops_runtime.contracts.rollout import AuditRecord, LivePointer, Outcome
from mlops_runtime.contracts.unit_entries import entry_name, entry_value
from mlops_runtime.features.lock_file import FeatureLock
from mlops_runtime.fleet.fleet_reading import read_environments
from mlops_runtime.layers.layer_wheels import build_layers
from mlops_runtime.monitor.store import MonitorStore
from mlops_runtime.rollout.audit_chain import AuditChain, Move
from mlops_runtime.rollout.rollout_table import RolloutTable
from mlops_runtime.rollout.seals import Sealer

if TYPE_CHECKING:
    from mlops_local.cloud import Cloud

pytestmark = pytest.mark.cloud

HOME, OTHER = "000000000000", "333333333333"
BUILD = Environment("build", account="111111111111", region="us-east-1")
STAGING = Environment("staging", account="222222222222", region="eu-west-1")
GROUP = "looked-forecast"
LOOKED_AT = PlatformDefaults(name="retail", fleet=True)
IMAGE = ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64)
WAITS = {"StartAt": "Bake", "States": {"Bake": {"Type": "Wait", "Seconds": 360000, "End": True}}}


class Unit(cdk.Stack):
    """A unit."""

    def __init__(self, app: cdk.App, here: Environment) -> None:
        super().__init__(app, f"Looked{here.name.capitalize()}", env=here.cdk)
        self.unit = BusinessUnit(
            self, "Unit", name="looked", profile=Profile.DEVELOPMENT, owner="ann", defaults=LOOKED_AT
        )
        self.outputs = {"Artifacts": self.unit.artifacts.bucket_name, "Audit": self.unit.audit_bucket.bucket_name}


def synthesize(folder: Path) -> Path:
    """Synthesize both units: build trains, releases and has personal features; staging serves."""
    app = cdk.App(outdir=str(folder / "cdk.out"))
    build, staging = Unit(app, BUILD), Unit(app, STAGING)
    for here in (BUILD, STAGING):
        PlatformAccount(app, here, operations=HOME)
    apart = cdk.Stack(app, "Apart", env=BUILD.cdk)
    BusinessUnit(apart, "Unit", name="apart", profile=Profile.DEVELOPMENT)
    features = (Feature("spent", "double", "What a household spent"),)
    group = FeatureGroup(
        name="households", entities=(Entity("household", "string", "Who"),), event_time="day", features=features,
        owner="ann", description="What is known of people", online=True,
    )  # fmt: skip
    lock = folder / "features.lock.json"
    lock.write_text(FeatureLock().extend([group]).render())
    store = FeatureStore(build, "Features", business_unit=build.unit, groups=[group], lock_file=lock, online=True)
    ModelRegistry(build, "Registry", business_unit=build.unit, name="forecast", deploy_to=[STAGING])
    assert store.online_table is not None
    build.outputs |= {"FeatureData": store.data_bucket.bucket_name, "People": store.online_table.table_name}
    registry = ModelRegistry(staging, "Registry", business_unit=staging.unit, name="forecast")
    endpoint = ModelEndpoint(
        staging, "Endpoint", business_unit=staging.unit, registry=registry, name="forecast", image=IMAGE,
        capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
    )  # fmt: skip
    staging.outputs |= {
        "Rollouts": endpoint.rollout.table.table_name,
        "Machine": endpoint.rollout.machine.state_machine_arn,
    }
    for each in (build, staging):
        for name, value in each.outputs.items():
            cdk.CfnOutput(each, name, value=value)
    app.synth()
    return folder / "cdk.out"


@dataclass
class Fleet:
    """The deployed accounts, and the reading one."""

    cloud: "Cloud"
    outputs: dict[str, dict[str, str]]
    operator: CloudConnection

    def root(self, environment: Environment, service: str) -> Any:
        """Return a client of an account's root user."""
        return self.cloud.at(environment.account, environment.region).client(service)

    def connect(self, environment: FleetEnvironment) -> Any:
        """Return an environment with the reader role."""
        return take_role(self.operator, str(environment.role), session="ann", region=environment.region)

    def view(self, *environments: FleetEnvironment) -> dict[str, Any]:
        """Return the view without its time."""
        found = to_dict(read_environments(environments, self.connect, now=self.operator.now()))
        found.pop("now")
        return found


def named(environment: Environment, role: str = FLEET_READER) -> FleetEnvironment:
    """Return an environment and its reader role."""
    arn = f"arn:aws:iam::{environment.account}:role/{role}"
    return FleetEnvironment(name=environment.name, account=environment.account, region=environment.region, role=arn)


@contextmanager
def role_of(cloud: "Cloud", account: str, name: str, **policies: dict[str, Any]) -> Iterator[CloudConnection]:
    """Return clients of a role that may assume any role."""
    here = cloud.at(account, "us-east-1")
    iam, version = here.client("iam"), "2012-10-17"
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{account}:root"}, "Action": "sts:AssumeRole"}
    may = {"Effect": "Allow", "Action": ["sts:AssumeRole", "sts:SetSourceIdentity"], "Resource": "*"}
    document = json.dumps({"Version": version, "Statement": [trust]})
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    try:
        iam.put_role_policy(
            RoleName=name, PolicyName="May", PolicyDocument=json.dumps({"Version": version, "Statement": [may]})
        )
        keys = here.client("sts").assume_role(RoleArn=arn, RoleSessionName="ann")["Credentials"]
        session = boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], "us-east-1")
        options = embedded_options(cloud.home)
        assert options is not None
        yield CloudConnection(session=session, options={"endpoint_url": options["endpoint_url"]})
    finally:
        iam.delete_role_policy(RoleName=name, PolicyName="May")
        iam.delete_role(RoleName=name)


@pytest.fixture(scope="module")
def fleet(cloud: "Cloud", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Both accounts with resources of every kind that the view reads."""
    assert list(build_layers(names=["features", "monitor"])) != []
    assembly = synthesize(tmp_path_factory.mktemp("fleet"))
    with role_of(cloud, HOME, "Operator") as operator:
        try:
            found = Fleet(cloud, deployer.deploy(cloud, assembly), operator)
            _release(found)
            _roll_out(found)
            yield found
        finally:
            deployer.destroy(cloud, assembly)


def _release(fleet: Fleet) -> None:
    """Approve and release one version of build and leave another pending."""
    made = release(unit="looked", source=BUILD.linked, version=1)
    sagemaker = fleet.root(BUILD, "sagemaker")
    approved, _ = (sagemaker.create_model_package(**made.request)["ModelPackageArn"] for _ in range(2))
    sagemaker.update_model_package(
        ModelPackageArn=approved, ModelApprovalStatus="Approved", ApprovalDescription="by hand"
    )
    bucket = fleet.outputs["LookedBuild"]["Artifacts"]
    fleet.root(BUILD, "s3").put_object(Bucket=bucket, Key=made.key, Body=made.content)


def _roll_out(fleet: Fleet) -> None:
    """Serve a model with a report in staging, with a later rejection as newest record and a running rollout."""
    outputs, s3 = fleet.outputs["LookedStaging"], fleet.root(STAGING, "s3")
    report = reports.report_of(8, reports.QUIET, baseline_uri="s3://artifacts/baseline.json")
    MonitorStore(s3, endpoint=GROUP, artifacts=outputs["Artifacts"]).put_report(report, {}, datetime.now(UTC))
    dynamodb, kms = fleet.root(STAGING, "dynamodb"), fleet.root(STAGING, "kms")
    ssm, machines = fleet.root(STAGING, "ssm"), fleet.root(STAGING, "stepfunctions")
    entries = Entries(ssm=ssm)
    unit, endpoint = entries.unit("looked"), entries.endpoint(GROUP)
    table = RolloutTable(dynamodb, outputs["Rollouts"], GROUP)
    sealer = Sealer(kms=kms, key=unit.signing_key)
    chain = AuditChain(s3=s3, bucket=unit.audit_bucket, table=table, heads=unit.heads_bucket, sealer=sealer)
    machine = machines.create_state_machine(
        name="looked-waits", definition=json.dumps(WAITS), roleArn=_machine_role(fleet),
        tags=[{"key": "mlops:unit", "value": "looked"}],
    )["stateMachineArn"]  # fmt: skip
    execution = machines.start_execution(stateMachineArn=machine, name="approval-3", input="{}")["executionArn"]
    ssm.put_parameter(
        Name=entry_name(endpoint), Value=entry_value(replace(endpoint, deploy_machine=machine)), Type="String",
        Overwrite=True,
    )  # fmt: skip
    package = STAGING.linked.arn("sagemaker", f"model-package/{GROUP}/2")
    live = LivePointer(
        endpoint=GROUP, config=f"{GROUP}-2", model=f"{GROUP}-2", model_package_arn=package, model_sha256="b" * 64,
        artifact_uri="s3://a/model.tar.gz", baseline_uri="s3://a/b.json", baseline_sha256="8" * 64,
        evaluation_uri="s3://a/e.json", training_set_id="c" * 64, spec_sha256="d" * 64, spec_uri="s3://a/s.json",
        execution="x", since="2017-07-01T00:00:00Z",
        artifact_sha256="a" * 64, container_sha256="c" * 64,
    )  # fmt: skip
    for sequence, outcome in enumerate((Outcome.ROLLED_BACK, Outcome.REJECTED), 1):
        lock(dynamodb, outputs["Rollouts"], execution)
        chain.append(
            lambda row, sequence=sequence, outcome=outcome: Move(
                record=AuditRecord(
                    endpoint=GROUP, sequence=sequence, previous=row.audit_head, outcome=outcome, reason="slow",
                    execution=execution, at="2017-07-01T00:00:00Z", requested_by="ann", serving_config=live.config,
                    serving_package=package,
                ),
                live=live,
                owner=execution,
            )
        )  # fmt: skip


def lock(dynamodb: Any, table: str, owner: str) -> None:
    """Let an execution hold the rollout lock."""
    dynamodb.update_item(
        TableName=table, Key={"endpoint": {"S": GROUP}}, UpdateExpression="SET #owner = :me, lock_until = :until",
        ExpressionAttributeNames={"#owner": "owner"},
        ExpressionAttributeValues={":me": {"S": owner}, ":until": {"N": "4102444800"}},
    )  # fmt: skip


def _machine_role(fleet: Fleet) -> str:
    trust = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    made = fleet.root(STAGING, "iam").create_role(RoleName="looked-waits", AssumeRolePolicyDocument=document)
    return str(made["Role"]["Arn"])


def test_the_models_of_both_accounts_are_read(fleet: Fleet) -> None:
    """Shows version and digest, state, drift, rollout and pending approval; nothing is missing."""
    found = fleet.view(named(BUILD), named(STAGING))
    # other tests have units in these accounts
    build, staging = (each for each in found["models"] if each["unit"] == "looked")

    assert [name for name in found["unread"] if "looked" in name] == []
    assert (build["environment"], build["released"], build["waiting"]) == ("build", f"{GROUP}/1", [f"{GROUP}/2"])
    assert (staging["environment"], staging["version"], staging["digest"]) == ("staging", 2, "b" * 64)
    assert (staging["state"], staging["owner"], staging["rollout"] is not None) == ("deleted", "ann", True)
    assert staging["monitored_until"]


def test_a_unit_that_is_not_of_the_fleet_is_named_with_the_fix(fleet: Fleet) -> None:
    """Its platform has no fleet: tables and buckets have no tags, and the role reads no rows and objects."""
    found = fleet.view(named(BUILD))

    assert [each for each in found["models"] if each["unit"] == "apart"] == []
    assert (
        "; FleetReader reads only units whose platform enables it: PlatformDefaults(fleet=True)"
        in found["unread"]["build/apart"]
    )


def test_the_command_reads_them_in_the_callers_name(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs `mlops fleet` with a role that both accounts trust."""
    file = tmp_path / "fleet.json"
    environments = [to_dict(named(each)) for each in (BUILD, STAGING)]
    file.write_text(json.dumps({"format": "mlops.fleet/1", "environments": environments}))
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    environment = {**fleet.operator.environment(), "AWS_DEFAULT_REGION": "us-east-1"}
    run = call_command("fleet", "looked", "--json", "--environments", file, **environment)

    assert run.returncode == 0, run.stderr
    assert [each["environment"] for each in json.loads(run.stdout)["models"]] == ["build", "staging"]


def test_every_statement_is_needed(fleet: Fleet) -> None:
    """Without any one statement the view of an account is incomplete."""
    whole = {each: fleet.view(named(each)) for each in (BUILD, STAGING)}
    document = _policy(fleet, BUILD)
    unneeded = []
    for left_out in document["Statement"]:
        rest = {**document, "Statement": [each for each in document["Statement"] if each is not left_out]}
        if all(fleet.view(_reader(fleet, each, rest)) == whole[each] for each in (BUILD, STAGING)):
            unneeded.append(left_out["Action"])

    assert (unneeded, len(document["Statement"])) == ([], 8)


def _policy(fleet: Fleet, environment: Environment) -> dict[str, Any]:
    """Return the policy of the deployed role."""
    iam = fleet.root(environment, "iam")
    (attached,) = iam.list_attached_role_policies(RoleName=FLEET_READER)["AttachedPolicies"]
    policy = iam.get_policy(PolicyArn=attached["PolicyArn"])["Policy"]
    version = iam.get_policy_version(PolicyArn=attached["PolicyArn"], VersionId=policy["DefaultVersionId"])
    return dict(version["PolicyVersion"]["Document"])


def _reader(fleet: Fleet, environment: Environment, document: dict[str, Any]) -> FleetEnvironment:
    """Define a role with the trust of the deployed one and another policy."""
    iam, name = fleet.root(environment, "iam"), "looked-changed"
    text = json.dumps(document).replace(BUILD.account, environment.account)
    trust = json.dumps(iam.get_role(RoleName=FLEET_READER)["Role"]["AssumeRolePolicyDocument"])
    if name not in [each["RoleName"] for each in iam.list_roles()["Roles"]]:
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    iam.put_role_policy(RoleName=name, PolicyName="May", PolicyDocument=text)
    return named(environment, name)


@dataclass(frozen=True)
class Reading:
    """Clients of the role in build, and the deployed resources there."""

    client: Callable[[str], Any]
    features: str
    people: str
    artifacts: str


ARN = BUILD.linked.arn
UNTAGGED, WAITING = ARN("states", "stateMachine:looked-untagged"), ARN("sagemaker", f"model-package/{GROUP}/2")
# the attempted call, and the denied action
FORBIDDEN: tuple[tuple[str, Callable[[Reading], object]], ...] = (
    (
        "ssm:PutParameter",
        lambda r: r.client("ssm").put_parameter(Name="/mlops/looked/unit", Value="{}", Overwrite=True),
    ),
    ("ssm:GetParametersByPath", lambda r: r.client("ssm").get_parameters_by_path(Path="/other/")),
    ("dynamodb:GetItem", lambda r: r.client("dynamodb").get_item(TableName=r.people, Key={"entity": {"S": "1"}})),
    ("dynamodb:Scan", lambda r: r.client("dynamodb").scan(TableName=r.people)),
    ("s3:GetObject", lambda r: r.client("s3").get_object(Bucket=r.features, Key="monitor/rows.parquet")),
    ("s3:ListBucket", lambda r: r.client("s3").list_objects_v2(Bucket=r.features, Prefix="monitor/x")),
    ("s3:GetObject", lambda r: r.client("s3").get_object(Bucket="looked-elsewhere", Key="monitor/report.json")),
    ("s3:GetObject", lambda r: r.client("s3").get_object(Bucket=r.artifacts, Key="models/m/model.tar.gz")),
    ("s3:PutObject", lambda r: r.client("s3").put_object(Bucket=r.artifacts, Key="monitor/x", Body=b"")),
    (
        "sagemaker:UpdateModelPackage",
        lambda r: r.client("sagemaker").update_model_package(ModelPackageArn=WAITING, ModelApprovalStatus="Approved"),
    ),
    ("states:ListExecutions", lambda r: r.client("stepfunctions").list_executions(stateMachineArn=UNTAGGED)),
    ("states:StartExecution", lambda r: r.client("stepfunctions").start_execution(stateMachineArn=UNTAGGED)),
)


def test_it_changes_nothing_and_reads_nothing_about_people(fleet: Fleet) -> None:
    """Other buckets, machines and parameters stay unreadable even with matching names."""
    s3 = fleet.root(BUILD, "s3")
    s3.create_bucket(Bucket="looked-elsewhere")
    for bucket in ("looked-elsewhere", fleet.outputs["LookedBuild"]["FeatureData"]):
        for key in ("monitor/report.json", "monitor/rows.parquet"):
            s3.put_object(Bucket=bucket, Key=key, Body=b"{}")
    role = fleet.root(BUILD, "iam").get_role(RoleName=FLEET_READER)["Role"]["Arn"]
    fleet.root(BUILD, "stepfunctions").create_state_machine(
        name="looked-untagged", definition=json.dumps(WAITS), roleArn=role
    )
    outputs = fleet.outputs["LookedBuild"]
    reading = Reading(
        fleet.connect(named(BUILD)).client, outputs["FeatureData"], outputs["People"], outputs["Artifacts"]
    )
    found = []
    for _, call in FORBIDDEN:
        try:
            call(reading)
            found.append("allowed")
        except ClientError as error:
            found.append(str(error))
    for each in s3.list_objects_v2(Bucket="looked-elsewhere")["Contents"]:
        s3.delete_object(Bucket="looked-elsewhere", Key=each["Key"])
    s3.delete_bucket(Bucket="looked-elsewhere")

    denied = [
        f"not authorized to perform: {action} on" in message
        for (action, _), message in zip(FORBIDDEN, found, strict=True)
    ]
    assert denied == [True] * len(FORBIDDEN), found


def test_only_named_roles_of_the_account_take_it(fleet: Fleet) -> None:
    """Other roles of the account, and roles of the same name in other accounts, are denied."""
    arn = str(named(BUILD).role)
    for account, name in ((HOME, "Bystander"), (OTHER, "Operator")):
        with role_of(fleet.cloud, account, name) as caller, pytest.raises(ClientError, match="AccessDenied"):
            take_role(caller, arn, session="ann")
    kept = take_role(fleet.operator, arn, session="ann", is_source=True)

    assert kept.identity().arn == f"arn:aws:sts::{BUILD.account}:assumed-role/{FLEET_READER}/ann"
