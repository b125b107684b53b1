"""A bad model that a user registers by hand and gets approved: one that fails on rows which its team left out of the training.

It was trained on the live model's own training set, is a valid package, and starts. The gate would refuse it, but was not run.
"""

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from examples.retail.loop import Loop
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.features.training_set_manifest import Manifests
from mlops_runtime.registry.model_package import registered_metadata
from mlops_runtime.serving.model_archive import read
from mlops_runtime.serving.model_folder import MANIFEST_FILE, hash_of, manifest_of, write_manifest
from mlops_runtime.serving.onnx_model import MODEL_FILE
from mlops_runtime.serving.served_model import SIGNATURE_FILE


def register_bad_package(loop: Loop, live: LivePointer, script: Path) -> str:
    """Train the bad model, register it beside the live one, and return its ARN; it waits for an approval.

    Args:
        loop: The unit.
        live: The live version, whose package is the pattern of the bad one.
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
        # no gate passed it, so that nothing signed it
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
    loading: dict[str, str]


def _trained(loop: Loop, live: LivePointer, script: Path, folder: Path) -> _Planted:
    manifests = Manifests(f"s3://{loop.outputs['ManifestsBucket']}/manifests", s3=loop.s3)
    place, model = manifests.copies(live.training_set_id)[0], folder / "model"
    (folder / "train").mkdir()
    (folder / "train" / "part-0.parquet").write_bytes(_object(loop.s3, f"{place}/train/part-0.parquet"))
    command: list[str | Path] = [sys.executable, script, "--train", folder / "train", "--model-dir", model]
    subprocess.run(command, check=True, capture_output=True)
    sha256, loading = hash_of(model / MODEL_FILE) if (model / MODEL_FILE).exists() else "", {}
    if not sha256:
        manifest = manifest_of(model, **_environment(_object(loop.s3, live.artifact_uri)))
        sha256, loading = write_manifest(model, manifest), {"flavor": manifest.flavor, "trust": manifest.trust}
    archive = folder / "model.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(model.iterdir()):
            tar.add(path, path.name)
    return _Planted(archive=archive, sha256=sha256, signature_sha256=hash_of(model / SIGNATURE_FILE), loading=loading)


def _environment(live_archive: bytes) -> dict[str, str]:
    """Return lock and Python of the environment in which the live model runs."""
    manifest = json.loads(read(BytesIO(live_archive), (MANIFEST_FILE,), max_bytes=1 << 20)[MANIFEST_FILE])
    return {name: manifest[name] for name in ("requirements_sha256", "python")}


def _object(s3: Any, uri: str) -> bytes:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    content: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return content
