"""Outbox of events for MLflow: events of retrainings and rollouts are stored in S3, then delivered in order under a lock."""

import hashlib
import json
import logging
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from botocore.exceptions import ClientError

from mlops_runtime.contracts import ContractError, from_dict, from_json
from mlops_runtime.contracts.events import DetailType, EventDetail
from mlops_runtime.contracts.model import Evaluation
from mlops_runtime.contracts.retraining import TrainingMetrics
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.rollout.rollout_table import RolloutTable
from mlops_runtime.tracking.mlflow_rest import TrackingAwayError, TrackingRefusedError
from mlops_runtime.tracking.run_mirror import MirroredPackage, MirroredRun, RunMirror

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient

LOGGER = logging.getLogger("mlops.tracking")

_AT_ONCE = 50  # maximum events per call
_LOCK_SECONDS = 300  # longer than the function's timeout
_CHARACTERS_OF_NAME = 24  # of an execution's name, in the names of its jobs
_CONTAINERS = "sagemaker_"  # prefix of hyperparameters of the container instead of the script
# without permission to list, S3 returns AccessDenied for a missing key
_ABSENT = ("NoSuchKey", "404", "AccessDenied")
_NOT_THERE = ("ValidationException", "ResourceNotFound")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingSettings:
    """Names and locations of what is mirrored."""

    pipeline: str
    endpoint: str
    artifacts: str  # bucket of evaluations, and of the outbox
    table: str  # the pipeline's table, with the lock that prevents concurrent deliveries
    rollout_table: str  # the endpoint's table, with the live model
    place: str = ""  # MLflow's address and experiment; events that another place rejected are delivered again

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "TrackingSettings":
        """Read the settings from a function's environment."""
        return cls(
            pipeline=environment["PIPELINE"],
            endpoint=environment["ENDPOINT"],
            artifacts=environment["ARTIFACTS_BUCKET"],
            table=environment["RETRAINING_TABLE"],
            rollout_table=environment["ROLLOUT_TABLE"],
            place=f"{environment['TRACKING_URI']} {environment['EXPERIMENT']}",
        )


class TrackingOutbox:
    """The outbox of one pipeline, and its delivery."""

    def __init__(
        self,
        settings: TrackingSettings,
        mirror: RunMirror,
        *,
        s3: "S3Client",
        dynamodb: "DynamoDBClient",
        sagemaker: "SageMakerClient",
    ) -> None:
        self._settings, self._mirror = settings, mirror
        self._s3, self._dynamodb, self._sagemaker = s3, dynamodb, sagemaker
        self._prefix = f"tracking/{settings.pipeline}/"
        self._refused = f"{self._prefix}refused/{hashlib.sha256(settings.place.encode()).hexdigest()[:8]}/"

    def handle(self, event: Mapping[str, Any]) -> dict[str, int]:
        """Store an event of the bus, and deliver all stored events, which is all that an event of the schedule does.

        Return the numbers of events that were delivered, rejected, and are still waiting.
        """
        at = datetime.fromisoformat(event["time"]).astimezone(UTC)
        if event["detail-type"] in (DetailType.RETRAINING_FINISHED.value, DetailType.ROLLOUT_FINISHED.value):
            key = f"{self._prefix}waiting/{at:%Y%m%dT%H%M%S}-{quote(str(event['id']), safe='')}.json"
            kept = {name: event[name] for name in ("detail-type", "detail", "time")}
            self._s3.put_object(Bucket=self._settings.artifacts, Key=key, Body=json.dumps(kept).encode())
        with self._alone(at) as is_alone:
            if is_alone:
                self._requeue()
            counts = self._deliver() if is_alone else {"delivered": 0, "refused": 0}
        waiting = len(list(self._keys("waiting")))
        if waiting:
            LOGGER.warning("%d events wait for MLflow", waiting)
        return {**counts, "waiting": waiting}

    def _keys(self, folder: str) -> Iterator[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._settings.artifacts, Prefix=f"{self._prefix}{folder}/"
        )
        return (entry["Key"] for page in pages for entry in page.get("Contents", []))

    def _requeue(self) -> None:
        """Queue events again that another MLflow or experiment rejected, after the declaration has changed.

        Events that this MLflow rejected are not retried, so that each MLflow rejects an event once.
        """
        bucket, moved = self._settings.artifacts, 0
        for key in self._keys("refused"):
            if moved == _AT_ONCE:
                return
            if not key.startswith(self._refused):
                refused = json.loads(self._s3.get_object(Bucket=bucket, Key=key)["Body"].read())
                self._s3.put_object(
                    Bucket=bucket,
                    Key=f"{self._prefix}waiting/{key.rpartition('/')[2]}",
                    Body=json.dumps(refused["event"]).encode(),
                )
                self._s3.delete_object(Bucket=bucket, Key=key)
                moved += 1

    def _deliver(self) -> dict[str, int]:
        """Deliver events, oldest first, until MLflow is unavailable."""
        delivered = refused = 0
        for key in sorted(self._keys("waiting"))[:_AT_ONCE]:
            body = self._s3.get_object(Bucket=self._settings.artifacts, Key=key)["Body"].read()
            try:
                self._mirrored(json.loads(body))
                delivered += 1
            except TrackingAwayError as error:
                LOGGER.warning("MLflow is unavailable: %s", error)
                break
            except (TrackingRefusedError, ContractError) as error:
                LOGGER.error("not mirrored, %s: %s", key, error)  # noqa: TRY400 - the message states what was refused
                refused += 1
                self._s3.put_object(
                    Bucket=self._settings.artifacts,
                    Key=f"{self._refused}{key.rpartition('/')[2]}",
                    Body=json.dumps({"reason": str(error), "event": json.loads(body)}).encode(),
                )
            self._s3.delete_object(Bucket=self._settings.artifacts, Key=key)
        return {"delivered": delivered, "refused": refused}

    def _mirrored(self, event: Mapping[str, Any]) -> None:
        detail = from_dict(EventDetail, event["detail"])
        if event["detail-type"] == DetailType.RETRAINING_FINISHED.value:
            self._mirror.record(self._run(detail, datetime.fromisoformat(event["time"])))
            return
        # the current pointer: of several rollouts only the last one matters
        live = RolloutTable(self._dynamodb, self._settings.rollout_table, self._settings.endpoint).read().live
        if live is not None:
            package = self._package(from_json(LivePointer, live).model_package_arn)
            if package is not None:
                self._mirror.point(package)

    def _run(self, detail: EventDetail, ended: datetime) -> MirroredRun:
        name, package = detail.id.rpartition(":")[2], detail.attributes.get("package", "")
        folder = f"evaluations/{self._settings.pipeline}/{name}"
        return MirroredRun(
            pipeline=self._settings.pipeline,
            execution=detail.id,
            outcome=detail.outcome,
            reason=detail.reason,
            trigger=detail.attributes.get("trigger", ""),
            ended=ended.astimezone(UTC),
            evaluation=self._read(Evaluation, f"{folder}/evaluation.json"),
            training=self._read(TrainingMetrics, f"{folder}/training.json"),
            hyperparameters=self._hyperparameters(name),
            package=self._package(package) if package else None,
        )

    def _read(self, kind: type[T], key: str) -> T | None:
        with _missing_allowed(_ABSENT):
            return from_json(kind, self._s3.get_object(Bucket=self._settings.artifacts, Key=key)["Body"].read())
        return None

    def _hyperparameters(self, name: str) -> dict[str, str]:
        job = f"{self._settings.pipeline}-{name[:_CHARACTERS_OF_NAME]}-train"
        found: Mapping[str, str] = {}
        with _missing_allowed(_NOT_THERE):
            found = self._sagemaker.describe_training_job(TrainingJobName=job).get("HyperParameters", {})
        return {name: value for name, value in sorted(found.items()) if not name.startswith(_CONTAINERS)}

    def _package(self, arn: str) -> MirroredPackage | None:
        with _missing_allowed(_NOT_THERE):
            found = self._sagemaker.describe_model_package(ModelPackageName=arn)
            (container, *_) = found["InferenceSpecification"]["Containers"]
            return MirroredPackage(
                arn=arn,
                source=str(container.get("ModelDataUrl", "")),
                metadata=dict(found.get("CustomerMetadataProperties", {})),
            )
        return None

    @contextmanager
    def _alone(self, at: datetime) -> Iterator[bool]:
        """Hold the lock during the block; yield whether it was free. If it was taken, the next event delivers."""
        me, now = str(uuid.uuid4()), int(at.timestamp())
        key = {"pipeline": {"S": f"{self._settings.pipeline}#tracking"}, "item": {"S": "LOCK"}}
        try:
            self._dynamodb.update_item(
                TableName=self._settings.table,
                Key=key,
                UpdateExpression="SET #owner = :me, lock_until = :until",
                ConditionExpression="attribute_not_exists(lock_until) OR lock_until < :now",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues={
                    ":me": {"S": me},
                    ":now": {"N": str(now)},
                    ":until": {"N": str(now + _LOCK_SECONDS)},
                },
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException:
            yield False
            return
        try:
            yield True
        finally:
            self._dynamodb.update_item(
                TableName=self._settings.table,
                Key=key,
                UpdateExpression="REMOVE lock_until",
                ConditionExpression="#owner = :me",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues={":me": {"S": me}},
            )


@contextmanager
def _missing_allowed(codes: Collection[str]) -> Iterator[None]:
    """Suppress errors with the codes of a missing resource."""
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] not in codes:
            raise
