"""A team's own model and data on the embedded cloud: a pickle that no export takes, in the environment of its lock."""

from __future__ import annotations

import io
import json
import subprocess
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from examples.retail.loop import Loop
from sklearn.datasets import load_diabetes

from mlops_constructs import (
    BusinessUnit,
    EndpointCapacity,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Profile,
    RetrainingPipeline,
    TrainingJob,
    TrainingSetSource,
)
from mlops_local import cloud as local_cloud
from mlops_local.model_environments import isolation
from mlops_local.stacks import deployer
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.features import Build, Output, PinnedTable, Semantics, TrainingSetManifest
from mlops_runtime.contracts.retraining import EvaluationPlan
from mlops_runtime.image.requirements_lock import RequirementsLock
from mlops_runtime.image.uv_program import MissingUvError, find_uv

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlops_runtime.contracts.model_manifest import Trust

pytestmark = pytest.mark.cloud

HERE = Path(__file__).parent / "own_model"
LOCK = RequirementsLock.parsed((HERE / "requirements.lock").read_bytes())
# the same packages by another lock, as after an upgrade
NEXT = RequirementsLock.parsed(LOCK.content + b"# upgraded\n")
EVALUATION = EvaluationPlan(label="progression", block="clinic", baselines=("mean",), timestamp="visited", metric="mae")
MANIFEST = TrainingSetManifest(
    name="visits",
    semantics=Semantics(as_of="event_time", cutoff=""),
    entities=PinnedTable(
        group="visits", version=1, database="d", table="t", table_uuid="u", snapshot_id=1, schema_id=0, tag="", columns=()
    ),
    features=(),
    build=Build(engine="export", engine_version="", planner="", client=""),
    output=Output(rows=442, content_hash="", files=(), columns={}),
)  # fmt: skip


def synthesize(
    folder: Path,
    lock: RequirementsLock,
    *,
    trust: Sequence[Trust] = ("data", "code", "pickle"),
    count: int = 1,
) -> Path:
    """Synthesize the smallest unit that trains a model of its own, in the environment of a lock."""
    folder.mkdir()
    (folder / "requirements.lock").write_bytes(lock.content)
    app = cdk.App(outdir=str(folder / "assembly"))
    stack = cdk.Stack(app, "Clinic")
    image = ModelImage.from_requirements(folder / "requirements.lock")
    unit = BusinessUnit(stack, "Unit", name="clinic", profile=Profile.DEVELOPMENT)
    registry = ModelRegistry(stack, "Registry", business_unit=unit, name="progress", trust=trust)
    endpoint = ModelEndpoint(
        stack,
        "Endpoint",
        business_unit=unit,
        registry=registry,
        name="progress",
        image=image,
        capacity=EndpointCapacity.instances("ml.m5.large", instance_count=count),
    )
    pipeline = RetrainingPipeline(
        stack,
        "Retraining",
        business_unit=unit,
        registry=registry,
        endpoint=endpoint,
        name="progress",
        training_set=TrainingSetSource.s3(bucket=unit.artifacts, prefix="exports/visits", label="progression"),
        training=TrainingJob(
            image=image,
            source=HERE / "training",
            script="train.py",
            instance_type="ml.m5.large",
            max_runtime=cdk.Duration.hours(1),
        ),
        evaluation=EVALUATION,
        cooldown=cdk.Duration.minutes(1),
    )
    outputs = {
        "EndpointName": endpoint.endpoint_name,
        "ArtifactsBucket": unit.artifacts.bucket_name,
        "AuditBucket": unit.audit_bucket.bucket_name,
        "EventBus": unit.bus.event_bus_name,
        "RetrainMachineArn": pipeline.machine.state_machine_arn,
        "DeployMachineArn": endpoint.rollout.machine.state_machine_arn,
        "RolloutTable": endpoint.rollout.table.table_name,
        "ApproverRoleArn": registry.approver_role.role_arn,
    }
    for name, value in outputs.items():
        cdk.CfnOutput(stack, name, value=value)
    app.synth()
    return folder / "assembly"


def visits() -> tuple[Any, Any]:
    """Return scikit-learn's table of 442 diabetes patients as two splits: with clinics, times, and the naive prediction."""
    frame = load_diabetes(as_frame=True, scaled=False).frame.rename(columns={"target": "progression"})
    frame["sex"] = np.where(frame["sex"] == 1, "one", "two")
    frame["clinic"] = [f"clinic-{row % 20:02}" for row in range(len(frame))]
    frame["visited"] = pd.to_datetime("2026-01-01", utc=True) + pd.to_timedelta(np.arange(len(frame)), "h")
    frame["mean"] = frame["progression"][:220].mean()
    return frame[:220], frame[220:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clinic:
    """The deployed unit, and its first package."""

    cloud: local_cloud.Cloud
    loop: Loop
    package: dict[str, Any]
    verdict: dict[str, Any]


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    """Deploy the unit, and train its first model."""
    try:
        find_uv()
    except MissingUvError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("clinic")
    cloud = local_cloud.up(folder / "cloud", clock_scale=60.0)
    try:
        outputs = deployer.deploy(cloud, synthesize(folder / "first", LOCK))["Clinic"]
        loop = Loop(
            client=cloud.client,
            outputs=outputs,
            unit="clinic",
            now=lambda: datetime.fromisoformat(cloud.clock()["now"]),
        )
        lay_down(loop, outputs["ArtifactsBucket"])
        loop.request_retraining("the first model", "first")
        ended = loop.wait_execution("RetrainMachineArn", set(), appear=60, finish=400)
        yield Clinic(
            cloud=cloud, loop=loop, package=loop.newest_package(), verdict=json.loads(ended.get("output") or "{}")
        )
    finally:
        cloud.down()


def lay_down(loop: Loop, bucket: str) -> None:
    """Lay a training set down in S3, as a team's own export does."""

    def put(name: str, content: bytes) -> None:
        loop.s3.put_object(Bucket=bucket, Key=f"exports/visits/{name}", Body=content)

    train, holdout = visits()
    for name, rows in (("train", train), ("holdout", holdout)):
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), buffer)
        put(f"{name}/part-0.parquet", buffer.getvalue())
    at = [train["visited"].max(), holdout["visited"].min(), holdout["visited"].max()]
    split = dict(
        zip(("trained_until", "holdout_from", "holdout_until"), (time.isoformat() for time in at), strict=True)
    )
    put("manifest/manifest.json", canonical_json(replace(MANIFEST, split=split)))


def test_a_script_that_knows_nothing_of_the_platform_is_registered(clinic: Clinic) -> None:
    """Trained with its own libraries, packed, measured and gated; the package says what loading it may do."""
    assert clinic.verdict["outcome"] == "REGISTERED", clinic.verdict
    metadata = clinic.package["CustomerMetadataProperties"]
    assert (metadata["flavor"], metadata["trust"]) == ("pickle", "pickle")
    (container,) = clinic.package["InferenceSpecification"]["Containers"]
    assert container["Image"].endswith(f"/mlops-model@sha256:{LOCK.sha256}")
    evaluation = clinic.loop.evaluation_of(clinic.package)
    assert any(name.startswith("sklearn.") for name in evaluation.pickled or ())
    assert evaluation.metrics["candidate"] < evaluation.metrics["mean"] * 0.9


def test_its_environment_is_below_the_clouds_home(clinic: Clinic) -> None:
    """Made of the lock, by wheels of its own; the status says so."""
    status = clinic.cloud.status()["model_processes"]
    assert status["environments"] == [LOCK.sha256]
    assert (status["network"] == "none") == (isolation() is not None)
    python = clinic.cloud.home / "environments" / LOCK.sha256 / "bin" / "python"
    code = "import sklearn, importlib.util; print(sklearn.__version__, importlib.util.find_spec('mlops_runtime'))"
    found = subprocess.run([str(python), "-I", "-c", code], capture_output=True, text=True, check=True).stdout
    assert f"scikit-learn=={found.split()[0]}" in LOCK.content.decode()
    assert found.split()[1] == "None"


def test_an_approved_pickle_serves(clinic: Clinic) -> None:
    """By its own process behind the endpoint, from rows as a caller has them; an unknown category and a null are no error."""
    seen = {each["executionArn"] for each in clinic.loop.executions("DeployMachineArn")}
    clinic.loop.approve(clinic.package["ModelPackageArn"], "beats the mean")
    ended = clinic.loop.wait_execution("DeployMachineArn", seen, appear=60, finish=300)
    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    _, holdout = visits()
    inputs = holdout.drop(columns=["visited", "mean", "progression"])
    rows = json.loads(inputs.to_json(orient="records"))
    rows[0]["clinic"] = "clinic-99"
    answer = clinic.cloud.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=clinic.loop.endpoint, ContentType="application/json", Body=json.dumps({"instances": rows})
    )
    predictions = np.array(json.loads(answer["Body"].read())["predictions"])
    error = np.abs(predictions - holdout["progression"].to_numpy())
    assert error.mean() == pytest.approx(clinic.loop.evaluation_of(clinic.package).metrics["candidate"], rel=0.02)
    live = clinic.loop.live()
    assert live is not None
    assert live.model_package_arn == clinic.package["ModelPackageArn"]


def test_a_champion_of_another_lock_predicts_in_its_own_environment(clinic: Clinic, tmp_path: Path) -> None:
    """The stack names another lock; what the champion predicted is kept for the next candidate."""
    deployer.deploy(clinic.cloud, synthesize(tmp_path / "next", NEXT))
    loop = clinic.loop
    loop.wait_idle("DeployMachineArn")
    seen = {each["executionArn"] for each in loop.executions("RetrainMachineArn")}
    loop.request_retraining("other versions", "second")
    ended = loop.wait_execution("RetrainMachineArn", seen, appear=60, finish=400)
    assert json.loads(ended.get("output") or "{}").get("outcome") == "REGISTERED", ended
    package = loop.newest_package()
    (container,) = package["InferenceSpecification"]["Containers"]
    assert container["Image"].endswith(f"@sha256:{NEXT.sha256}")
    metrics = loop.evaluation_of(package).metrics
    assert metrics["champion"] == pytest.approx(metrics["candidate"])
    kept = loop.s3.list_objects_v2(Bucket=loop.outputs["ArtifactsBucket"], Prefix="predictions/clinic-progress/")
    champion = clinic.package["CustomerMetadataProperties"]["model_sha256"]
    assert [champion in each["Key"] for each in kept["Contents"]] == [True]
    assert set(clinic.cloud.status()["model_processes"]["environments"]) == {LOCK.sha256, NEXT.sha256}


def test_a_registry_that_forbids_the_live_model_leaves_it(clinic: Clinic, tmp_path: Path) -> None:
    """The next deployment of the stack is refused with the fix, and the pickle that serves goes on answering."""
    live, seen = clinic.loop.live(), {each["executionArn"] for each in clinic.loop.executions("DeployMachineArn")}
    deployer.deploy(clinic.cloud, synthesize(tmp_path / "strict", NEXT, trust=("data", "code"), count=2))
    clinic.loop.wait_execution("DeployMachineArn", seen, appear=60, finish=120, error="REFUSED")
    record = clinic.loop.audit()[-1]
    assert record.outcome.value == "REFUSED"
    assert (
        "the model is loaded by pickle with trust 'pickle', the registry allows data, code; register" in record.reason
    )
    assert record.reason.endswith("and deploy the stack; the live version stays")
    assert clinic.loop.live() == live
    _, holdout = visits()
    rows = json.loads(holdout[:2].drop(columns=["visited", "mean", "progression"]).to_json(orient="records"))
    answer = clinic.cloud.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=clinic.loop.endpoint, ContentType="application/json", Body=json.dumps({"instances": rows})
    )
    assert len(json.loads(answer["Body"].read())["predictions"]) == 2
