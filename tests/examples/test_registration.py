"""An externally trained model on the embedded cloud: submitted by a limited role, evaluated, registered or refused."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import boto3
import lightgbm
import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aws_cdk import aws_iam as iam
from botocore.exceptions import ClientError
from examples.retail.loop import Loop
from onnx import TensorProto, helper
from tests.examples.models import DIGEST
from tests.runtime.tracking.stand_in import MlflowStandIn, mlflow_stand_in
from typer.testing import CliRunner

from constructs import Construct
from mlops_cli.__main__ import app as command
from mlops_cli.aws_account import UserError
from mlops_constructs import (
    Approval,
    BusinessUnit,
    EndpointCapacity,
    GuardPolicy,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Profile,
    RetrainingPipeline,
    Tracking,
    TrainingJob,
    TrainingSetSource,
)
from mlops_local import cloud as local_cloud
from mlops_local.stacks import deployer
from mlops_runtime.cloud_connection import CloudConnection, embedded_options
from mlops_runtime.console.api import ConsoleApi
from mlops_runtime.console.http_message import HttpRequest
from mlops_runtime.console.route import ROOT, Role
from mlops_runtime.console.taken_role import TakenRole, take_role
from mlops_runtime.contracts import canonical_json, content_hash, from_json, to_dict
from mlops_runtime.contracts.features import Build, Output, PinnedTable, Semantics, TrainingSetManifest
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.contracts.retraining import Decision, EvaluationPlan
from mlops_runtime.contracts.rollout import ServingSpec, spec_key
from mlops_runtime.contracts.unit_entries import PipelineEntry, UnitEntry, read_entry
from mlops_runtime.image.uv_program import MissingUvError, find_uv
from mlops_runtime.inference_api.request_promise import read_promise, request_schema
from mlops_runtime.retraining.retraining_request import RetrainingRequests
from mlops_runtime.retraining.retraining_start import GuardTable
from mlops_runtime.rollout.rollout_table import RolloutTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.cloud

UNIT, MODEL, TREES = "sample", "forecast", "trees"
PIPELINE = f"{UNIT}-{MODEL}"
LOCK = Path(__file__).parent / "brought_model" / "requirements.lock"
SIGNATURE = ModelSignature(
    inputs=(SignatureColumn(name="price", type="number"), SignatureColumn(name="promoted", type="number")),
    output="units",
)


def synthesize(folder: Path, *, tracking_uri: str) -> Path:
    """Synthesize a unit whose pipeline evaluates on exports in S3, and the role of registrants."""
    (folder / "code").mkdir()
    (folder / "code" / "train.py").write_text("raise SystemExit('nothing is trained here')\n")
    app = cdk.App(outdir=str(folder / "assembly"))
    stack = cdk.Stack(app, "Sample")
    unit = BusinessUnit(stack, "Unit", name=UNIT, profile=Profile.DEVELOPMENT)
    registrant = iam.Role(stack, "Registrant", assumed_by=iam.AccountRootPrincipal())
    requester = iam.Role(stack, "Requester", assumed_by=iam.AccountRootPrincipal())
    reader = iam.Role(stack, "Reader", assumed_by=iam.AccountRootPrincipal())
    images = {
        MODEL: ModelImage.from_ecr(repository_name="mlops-runtime", digest=DIGEST),
        TREES: ModelImage.from_requirements(LOCK),
    }
    approvers = {}
    outputs = {"ArtifactsBucket": unit.artifacts.bucket_name, "EventBus": unit.bus.event_bus_name}
    for name, image in images.items():
        scope = Construct(stack, name.title())
        registry = ModelRegistry(scope, "Registry", business_unit=unit, name=name, approval=Approval.automatic())
        endpoint = ModelEndpoint(
            scope,
            "Endpoint",
            business_unit=unit,
            registry=registry,
            name=name,
            image=image,
            capacity=EndpointCapacity.instances("ml.m5.large", instance_count=1),
        )
        pipeline = RetrainingPipeline(
            scope,
            "Retraining",
            business_unit=unit,
            registry=registry,
            endpoint=endpoint,
            name=name,
            training_set=TrainingSetSource.s3(bucket=unit.artifacts, prefix="exports/sales", label="units"),
            training=TrainingJob(
                image=image,
                source=folder / "code",
                script="train.py",
                instance_type="ml.m5.large",
                max_runtime=cdk.Duration.hours(1),
            ),
            evaluation=EvaluationPlan(label="units", block="store", baselines=("last_week",)),
            guard=GuardPolicy(max_runs_per_day=24),
            tracking=Tracking(uri=tracking_uri, experiment="sample") if name == MODEL else None,
        )
        approvers[name] = registry.approver_role
        pipeline.grant_register(registrant)
        pipeline.grant_request(requester)
        pipeline.grant_read_runs(reader)
        outputs |= {
            f"EndpointName{name}": endpoint.endpoint_name,
            f"RolloutTable{name}": endpoint.rollout.table.table_name,
            f"DeployMachineArn{name}": endpoint.rollout.machine.state_machine_arn,
            f"RetrainMachineArn{name}": pipeline.machine.state_machine_arn,
        }
    outputs |= {
        "RegistrantRole": registrant.role_arn,
        "RequesterRole": requester.role_arn,
        "ReaderRole": reader.role_arn,
        "ApproverRole": approvers[MODEL].role_arn,
    }
    for name, value in outputs.items():
        cdk.CfnOutput(stack, name, value=value)
    app.synth()
    return folder / "assembly"


class Sample:
    """The deployed stack, and the command in the registrant's role."""

    def __init__(self, cloud: local_cloud.Cloud, assembly: Path, mlflow: MlflowStandIn) -> None:
        self.cloud, self.mlflow = cloud, mlflow
        self.outputs = deployer.deploy(cloud, assembly)["Sample"]
        self.loop, self.trees = self._loop(MODEL), self._loop(TREES)
        self.rows = _rows(2)
        self._lay_down()
        self.environment = self._as("RegistrantRole", "ann")

    def _as(self, role: str, session: str) -> dict[str, str]:
        sts = self.cloud.client("sts")
        keys = sts.assume_role(RoleArn=self.outputs[role], RoleSessionName=session)["Credentials"]
        return {
            "AWS_ENDPOINT_URL": self.cloud.endpoint_url,
            "AWS_DEFAULT_REGION": self.cloud.environment()["AWS_REGION"],
            "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
            "AWS_SESSION_TOKEN": keys["SessionToken"],
        }

    def _loop(self, name: str) -> Loop:
        outputs = {each.removesuffix(name): value for each, value in self.outputs.items()}
        loop = Loop(client=self.cloud.client, outputs=outputs, unit=UNIT, now=self.now)
        loop.wait_idle("DeployMachineArn")
        return loop

    def now(self) -> datetime:
        """Return the cloud's time."""
        return datetime.fromisoformat(self.cloud.clock()["now"])

    def register(self, *arguments: str) -> tuple[int, str]:
        """Run the command in the registrant's role; return exit code and output."""
        return self._run(["models", "register", *arguments], self.environment)

    def train(self, *arguments: str) -> tuple[int, str]:
        """Run the command in a role that may request trainings but not submit models; return exit code and output."""
        return self._run(["train", *arguments], self._as("RequesterRole", "bob"))

    def runs(self, *arguments: str) -> tuple[int, str]:
        """Run the command in a role that may only read runs; return exit code and output."""
        return self._run(["runs", *arguments], self._as("ReaderRole", "cleo"))

    def _run(self, arguments: list[str], environment: dict[str, str]) -> tuple[int, str]:
        result = CliRunner().invoke(command, arguments, env=environment)
        if isinstance(result.exception, UserError):
            return 1, str(result.exception)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout

    def as_registrant(self, service: str) -> Any:
        """Return a client with the registrant's keys."""
        keys = {name.lower(): self.environment[name] for name in self.environment if "KEY" in name or "TOKEN" in name}
        region, url = self.environment["AWS_DEFAULT_REGION"], self.environment["AWS_ENDPOINT_URL"]
        return boto3.client(service, region_name=region, endpoint_url=url, **keys)

    def packages(self) -> list[dict[str, Any]]:
        """Return the registered packages, newest first."""
        found = self.loop.sagemaker.list_model_packages(ModelPackageGroupName=PIPELINE, SortOrder="Descending")
        return list(found["ModelPackageSummaryList"])

    def _lay_down(self) -> None:
        for split, table in {"train": _rows(1), "holdout": self.rows}.items():
            buffer = io.BytesIO()
            pq.write_table(table, buffer)
            self._upload(f"{split}/part-0.parquet", buffer.getvalue())
        self._upload("manifest/manifest.json", canonical_json(MANIFEST))

    def _upload(self, name: str, content: bytes) -> None:
        self.loop.s3.put_object(Bucket=self.outputs["ArtifactsBucket"], Key=f"exports/sales/{name}", Body=content)


def _rows(seed: int) -> Any:
    random = np.random.default_rng(seed)
    count = 600
    price, promoted = random.uniform(5, 15, count), (random.random(count) < 0.2).astype(float)
    units = 2 * price + 10 * promoted + random.normal(0, 0.3, count)
    return pa.table(
        {
            "price": price,
            "promoted": promoted,
            "store": [f"store-{i % 20}" for i in range(count)],
            "units": units,
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


def model(folder: Path, price: float, promoted: float) -> str:
    """Write an ONNX model with these weights, as on a user's machine; return its folder."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["input", "weights"], ["units"])],
        "linear",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("units", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor("weights", TensorProto.FLOAT, [2, 1], [price, promoted])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.checker.check_model(made)
    folder.mkdir()
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    (folder / "signature.json").write_bytes(json.dumps(to_dict(SIGNATURE)).encode())
    return str(folder)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    """Deploy the stack; the tests of this file depend on their order."""
    folder = tmp_path_factory.mktemp("registration")
    cloud = local_cloud.up(folder / "cloud", clock_scale=120.0)
    try:
        with mlflow_stand_in() as mlflow:
            yield Sample(cloud, synthesize(folder, tracking_uri=mlflow.uri), mlflow)
    finally:
        cloud.down(forget=True)


def test_a_model_made_elsewhere_goes_the_whole_way(sample: Sample, tmp_path: Path) -> None:
    """Uploaded by a limited role; nothing is trained; it is registered after comparison with the team's predictions."""
    seen = {each["executionArn"] for each in sample.loop.executions("DeployMachineArn")}
    folder = model(tmp_path / "model", 2.0, 10.0)
    expected = 2 * sample.rows.column("price").to_numpy() + 10 * sample.rows.column("promoted").to_numpy()
    pq.write_table(pa.table({"prediction": expected}), tmp_path / "mine.parquet")
    pq.write_table(sample.rows, tmp_path / "holdout.parquet")
    code, output = sample.register(
        PIPELINE, folder, "--predictions", str(tmp_path / "mine.parquet"), "--data", str(tmp_path / "holdout.parquet"),
        "--json",
    )  # fmt: skip
    found = json.loads(output)
    assert (code, found["outcome"]) == (0, "APPROVED")
    assert "600 predictions of its team compared, the largest difference is " in found["reason"]
    assert found["model_sha256"] == hashlib.sha256((tmp_path / "model" / "model.onnx").read_bytes()).hexdigest()
    described = sample.loop.sagemaker.describe_model_package(ModelPackageName=found["package"])
    metadata = described["CustomerMetadataProperties"]
    assert (metadata["trigger"], metadata["code_sha256"], metadata["code"]) == ("manual", "none", "none")
    assert metadata["model_sha256"] == found["model_sha256"]
    jobs = sample.cloud.client("sagemaker").list_training_jobs()["TrainingJobSummaries"]
    assert jobs == []
    sample.loop.wait_execution("DeployMachineArn", seen, appear=60, finish=120)
    live = sample.loop.live()
    assert live is not None
    assert live.model_sha256 == found["model_sha256"]


def test_what_became_of_it_is_mirrored(sample: Sample, wait_for: Callable[..., Any]) -> None:
    """In the function's own role: a run with the losses, a model version, and the alias of the serving one."""
    mlflow = sample.mlflow
    wait_for(lambda: mlflow.aliases)
    (run,), (version,) = mlflow.runs.values(), mlflow.versions
    assert (run["status"], run["tags"]["mlops.outcome"]) == ("FINISHED", "APPROVED")
    assert {name for name, _ in run["metrics"]} == {"wape.candidate", "wape.last_week"}
    package = sample.packages()[0]["ModelPackageArn"]
    assert version["tags"] == [{"key": "mlops.package", "value": package}]
    assert (version["run_id"], mlflow.aliases) == (run["id"], {"live": version["version"]})
    bucket = sample.outputs["ArtifactsBucket"]
    assert sample.loop.s3.list_objects_v2(Bucket=bucket, Prefix="tracking/").get("Contents", []) == []


def _trees(folder: Path, rows: Any, *, rounds: int = 200) -> tuple[str, Any]:
    """Save trees in LightGBM's text format, with signature and lock; return the folder and their predictions."""
    columns = np.column_stack([rows.column(name).to_numpy() for name in ("price", "promoted")])
    parameters = {"objective": "regression", "verbosity": -1, "num_threads": 1, "seed": 7, "min_data_in_leaf": 5}
    made = lightgbm.train(parameters, lightgbm.Dataset(columns, rows.column("units").to_numpy()), rounds)
    folder.mkdir()
    made.save_model(folder / "model.txt")
    (folder / "signature.json").write_bytes(json.dumps(to_dict(SIGNATURE)).encode())
    shutil.copy(LOCK, folder)
    return str(folder), made


def test_trees_go_the_whole_way_in_the_environment_of_their_lock(sample: Sample, tmp_path: Path) -> None:
    """A model without an export: registered with its flavor, approved by policy, and it serves the local predictions."""
    try:
        find_uv()
    except MissingUvError as error:
        pytest.skip(str(error))
    seen = {each["executionArn"] for each in sample.trees.executions("DeployMachineArn")}
    folder, booster = _trees(tmp_path / "model", _rows(1))
    columns = np.column_stack([sample.rows.column(name).to_numpy() for name in ("price", "promoted")])
    pq.write_table(pa.table({"prediction": booster.predict(columns)}), tmp_path / "mine.parquet")
    code, output = sample.register(f"{UNIT}-{TREES}", folder, "--predictions", str(tmp_path / "mine.parquet"), "--json")
    assert code == 0, output
    found = json.loads(output)
    assert (found["outcome"], found["reason"].partition(";")[0]) == ("APPROVED", "lightgbm model with trust 'data'")
    described = sample.loop.sagemaker.describe_model_package(ModelPackageName=found["package"])
    metadata = described["CustomerMetadataProperties"]
    assert (metadata["flavor"], metadata["trust"]) == ("lightgbm", "data")
    assert described["InferenceSpecification"]["Containers"][0]["Environment"]["MLOPS_TRUST"] == "data"
    sample.trees.wait_execution("DeployMachineArn", seen, appear=60, finish=240)
    rows = [{"price": 7.5, "promoted": 1.0}, {"price": 12.0, "promoted": 0.0}]
    answer = sample.cloud.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=f"{UNIT}-{TREES}", ContentType="application/json", Body=json.dumps({"instances": rows})
    )
    served = json.loads(answer["Body"].read())["predictions"]
    assert served == pytest.approx(booster.predict(np.array([[7.5, 1.0], [12.0, 0.0]])), rel=1e-5)
    assert sample.trees.audit()[-1].flavor == "lightgbm"


def test_a_job_that_dies_leaves_the_live_version(sample: Sample, tmp_path: Path) -> None:
    """Their process cannot load the trees: the execution fails, the command reports it, and the live version stays."""
    live = sample.trees.live()
    assert live is not None
    folder, _ = _trees(tmp_path / "model", _rows(1), rounds=2)
    text = (tmp_path / "model" / "model.txt").read_text()
    (tmp_path / "model" / "model.txt").write_text(text[: len(text) // 2])
    code, output = sample.register(f"{UNIT}-{TREES}", folder)
    assert (code, "the live version stays" in output) == (1, True)
    assert sample.trees.live() == live
    answer = sample.cloud.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=f"{UNIT}-{TREES}", ContentType="text/csv", Body="7.5,1"
    )
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    code, output = sample.register(
        f"{UNIT}-{TREES}", folder, "--requirements", str(tmp_path / "model" / "signature.json")
    )
    assert (code, "requirements.lock: " in output) == (1, True)


def test_a_worse_model_is_refused_with_the_reasons(sample: Sample, tmp_path: Path) -> None:
    """Exits with 3; the live version stays, and no package is added."""
    before = sample.packages()
    live = sample.loop.live()
    code, output = sample.register(PIPELINE, model(tmp_path / "model", 1.0, 0.0))
    assert code == 3
    assert output.startswith("the gate refused the model; the live version stays:\n  loss against champion ")
    runs = len(sample.loop.executions("RetrainMachineArn"))
    code, output = sample.register(PIPELINE, str(tmp_path / "model"))
    assert (code, output.startswith("already rejected by the gate in "), "\n  loss against champion " in output) == (
        3,
        True,
        True,
    )
    assert len(sample.loop.executions("RetrainMachineArn")) == runs
    assert (sample.packages(), sample.loop.live()) == (before, live)


def test_two_who_bring_one_model_at_once_make_one_version(
    sample: Sample, tmp_path: Path, wait_for: Callable[..., Any]
) -> None:
    """One run answers both, and later submissions get its package while the registry has it; ``--again`` requests anew."""
    from mlops_runtime.serving.model_packing import pack

    folder, before = model(tmp_path / "model", 2.0, 10.002), sample.packages()
    packed = pack(Path(folder), tmp_path / "a.tar.gz")
    requests, caller = _requests(sample), sample.as_registrant("sts").get_caller_identity()["UserId"]
    candidate = requests.upload(packed.archive, sha256=packed.sha256)
    requested = [requests.send(candidate, caller=caller, reason="at once") for _ in range(2)]
    decided = [wait_for(lambda event=event: requests.decision(event)) for event in requested]
    assert sorted(each.decision for each in decided) == [Decision.KNOWN, Decision.STARTED]
    (execution,) = {each.execution for each in decided}
    found = wait_for(lambda: requests.outcome(execution))
    assert found.is_registered
    made = sample.packages()
    assert [each["ModelPackageArn"] for each in made[: len(made) - len(before)]] == [found.package]
    code, output = sample.register(PIPELINE, folder, "--json")
    known = json.loads(output)
    assert (code, known["package"], known["execution"]) == (0, found.package, execution)
    assert known["reason"].startswith(f"already registered as {PIPELINE}/{made[0]['ModelPackageVersion']} by ")
    assert sample.packages() == made
    code, output = sample.register(PIPELINE, folder, "--again", "--json")
    again = json.loads(output)
    assert (code, again["execution"] != execution, len(sample.packages())) == (0, True, len(made) + 1)
    sample.loop.sagemaker.delete_model_package(ModelPackageName=again["package"])
    code, output = sample.register(PIPELINE, folder, "--json")
    assert (code, json.loads(output)["execution"] not in (execution, again["execution"])) == (0, True)


def test_predictions_that_are_others_are_refused_by_row(sample: Sample, tmp_path: Path) -> None:
    """A model that predicts differently when served is not registered, however good it is."""
    expected = 2 * sample.rows.column("price").to_numpy() + 10 * sample.rows.column("promoted").to_numpy()
    expected[17] = 99.0
    pq.write_table(pa.table({"prediction": expected}), tmp_path / "mine.parquet")
    folder = model(tmp_path / "model", 2.0, 10.001)
    code, output = sample.register(PIPELINE, folder, "--predictions", str(tmp_path / "mine.parquet"))
    assert code == 3
    assert "for row 17 of the holdout, 99 was expected (1 of 600 predictions differ" in output


def test_a_swapped_archive_is_refused(sample: Sample, tmp_path: Path) -> None:
    """The upload differs from the request: the execution fails and reports it."""
    from mlops_runtime.serving.model_packing import pack

    packed = pack(tmp_path / model(tmp_path / "model", 2.1, 10.0), tmp_path / "a.tar.gz")
    other = pack(tmp_path / model(tmp_path / "other", 0.1, 0.0), tmp_path / "b.tar.gz")
    requests = _requests(sample)
    candidate = requests.upload(packed.archive, sha256=packed.sha256)
    bucket, _, key = candidate.uri.removeprefix("s3://").partition("/")
    sample.as_registrant("s3").put_object(Bucket=bucket, Key=key, Body=other.archive.read_bytes())
    caller = sample.as_registrant("sts").get_caller_identity()["UserId"]
    seen = {e["executionArn"] for e in sample.loop.executions("RetrainMachineArn")}
    requests.send(candidate, caller=caller, reason="swapped")
    ended = sample.loop.wait_execution("RetrainMachineArn", seen, appear=60, finish=120, error="FAILED")
    found = requests.outcome(ended["executionArn"])
    assert found is not None
    assert not found.is_registered
    assert f"has SHA-256 {other.sha256}, expected {packed.sha256}" in found.reason


@pytest.mark.parametrize(
    ("key", "body"), [("models/sample-forecast/x/model.tar.gz", b"x"), ("registered/other/model.tar.gz", b"x")]
)
def test_who_registers_writes_nowhere_else(sample: Sample, key: str, body: bytes) -> None:
    """Neither to served models nor to another pipeline."""
    with pytest.raises(ClientError, match="AccessDenied"):
        sample.as_registrant("s3").put_object(Bucket=sample.outputs["ArtifactsBucket"], Key=key, Body=body)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("net.pt", b"PK", "net.pt has weights without a network"),
        ("model.pkl", b"\x80\4.", "model.pkl is loaded by pickle, which unpickles"),
        ("m.cbm", b"CBM1", "requirements.lock is missing"),
    ],
)
def test_fails_by_name_before_anything_is_uploaded(
    sample: Sample, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    """The error has the fix; the bucket is unchanged."""
    before = _uploaded(sample)
    (tmp_path / name).write_bytes(content)
    (tmp_path / "signature.json").write_bytes(json.dumps(to_dict(SIGNATURE)).encode())
    code, output = sample.register(PIPELINE, str(tmp_path))
    assert (code, message in output) == (1, True)
    assert _uploaded(sample) == before


def test_a_model_that_breaks_a_promise_is_not_uploaded(sample: Sample, tmp_path: Path) -> None:
    """The stack publishes an API schema with only ``price``, which the registrant's role may read."""
    table = RolloutTable(
        sample.cloud.client("dynamodb"), sample.outputs[f"RolloutTable{MODEL}"], sample.outputs[f"EndpointName{MODEL}"]
    )
    bucket, stored = sample.outputs["ArtifactsBucket"], str(table.read().desired)
    narrow = replace(SIGNATURE, inputs=SIGNATURE.inputs[:1])
    promise = read_promise(json.dumps(request_schema(narrow)), "sales.schema.json")[1]
    content = sample.loop.s3.get_object(Bucket=bucket, Key=stored.removeprefix(f"s3://{bucket}/"))["Body"].read()
    spec = replace(from_json(ServingSpec, content), promises=(promise,))
    key, before = spec_key(spec.endpoint, content_hash(spec)), _uploaded(sample)
    sample.loop.s3.put_object(Bucket=bucket, Key=key, Body=canonical_json(spec))
    table.set_desired(f"s3://{bucket}/{key}")
    try:
        code, output = sample.register(PIPELINE, model(tmp_path / "model", 3.0, 9.0))
    finally:
        table.set_desired(stored)

    assert (code, _uploaded(sample)) == (1, before), output
    assert output == (
        "sales.schema.json does not require column 'promoted', which the model needs; publish v2; "
        "sales.schema.json allows rows as arrays of 1 values, the model takes 2; publish v2"
    )


def test_fails_where_the_image_is_of_another_lock(sample: Sample, tmp_path: Path) -> None:
    """The pipeline's image runs ONNX only; a pickle is rejected by the registry's rule in the same message."""
    (tmp_path / "model.pkl").write_bytes(b"\x80\4.")
    (tmp_path / "signature.json").write_bytes(json.dumps(to_dict(SIGNATURE)).encode())
    (tmp_path / "requirements.lock").write_text("numpy==2.4.0 --hash=sha256:" + "0" * 64)
    code, output = sample.register(PIPELINE, str(tmp_path), "--trust", "pickle")
    assert code == 1
    assert "the registry allows data, code; register a model that is data" in output
    assert (
        "the image of sample-forecast runs only ONNX, the model is loaded by pickle; set in its TrainingJob" in output
    )


def test_a_training_is_asked_by_a_role_that_may_do_nothing_else(sample: Sample) -> None:
    """The script fails: the command waits for the end and reports it, and the live version stays."""
    live = sample.loop.live()
    before = sample.loop.executions("RetrainMachineArn")
    code, output = sample.train(PIPELINE, "--reason", "prices have changed")
    assert (code, " ended as FAILED: " in output, "; the live version stays" in output) == (1, True, True), output
    assert len(sample.loop.executions("RetrainMachineArn")) == len(before) + 1
    assert sample.loop.live() == live


def test_runs_are_read_by_a_role_that_may_do_nothing_else(sample: Sample) -> None:
    """Covers registered, rejected and failed runs with requesters; two on one holdout are compared, and logs are printed."""
    found = json.loads(sample.runs("list", PIPELINE, "--json")[1])
    assert {run["outcome"] for run in found} == {"REGISTERED", "REJECTED", "FAILED"}
    assert found[0]["requested_by"].endswith(":bob")
    assert (found[0]["detail"], found[0]["trigger"]) == ("prices have changed", "manual")
    first = found[-1]
    assert (first["outcome"], first["approval"], first["requested_by"].endswith(":ann")) == (
        "REGISTERED",
        "Approved",
        True,
    )
    assert first["version"] == sample.packages()[-1]["ModelPackageVersion"]
    assert first["metrics"]["candidate"] < first["metrics"]["last_week"]
    worse = [run for run in found if run["outcome"] == "REJECTED"][-1]
    code, output = sample.runs("compare", worse["id"], first["id"], "--pipeline", PIPELINE)
    assert (code, output.startswith(f"{first['id']} is better: wape of {first['id']} is -")) == (0, True)
    shown = json.loads(sample.runs("show", first["id"], "--pipeline", PIPELINE, "--json")[1])
    assert [(step["step"], step["status"]) for step in shown["steps"]] == [("evaluate", "Completed")]
    assert shown["gate"]["verdict"] == "PASSED"
    code, output = sample.runs("logs", "latest", "--pipeline", PIPELINE)
    assert (code, "nothing is trained here" in output) == (0, True)
    assert sample.runs("logs", first["id"], "--step", "evaluate", "--pipeline", PIPELINE)[0] == 0
    code, output = sample.runs("logs", first["id"], "--step", "train", "--pipeline", PIPELINE)
    assert (code, output) == (1, f"{first['id']} has no log of train; its jobs are evaluate")


def test_a_console_asks_for_a_retraining_in_the_role_of_people_on_call_alone(
    sample: Sample, wait_for: Callable[..., Any]
) -> None:
    """IAM denies readers and approvers even if the console requested it; the guard decides on the on-call role's request."""
    options = embedded_options(sample.cloud.home)
    assert options is not None
    root = CloudConnection(session=boto3.Session(), options=options)
    reader, on_call, approver = (
        take_role(root, sample.outputs[f"{role}Role"], session="eve") for role in ("Reader", "Requester", "Approver")
    )
    pipeline = _requests(sample).pipeline
    table = GuardTable(
        dynamodb=sample.cloud.client("dynamodb"), table=pipeline.retraining_table, pipeline=pipeline.pipeline
    )
    before = table.read()
    path = f"{ROOT}/units/{UNIT}/pipelines/{PIPELINE}/retrainings"

    def ask(own: TakenRole, method: str, where: str, body: object = None) -> tuple[int, Any]:
        api = ConsoleApi(lambda role: reader if role is Role.READER else own)
        headers = {"content-type": "application/json", "idempotency-key": f"retrain-{id(own)}"}
        content = b"" if body is None else json.dumps(body).encode()
        found = api.answer(HttpRequest(method=method, path=where, headers=headers, body=content))
        return found.status, json.loads(found.body)

    body = {"reason": "prices fell", "expect": {"last_execution": before.last_execution}}
    for other in (reader, approver):
        status, problem = ask(other, "POST", path, body)
        assert (status, problem["title"]) == (403, "not allowed"), problem
    refused = table.read()
    status, begun = ask(on_call, "POST", path, body)
    assert (refused, status) == (before, 202), begun

    progress = wait_for(lambda: (found := ask(on_call, "GET", f"{path}/{begun['event']}")[1])["is_over"] and found)
    assert (progress["decision"], progress["outcome"]["outcome"]) == ("STARTED", "FAILED"), progress
    assert table.read().last_execution != before.last_execution


def _uploaded(sample: Sample) -> list[str]:
    found = sample.loop.s3.list_objects_v2(Bucket=sample.outputs["ArtifactsBucket"], Prefix="registered/")
    return [each["Key"] for each in found.get("Contents", [])]


def _requests(sample: Sample) -> RetrainingRequests:
    ssm = sample.as_registrant("ssm")
    found = [
        read_entry(name, ssm.get_parameter(Name=name)["Parameter"]["Value"])
        for name in (f"/mlops/{UNIT}/unit", f"/mlops/{UNIT}/pipeline/{PIPELINE}")
    ]
    unit, pipeline = found
    assert isinstance(unit, UnitEntry)
    assert isinstance(pipeline, PipelineEntry)
    return RetrainingRequests(client=sample.as_registrant, unit=unit, pipeline=pipeline)
