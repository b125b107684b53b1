"""A bad model that a user registers by hand and gets approved: one that fails on rows which its team left out of the training.

It was trained on the live model's own training set, is a valid package, and starts. The gate would refuse it, but was not run.
"""

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from examples.retail.loop import Loop
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.features.training_set_manifest import Manifests
from mlops_runtime.registry.model_package import registered_metadata


def register_bad_package(loop: Loop, live: LivePointer, script: Path) -> str:
    """Train the bad model, register it beside the live one, and return its ARN; it waits for an approval.

    Args:
        loop: The unit.
        live: The live version, whose package is the pattern of the bad one.
        script: The team's training script.
    """
    with tempfile.TemporaryDirectory() as name:
        archive, hashes = _trained(loop, live, script, Path(name))
        content = archive.read_bytes()
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
            "MLOPS_MODEL_SHA256": hashes["model.onnx"],
            "MLOPS_SIGNATURE_SHA256": hashes["signature.json"],
        },
    }
    specification = {**pattern["InferenceSpecification"], "Containers": [container]}
    properties = {
        # no gate passed it, so that nothing signed it
        **{name: value for name, value in pattern["CustomerMetadataProperties"].items() if name != "signing_key"},
        "artifact_sha256": artifact_sha256,
        "model_sha256": hashes["model.onnx"],
    }
    created = loop.sagemaker.create_model_package(
        ModelPackageGroupName=pattern["ModelPackageGroupName"],
        ModelPackageDescription=f"{script.stem}, registered by hand",
        InferenceSpecification=specification,
        ModelApprovalStatus="PendingManualApproval",
        CustomerMetadataProperties=registered_metadata(container, properties),
    )
    return str(created["ModelPackageArn"])


def _trained(loop: Loop, live: LivePointer, script: Path, folder: Path) -> tuple[Path, dict[str, str]]:
    manifests = Manifests(f"s3://{loop.outputs['ManifestsBucket']}/manifests", s3=loop.s3)
    place = manifests.copies(live.training_set_id)[0]
    _download(loop.s3, f"{place}/train/part-0.parquet", folder / "train")
    command: list[str | Path] = [
        sys.executable,
        script,
        "--train",
        folder / "train",
        "--model-dir",
        folder,
    ]
    subprocess.run(command, check=True, capture_output=True)
    archive, names = folder / "model.tar.gz", ("model.onnx", "signature.json")
    with tarfile.open(archive, "w:gz") as tar:
        for name in names:
            tar.add(folder / name, name)
    return archive, {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def _download(s3: Any, uri: str, folder: Path) -> None:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    folder.mkdir()
    (folder / "part-0.parquet").write_bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
