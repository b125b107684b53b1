"""Adapter: copies a candidate's archive to a prefix that no training can write, before it is evaluated.

A training role writes below ``training/<pipeline>/``, in every execution. The evaluated, registered and live archive is a copy
below ``models/<pipeline>/<execution>/``, which is written once, so the measured archive is the live one. A model made elsewhere
lies below ``registered/<pipeline>/``, and its copy must have the hash that was asked for. What a training script wrote of itself is
kept beside the evaluation.

See: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html (If-None-Match)
"""

import base64
import io
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.retraining import REGISTERED, Candidate, TrainingMetrics
from mlops_runtime.retraining.training_metrics import MAXIMUM_ARCHIVE, read_output

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html: one call copies 5 GB at most
MAXIMUM_BYTES = 5 * 1024**3
OUTPUT_FILE = "output.tar.gz"  # of a training job, beside its model
METRICS_FILE = "training.json"  # beside the evaluation

logger = logging.getLogger(__name__)


class ArtifactError(ValueError):
    """A training's artefact cannot be kept; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifacts:
    """The model archives of one pipeline.

    Args:
        s3: Client that may read what trainings write, and write each kept archive once.
        bucket: Artifacts bucket.
        pipeline: Its name.
    """

    s3: "S3Client"
    bucket: str
    pipeline: str

    def keep(self, uri: str, execution: str, candidate: Candidate | None = None) -> dict[str, str]:
        """Copy an archive to ``models/<pipeline>/<execution>/model.tar.gz``, once, and return ``{"artifact_uri"}`` and its hash.

        A copy that is there already stays: an earlier attempt of the same execution made it.

        Args:
            uri: The archive.
            execution: ARN of the Retrain execution.
            candidate: The model made elsewhere that the execution is about. Default: a training of its own made it.

        Raises:
            ArtifactError: If it lies elsewhere than under ``training/<pipeline>/``, or ``registered/<pipeline>/`` for a model made
                elsewhere, is larger than one copy may be, or has other bytes than were asked for.
        """
        folder = "training" if candidate is None else REGISTERED
        prefix = f"s3://{self.bucket}/{folder}/{self.pipeline}/"
        if not uri.startswith(prefix):
            raise ArtifactError(
                f"a {'training must write' if candidate is None else 'candidate must lie'} under {prefix}, got {uri!r}"
            )
        trained = uri.removeprefix(f"s3://{self.bucket}/")
        size = self.s3.head_object(Bucket=self.bucket, Key=trained)["ContentLength"]
        if size > MAXIMUM_BYTES:
            raise ArtifactError(f"{uri} must have at most {MAXIMUM_BYTES} bytes, got {size}; make the model smaller")
        key = f"models/{self.pipeline}/{execution.rpartition(':')[2]}/model.tar.gz"
        try:
            # claim: functions-know-conditional-copies
            self.s3.copy_object(
                Bucket=self.bucket,
                Key=key,
                CopySource={"Bucket": self.bucket, "Key": trained},
                ChecksumAlgorithm="SHA256",
                IfNoneMatch="*",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise
        # the checksum that S3 made of the copy
        head = self.s3.head_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")
        found = base64.b64decode(head.get("ChecksumSHA256", "")).hex()
        if candidate is not None and found != candidate.sha256:
            raise ArtifactError(
                f"{candidate.uri} has SHA-256 {found or 'unknown'}, registered was {candidate.sha256}: it was changed "
                "after it was uploaded; register the model again"
            )
        if candidate is None:
            self._keep_metrics(trained, execution.rpartition(":")[2])
        return {"artifact_uri": f"s3://{self.bucket}/{key}", "artifact_sha256": found}

    def _keep_metrics(self, trained: str, name: str) -> None:
        """Keep what the script wrote of its training; a training without that, or whose output cannot be read, goes on."""
        try:
            found = self._metrics(f"{trained.rpartition('/')[0]}/{OUTPUT_FILE}")
            if found is not None:
                self.s3.put_object(
                    Bucket=self.bucket,
                    Key=f"evaluations/{self.pipeline}/{name}/{METRICS_FILE}",
                    Body=canonical_json(found),
                    ContentType="application/json",
                )
        except ClientError as error:
            # S3 answers 403 for what is missing to a caller who may not list
            logger.info("no metrics of the training of %s: %s", name, error)

    def _metrics(self, key: str) -> TrainingMetrics | None:
        size = self.s3.head_object(Bucket=self.bucket, Key=key)["ContentLength"]
        if size > MAXIMUM_ARCHIVE:
            problem = f"the output must have at most {MAXIMUM_ARCHIVE} bytes packed to be read, got {size}"
            return TrainingMetrics(problems=(problem,))
        return read_output(io.BytesIO(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()))
