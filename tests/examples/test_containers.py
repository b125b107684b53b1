"""A third-party container in the whole loop on the embedded cloud, invoked through its own server, with IAM enforced."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import examples.container_model
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aws_cdk import aws_iam as iam
from examples.container_model.stack import Vendor
from examples.retail.loop import Loop
from tests.examples import test_registration
from tests.examples.models import DIGEST
from tests.examples.test_registration import MANIFEST, SIGNATURE
from typer.testing import CliRunner

from mlops_cli.__main__ import app as command
from mlops_cli.aws_account import UserError
from mlops_constructs import (
    BusinessUnit,
    EndpointCapacity,
    GuardPolicy,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Profile,
    RetrainingPipeline,
    RolloutPolicy,
    ServingContainer,
    TrainingJob,
    TrainingSetSource,
)
from mlops_local import cloud as local_cloud
from mlops_local.stacks import deployer
from mlops_runtime.contracts import canonical_json, to_dict
from mlops_runtime.contracts.retraining import EvaluationPlan
from mlops_runtime.serving.container_contract import Outcome, Sample, check

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.cloud

UNIT, NAME = "vendor", "sales"
PIPELINE = f"{UNIT}-{NAME}"
SERVER = Path(__file__).parent / "other_container" / "server.py"
HERE = Path(examples.container_model.__file__).parent.parent
ROW = {"price": 7.5, "promoted": 1.0}


def synthesize(folder: Path) -> Path:
    """Synthesize the example, with the role of a registrant."""
    app = cdk.App(outdir=str(folder / "assembly"))
    runtime = ModelImage.from_ecr(repository_name="mlops-runtime", digest=DIGEST)
    stack = Vendor(app, "Vendor", runtime=runtime, profile=Profile.DEVELOPMENT)
    registrant = iam.Role(stack, "Registrant", assumed_by=iam.AccountRootPrincipal())
    stack.retraining.grant_register(registrant)
    cdk.CfnOutput(stack, "RegistrantRole", value=registrant.role_arn)
    app.synth()
    return folder / "assembly"


def synthesize_back(folder: Path) -> Path:
    """Synthesize the unit with our server again; the vendor's container is named as the former one."""
    app = cdk.App(outdir=str(folder / "assembly"))
    runtime = ModelImage.from_ecr(repository_name="mlops-runtime", digest=DIGEST)
    other = ModelImage.from_ecr(repository_name="other-server", digest=DIGEST)
    stack = cdk.Stack(app, "Vendor")
    unit = BusinessUnit(stack, "Unit", name=UNIT, profile=Profile.DEVELOPMENT)
    registry = ModelRegistry(stack, "Registry", business_unit=unit, name=NAME)
    endpoint = ModelEndpoint(
        stack,
        "Endpoint",
        business_unit=unit,
        registry=registry,
        name=NAME,
        image=runtime,
        capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
        rollout=RolloutPolicy.all_at_once(),
    )
    retraining = RetrainingPipeline(
        stack,
        "Retraining",
        business_unit=unit,
        registry=registry,
        endpoint=endpoint,
        name=NAME,
        training_set=TrainingSetSource.s3(bucket=unit.artifacts, prefix="exports/sales", label="units"),
        training=TrainingJob(
            image=runtime,
            source=HERE / "container_model" / "training",
            script="train.py",
            instance_type="ml.m5.large",
            max_runtime=cdk.Duration.hours(1),
            former_serving=ServingContainer(image=other, environment={"OF_THE_VENDOR": "1"}),
        ),
        evaluation=EvaluationPlan(label="units", block="store", baselines=("last_week",)),
        guard=GuardPolicy(cooldown=cdk.Duration.minutes(1), max_runs_per_day=24),
    )
    registrant = iam.Role(stack, "Registrant", assumed_by=iam.AccountRootPrincipal())
    retraining.grant_register(registrant)
    outputs = {
        "ArtifactsBucket": unit.artifacts.bucket_name,
        "AuditBucket": unit.audit_bucket.bucket_name,
        "EventBus": unit.bus.event_bus_name,
        "EndpointName": endpoint.endpoint_name,
        "RolloutTable": endpoint.rollout.table.table_name,
        "DeployMachineArn": endpoint.rollout.machine.state_machine_arn,
        "RetrainMachineArn": retraining.machine.state_machine_arn,
        "ApproverRoleArn": registry.approver_role.role_arn,
        "RegistrantRole": registrant.role_arn,
    }
    for name, value in outputs.items():
        cdk.CfnOutput(stack, name, value=value)
    app.synth()
    return folder / "assembly"


class Deployed:
    """The deployed stack, and the command in the registrant's role."""

    def __init__(self, cloud: local_cloud.Cloud, assembly: Path) -> None:
        self.cloud = cloud
        outputs = deployer.deploy(cloud, assembly)["Vendor"]
        self.loop = Loop(client=cloud.client, outputs=outputs, unit=UNIT, now=self.now)
        self.loop.wait_idle("DeployMachineArn")
        for split, table in {"train": _rows(1), "holdout": _rows(2)}.items():
            buffer = io.BytesIO()
            pq.write_table(table, buffer)
            self._upload(f"{split}/part-0.parquet", buffer.getvalue())
        self._upload("manifest/manifest.json", canonical_json(MANIFEST))

    def now(self) -> datetime:
        """Return the cloud's time."""
        return datetime.fromisoformat(self.cloud.clock()["now"])

    def register(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Run the command in the registrant's role; return exit code and output."""
        sts = self.cloud.client("sts")
        role = self.loop.outputs["RegistrantRole"]
        keys = sts.assume_role(RoleArn=role, RoleSessionName="ann")["Credentials"]
        environment = {
            "AWS_ENDPOINT_URL": self.cloud.endpoint_url,
            "AWS_DEFAULT_REGION": self.cloud.environment()["AWS_REGION"],
            "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
            "AWS_SESSION_TOKEN": keys["SessionToken"],
        }
        result = CliRunner().invoke(command, ["models", "register", PIPELINE, *arguments, "--json"], env=environment)
        if isinstance(result.exception, UserError):
            return 1, {"reason": str(result.exception)}
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, json.loads(result.stdout)

    def transforms(self) -> list[str]:
        """Return the statuses of all transform jobs, newest first."""
        found = self.loop.sagemaker.list_transform_jobs(MaxResults=100)["TransformJobSummaries"]
        return [job["TransformJobStatus"] for job in found]

    def predicted(self) -> list[float]:
        """Return the endpoint's prediction for a row."""
        answer = self.cloud.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=PIPELINE, ContentType="application/json", Body=json.dumps({"instances": [ROW]})
        )
        return list(json.loads(answer["Body"].read())["predictions"])

    def _upload(self, name: str, content: bytes) -> None:
        self.loop.s3.put_object(Bucket=self.loop.outputs["ArtifactsBucket"], Key=f"exports/sales/{name}", Body=content)


def _rows(seed: int) -> Any:
    random = np.random.default_rng(seed)
    count = 1200
    price, promoted = random.uniform(5, 15, count), (random.random(count) < 0.2).astype(float)
    return pa.table(
        {
            "price": price,
            "promoted": promoted,
            "store": [f"store-{i % 20}" for i in range(count)],
            "units": 2 * price + 10 * promoted + random.normal(0, 0.3, count),
            "last_week": 2 * price + random.normal(0, 9, count),
        }
    )


def model(folder: Path, *, price: float = 2.01, fault: str | None = None) -> str:
    """Write a model in the vendor's format beside a signature; return its folder."""
    folder.mkdir()
    (folder / "signature.json").write_text(json.dumps(to_dict(replace(SIGNATURE, passes="values"))))
    weights = {"weights": {"price": price, "promoted": 9.9}}
    (folder / "weights.json").write_text(json.dumps(weights if fault is None else weights | {"fault": fault}))
    return str(folder)


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Deploy the stack; the tests of this file depend on their order."""
    folder = tmp_path_factory.mktemp("vendor")
    before = os.environ.get("MLOPS_LOCAL_RUNNERS")
    os.environ["MLOPS_LOCAL_RUNNERS"] = json.dumps({"other-server": {"serve": [str(SERVER)]}})
    try:
        cloud = local_cloud.up(folder / "cloud", clock_scale=120.0)
    finally:
        del os.environ["MLOPS_LOCAL_RUNNERS"]
        if before is not None:
            os.environ["MLOPS_LOCAL_RUNNERS"] = before
    try:
        yield Deployed(cloud, synthesize(folder))
    finally:
        cloud.down(forget=True)


def test_the_server_keeps_the_contract(tmp_path: Path) -> None:
    """Runs ``mlops serving check`` before any deployment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"SM_MODEL_DIR": model(tmp_path / "model"), "SAGEMAKER_BIND_TO_PORT": str(port)}
    process = subprocess.Popen([sys.executable, str(SERVER)], env=environment)
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
        sample = Sample(
            content_type="application/json", body=json.dumps({"instances": [ROW, ROW | {"price": 9.0}]}).encode()
        )
        verdicts = check(f"http://127.0.0.1:{port}", sample=sample)
    finally:
        process.kill()
        process.wait()
    assert [(verdict.rule, verdict.reason) for verdict in verdicts if verdict.outcome is Outcome.FAILED] == []


def test_a_model_of_the_vendors_goes_the_whole_way(vendor: Deployed, tmp_path: Path) -> None:
    """Registered by a role limited to that, evaluated through its server, approved by a person, rehearsed and served."""
    loop = vendor.loop
    seen = {each["executionArn"] for each in loop.executions("DeployMachineArn")}
    code, found = vendor.register(model(tmp_path / "model"))
    assert (code, found.get("outcome")) == (0, "REGISTERED"), found
    assert "container model with trust 'code'" in found["reason"]
    package = loop.newest_package()
    metadata = package["CustomerMetadataProperties"]
    assert (metadata["flavor"], metadata["trust"]) == ("container", "code")
    (container,) = package["InferenceSpecification"]["Containers"]
    assert container["Image"].endswith(f"/other-server@{DIGEST}")
    assert container["Environment"]["OF_THE_VENDOR"] == "1"
    assert package["InferenceSpecification"]["SupportedContentTypes"] == ["application/json"]
    evaluation = loop.evaluation_of(package)
    units, price = (np.array(_rows(2).column(name)) for name in ("units", "price"))
    predicted = 2.01 * price + 9.9 * np.array(_rows(2).column("promoted"))
    assert evaluation.metrics["candidate"] == pytest.approx(np.abs(units - predicted).sum() / units.sum())
    assert vendor.transforms() == ["Completed"]
    loop.approve(package["ModelPackageArn"], "beats last week")
    ended = loop.wait_execution("DeployMachineArn", seen, appear=60, finish=240)
    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    assert vendor.predicted() == [pytest.approx(2.01 * 7.5 + 9.9)]
    live = loop.live()
    assert live is not None
    assert (live.flavor, live.image) == ("container", container["Image"])
    # only the serving model is left
    assert [each["ModelName"] for each in loop.sagemaker.list_models()["Models"]] == [live.model]


def test_a_retrained_candidate_is_compared_with_it(vendor: Deployed) -> None:
    """Trained by a script of the unit in our image, predicted by the vendor's server; the champion's answers are reused."""
    loop = vendor.loop
    seen = {each["executionArn"] for each in loop.executions("RetrainMachineArn")}
    loop.request_retraining("new prices", "second")
    ended = loop.wait_execution("RetrainMachineArn", seen, appear=60, finish=300)
    output = json.loads(ended.get("output") or "{}")
    assert output.get("outcome") == "REGISTERED", ended
    metrics = loop.evaluation_of(loop.newest_package()).metrics
    assert set(metrics) == {"candidate", "champion", "last_week"}
    assert metrics["candidate"] < metrics["champion"] < metrics["last_week"]
    assert vendor.transforms() == ["Completed", "Completed"]
    kept = loop.s3.list_objects_v2(Bucket=loop.outputs["ArtifactsBucket"], Prefix=f"predictions/{PIPELINE}/")
    places = {each["Key"].split("/")[2] for each in kept["Contents"]}
    assert len(places) == 2


@pytest.mark.parametrize(
    ("fault", "outcome", "reason"),
    [
        ("few", "REJECTED", "candidate could not predict the holdout: the server returned "),
        ("words", "REJECTED", "candidate could not predict the holdout: the server returned 'many' for row 0"),
        ("fails", "FAILED", "AlgorithmError: See job logs for more information"),
        ("dies", "FAILED", "AlgorithmError: See job logs for more information"),
        ("unready", "FAILED", "AlgorithmError: the container did not pass the ping health check"),
    ],
)
def test_a_server_that_cannot_answer_is_one_reason(
    vendor: Deployed, tmp_path: Path, fault: str, outcome: str, reason: str
) -> None:
    """The record has the reason; nothing is registered or left behind, and the previous model keeps serving."""
    loop, live = vendor.loop, vendor.loop.live()
    packages = loop.newest_package()["ModelPackageArn"]
    code, found = vendor.register(model(tmp_path / "model", fault=fault))
    assert code != 0
    assert reason in found["reason"]
    record = loop.audit()[-1]
    assert (record.outcome.value, record.reason in found["reason"]) == (outcome, True)
    assert loop.newest_package()["ModelPackageArn"] == packages
    assert loop.live() == live
    assert vendor.predicted() == [pytest.approx(2.01 * 7.5 + 9.9)]
    assert live is not None
    assert [each["ModelName"] for each in loop.sagemaker.list_models()["Models"]] == [live.model]


def test_a_pickle_is_refused_before_anything_is_uploaded(vendor: Deployed, tmp_path: Path) -> None:
    """The container is declared with trust code."""
    folder = model(tmp_path / "model")
    Path(folder, "model.joblib").write_bytes(b"x")
    code, found = vendor.register(folder)
    assert (code, found["reason"].partition(",")[0]) == (1, "model.joblib is a pickle")
    assert hashlib.sha256(b"x").hexdigest() not in json.dumps(found)


def test_the_pipeline_goes_back_to_our_server(vendor: Deployed, tmp_path: Path) -> None:
    """An ONNX model is compared with the vendor's, whose own server predicts, replaces it and is served by ours."""
    before = len(vendor.transforms())
    vendor.loop.outputs.update(deployer.deploy(vendor.cloud, synthesize_back(tmp_path))["Vendor"])
    loop = vendor.loop
    loop.wait_idle("DeployMachineArn")
    assert vendor.predicted() == [pytest.approx(2.01 * 7.5 + 9.9)]
    seen = {each["executionArn"] for each in loop.executions("DeployMachineArn")}
    code, found = vendor.register(test_registration.model(tmp_path / "model", 2.0, 10.0))
    assert (code, found.get("outcome")) == (0, "REGISTERED"), found
    metrics = loop.evaluation_of(loop.newest_package()).metrics
    assert metrics["candidate"] < metrics["champion"] < metrics["last_week"]
    # the vendor server's answers for this holdout are reused
    assert len(vendor.transforms()) == before
    loop.approve(loop.newest_package()["ModelPackageArn"], "ours again")
    ended = loop.wait_execution("DeployMachineArn", seen, appear=60, finish=240)
    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    live = loop.live()
    assert live is not None
    assert (live.flavor, live.image) == (None, None)
    assert vendor.predicted() == [pytest.approx(2.0 * 7.5 + 10.0)]
