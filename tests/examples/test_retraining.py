"""A retraining on the embedded cloud: started by new labels, left to a person during a pause, rejected for one segment."""

from __future__ import annotations

import io
import json
import re
import time
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import boto3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aws_cdk import aws_ec2 as ec2
from examples.retail.loop import Loop
from tests.examples.models import DIGEST
from typer.testing import CliRunner

from mlops_cli.__main__ import app as command
from mlops_constructs import (
    Approval,
    BusinessUnit,
    DataCapture,
    DriftAlarms,
    EndpointCapacity,
    Entity,
    Feature,
    FeatureGroup,
    FeatureStore,
    GuardPolicy,
    ModelEndpoint,
    ModelImage,
    ModelMonitor,
    ModelRegistry,
    Network,
    ProcessingStep,
    Profile,
    RetrainingPipeline,
    RolloutPolicy,
    Spot,
    TrainingJob,
    TrainingSetSource,
)
from mlops_constructs._roles import SERVICE, container_statements, service_role
from mlops_constructs.rollout.deploy_machine import NO_QUOTAS
from mlops_local import cloud as local_cloud
from mlops_local.stacks import deployer
from mlops_runtime.business_unit.pause import set_pause
from mlops_runtime.contracts import canonical_json, content_hash, from_json, to_dict
from mlops_runtime.contracts.events import DetailType, EventDetail, event_source, features_ingested
from mlops_runtime.contracts.features import Build, Output, PinnedTable, Semantics, TrainingSetManifest
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.contracts.monitor import metric_dimensions, metric_namespace
from mlops_runtime.contracts.retraining import EvaluationPlan, RetrainRequest, TrainingSetPlan, Trigger
from mlops_runtime.contracts.rollout import DeployReason, DeployRequest, LivePointer, Outcome, ServingSpec, spec_key
from mlops_runtime.features.batch_delivery import unit_bus
from mlops_runtime.features.lock_file import write_lock
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.inference_api.request_promise import read_promise, request_schema
from mlops_runtime.jobs.job_environment import split_argument
from mlops_runtime.registry.model_package import read_package
from mlops_runtime.rollout.archive_signatures import signature_uri, signed_digest
from mlops_runtime.rollout.audit_chain import AuditChain
from mlops_runtime.rollout.rollout_table import RolloutTable
from mlops_runtime.rollout.seals import PublicKey, Sealer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.cloud

UNIT, MODEL = "sample", "forecast"
# a second unit, whose code attacks the first
RIVAL = "rival"
GROUP = FeatureGroup(
    name="sales",
    entities=(Entity("store", "string", "store"),),
    event_time="day",
    features=(Feature("units", "double", "units"), Feature("price", "double", "price")),
    owner="ann",
    description="sales",
)
# units = 2 * price + 10 where promoted; the script fits its training split
SCRIPT = """
import json, os, pathlib
import numpy as np
import pyarrow.parquet as pq
from onnx import TensorProto, helper

rows = pq.read_table(pathlib.Path(os.environ["SM_CHANNEL_TRAIN"]))
if "SM_CHANNEL_PROCESSED" in os.environ:
    prepared = json.loads(pathlib.Path(os.environ["SM_CHANNEL_PROCESSED"], "prepared.json").read_text())
    assert prepared == {"rows": rows.num_rows, "inputs": ["code", "train"]}, prepared
    pathlib.Path(os.environ["MLOPS_CHECKPOINT_DIR"], "epoch").write_text("1")
if "mischief" in rows.column_names:
    exec(rows.column("mischief")[0].as_py())
columns = np.column_stack([rows.column(name).to_numpy() for name in ("price", "promoted")])
weights, *_ = np.linalg.lstsq(columns, rows.column("units").to_numpy(), rcond=None)
graph = helper.make_graph(
    [helper.make_node("MatMul", ["input", "weights"], ["units"])],
    "linear",
    [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, 2])],
    [helper.make_tensor_value_info("units", TensorProto.FLOAT, [None, 1])],
    [helper.make_tensor("weights", TensorProto.FLOAT, [2, 1], weights.tolist())],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
folder = pathlib.Path(os.environ["SM_MODEL_DIR"])
(folder / "model.onnx").write_bytes(model.SerializeToString())
inputs = [{"name": "price", "type": "number"}, {"name": "promoted", "type": "number"}]
(folder / "signature.json").write_text(json.dumps({"inputs": inputs, "output": "units"}))
"""
STEP = """
import json, os, pathlib
import pyarrow.parquet as pq

train = pathlib.Path(os.environ["SM_CHANNEL_TRAIN"])
seen = sorted(path.name for path in train.parent.iterdir())
found = {"rows": pq.read_table(train).num_rows, "inputs": seen}
pathlib.Path(os.environ["SM_OUTPUT_DIR"], "prepared.json").write_text(json.dumps(found))
"""


def synthesize(
    folder: Path, *, daily_budget: int = 5, rollout: RolloutPolicy | None = None, has_rival: bool = False
) -> Path:
    """Synthesize a unit with an endpoint and two pipelines: one trains from S3, one from the feature store.

    With a rival, drift starts the one that trains from S3, and a second unit of the account runs jobs.
    """
    (folder / "code").mkdir()
    (folder / "code" / "train.py").write_text(SCRIPT)
    (folder / "code" / "step.py").write_text(STEP)
    image = ModelImage.from_ecr(repository_name="mlops-runtime", digest=DIGEST)
    write_lock([GROUP], folder / "features.lock.json")
    app = cdk.App(outdir=str(folder / "assembly"))
    stack = cdk.Stack(app, "Sample")
    unit = BusinessUnit(stack, "Unit", name=UNIT, profile=Profile.DEVELOPMENT)
    store = FeatureStore(stack, "Features", business_unit=unit, groups=[GROUP], lock_file=folder / "features.lock.json")
    registry = ModelRegistry(stack, "Registry", business_unit=unit, name=MODEL, approval=Approval.automatic())
    endpoint = ModelEndpoint(
        stack,
        "Endpoint",
        business_unit=unit,
        registry=registry,
        name=MODEL,
        image=image,
        capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
        capture=DataCapture(sampling_percent=100),
        rollout=rollout,
    )
    common: dict[str, Any] = {"business_unit": unit, "registry": registry, "endpoint": endpoint}
    job: dict[str, Any] = {"image": image, "source": folder / "code", "max_runtime": cdk.Duration.hours(1)}
    training = TrainingJob(**job, script="train.py", instance_type="ml.m5.large")
    evaluation = EvaluationPlan(label="units", block="store", baselines=("last_week",), segments=("promoted",))
    prices = EvaluationPlan(label="units", block="store", baselines=("price",))
    exports = RetrainingPipeline(
        stack,
        "Exports",
        name=MODEL,
        training_set=TrainingSetSource.s3(bucket=unit.artifacts, prefix="exports/sales", label="units"),
        training=replace(training, spot=Spot(max_wait=cdk.Duration.hours(3)), checkpoints=True),
        processing=ProcessingStep(**job, script="step.py", instance_type="ml.m5.xlarge"),
        evaluation=evaluation,
        guard=GuardPolicy(
            max_runs_per_day=daily_budget,
            cooldown=cdk.Duration.minutes(1) if has_rival else cdk.Duration.hours(24),
        ),
        **common,
    )
    plan = TrainingSetPlan(
        name="sales",
        label_group="sales",
        timestamp="event_time",
        label="units",
        features={"sales": ("price",)},
        holdout_days=7,
    )
    features = RetrainingPipeline(
        stack,
        "FromFeatures",
        name="features",
        store=store,
        training_set=plan,
        training=training,
        evaluation=prices,
        guard=GuardPolicy(min_labels=100),
        **common,
    )
    outputs = {
        "EndpointName": endpoint.endpoint_name,
        "RolloutTable": endpoint.rollout.table.table_name,
        "DeployMachineArn": endpoint.rollout.machine.state_machine_arn,
        "RetrainMachineArn": exports.machine.state_machine_arn,
        "FeaturesMachineArn": features.machine.state_machine_arn,
        "FeaturesTable": features.table.table_name,
        "ExportsTable": exports.table.table_name,
        "ArtifactsBucket": unit.artifacts.bucket_name,
        "AuditBucket": unit.audit_bucket.bucket_name,
        "AutomationTable": unit.automation_table.table_name,
        "EventBus": unit.bus.event_bus_name,
        "Topic": unit.topic.topic_arn,
    }
    if has_rival:
        outputs |= _rival(stack, unit, endpoint, exports)
    for name, value in outputs.items():
        cdk.CfnOutput(stack, name, value=value)
    app.synth()
    return folder / "assembly"


def _rival(
    stack: cdk.Stack, unit: BusinessUnit, endpoint: ModelEndpoint, pipeline: RetrainingPipeline
) -> dict[str, str]:
    """Add a monitor to the endpoint, and define the role of another unit's jobs."""
    day = cdk.Duration.days(1)
    monitor = ModelMonitor(stack, "Monitor", endpoint=endpoint, window=day, interval=day)
    alarms = DriftAlarms(stack, "Alarms", monitor=monitor, retraining=pipeline)
    given = Network.from_vpc(vpc=unit.vpc, subnets=ec2.SubnetSelection(subnets=unit.vpc.isolated_subnets))
    rival = BusinessUnit(stack, "Rival", name=RIVAL, profile=Profile.DEVELOPMENT, network=given)
    group = "/aws/sagemaker/ProcessingJobs"
    role = service_role(
        stack,
        "RivalJob",
        service=SERVICE,
        statements=container_statements(stack, log_group=group, namespace=group, streams=[f"{RIVAL}-*/*"]),
        business_unit=rival,
        description="A job of another unit",
        wildcard_reason="jobs of a unit get their names when they run; rejected: one fixed name, under which a job runs once",
    )
    return {
        "FeaturesAlarm": alarms.alarms["features"].alarm_name,
        "RivalRoleArn": role.role_arn,
        "Image": ModelImage.from_ecr(repository_name="mlops-runtime", digest=DIGEST).uri(stack),
    }


class Sample:
    """The deployed stack."""

    def __init__(self, cloud: local_cloud.Cloud, assembly: Path) -> None:
        self.cloud = cloud
        self.outputs = deployer.deploy(cloud, assembly)["Sample"]
        self.loop = Loop(client=cloud.client, outputs=self.outputs, unit=UNIT, now=self.now)
        self.loop.wait_idle("DeployMachineArn")
        self.dynamodb, self.events = cloud.client("dynamodb"), cloud.client("events")

    def now(self) -> datetime:
        """Return the cloud's time."""
        return datetime.fromisoformat(self.cloud.clock()["now"])

    def pause(self, *, is_paused: bool) -> None:
        """Pause or resume the unit's automation."""
        table = RolloutTable(self.dynamodb, self.outputs["AutomationTable"], UNIT)
        entry = self.loop.entry()
        sealer = Sealer(kms=self.cloud.client("kms"), key=entry.pause_key)
        chain = AuditChain(
            s3=self.loop.s3, bucket=entry.audit_bucket, table=table, heads=entry.heads_bucket, sealer=sealer
        )
        set_pause(chain, is_paused=is_paused, by="ann", reason="stocktaking", now=self.now())

    def put(self, kind: DetailType, detail: EventDetail) -> None:
        """Put an event on the unit's bus."""
        entry = {
            "EventBusName": self.outputs["EventBus"],
            "Source": event_source(UNIT),
            "DetailType": kind.value,
            "Detail": json.dumps(to_dict(detail)),
        }
        assert self.events.put_events(Entries=[entry])["FailedEntryCount"] == 0

    def ingest(self, rows: int, *, days: int) -> None:
        """Append rows that are some days old, as a producer does, with the event on the bus."""
        store = FeatureStoreClient.glue(
            database="sample_features",
            environment=self.cloud.environment(),
            now=self.now,
            announce=unit_bus(self.events, bus=self.outputs["EventBus"], unit=UNIT),
        )
        day = pa.array([self.now() - timedelta(days=days)] * rows, pa.timestamp("us", "UTC"))
        values = {"store": [f"store-{i}" for i in range(rows)], "units": [1.0] * rows, "price": [1.0] * rows}
        store.ingest(GROUP, pa.table({**values, "event_time": day}))

    def decisions(self, table: str = "FeaturesTable") -> list[tuple[str, str]]:
        """Return the guard's decisions for a pipeline with their reasons, in order of time."""
        items = self.dynamodb.scan(TableName=self.outputs[table])["Items"]
        decided = [item for item in items if item["item"]["S"].startswith("EVENT#")]
        return [(i["decision"]["S"], i["reason"]["S"]) for i in sorted(decided, key=lambda i: str(i["at"]["S"]))]

    def owner(self, table: str) -> str | None:
        """Return the owner of a pipeline's lock."""
        items = self.dynamodb.scan(TableName=self.outputs[table])["Items"]
        return next((i["owner"]["S"] for i in items if i["item"]["S"] == "STATE" and "owner" in i), None)

    def lay_down(self, *, price: float, promoted: float, mischief: str | None = None) -> None:
        """Write a training set to S3 whose training split follows these weights; the holdout follows 2 and 10.

        ``mischief`` is code that the script runs before training.
        """
        files = {"train": _rows(1, price, promoted), "holdout": _rows(2, 2.0, 10.0)}
        if mischief is not None:
            files["train"] = files["train"].append_column("mischief", pa.array([mischief] * files["train"].num_rows))
        for split, table in files.items():
            buffer = io.BytesIO()
            pq.write_table(table, buffer)
            self._upload(f"{split}/part-0.parquet", buffer.getvalue())
        self._upload("manifest/manifest.json", canonical_json(replace(MANIFEST, name=f"sales-{price}")))

    def _upload(self, name: str, content: bytes) -> None:
        self.loop.s3.put_object(Bucket=self.outputs["ArtifactsBucket"], Key=f"exports/sales/{name}", Body=content)

    def preflight(self, package: str) -> dict[str, Any]:
        """Return preflight's response for the approval of a package."""
        functions = self.cloud.client("lambda").get_paginator("list_functions").paginate()
        (name,) = [
            f["FunctionName"] for page in functions for f in page["Functions"] if "Preflight" in f["FunctionName"]
        ]
        request = DeployRequest(
            reason=DeployReason.APPROVAL,
            requested_by="ann",
            requested_at=self.now().isoformat(),
            model_package_arn=package,
        )
        event = {
            "request": to_dict(request),
            "execution": f"{self.outputs['DeployMachineArn']}:x",
            "now": self.now().isoformat(),
            "quotas": NO_QUOTAS,
        }
        answer = self.cloud.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event))
        return dict(json.loads(answer["Payload"].read()))

    def retrain(self, reason: str) -> dict[str, Any]:
        """Request a retraining from S3 and return the output of its execution."""
        seen = {e["executionArn"] for e in self.loop.executions("RetrainMachineArn")}
        self.loop.request_retraining(reason, reason)
        ended = self.loop.wait_execution("RetrainMachineArn", seen, appear=30, finish=120)
        return dict(json.loads(ended["output"]))


def _rows(seed: int, price_weight: float, promoted_weight: float) -> Any:
    random = np.random.default_rng(seed)
    count = 600
    price, promoted = random.uniform(5, 15, count), (random.random(count) < 0.2).astype(float)
    noise = random.normal(0, 0.3, count)
    return pa.table(
        {
            "price": price,
            "promoted": promoted,
            "store": [f"store-{i % 20}" for i in range(count)],
            "units": price_weight * price + promoted_weight * promoted + noise,
            "last_week": 2 * price + random.normal(0, 9, count),
        }
    )


MANIFEST = TrainingSetManifest(
    name="sales",
    semantics=Semantics(as_of="known_at", cutoff="2017-09-01T00:00:00Z"),
    entities=PinnedTable(
        group="sales", version=1, database="d", table="t", table_uuid="u", snapshot_id=1, sequence=1, schema_id=0,
        tag="t", columns=("price",),
    ),
    features=(),
    build=Build(engine="export", engine_version="1", planner="none", client="0"),
    output=Output(rows=1200, content_hash="c", files=(), columns={}),
    split={
        "trained_until": "2017-08-04T00:00:00Z",
        "holdout_from": "2017-08-04T00:00:00Z",
        "holdout_until": "2017-09-01T00:00:00Z",
    },
)  # fmt: skip


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    """Deploy the stack; the tests of this file depend on their order."""
    folder = tmp_path_factory.mktemp("sample")
    cloud = local_cloud.up(folder / "cloud", clock_scale=120.0)
    try:
        yield Sample(cloud, synthesize(folder, has_rival=True))
    finally:
        cloud.down(forget=True)


def wait(look: Any, seconds: float = 20) -> Any:
    """Wait for a true value and return it; fail without one."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"nothing after {seconds} s"
        time.sleep(0.1)
    return found


def test_new_labels_retrain_once_there_are_enough_and_nothing_is_paused(sample: Sample) -> None:
    """60 are too few; 120 suffice but the unit is paused; the next row after resuming starts a retraining.

    An event of an ingest that is not in the table is not counted.
    """
    sample.put(DetailType.FEATURES_INGESTED, features_ingested("sales_v1", rows=1_000_000, ingest_id="f" * 32))
    wait(lambda: len(sample.decisions()) == 1)
    assert sample.decisions() == [("NOT_CONFIRMED", f"sales_v1 has no snapshot of ingest {'f' * 32}")]
    sample.ingest(60, days=3)
    wait(lambda: len(sample.decisions()) == 2)
    sample.pause(is_paused=True)
    sample.ingest(60, days=2)
    wait(lambda: len(sample.decisions()) == 3)
    _, first, second = sample.decisions()
    assert first == ("TOO_FEW_LABELS", "60 of 100 new labels have come")
    assert second[0] == "PAUSED"
    assert second[1].endswith("by ann: stocktaking")
    sample.pause(is_paused=False)
    sample.ingest(1, days=1)
    wait(lambda: len(sample.decisions()) == 4)
    assert sample.decisions()[3] == ("STARTED", "1 new rows of sales_v1")


def test_every_hour_is_asked_again(sample: Sample) -> None:
    """The rule's event differs from a schedule's; without alarms and new labels nothing starts."""
    before = len(sample.decisions())
    sample.cloud.clock_jump(to=sample.now() + timedelta(hours=1))
    wait(lambda: len(sample.decisions()) > before)
    assert ("NOT_CONFIRMED", "no alarm is in ALARM and no labels wait") in sample.decisions()


def test_an_execution_that_is_stopped_leaves_no_lock(sample: Sample) -> None:
    """The execution releases it, or the guard does on the event of its end."""
    (execution,) = sample.loop.executions("FeaturesMachineArn")
    if execution["status"] == "RUNNING":
        sample.cloud.client("stepfunctions").stop_execution(executionArn=execution["executionArn"], error="Stopped")
    wait(lambda: sample.owner("FeaturesTable") is None)


def test_what_passes_in_a_pause_waits_for_a_person(sample: Sample) -> None:
    """A pause does not block a person's request; its candidate is registered with its lineage but not approved."""
    sample.lay_down(price=1.8, promoted=10.0)
    sample.pause(is_paused=True)
    output = sample.retrain("first")
    sample.pause(is_paused=False)
    assert output["outcome"] == "REGISTERED"
    assert output["reason"].startswith("not approved automatically: paused since ")
    package = sample.loop.newest_package()
    assert package["ModelApprovalStatus"] == "PendingManualApproval"
    metadata = package["CustomerMetadataProperties"]
    assert (metadata["champion"], metadata["trigger"]) == ("none", "manual")
    assert metadata["container_sha256"]
    evaluation = sample.loop.evaluation_of(package)
    assert {segment.name for segment in evaluation.segments or ()} == {"promoted=0", "promoted=1"}
    assert set(evaluation.milliseconds_a_row or {}) == {"candidate"}


def test_who_may_start_the_machine_gets_nothing_by_its_input(sample: Sample) -> None:
    """A role that may start executions names a requester and a time; the machine finds no accepted request."""
    cloud, machine = sample.cloud, sample.outputs["RetrainMachineArn"]
    iam, states = cloud.client("iam"), cloud.client("stepfunctions")
    trust = {"Effect": "Allow", "Principal": {"AWS": "000000000000"}, "Action": "sts:AssumeRole"}
    start = {"Effect": "Allow", "Action": "states:StartExecution", "Resource": machine}
    role = iam.create_role(RoleName="Starter", AssumeRolePolicyDocument=_document(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName="Starter", PolicyName="Start", PolicyDocument=_document(start))
    keys = cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="forger")["Credentials"]
    forger = boto3.client(
        "stepfunctions",
        endpoint_url=cloud.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )
    forged = RetrainRequest(
        trigger=Trigger.MANUAL, event_id="forged", as_of="2031-01-01T00:00:00Z", requested_by="the owner"
    )
    before = len(sample.loop.audit())

    arn = forger.start_execution(stateMachineArn=machine, name="forged", input=canonical_json(forged).decode())[
        "executionArn"
    ]

    ended = wait(lambda: (found := states.describe_execution(executionArn=arn))["status"] != "RUNNING" and found)
    assert (ended["status"], ended["error"]) == ("FAILED", "NOT_ACCEPTED")
    assert ended["cause"].startswith(f"the guard of {UNIT}-{MODEL} accepted no request for {arn}; request a retraining")
    assert (len(sample.loop.audit()), sample.owner("ExportsTable")) == (before, None)
    iam.delete_role_policy(RoleName="Starter", PolicyName="Start")
    iam.delete_role(RoleName="Starter")


def _document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def test_no_job_can_write_what_is_registered(sample: Sample) -> None:
    """No job's role writes or deletes the archive; trainings write elsewhere, and the storing role writes each once."""
    package = sample.loop.newest_package()
    (container,) = package["InferenceSpecification"]["Containers"]
    bucket, _, key = container["ModelDataUrl"].removeprefix("s3://").partition("/")
    execution = package["CustomerMetadataProperties"]["execution"].rpartition(":")[2]
    assert key == f"models/{UNIT}-{MODEL}/{execution}/model.tar.gz"
    (job,) = sample.loop.sagemaker.list_training_jobs(NameContains=f"{UNIT}-{MODEL}-")["TrainingJobSummaries"]
    trained = sample.loop.sagemaker.describe_training_job(TrainingJobName=job["TrainingJobName"])
    own = trained["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://")
    served, next_one = f"arn:aws:s3:::{bucket}/{key}", f"arn:aws:s3:::{bucket}/models/{UNIT}-{MODEL}/next/model.tar.gz"

    roles = [role["RoleName"] for page in _roles(sample) for role in page["Roles"]]
    jobs = [name for name in roles if re.search(r"(TrainingSet|Training|Processing|Evaluation)Role", name)]
    assert len(jobs) >= 6
    for name in jobs:
        for action in ("s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"):
            assert not _may(sample, name, action, served), (name, action)
            assert not _may(sample, name, action, served, once=True), (name, action)
    trainers = [name for name in roles if "TrainingRole" in name]
    assert [_may(sample, name, "s3:PutObject", f"arn:aws:s3:::{own}") for name in trainers].count(True) == 1
    keepers = [name for name in roles if _may(sample, name, "s3:PutObject", next_one, once=True)]
    assert len(keepers) == 1
    assert not _may(sample, keepers[0], "s3:PutObject", served)


def test_no_training_set_role_writes_over_tables_or_manifests(sample: Sample) -> None:
    """Manifests are written once; tables cannot be committed to, and nothing below them can be written."""
    manifests = next(b["Name"] for b in sample.loop.s3.list_buckets()["Buckets"] if "manifests" in b["Name"])
    glue, database = sample.cloud.client("glue"), f"{UNIT.replace('-', '_')}_features"
    (table, *_) = glue.get_tables(DatabaseName=database)["TableList"]
    folder = table["StorageDescriptor"]["Location"].removeprefix("s3://")
    setters = [
        role["RoleName"] for page in _roles(sample) for role in page["Roles"] if "TrainingSetRole" in role["RoleName"]
    ]
    manifest = f"arn:aws:s3:::{manifests}/manifests/a.json"
    start = f"arn:aws:glue:us-east-1:000000000000:table/{database}"
    tables = [f"{start}/{each['Name']}" for each in glue.get_tables(DatabaseName=database)["TableList"]]
    assert setters
    assert tables
    for name in setters:
        assert not _may(sample, name, "s3:PutObject", manifest), name
        assert _may(sample, name, "s3:PutObject", manifest, once=True), name
        for arn in tables:
            assert not _may(sample, name, "glue:UpdateTable", arn), (name, arn)
        for file in ("data/a.parquet", "metadata/a.avro", "metadata/snap-1.avro", "metadata/00001-a.metadata.json"):
            assert not _may(sample, name, "s3:PutObject", f"arn:aws:s3:::{folder}/{file}"), (name, file)
            assert not _may(sample, name, "s3:PutObject", f"arn:aws:s3:::{folder}/{file}", once=True), (name, file)


def test_what_passed_is_signed_and_nobody_else_can_sign(sample: Sample) -> None:
    """The recorder writes one signature beside the archive; the package names key and code, as reported by the training job."""
    package = sample.loop.newest_package()
    spec = read_package(package).spec
    entry = sample.loop.entry()
    key = PublicKey(der=sample.cloud.client("kms").get_public_key(KeyId=entry.signing_key)["PublicKey"])
    bucket, _, place = signature_uri(spec.artifact_uri).removeprefix("s3://").partition("/")
    assert spec.signing_key == entry.signing_key
    assert (
        signed_digest(sample.loop.s3.get_object(Bucket=bucket, Key=place)["Body"].read(), key) == spec.artifact_sha256
    )
    (job,) = sample.loop.sagemaker.list_training_jobs(NameContains=f"{UNIT}-{MODEL}-")["TrainingJobSummaries"]
    described = sample.loop.sagemaker.describe_training_job(TrainingJobName=job["TrainingJobName"])
    channels = {c["ChannelName"]: c["DataSource"]["S3DataSource"]["S3Uri"] for c in described["InputDataConfig"]}
    assert spec.code == channels["code"]

    roles = [role["RoleName"] for page in _roles(sample) for role in page["Roles"]]
    signature, other = f"arn:aws:s3:::{bucket}/{place}", f"arn:aws:s3:::{bucket}/models/{UNIT}-{MODEL}/next/model.sig"
    for name in roles:
        assert not _may(sample, name, "s3:PutObject", signature), name
        assert not _may(sample, name, "s3:DeleteObject", signature), name
    signers = [name for name in roles if _may(sample, name, "s3:PutObject", other, once=True)]
    assert len(signers) == 1
    assert "Record" in signers[0]


def test_a_replaced_archive_gets_no_traffic(sample: Sample) -> None:
    """Whatever its package: preflight names the stored and the signed archive."""
    package = sample.loop.newest_package()
    uri = read_package(package).spec.artifact_uri
    bucket, _, place = uri.removeprefix("s3://").partition("/")
    kept = sample.loop.s3.get_object(Bucket=bucket, Key=place)["Body"].read()
    for content, reason in ((kept + b"\0", "; its signature is for"), (kept, "is PendingManualApproval")):
        sample.loop.s3.put_object(Bucket=bucket, Key=place, Body=content, ChecksumAlgorithm="SHA256")
        plan = sample.preflight(package["ModelPackageArn"])
        assert plan["action"] == "refuse"
        assert reason in plan["reason"]


def _roles(sample: Sample) -> Any:
    return sample.cloud.client("iam").get_paginator("list_roles").paginate()


def _may(sample: Sample, role: str, action: str, resource: str, *, once: bool = False) -> bool:
    """Return the decision of the cloud's policy simulator; ``once`` adds the header of conditional writes."""
    entry: Any = {"ContextKeyName": "s3:if-none-match", "ContextKeyValues": ["*"], "ContextKeyType": "string"}
    answer = sample.cloud.client("iam").simulate_principal_policy(
        PolicySourceArn=f"arn:aws:iam::000000000000:role/{role}",
        ActionNames=[action],
        ResourceArns=[resource],
        ContextEntries=[entry] if once else [],
    )
    return bool(answer["EvaluationResults"][0]["EvalDecision"] == "allowed")


def test_training_ran_on_spare_capacity_with_what_was_prepared(sample: Sample) -> None:
    """The step read only the training split; checkpoints are stored by execution."""
    (job,) = sample.loop.sagemaker.list_training_jobs(NameContains=f"{UNIT}-{MODEL}-")["TrainingJobSummaries"]
    described = sample.loop.sagemaker.describe_training_job(TrainingJobName=job["TrainingJobName"])
    assert described["EnableManagedSpotTraining"] is True
    assert [channel["ChannelName"] for channel in described["InputDataConfig"]] == ["train", "code", "processed"]
    listed = sample.loop.s3.list_objects_v2(
        Bucket=sample.outputs["ArtifactsBucket"], Prefix=f"checkpoints/{UNIT}-{MODEL}/"
    )
    assert [entry["Key"].rpartition("/")[2] for entry in listed["Contents"]] == ["epoch"]


def test_a_script_that_writes_too_much_leaves_all_as_it_was(sample: Sample) -> None:
    """It is stopped while writing; the run reports the fix, the lock is released, and the registered version stays."""
    before = sample.loop.newest_package()["ModelPackageArn"]
    folder = 'pathlib.Path(os.environ["SM_MODEL_DIR"], "model.bin")'
    mischief = f"import signal\n{folder}.open('wb').truncate(5 * 1024**3)\nsignal.pause()"
    sample.lay_down(price=2.0, promoted=4.0, mischief=mischief)
    seen = {each["executionArn"] for each in sample.loop.executions("RetrainMachineArn")}
    sample.loop.request_retraining("writes", "writes")
    ended = sample.loop.wait_execution("RetrainMachineArn", seen, appear=30, finish=120, error="FAILED")
    reason = (
        "the job wrote 5.0 GiB below /opt/ml, at most 2.0 GiB are allowed in the embedded cloud; write less, or set "
    )
    assert reason in ended["cause"]
    assert sample.loop.newest_package()["ModelPackageArn"] == before
    wait(lambda: sample.owner("ExportsTable") is None)
    arguments = ["runs", "show", "latest", "--pipeline", f"{UNIT}-{MODEL}", "--home", str(sample.cloud.home)]
    shown = CliRunner().invoke(command, arguments)
    assert reason in " ".join(shown.stdout.split()), shown.stdout


def test_better_on_average_and_worse_where_promoted_is_rejected(sample: Sample) -> None:
    """The candidate beats the champion over all rows, and the gate names the segment where it loses."""
    package = sample.loop.newest_package()
    metadata = package["CustomerMetadataProperties"]
    (container,) = package["InferenceSpecification"]["Containers"]
    live = LivePointer(
        endpoint=f"{UNIT}-{MODEL}",
        config="c",
        model="m",
        model_package_arn=package["ModelPackageArn"],
        artifact_uri=container["ModelDataUrl"],
        spec_sha256="s",
        spec_uri="s3://s",
        since="2017-09-01T00:00:00Z",
        artifact_sha256=metadata["artifact_sha256"],
        container_sha256=metadata["container_sha256"],
        **{n: metadata[n] for n in ("model_sha256", "baseline_uri", "baseline_sha256", "evaluation_uri")},
        **{n: metadata[n] for n in ("training_set_id", "execution")},
    )
    sample.dynamodb.update_item(
        TableName=sample.outputs["RolloutTable"],
        Key={"endpoint": {"S": live.endpoint}},
        UpdateExpression="SET live = :live",
        ExpressionAttributeValues={":live": {"S": canonical_json(live).decode()}},
    )
    sample.lay_down(price=2.0, promoted=4.0)
    output = sample.retrain("second")
    assert output["outcome"] == "REJECTED"
    assert output["reason"].startswith("loss against champion where promoted=1 +")
    record = sample.loop.audit()[-1]
    assert (record.outcome, record.reason) == (Outcome.REJECTED, output["reason"])
    assert record.requested_by == sample.cloud.client("sts").get_caller_identity()["UserId"]
    assert sample.loop.newest_package()["ModelPackageArn"] == package["ModelPackageArn"]
    assert sample.owner("ExportsTable") is None


def test_a_candidate_that_breaks_a_promise_is_never_registered(sample: Sample) -> None:
    """The stack publishes an API schema with only ``price``: the gate, in its own role, names the additional column."""
    table = RolloutTable(sample.dynamodb, sample.outputs["RolloutTable"], f"{UNIT}-{MODEL}")
    bucket, stored = sample.outputs["ArtifactsBucket"], str(table.read().desired)
    price = ModelSignature(inputs=(SignatureColumn(name="price", type="number"),), output="units")
    promise = read_promise(json.dumps(request_schema(price, arrays=False)), "sales.schema.json")[1]
    content = sample.loop.s3.get_object(Bucket=bucket, Key=stored.removeprefix(f"s3://{bucket}/"))["Body"].read()
    spec = replace(from_json(ServingSpec, content), promises=(promise,))
    key = spec_key(spec.endpoint, content_hash(spec))
    sample.loop.s3.put_object(Bucket=bucket, Key=key, Body=canonical_json(spec))
    before = sample.loop.newest_package()["ModelPackageArn"]
    table.set_desired(f"s3://{bucket}/{key}")
    try:
        output = sample.retrain("third")
    finally:
        table.set_desired(stored)

    assert output["outcome"] == "REJECTED"
    assert "sales.schema.json does not require column 'promoted', which the model needs; publish v2" in output["reason"]
    assert sample.loop.newest_package()["ModelPackageArn"] == before


def test_jobs_write_to_the_streams_of_their_own_jobs(sample: Sample) -> None:
    """Jobs of all units share a log group per kind; no job's role can write to streams of other units or jobs."""
    roles = [role["RoleName"] for page in _roles(sample) for role in page["Roles"]]
    jobs = [name for name in roles if re.search(r"(TrainingSet|Training|Processing|Evaluation)Role|RivalJob", name)]
    assert len(jobs) >= 7
    (job,) = sample.loop.sagemaker.list_training_jobs(NameContains=f"{UNIT}-{MODEL}-", MaxResults=1)[
        "TrainingJobSummaries"
    ]
    execution = job["TrainingJobName"].removeprefix(f"{UNIT}-{MODEL}-").removesuffix("-train")
    writers = {
        (pipeline, kind, word): [name for name in jobs if _may(sample, name, "logs:PutLogEvents", _stream(*parts))]
        for pipeline in (f"{UNIT}-{MODEL}", f"{UNIT}-features", f"{RIVAL}-{MODEL}", f"{UNIT}-{MODEL}-b")
        for kind, word in (("Training", "train"), ("Processing", "set"), ("Processing", "eval"), ("Processing", "prep"))
        for parts in [(kind, f"{pipeline}-{execution}-{word}")]
    }
    found = {key: len(names) for key, names in writers.items() if names}
    assert found == {
        (f"{UNIT}-{MODEL}", "Training", "train"): 1,
        (f"{UNIT}-{MODEL}", "Processing", "prep"): 1,
        (f"{UNIT}-{MODEL}", "Processing", "eval"): 1,
        (f"{UNIT}-features", "Training", "train"): 1,
        (f"{UNIT}-features", "Processing", "set"): 1,
        (f"{UNIT}-features", "Processing", "eval"): 1,
        **{(f"{RIVAL}-{MODEL}", "Processing", word): 1 for word in ("set", "eval", "prep")},
    }


def _stream(kind: str, job: str) -> str:
    return f"arn:aws:logs:us-east-1:000000000000:log-group:/aws/sagemaker/{kind}Jobs:log-stream:{job}/algo-1-1501545600"


def test_a_line_of_another_unit_starts_no_retraining(sample: Sample) -> None:
    """A job without a network prints the drift metric; the alarm fires, but no monitor report confirms it."""
    cloudwatch, alarm = sample.cloud.client("cloudwatch"), sample.outputs["FeaturesAlarm"]
    dimensions = metric_dimensions(f"{UNIT}-{MODEL}", "AllTraffic", "drift")
    directive = {
        "Namespace": metric_namespace(UNIT),
        "Dimensions": [list(dimensions)],
        "Metrics": [{"Name": "FeaturesDrifted"}],
    }
    metadata = {"Timestamp": int(sample.now().timestamp() * 1000), "CloudWatchMetrics": [directive]}
    line = json.dumps({"_aws": metadata, **dimensions, "FeaturesDrifted": 9})
    before = {execution["executionArn"] for execution in sample.loop.executions("RetrainMachineArn")}
    sample.loop.sagemaker.create_processing_job(
        ProcessingJobName=f"{RIVAL}-{MODEL}",
        AppSpecification={
            "ImageUri": sample.outputs["Image"],
            "ContainerEntrypoint": ["python", "-c", "import sys; print(''.join(sys.argv[1:]))"],
            "ContainerArguments": split_argument(line),
        },
        RoleArn=sample.outputs["RivalRoleArn"],
        ProcessingResources={
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}
        },
        NetworkConfig={"EnableNetworkIsolation": True},
    )

    wait(lambda: cloudwatch.describe_alarms(AlarmNames=[alarm])["MetricAlarms"][0]["StateValue"] == "ALARM", 60)
    reason = wait(lambda: [why for _, why in sample.decisions("ExportsTable") if alarm in why])

    found = {execution["executionArn"] for execution in sample.loop.executions("RetrainMachineArn")}
    assert found == before
    (words,) = reason
    unconfirmed = f"alarm {alarm} is in ALARM without confirmation: "
    # by this hour the monitor has reported once, for a day without calls
    reported = "the newest report, of the window until .*, has no FeaturesDrifted"
    assert re.fullmatch(f"{unconfirmed}(no report of the monitor of {UNIT}-{MODEL} in 100 days|{reported})", words), (
        words
    )
