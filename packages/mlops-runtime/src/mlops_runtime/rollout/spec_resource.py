"""Custom resource of a model endpoint: stores the stack's serving spec and starts the Deploy machine.

It does not wait for the rollout; waiting for the endpoint's lock is up to the machine. Requests are idempotent: CloudFormation may
send one again, and a stack that rolls back sends the former properties as an update.

See: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-requesttypes.html
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mlops_runtime.contracts import canonical_json, content_hash, from_json, to_dict
from mlops_runtime.contracts.rollout import (
    AuditRecord,
    DeployReason,
    DeployRequest,
    LockRow,
    Outcome,
    ServingSpec,
    spec_key,
)
from mlops_runtime.image.image_registry import check_images
from mlops_runtime.lambda_protocol import is_made_up
from mlops_runtime.refused_calls import NO_OBJECT, Tolerated
from mlops_runtime.rollout.audit_chain import AuditChain, Move, last_record
from mlops_runtime.rollout.deploy_plan import live_pointer
from mlops_runtime.rollout.execution_names import short_hash, start_once
from mlops_runtime.rollout.fleet_removal import Removal
from mlops_runtime.rollout.rollout_table import RolloutTable
from mlops_runtime.rollout.serving_limits import SpecError, check_spec

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_stepfunctions import SFNClient

logger = logging.getLogger(__name__)

NOT_CREATED = (
    "/not-created"  # suffix of the physical id of a resource whose creation failed: there is nothing to delete
)

Answer = Callable[..., None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecResource:
    """The resource of one endpoint."""

    s3: "S3Client"
    sagemaker: "SageMakerClient"
    cloudwatch: "CloudWatchClient"
    stepfunctions: "SFNClient"
    ecr: "ECRClient"  # client, with timeouts that leave time for a response
    chain: AuditChain  # the endpoint's audit chain and row
    bucket: str  # artifacts bucket
    machine_arn: str  # the Deploy machine
    # whether the endpoint is on EKS, so that the resource of its manifests deletes its workloads. Default: SageMaker
    is_on_eks: bool = False

    @property
    def table(self) -> RolloutTable:
        """The endpoint's row."""
        return self.chain.table

    def handle(self, event: Mapping[str, Any], answer: Answer) -> None:
        """Handle one request, and respond even on errors: without a response the stack would wait for an hour."""
        endpoint = self.table.endpoint
        physical_id = str(event.get("PhysicalResourceId", endpoint))
        try:
            if event["RequestType"] == "Delete":
                self._delete(event, physical_id)
                data: dict[str, str] = {}
            else:
                data = self._apply(event)
                physical_id = endpoint
        except Exception as error:  # every error must appear in the stack's events
            logger.exception("%s of %s failed", event.get("RequestType"), endpoint)
            if event.get("RequestType") == "Create":
                physical_id = endpoint + NOT_CREATED
            answer(event, physical_id=physical_id, failure=f"{type(error).__name__}: {error}")
        else:
            answer(event, physical_id=physical_id, data=data)

    def _apply(self, event: Mapping[str, Any]) -> dict[str, str]:
        spec = self._spec(event)
        digest = content_hash(spec)
        self._check_images(event, digest)
        key = spec_key(spec.endpoint, digest)
        uri = f"s3://{self.bucket}/{key}"
        stored = self._put(key, canonical_json(spec))
        self.table.set_desired(uri)
        request = DeployRequest(
            reason=DeployReason.SPEC,
            requested_by=str(event["StackId"]),
            requested_at=str(to_dict(stored)),
            spec_uri=uri,
        )
        name = f"spec-{digest[:12]}-{short_hash(event['RequestId'])}"
        start_once(self.stepfunctions, self.machine_arn, name, request)
        return {"SpecUri": uri, "SpecHash": digest}

    def _check_images(self, event: Mapping[str, Any], digest: str) -> None:
        """Reject missing images; images accepted once are accepted again, so that a stack can always roll back to them."""
        images = event["ResourceProperties"].get("Images", [])
        if not (isinstance(images, list) and all(isinstance(image, str) for image in images)):
            raise SpecError(f"property Images must be a list of image names, got {images!r}")
        accepted = (
            f"specs/{self.table.endpoint}/accepted/{content_hash({'spec': digest, 'images': sorted(images)})}.json"
        )
        if self._exists(accepted):
            return
        check_images(self.ecr, images)
        self._put(accepted, canonical_json({"images": sorted(images)}))

    def _exists(self, key: str) -> bool:
        with Tolerated(*NO_OBJECT):
            self.s3.head_object(Bucket=self.bucket, Key=key)
            return True
        return False

    def _put(self, key: str, content: bytes) -> datetime:
        """Store an object, and return its time in S3."""
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=content, ContentType="application/json")
        return self.s3.head_object(Bucket=self.bucket, Key=key)["LastModified"]

    def _spec(self, event: Mapping[str, Any]) -> ServingSpec:
        text = event["ResourceProperties"].get("Spec")
        if not isinstance(text, str):
            raise SpecError(f"property Spec must be a serving spec as a JSON string, got {type(text).__name__}")
        spec = check_spec(from_json(ServingSpec, text))
        if spec.endpoint != self.table.endpoint:
            raise SpecError(
                f"the spec is of endpoint {spec.endpoint!r}, but this resource is of {self.table.endpoint!r}"
            )
        return spec

    def _delete(self, event: Mapping[str, Any], physical_id: str) -> None:
        if physical_id.endswith(NOT_CREATED):
            return
        if is_made_up(event):  # the creation was cancelled, perhaps before it had an effect
            if self.table.read().desired is None:
                return
            physical_id = self.table.endpoint
        own = physical_id == self.table.endpoint  # else it was renamed, and the machine serves the new name
        removal = Removal(sagemaker=self.sagemaker, cloudwatch=self.cloudwatch, stepfunctions=self.stepfunctions)
        stopped: list[str] = []
        if own:
            # an execution stopped while it holds the lock would be recovered; a waiting one may acquire it before it is stopped
            self.table.unlock()
            stopped = removal.stop_executions(self.machine_arn)
            self.table.unlock()
        if self.is_on_eks:
            removal.remove_alarms(physical_id)
        else:
            removal.remove_endpoint(physical_id)
        if own:
            self._record_deletion(event, stopped)
            self.table.forget()

    def _record_deletion(self, event: Mapping[str, Any], stopped: Sequence[str]) -> None:
        """Append the last record of the chain, which may outlive the stack; a repeated delete appends none."""
        names = ", ".join(arn.rpartition(":")[2] for arn in stopped)
        stack, request = str(event["StackId"]), str(event["RequestId"])
        at = self._put(
            f"specs/{self.table.endpoint}/deleted.json", canonical_json({"stack": stack, "request": request})
        )

        def follow(row: LockRow) -> Move | None:
            last = last_record(row)
            if last is not None and last.outcome is Outcome.DELETED:
                return None
            live = live_pointer(row)
            record = AuditRecord(
                endpoint=row.endpoint,
                sequence=row.audit_sequence + 1,
                previous=row.audit_head,
                outcome=Outcome.DELETED,
                reason="the stack deleted the endpoint" + (f"; it stopped {names}" if names else ""),
                execution=f"{stack}/{request}",
                at=str(to_dict(at)),
                requested_by=stack,
                candidate_package=None if live is None else live.model_package_arn,
                model_sha256=None if live is None else live.model_sha256,
                training_set_id=None if live is None else live.training_set_id,
                spec_sha256=None if live is None else live.spec_sha256 or None,
            )
            return Move(record=record)

        self.chain.append(follow)
