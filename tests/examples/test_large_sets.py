"""A training set too large for its job, on the embedded cloud with IAM enforced: a retraining builds it with Spark."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from examples.retail.loop import Loop
from tests.examples.models import DIGEST
from typer.testing import CliRunner

from mlops_cli.__main__ import app as command
from mlops_constructs import (
    Approval,
    BusinessUnit,
    EndpointCapacity,
    Entity,
    Feature,
    FeatureGroup,
    FeatureStore,
    GuardPolicy,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Profile,
    RetrainingPipeline,
    TrainingJob,
    TrainingSetJob,
)
from mlops_local import cloud as local_cloud
from mlops_local.glue import jobs
from mlops_local.stacks import deployer
from mlops_runtime.contracts import content_hash
from mlops_runtime.contracts.features import TrainingSetManifest
from mlops_runtime.contracts.retraining import EvaluationPlan, TrainingSetPlan
from mlops_runtime.features.lock_file import write_lock
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.layers import layer_wheels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.spark, pytest.mark.cloud]

UNIT, MODEL, DAYS, STORES = "sample", "forecast", 40, 25
STORE = Entity("store", "string", "store")
SALES = FeatureGroup(
    name="sales",
    entities=(STORE,),
    event_time="day",
    features=(Feature("units", "double", "units"), Feature("asked_at", "timestamp", "time of the prediction")),
    owner="ann",
    description="sales",
)
STOCK = FeatureGroup(
    name="stock",
    entities=(STORE,),
    features=(Feature("price", "double", "price"),),
    owner="ann",
    description="stock",
)
PLAN = TrainingSetPlan(
    name="sales",
    label_group="sales",
    timestamp="asked_at",
    label="units",
    features={"stock": ("price",)},
    holdout_days=10,
    baselines=("naive_mean",),
)
# the script fits one weight, which is 2
SCRIPT = """
import json, os, pathlib
import numpy as np
import pyarrow.parquet as pq
from onnx import TensorProto, helper

rows = pq.read_table(pathlib.Path(os.environ["SM_CHANNEL_TRAIN"]))
price, units = (rows.column(name).to_numpy() for name in ("price", "units"))
weight = float((price * units).sum() / (price * price).sum())
graph = helper.make_graph(
    [helper.make_node("MatMul", ["input", "weights"], ["units"])],
    "linear",
    [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, 1])],
    [helper.make_tensor_value_info("units", TensorProto.FLOAT, [None, 1])],
    [helper.make_tensor("weights", TensorProto.FLOAT, [1, 1], [weight])],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
folder = pathlib.Path(os.environ["SM_MODEL_DIR"])
(folder / "model.onnx").write_bytes(model.SerializeToString())
(folder / "signature.json").write_text(json.dumps({"inputs": [{"name": "price", "type": "number"}], "output": "units"}))
"""
DYING = """import os

from mlops_runtime.features.build_intent import OpenBuild


def check(build):
    raise RuntimeError("the worker was lost")


OpenBuild.check = check
"""


def synthesize(folder: Path) -> Path:
    """Synthesize a unit with a store, a job for large sets, and a pipeline that uses it."""
    (folder / "code").mkdir()
    (folder / "code" / "train.py").write_text(SCRIPT)
    image = ModelImage.from_ecr(repository_name="mlops-runtime", digest=DIGEST)
    lock = folder / "features.lock.json"
    write_lock([SALES, STOCK], lock)
    app = cdk.App(outdir=str(folder / "assembly"))
    stack = cdk.Stack(app, "Sample")
    unit = BusinessUnit(stack, "Unit", name=UNIT, profile=Profile.DEVELOPMENT)
    store = FeatureStore(stack, "Features", business_unit=unit, groups=[SALES, STOCK], lock_file=lock)
    job = TrainingSetJob(stack, "Builds", business_unit=unit, store=store)
    registry = ModelRegistry(stack, "Registry", business_unit=unit, name=MODEL, approval=Approval.manual())
    endpoint = ModelEndpoint(
        stack,
        "Endpoint",
        business_unit=unit,
        registry=registry,
        name=MODEL,
        image=image,
        capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
    )
    pipeline = RetrainingPipeline(
        stack,
        "Retraining",
        business_unit=unit,
        registry=registry,
        endpoint=endpoint,
        store=store,
        training_set_job=job,
        name=MODEL,
        training_set=PLAN,
        training=TrainingJob(
            image=image,
            source=folder / "code",
            script="train.py",
            instance_type="ml.m5.large",
            max_runtime=cdk.Duration.hours(1),
        ),
        evaluation=EvaluationPlan(label="units", block="store", baselines=("naive_mean",)),
        guard=GuardPolicy(max_runs_per_day=5, cooldown=cdk.Duration.minutes(1)),
    )
    outputs = {
        "EndpointName": endpoint.endpoint_name,
        "RolloutTable": endpoint.rollout.table.table_name,
        "DeployMachineArn": endpoint.rollout.machine.state_machine_arn,
        "RetrainMachineArn": pipeline.machine.state_machine_arn,
        "ArtifactsBucket": unit.artifacts.bucket_name,
        "EventBus": unit.bus.event_bus_name,
        "Job": job.job_name,
        "Sets": store.training_sets_bucket.bucket_name,
        "Manifests": store.manifests_bucket.bucket_name,
    }
    for name, value in outputs.items():
        cdk.CfnOutput(stack, name, value=value)
    app.synth()
    return folder / "assembly"


class Sample:
    """The deployed stack, with forty days of sales and prices of some stores."""

    def __init__(self, cloud: local_cloud.Cloud, assembly: Path) -> None:
        self.cloud = cloud
        self.outputs = deployer.deploy(cloud, assembly)["Sample"]
        self.loop = Loop(client=cloud.client, outputs=self.outputs, unit=UNIT, now=self.now)
        self.s3, self.glue, self.machines = (cloud.client(name) for name in ("s3", "glue", "stepfunctions"))
        self.store = FeatureStoreClient.glue(
            database="sample_features",
            environment=cloud.environment(),
            manifests=f"s3://{self.outputs['Manifests']}/manifests",
            training_sets=f"s3://{self.outputs['Sets']}",
            s3=self.s3,
            now=self.now,
        )
        start = self.now() - timedelta(days=DAYS)
        requested = [start + timedelta(days=n) for n in range(DAYS - 1) for _ in range(STORES)]
        price = [float(5 + (7 * n) % 11) for n in range(len(requested))]
        stores = {"store": [f"store-{n}" for n in range(STORES)] * (DAYS - 1)}
        self.store.backfill(
            STOCK, pa.table({**stores, "event_time": requested, "created_time": requested, "price": price})
        )
        known = [time + timedelta(hours=20) for time in requested]
        units = [2 * each + 0.01 * (n % 3) for n, each in enumerate(price)]
        labels = {**stores, "event_time": known, "created_time": known, "units": units, "asked_at": requested}
        self.store.backfill(SALES, pa.table(labels))
        self.fit(memory=1)

    def now(self) -> datetime:
        """Return the cloud's time."""
        return datetime.fromisoformat(self.cloud.clock()["now"])

    def fit(self, *, memory: int) -> None:
        """Set the memory of the training-set job in bytes."""
        client = self.cloud.client("lambda")
        pages = client.get_paginator("list_functions").paginate()
        (tags,) = (each for page in pages for each in page["Functions"] if "RetrainingTags" in each["FunctionName"])
        variables = {**tags["Environment"]["Variables"], "MEMORY": str(memory)}
        client.update_function_configuration(FunctionName=tags["FunctionName"], Environment={"Variables": variables})

    def retrain(self, reason: str, *, error: str | None = None) -> dict[str, Any]:
        """Request a retraining, and return its completed execution, which ends with the error if one is named."""
        seen = {each["executionArn"] for each in self.loop.executions("RetrainMachineArn")}
        self.loop.request_retraining(reason, reason)
        return self.loop.wait_execution("RetrainMachineArn", seen, appear=30, finish=240, error=error)

    def states(self, execution: str) -> list[str]:
        """Return the states that an execution entered, in order."""
        pages = self.machines.get_paginator("get_execution_history").paginate(executionArn=execution)
        events = [each for page in pages for each in page["events"]]
        return [each["stateEnteredEventDetails"]["name"] for each in events if "stateEnteredEventDetails" in each]

    def manifest(self) -> TrainingSetManifest:
        """Return the manifest of the plan's set."""
        manifests = [self.store.manifests.read(each) for each in self.store.manifests.ids()]
        (found,) = (each for each in manifests if each.name == PLAN.name)
        return found


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    """Deploy the stack; the tests of this file depend on their order."""
    if jobs.spark_home() is None or shutil.which("java") is None or sys.version_info >= (3, 12):
        pytest.skip("Spark is not installed; .ci/run installs it")
    folder = tmp_path_factory.mktemp("large")
    with pytest.MonkeyPatch.context() as patch:
        # empty files in place of the wheels of ``mlops assets build --glue``; local Spark uses this environment
        patch.setattr(layer_wheels, "glue_archive_path", lambda _name: folder / "features.zip")
        (folder / "features.zip").write_bytes(b"")
        assembly = synthesize(folder)
    cloud = local_cloud.up(folder / "cloud", clock_scale=120.0)
    try:
        yield Sample(cloud, assembly)
    finally:
        cloud.down(forget=True)


def test_the_command_starts_the_job_that_the_store_names(sample: Sample, tmp_path: Path) -> None:
    """Joins one group twice, by two columns; it runs first, as tags of the machine have the time of its faster clock."""
    times = [sample.now() - timedelta(days=5)] * 3
    rows = {"event_timestamp": times, "home": ["store-1", "store-2", "store-3"], "work": ["store-3", "store-4", None]}
    pq.write_table(pa.table(rows), tmp_path / "rows.parquet")
    uses = ("--features", "home=stock:price,work=stock:price", "--on", "home.store=home", "--on", "work.store=work")
    where = ("--unit", UNIT, "--home", str(sample.cloud.home), "--engine", "spark", "--json")
    arguments = ["features", "build", "near", "--entities", str(tmp_path / "rows.parquet"), *uses, *where]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["engine"], found["rows"], found["matched"]) == ("spark", 3, {"home": 3, "work": 2})
    assert sample.store.rebuild(found["id"]).verdict.value == "IDENTICAL"


def test_a_run_that_dies_ends_the_retraining_by_name_and_loses_nothing(sample: Sample) -> None:
    """The cause is the run's own; there is no manifest, no open build and no lock: the next test requests again."""
    job = sample.glue.get_job(JobName=sample.outputs["Job"])["Job"]
    before = sample.store.manifests.ids()
    bucket, _, key = job["Command"]["ScriptLocation"].removeprefix("s3://").partition("/")
    script = sample.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    sample.s3.put_object(Bucket=bucket, Key=key, Body=DYING.encode() + script)
    try:
        ended = sample.retrain("first", error="FAILED")
    finally:
        sample.s3.put_object(Bucket=bucket, Key=key, Body=script)
    assert "BuildOnSpark" in sample.states(ended["executionArn"])
    assert "RuntimeError: the worker was lost; nothing was changed: request the retraining again" in ended["cause"]
    assert sample.store.manifests.ids() == before
    assert sample.store.builds.unclosed() == ()


def test_a_set_that_does_not_fit_is_built_by_spark_and_trained_on(sample: Sample) -> None:
    """Its package names the set, which a laptop rebuilds with the same content hash; roles use all their permissions."""
    ended = sample.retrain("second")
    states = sample.states(ended["executionArn"])
    assert [name for name in states if name in ("TrainingSet", "BuildOnSpark", "CheckSet", "Train")] == [
        "BuildOnSpark",
        "CheckSet",
        "Train",
    ]
    output = json.loads(ended["output"])
    assert output["outcome"] == "REGISTERED", output
    manifest = sample.manifest()
    assert manifest.build.engine == "spark"
    here = sample.store.split_training_set(
        PLAN, as_of=datetime.fromisoformat(str(manifest.semantics.cutoff)), tag=manifest.features[0].tag
    )
    assert here.manifest.output == manifest.output
    assert replace(here.manifest, build=manifest.build) == manifest
    package = sample.loop.sagemaker.describe_model_package(ModelPackageName=output["package"])
    digest = content_hash(manifest)
    assert package["CustomerMetadataProperties"]["training_set_id"] == digest
    assert sample.store.rebuild(digest).verdict.value == "IDENTICAL"
    artifacts = sample.loop.sagemaker.list_artifacts()["ArtifactSummaries"]
    assert any(digest in json.dumps(each, default=str) for each in artifacts)
