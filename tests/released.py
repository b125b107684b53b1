"""A release of the source: an approved package, its objects, and the release record."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.passed import EVALUATION, gate_of

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.events import DetailType, event_source, model_released
from mlops_runtime.contracts.release import ReleasedObject, ReleaseRecord
from mlops_runtime.promotion.environment_link import LinkedEnvironment, release_key
from mlops_runtime.registry.model_package import read_package, registered_metadata

SOURCE = LinkedEnvironment(account="111111111111", region="eu-west-1")
TARGET = LinkedEnvironment(account="222222222222", region="eu-west-1")
DIGEST = "sha256:" + "0" * 64


@dataclass(frozen=True, kw_only=True)
class Released:
    """A release: ``objects`` by key in the source's bucket, ``request`` as registered, ``description`` as approved."""

    record: ReleaseRecord
    bucket: str
    objects: Mapping[str, bytes]
    request: Mapping[str, Any]
    description: Mapping[str, Any]

    @property
    def content(self) -> bytes:
        """Bytes of the record."""
        return canonical_json(self.record)

    @property
    def sha256(self) -> str:
        """SHA-256 of the record."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def key(self) -> str:
        """Key of the record."""
        return release_key(group=self.record.group, binding=self.record.binding)

    @property
    def uri(self) -> str:
        """S3 URI of the record."""
        return f"s3://{self.bucket}/{self.key}"

    def changed(self, **changes: Any) -> "Released":
        """Return the release with a changed record."""
        return replace(self, record=replace(self.record, **changes))

    def event(self, *, at: str = "2017-08-01T09:00:00Z", **changes: Any) -> dict[str, Any]:
        """Return its EventBridge event."""
        detail = model_released(self.record.group, record_uri=self.uri, record_sha256=self.sha256)
        return {
            "id": "one",
            "source": event_source(self.record.unit),
            "detail-type": DetailType.MODEL_RELEASED.value,
            "time": at,
            "account": self.record.account,
            "region": self.record.region,
            "resources": [],
            "detail": {
                "id": detail.id,
                "subject": detail.subject,
                "outcome": detail.outcome,
                "attributes": dict(detail.attributes),
                "version": detail.version,
            },
            **changes,
        }


def release(
    *,
    archive: bytes = b"archive",
    model_sha256: str = "b" * 64,
    unit: str = "demand",
    model: str = "forecast",
    source: LinkedEnvironment = SOURCE,
    bucket: str = "artifacts",
    execution: str = "alarm-1",
    version: int = 7,
    released_at: str = "2017-08-01T08:59:00.000Z",
    baseline: bytes = b"{}",
    image: str = DIGEST,
    is_signed: bool = True,
) -> Released:
    """Release a package as a pipeline registers it and a reviewer approves it."""
    group = f"{unit}-{model}"
    folder = f"evaluations/{group}/{execution}"
    keys = {
        "artifact": f"models/{group}/{execution}/model.tar.gz",
        "evaluation": f"{folder}/evaluation.json",
        "baseline": f"{folder}/baseline.json",
        "gate": f"gates/{group}/{execution}.json",
    }
    places = {name: f"s3://{bucket}/{key}" for name, key in keys.items()}
    hashes = {"artifact": hashlib.sha256(archive).hexdigest(), "baseline": hashlib.sha256(baseline).hexdigest()}
    evaluation = canonical_json(
        replace(
            EVALUATION,
            artifact_sha256=hashes["artifact"],
            model_sha256=model_sha256,
            baseline_uri=places["baseline"],
            baseline_sha256=hashes["baseline"],
        )
    )
    gate = canonical_json(replace(gate_of(evaluation, execution=execution), evaluation_uri=places["evaluation"]))
    contents = {"artifact": archive, "evaluation": evaluation, "baseline": baseline, "gate": gate}
    container = {
        "Image": f"{source.account}.dkr.ecr.{source.region}.amazonaws.com/mlops-runtime@{image}",
        "ModelDataUrl": places["artifact"],
        "Environment": {"MLOPS_MODEL_SHA256": model_sha256},
    }
    metadata = registered_metadata(
        container,
        {
            "artifact_sha256": hashes["artifact"],
            "model_sha256": model_sha256,
            "training_set_id": EVALUATION.training_set_id,
            "execution": f"arn:aws:states:{source.region}:{source.account}:execution:Retrain:{execution}",
            "baseline_uri": places["baseline"],
            "baseline_sha256": hashes["baseline"],
            "evaluation_uri": places["evaluation"],
            "evaluation_sha256": hashlib.sha256(evaluation).hexdigest(),
            "code": "none",
            **({"signing_key": source.arn("kms", "key/signs")} if is_signed else {}),
        },
    )
    request = {
        "ModelPackageGroupName": group,
        "ModelApprovalStatus": "PendingManualApproval",
        "InferenceSpecification": {
            "Containers": [container],
            "SupportedContentTypes": ["application/json", "text/csv"],
            "SupportedResponseMIMETypes": ["application/json", "text/csv"],
        },
        "CustomerMetadataProperties": metadata,
    }
    binding = metadata["container_sha256"]
    approval = f"it beats last_week [binding {binding}]"
    description = {
        **request,
        "ModelPackageArn": source.arn("sagemaker", f"model-package/{group}/{version}"),
        "ModelPackageStatus": "Completed",
        "ModelApprovalStatus": "Approved",
        "ApprovalDescription": approval,
    }
    objects = {
        name: ReleasedObject(uri=places[name], size=len(content), sha256=hashlib.sha256(content).hexdigest())
        for name, content in contents.items()
    }
    record = ReleaseRecord(
        unit=unit,
        group=group,
        account=source.account,
        region=source.region,
        binding=binding,
        package=read_package(description).spec,
        **objects,
        approved_by=f"arn:aws:sts::{source.account}:assumed-role/Approver/ann",
        approval=approval,
        execution=f"arn:aws:states:{source.region}:{source.account}:execution:Release:one",
        released_at=released_at,
        audit_chain=group,
        audit_sequence=3,
        audit_hash="a" * 64,
    )
    return Released(
        record=record,
        bucket=bucket,
        objects={keys[name]: content for name, content in contents.items()},
        request=request,
        description=description,
    )
