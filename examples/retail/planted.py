"""A bad model that is registered and approved by hand: it fails on rows that its team left out of the training.

It is trained on the live model's training set, is a valid package, and starts. The gate would reject it, but is bypassed.
"""

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from examples.retail.loop import Loop
from examples.retail.model_files import archive_of, train
from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.model_manifest import ModelManifest
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.features.training_set_manifest import Manifests
from mlops_runtime.registry.model_package import registered_metadata
from mlops_runtime.serving.model_archive import read
from mlops_runtime.serving.model_folder import MANIFEST_FILE, checked_manifest, hash_of
from mlops_runtime.serving.onnx_model import MODEL_FILE
from mlops_runtime.serving.served_model import SIGNATURE_FILE


def register_bad_package(loop: Loop, live: LivePointer, script: Path) -> str:
    """Train the bad model, register it in the live model's group, and return its ARN; it waits for an approval.

    Args:
        loop: The unit.
        live: The live version, whose package is the template of the bad one.
        script: The team's training script.
    """
    with tempfile.TemporaryDirectory() as name:
        planted = _trained(loop, live, script, Path(name))
        content = planted.archive.read_bytes()
    artifact_sha256 = hashlib.sha256(content).hexdigest()
    bucket, key = (
        loop.outputs["ArtifactsBucket"],
        f"models/{loop.endpoint}/by-hand-{artifact_sha256[:12]}/output/model.tar.gz",
    )
    loop.s3.put_object(Bucket=bucket, Key=key, Body=content)
    pattern = loop.sagemaker.describe_model_package(ModelPackageName=live.model_package_arn)
    live_container = pattern["InferenceSpecification"]["Containers"][0]
    container = {
        "Image": live_container["Image"],
        "ModelDataUrl": f"s3://{bucket}/{key}",
        "Environment": {
            **live_container.get("Environment", {}),
            "MLOPS_MODEL_SHA256": planted.sha256,
            "MLOPS_SIGNATURE_SHA256": planted.signature_sha256,
            **({"MLOPS_TRUST": planted.loading["trust"]} if planted.loading else {}),
        },
    }
    specification = {**pattern["InferenceSpecification"], "Containers": [container]}
    properties = {
        # not signed, since it did not pass a gate
        **{name: value for name, value in pattern["CustomerMetadataProperties"].items() if name != "signing_key"},
        "artifact_sha256": artifact_sha256,
        "model_sha256": planted.sha256,
        **planted.loading,
    }
    created = loop.sagemaker.create_model_package(
        ModelPackageGroupName=pattern["ModelPackageGroupName"],
        ModelPackageDescription=f"{script.stem}, registered by hand",
        InferenceSpecification=specification,
        ModelApprovalStatus="PendingManualApproval",
        CustomerMetadataProperties=registered_metadata(container, properties),
    )
    return str(created["ModelPackageArn"])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planted:
    """The bad model; ``loading`` are flavor and trust of one that is not ONNX."""

    archive: Path
    sha256: str
    signature_sha256: str
    loading: Mapping[str, str]


def _trained(loop: Loop, live: LivePointer, script: Path, folder: Path) -> _Planted:
    manifests = Manifests(f"s3://{loop.outputs['ManifestsBucket']}/manifests", s3=loop.s3)
    place, model = manifests.copies(live.training_set_id)[0], folder / "model"
    (folder / "train").mkdir()
    (folder / "train" / "part-0.parquet").write_bytes(_object(loop.s3, f"{place}/train/part-0.parquet"))
    serves = _live_manifest(loop, live)
    if serves is None:
        train(script, folder / "train", model)
        sha256, loading = hash_of(model / MODEL_FILE), {}
    else:
        train(script, folder / "train", model, lock_sha256=serves.requirements_sha256, python=serves.python)
        manifest, sha256 = checked_manifest(model, expected_sha256=None)
        loading = {"flavor": manifest.flavor, "trust": manifest.trust}
    signature_sha256 = hash_of(model / SIGNATURE_FILE)
    return _Planted(archive=archive_of(model), sha256=sha256, signature_sha256=signature_sha256, loading=loading)


def _live_manifest(loop: Loop, live: LivePointer) -> ModelManifest | None:
    """Return what the live model consists of; nothing for ONNX, which has no manifest."""
    if live.image is None:
        return None
    packed = BytesIO(_object(loop.s3, live.artifact_uri))
    return from_json(ModelManifest, read(packed, (MANIFEST_FILE,), max_bytes=1 << 20)[MANIFEST_FILE])


def _object(s3: Any, uri: str) -> bytes:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    content: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return content
