"""Adapter that copies a candidate's archive to a prefix that no training can write, before its evaluation.

The training role writes below ``training/<pipeline>/`` in every execution. The evaluated, registered and live archive is a copy
below ``models/<pipeline>/<execution>/``, which is written once, so the evaluated archive is the live one. A model made elsewhere is
below ``registered/<pipeline>/``, and its copy must have the hash in the request. Training metrics of the script are stored with the
evaluation.

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
from mlops_runtime.refused_calls import CONDITION_FAILED, Tolerated
from mlops_runtime.retraining.training_metrics import MAXIMUM_ARCHIVE, read_output

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html: one call copies at most 5 GB
MAXIMUM_BYTES = 5 * 1024**3
OUTPUT_FILE = "output.tar.gz"  # of a training job, in the folder of its model
METRICS_FILE = "training.json"  # in the folder of the evaluation

logger = logging.getLogger(__name__)


class ArtifactError(ValueError):
    """The archive of a training cannot be stored; the message states the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifacts:
    """The model archives of one pipeline."""

    s3: "S3Client"  # client that may read the output of trainings, and write each stored archive once
    bucket: str  # artifacts bucket
    pipeline: str

    def keep(self, uri: str, execution: str, candidate: Candidate | None = None) -> dict[str, str]:
        """Copy an archive to ``models/<pipeline>/<execution>/model.tar.gz``, once, and return ``{"artifact_uri"}`` and its hash.

        An existing copy is kept: an earlier attempt of the same execution made it.

        Args:
            uri: URI of the archive.
            execution: ARN of the Retrain execution.
            candidate: The execution's model if it was made elsewhere. Default: the execution trained it.

        Raises:
            ArtifactError: If it is not below ``training/<pipeline>/``, or ``registered/<pipeline>/`` for a model made elsewhere, if
                it exceeds the size limit of one copy, or if it has another hash than in the request.
        """
        folder = "training" if candidate is None else REGISTERED
        prefix = f"s3://{self.bucket}/{folder}/{self.pipeline}/"
        if not uri.startswith(prefix):
            raise ArtifactError(
                f"a {'training must write' if candidate is None else 'candidate must be'} below {prefix}, got {uri!r}"
            )
        trained = uri.removeprefix(f"s3://{self.bucket}/")
        size = self.s3.head_object(Bucket=self.bucket, Key=trained)["ContentLength"]
        if size > MAXIMUM_BYTES:
            raise ArtifactError(f"{uri} must have at most {MAXIMUM_BYTES} bytes, got {size}; make the model smaller")
        key = f"models/{self.pipeline}/{execution.rpartition(':')[2]}/model.tar.gz"
        with Tolerated(*CONDITION_FAILED):
            # claim: functions-know-conditional-copies
            self.s3.copy_object(
                Bucket=self.bucket,
                Key=key,
                CopySource={"Bucket": self.bucket, "Key": trained},
                ChecksumAlgorithm="SHA256",
                IfNoneMatch="*",
            )
        # the checksum that S3 computed for the copy
        head = self.s3.head_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")
        found = base64.b64decode(head.get("ChecksumSHA256", "")).hex()
        if candidate is not None and found != candidate.sha256:
            raise ArtifactError(
                f"{candidate.uri} has SHA-256 {found or 'unknown'}, expected {candidate.sha256}: it was changed "
                "after its upload; register the model again"
            )
        if candidate is None:
            self._keep_metrics(trained, execution.rpartition(":")[2])
        return {"artifact_uri": f"s3://{self.bucket}/{key}", "artifact_sha256": found}

    def _keep_metrics(self, trained: str, name: str) -> None:
        """Store the script's training metrics; missing or unreadable output is not an error."""
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
            # S3 returns 403 for a missing object to a caller that may not list
            logger.info("no metrics of the training of %s: %s", name, error)

    def _metrics(self, key: str) -> TrainingMetrics | None:
        size = self.s3.head_object(Bucket=self.bucket, Key=key)["ContentLength"]
        if size > MAXIMUM_ARCHIVE:
            problem = f"the output must have at most {MAXIMUM_ARCHIVE} bytes packed to be read, got {size}"
            return TrainingMetrics(problems=(problem,))
        return read_output(io.BytesIO(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()))
