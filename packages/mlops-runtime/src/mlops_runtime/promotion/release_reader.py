"""Adapter of the Promote machine's plan: reads the copied record and checks the source's registry again. Read-only."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.release import ReleaseRecord
from mlops_runtime.lambda_protocol import is_missing
from mlops_runtime.promotion.offer_table import OfferTable
from mlops_runtime.promotion.release_plan import (
    MAXIMUM_RECORD,
    ReleaseRefusedError,
    Target,
    check_source,
    check_time,
    copies,
    incoming_prefix,
    own_image,
    read_release,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient

RECORD_FILE = "record.json"


def copied_record(s3: "S3Client", *, target: Target, uri: str, sha256: str, execution: str) -> ReleaseRecord:
    """Return the record that an execution copied, after checking its content.

    Raises:
        ReleaseRefusedError: If it is not the offered record, or not for this target.
    """
    key = incoming_prefix(target.group, execution) + RECORD_FILE
    content = s3.get_object(Bucket=target.bucket, Key=key)["Body"].read(MAXIMUM_RECORD + 1)
    if len(content) > MAXIMUM_RECORD:
        raise ReleaseRefusedError([f"a release record must have at most {MAXIMUM_RECORD} bytes, {uri} has more"])
    return read_release(content, uri=uri, sha256=sha256, target=target)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseReader:
    """Reader of the facts that decide on a release."""

    s3: "S3Client"
    sagemaker: "SageMakerClient"
    table: OfferTable
    target: Target  # the target environment

    def plan(self, request: Mapping[str, Any]) -> dict[str, object]:
        """Return the objects to copy, or the reason for a refusal.

        Args:
            request: ``{"record_uri", "record_sha256", "execution", "now"}``.

        Returns:
            ``{"verdict", "reason", "may_pass"}``; for a taken release also ``copies``, ``image``, ``facts``.
        """
        uri, sha256, execution = str(request["record_uri"]), str(request["record_sha256"]), str(request["execution"])
        now = datetime.fromisoformat(request["now"]).astimezone(UTC)
        try:
            record = copied_record(self.s3, target=self.target, uri=uri, sha256=sha256, execution=execution)
            check_time(record, newest=self.table.newest(), sha256=sha256, now=now)
            reply = self._source_approval(record)
        except ReleaseRefusedError as refused:
            return {"verdict": "REFUSED", "reason": str(refused)[:4000], "may_pass": refused.may_pass}
        return {
            "verdict": "TAKEN",
            "reason": reply,
            "may_pass": False,
            "copies": [
                {"source": each.source, "incoming": each.incoming}
                for each in copies(record, target=self.target, execution=execution)
            ],
            "image": to_dict(own_image(record, self.target)),
            "facts": {
                "model_sha256": record.package.model_sha256,
                "training_set_id": record.package.training_set_id,
                "source_record": record.audit_hash,
                "source_package": record.package.package_arn or "",
                "approved_by": record.approved_by,
            },
        }

    def _source_approval(self, record: ReleaseRecord) -> str:
        who = f"released by {self.target.source_name}, approved there by {record.approved_by}"
        if not self.target.is_source_readable:
            return f"{who}; its registry, in {self.target.source.region}, was not checked again"
        arn = str(record.package.package_arn)
        try:
            description = self.sagemaker.describe_model_package(ModelPackageName=arn)
        except (ClientError, BotoCoreError) as error:
            is_deleted = isinstance(error, ClientError) and is_missing(error)
            what = "is no longer in the source's registry" if is_deleted else f"cannot be read in the source: {error}"
            raise ReleaseRefusedError([f"{arn} {what}"], may_pass=not is_deleted) from error
        check_source(record, description)
        return who
