"""A pipeline with an evaluated execution whose package is live, and its outbox (moto, in process)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import boto3
from moto import mock_aws

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.model import Evaluation, LossBlock, SegmentLosses
from mlops_runtime.contracts.retraining import TrainingMetrics
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.tracking.mlflow_rest import MlflowPassword, MlflowRest
from mlops_runtime.tracking.run_mirror import RunMirror
from mlops_runtime.tracking.tracking_outbox import TrackingOutbox, TrackingSettings

PIPELINE, GROUP = "demand-forecast", "demand-forecast"
EXECUTION = "arn:aws:states:us-east-1:111122223333:execution:demand-retrain:2017-08-07-a1"
PACKAGE = f"arn:aws:sagemaker:us-east-1:111122223333:model-package/{GROUP}/7"
SETTINGS = TrackingSettings(
    pipeline=PIPELINE, endpoint=PIPELINE, artifacts="artifacts", table="retraining", rollout_table="rollout"
)
BLOCKS = (LossBlock(block="a", rows=2, actual_sum=10.0, absolute_error={"candidate": 1.0, "champion": 2.0}),)
EVALUATION = Evaluation(
    metric="wape",
    metrics={"candidate": 0.1, "champion": 0.2, "last_week": 0.4},
    blocks=BLOCKS,
    rows=2,
    trained_until="2017-08-01",
    holdout_from="2017-08-01",
    holdout_until="2017-08-07",
    artifact_sha256="a" * 64,
    model_sha256="b" * 64,
    training_set_id="c" * 64,
    baseline_uri="s3://artifacts/baseline.json",
    baseline_sha256="d" * 64,
    segments=(SegmentLosses(column="store", value="north & west", rows=2, blocks=BLOCKS),),
)
TRAINING = TrainingMetrics(metrics={"best": 0.5}, step="tree", steps=(0.0, 10.0), curves={"loss": (0.9, 0.6)})


class SageMaker:
    """One package, and the training job of the execution."""

    def describe_model_package(self, *, ModelPackageName: str) -> Mapping[str, Any]:  # noqa: N803 - AWS's names
        """Return the package."""
        assert ModelPackageName == PACKAGE
        return {
            "InferenceSpecification": {"Containers": [{"ModelDataUrl": "s3://artifacts/models/x/model.tar.gz"}]},
            "CustomerMetadataProperties": {"code_sha256": "e" * 64},
        }

    def describe_training_job(self, *, TrainingJobName: str) -> Mapping[str, Any]:  # noqa: N803
        """Return the job."""
        assert TrainingJobName == "demand-forecast-2017-08-07-a1-train"
        return {"HyperParameters": {"max_depth": "6", "sagemaker_program": "train.py"}}


@contextmanager
def tracked_pipeline(uri: str, password: MlflowPassword | None = None) -> Iterator[tuple[TrackingOutbox, Any]]:
    """The outbox of the pipeline, and its bucket's client."""
    keys = {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}
    with mock_aws():
        s3, dynamodb = boto3.client("s3", **keys), boto3.client("dynamodb", **keys)
        s3.create_bucket(Bucket="artifacts")
        folder = f"evaluations/{PIPELINE}/2017-08-07-a1"
        s3.put_object(Bucket="artifacts", Key=f"{folder}/evaluation.json", Body=canonical_json(EVALUATION))
        s3.put_object(Bucket="artifacts", Key=f"{folder}/training.json", Body=canonical_json(TRAINING))
        for table, names in (("retraining", ["pipeline", "item"]), ("rollout", ["endpoint"])):
            dynamodb.create_table(
                TableName=table,
                AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
                KeySchema=[
                    {"AttributeName": name, "KeyType": kind}
                    for name, kind in zip(names, ("HASH", "RANGE"), strict=False)
                ],
                BillingMode="PAY_PER_REQUEST",
            )
        live = LivePointer(
            endpoint=PIPELINE,
            config="c",
            model="m",
            model_package_arn=PACKAGE,
            model_sha256="b" * 64,
            artifact_uri="s3://artifacts/models/x/model.tar.gz",
            baseline_uri="s3://artifacts/baseline.json",
            baseline_sha256="d" * 64,
            evaluation_uri="s3://artifacts/evaluation.json",
            training_set_id="c" * 64,
            spec_sha256="f" * 64,
            spec_uri="s3://artifacts/spec.json",
            execution="e",
            since="2017-08-07T00:00:00Z",
            artifact_sha256="a" * 64,
            container_sha256="c" * 64,
        )
        item = {"endpoint": {"S": PIPELINE}, "live": {"S": canonical_json(live).decode()}}
        dynamodb.put_item(TableName="rollout", Item=item)
        mirror = RunMirror(MlflowRest(uri, password=password), experiment="demand", model=GROUP)
        yield TrackingOutbox(SETTINGS, mirror, s3=s3, dynamodb=dynamodb, sagemaker=SageMaker()), s3  # type: ignore[arg-type]


def bus_event(kind: str, id: str, outcome: str, *, minute: int, package: str = "") -> dict[str, Any]:
    """Return an event as the bus delivers it."""
    detail = {
        "version": "mlops.event/1",
        "id": id,
        "subject": PIPELINE,
        "outcome": outcome,
        "reason": "better than champion by 50 %",
        "attributes": {"trigger": "manual", "package": package},
    }
    at = datetime(2017, 8, 7, 12, minute, tzinfo=UTC)
    return {"id": f"event-{minute}", "detail-type": kind, "time": at.isoformat(), "detail": detail}


FINISHED = bus_event("MLOps Retraining Finished", EXECUTION, "REGISTERED", minute=1, package=PACKAGE)
PROMOTED = bus_event("MLOps Rollout Finished", "arn:rollout", "PROMOTED", minute=2)
SCHEDULED = {"id": "s", "detail-type": "Scheduled Event", "time": "2017-08-07T13:00:00Z", "detail": {}}
