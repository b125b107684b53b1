"""Classes, outputs and vectors in the whole loop on the embedded cloud: trained, gated, approved, rehearsed, served."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
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
import sklearn.metrics as reference
from examples.retail.loop import Loop
from tests.examples.models import DIGEST
from tests.runtime import kinds

from mlops_constructs import (
    BusinessUnit,
    EndpointCapacity,
    GateSpec,
    GoldenRequests,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Profile,
    RetrainingPipeline,
    RolloutChecks,
    RolloutPolicy,
    TrainingJob,
    TrainingSetSource,
)
from mlops_local import cloud as local_cloud
from mlops_local.stacks import deployer
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.retraining import EvaluationPlan
from mlops_runtime.rollout.golden_set import boundary_requests

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.cloud

TRAINING = Path(__file__).parent / "kinds" / "training"
CUT = {"classes": 118, "numbers": 160, "vector": 160}
NAMES = {"classes": "wines", "numbers": "men", "vector": "bodies"}


def rows_of(kind: str) -> Any:
    """Return the table of a kind with a time for each row."""
    table = kinds.table_of(kind)
    times = pd.date_range("2026-01-01", periods=table.num_rows, freq="h", tz="UTC")
    return table.append_column("seen", pa.array(times))


def plan_of(kind: str) -> EvaluationPlan:
    """Return the evaluation plan of a kind."""
    return replace(kinds.PLANS[kind], timestamp="seen", segments=None)


def synthesize(folder: Path) -> Path:
    """Synthesize a unit with a model of each kind, with golden requests from their training sets."""
    source = folder / "training"
    shutil.copytree(TRAINING, source)
    (source / "metric.py").write_text(kinds.METRIC)
    app = cdk.App(outdir=str(folder / "assembly"))
    # three endpoints with their machines exceed a template's 1 MB if it is indented
    stack = cdk.Stack(app, "Cellar", suppress_template_indentation=True)
    unit = BusinessUnit(stack, "Unit", name="cellar", profile=Profile.DEVELOPMENT)
    image = ModelImage.from_ecr(repository_name="mlops-runtime", digest=DIGEST)
    outputs = {
        "ArtifactsBucket": unit.artifacts.bucket_name,
        "AuditBucket": unit.audit_bucket.bucket_name,
        "EventBus": unit.bus.event_bus_name,
    }
    for kind, name in NAMES.items():
        signature, plan = kinds.signature(kind), plan_of(kind)
        bounds: Any = {} if kind == "classes" else {"minimums": (50, 15), "maximums": (400, 60)}
        golden = folder / f"{name}.jsonl"
        requests = boundary_requests(rows_of(kind).slice(0, CUT[kind]).to_pylist(), signature, **bounds)
        golden.write_bytes(b"\n".join(map(canonical_json, requests)))
        title = name.capitalize()
        registry = ModelRegistry(stack, f"{title}Registry", business_unit=unit, name=name)
        checks = RolloutChecks(golden=GoldenRequests.from_file(golden))
        endpoint = ModelEndpoint(
            stack,
            f"{title}Endpoint",
            business_unit=unit,
            registry=registry,
            name=name,
            image=image,
            capacity=EndpointCapacity.instances("ml.m5.large", instance_count=1),
            rollout=RolloutPolicy.all_at_once(checks=checks),
        )
        inputs = [column.name for column in signature.inputs]
        pipeline = RetrainingPipeline(
            stack,
            f"{title}Retraining",
            business_unit=unit,
            registry=registry,
            endpoint=endpoint,
            name=name,
            training_set=TrainingSetSource.s3(bucket=unit.artifacts, prefix=f"exports/{name}", label=plan.label),
            training=TrainingJob(
                image=image,
                source=source,
                script="train.py",
                instance_type="ml.m5.large",
                max_runtime=cdk.Duration.hours(1),
                inputs=inputs,
                hyperparameters={"labels": ",".join(plan.labels or (plan.label,)), "inputs": ",".join(inputs)},
                metric="metric.py" if kind == "vector" else None,
            ),
            evaluation=plan,
            gate=GateSpec(minimum_rows=50, min_recall={"barbera": 0.7} if kind == "classes" else None),
        )
        outputs |= {
            f"{title}EndpointName": endpoint.endpoint_name,
            f"{title}RetrainMachineArn": pipeline.machine.state_machine_arn,
            f"{title}DeployMachineArn": endpoint.rollout.machine.state_machine_arn,
            f"{title}RolloutTable": endpoint.rollout.table.table_name,
            f"{title}ApproverRoleArn": registry.approver_role.role_arn,
        }
    for name, value in outputs.items():
        cdk.CfnOutput(stack, name, value=value)
    app.synth()
    return folder / "assembly"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cellar:
    """The deployed unit."""

    cloud: local_cloud.Cloud
    outputs: dict[str, str]

    def loop(self, kind: str) -> Loop:
        """Return the loop of a kind's model."""
        title = NAMES[kind].capitalize()
        own = {name.removeprefix(title): value for name, value in self.outputs.items()}
        return Loop(
            client=self.cloud.client,
            outputs=own,
            unit="cellar",
            now=lambda: datetime.fromisoformat(self.cloud.clock()["now"]),
        )


@pytest.fixture(scope="module")
def cellar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cellar]:
    """Deploy the unit, with a training set of each kind."""
    folder = tmp_path_factory.mktemp("cellar")
    cloud = local_cloud.up(folder / "cloud", clock_scale=60.0)
    try:
        made = Cellar(cloud=cloud, outputs=deployer.deploy(cloud, synthesize(folder))["Cellar"])
        for kind in NAMES:
            lay_down(made.loop(kind), kind)
        yield made
    finally:
        cloud.down(forget=True)


def lay_down(loop: Loop, kind: str) -> None:
    """Write a training set to S3, as a team's own export does."""

    def put(name: str, content: bytes) -> None:
        key = f"exports/{NAMES[kind]}/{name}"
        loop.s3.put_object(Bucket=loop.outputs["ArtifactsBucket"], Key=key, Body=content)

    table = rows_of(kind)
    train, holdout = table.slice(0, CUT[kind]), table.slice(CUT[kind])
    for name, rows in (("train", train), ("holdout", holdout)):
        buffer = io.BytesIO()
        pq.write_table(rows, buffer)
        put(f"{name}/part-0.parquet", buffer.getvalue())
    at = [train["seen"][-1], holdout["seen"][0], holdout["seen"][-1]]
    names = ("trained_until", "holdout_from", "holdout_until")
    split = dict(zip(names, (time.as_py().isoformat() for time in at), strict=True))
    put("manifest/manifest.json", canonical_json(replace(kinds.MANIFEST, split=split)))


@pytest.mark.parametrize("kind", NAMES)
def test_a_model_of_lists_goes_the_whole_loop(cellar: Cellar, kind: str) -> None:
    """Served predictions for the holdout equal the evaluated ones, and captures equal the served ones."""
    loop = cellar.loop(kind)
    loop.request_retraining("the first model", f"first-{kind}")
    ended = loop.wait_execution("RetrainMachineArn", set(), appear=60, finish=400)
    verdict = json.loads(ended.get("output") or "{}")
    assert verdict.get("outcome") == "REGISTERED", ended
    package = loop.newest_package()
    evaluation = loop.evaluation_of(package)
    seen = {each["executionArn"] for each in loop.executions("DeployMachineArn")}
    loop.approve(package["ModelPackageArn"], "beats the naive guess")
    deployed = loop.wait_execution("DeployMachineArn", seen, appear=60, finish=400)
    assert json.loads(deployed.get("output") or "{}").get("outcome") == "PROMOTED", deployed
    holdout = rows_of(kind).slice(CUT[kind])
    names = [column.name for column in kinds.signature(kind).inputs]
    body = json.dumps({"instances": holdout.select(names).to_pylist()})
    answer = cellar.cloud.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=loop.endpoint, ContentType="application/json", Body=body
    )
    predictions = np.array(json.loads(answer["Body"].read())["predictions"])
    if kind == "classes":
        # classes in a signature written by the job are sorted by name
        assert evaluation.classes == tuple(sorted(kinds.CULTIVARS))
        labels = holdout.column("cultivar").to_pylist()
        predicted = [evaluation.classes[place] for place in predictions.argmax(axis=1)]
        expected = reference.confusion_matrix(labels, predicted, labels=evaluation.classes).tolist()
        assert evaluation.confusion is not None
        assert [list(line) for line in evaluation.confusion["candidate"]] == expected
        return
    label = kinds.matrix(holdout, kinds.MEASURES)
    if kind == "vector":
        loss = (np.abs(predictions - label) / kinds.SCALES).sum(axis=1).mean()
        assert evaluation.metrics["candidate"] == pytest.approx(loss, rel=1e-3)
        digest = hashlib.sha256(kinds.METRIC.encode()).hexdigest()
        assert (evaluation.metric, evaluation.metric_sha256) == ("custom_loss", digest)
        assert f"measured by the metric function {digest}" in verdict["reason"]
        return
    wapes = np.abs(predictions - label).mean(axis=0) / np.abs(label).mean(axis=0)
    assert evaluation.metrics["candidate"] == pytest.approx(wapes.mean(), rel=1e-3)
