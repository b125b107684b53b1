"""Adapter: copies a training's output to a prefix that no training can write, before it is evaluated.

A training role writes below ``training/<pipeline>/``, in every execution. The evaluated, registered and live archive is a copy
below ``models/<pipeline>/<execution>/``, which is written once, so the measured archive is the live one.

See: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html (If-None-Match)
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html: one call copies 5 GB at most
MAXIMUM_BYTES = 5 * 1024**3


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

    def keep(self, uri: str, execution: str) -> dict[str, str]:
        """Copy an archive to ``models/<pipeline>/<execution>/model.tar.gz``, once, and return ``{"artifact_uri"}``.

        A copy that is there already stays: an earlier attempt of the same execution made it.

        Raises:
            ArtifactError: If it lies elsewhere than under ``training/<pipeline>/``, or is larger than one copy may be.
        """
        prefix = f"s3://{self.bucket}/training/{self.pipeline}/"
        if not uri.startswith(prefix):
            raise ArtifactError(f"a training must write under {prefix}, got {uri!r}")
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
        return {"artifact_uri": f"s3://{self.bucket}/{key}"}
