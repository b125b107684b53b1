"""Models that multiply by a factor, packed and registered as by a retraining."""

import hashlib
import io
import json
import tarfile
from dataclasses import replace
from typing import Any

import onnx
from examples.retail.loop import Loop
from onnx import TensorProto, helper
from tests.campaign.candidates import images
from tests.passed import EVALUATION

from mlops_runtime.contracts import canonical_json, content_hash, from_json, to_dict
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.contracts.rollout import ServingSpec, spec_key
from mlops_runtime.registry.model_package import registered_metadata
from mlops_runtime.rollout.rollout_table import RolloutTable

INPUTS = (SignatureColumn(name="x", type="number"),)
DIGEST = "sha256:" + "0" * 64
IMAGE = f"000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@{DIGEST}"


def archive(factor: float, inputs: tuple[SignatureColumn, ...] = INPUTS) -> tuple[bytes, str]:
    """Return ``model.tar.gz`` of a model that multiplies by a factor, and the SHA-256 of its ``model.onnx``.

    Args:
        factor: The factor.
        inputs: Columns whose sum it multiplies. Default: one number.
    """
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["input", "factor"], ["output"])],
        "times",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, len(inputs)])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor("factor", TensorProto.FLOAT, [len(inputs), 1], [factor] * len(inputs))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.checker.check_model(model)
    signature = ModelSignature(inputs=inputs, output="y")
    files = {"model.onnx": model.SerializeToString(), "signature.json": json.dumps(to_dict(signature)).encode()}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue(), hashlib.sha256(files["model.onnx"]).hexdigest()


def ask_for(loop: Loop, dynamodb: Any, **checks: Any) -> None:
    """Store a spec with changed checks, as the stack's resource does; the next approval uses it."""
    live, bucket = loop.live(), loop.outputs["ArtifactsBucket"]
    assert live is not None
    stored = loop.s3.get_object(Bucket=bucket, Key=live.spec_uri.removeprefix(f"s3://{bucket}/"))
    spec = from_json(ServingSpec, stored["Body"].read())
    spec = replace(spec, rollout=replace(spec.rollout, **checks))
    key = spec_key(loop.endpoint, content_hash(spec))
    loop.s3.put_object(Bucket=bucket, Key=key, Body=canonical_json(spec))
    RolloutTable(dynamodb, loop.outputs["RolloutTable"], loop.endpoint).set_desired(f"s3://{bucket}/{key}")


def faulty_image(fault: str, amount: str) -> str:
    """Return the URI of a faulty image, which the embedded cloud runs through its variable for additional images."""
    return f"{IMAGE.partition('/')[0]}/{images.repository(fault, amount)}@{DIGEST}"


def register(
    loop: Loop,
    factor: float,
    *,
    sha256: str | None = None,
    folder: str | None = None,
    image: str = IMAGE,
    inputs: tuple[SignatureColumn, ...] = INPUTS,
    baseline: bytes | None = None,
) -> str:
    """Register a model of the loop's endpoint, pending, and return its package.

    Args:
        loop: The deployed endpoint.
        factor: The model's factor.
        sha256: The model's hash in the package. Default: its real hash.
        folder: Folder of the artifact in the bucket. Default: one that the endpoint's role may read.
        image: Serving image. Default: the unit's own.
        inputs: Its columns. Default: one number.
        baseline: Its monitor's baseline. Default: an unreadable one.
    """
    content, model_sha256 = archive(factor, inputs)
    digest, bucket = hashlib.sha256(content).hexdigest(), loop.outputs["ArtifactsBucket"]
    below = f"models/{loop.endpoint}" if folder is None else folder
    key = f"{below}/{digest[:12]}/output/model.tar.gz"
    loop.s3.put_object(Bucket=bucket, Key=key, Body=content)
    stated = model_sha256 if sha256 is None else sha256
    baseline_of = {"baseline_uri": "s3://none/baseline_uri", "baseline_sha256": "8" * 64}
    if baseline is not None:
        baseline_key = f"evaluations/{loop.endpoint}/{digest[:12]}/baseline.json"
        loop.s3.put_object(Bucket=bucket, Key=baseline_key, Body=baseline)
        baseline_of = {
            "baseline_uri": f"s3://{bucket}/{baseline_key}",
            "baseline_sha256": hashlib.sha256(baseline).hexdigest(),
        }
    signature = ModelSignature(inputs=inputs, output="y")
    evaluated = canonical_json(replace(EVALUATION, artifact_sha256=digest, signature=signature, **baseline_of))
    evaluation = f"evaluations/{loop.endpoint}/{digest[:12]}/evaluation.json"
    loop.s3.put_object(Bucket=bucket, Key=evaluation, Body=evaluated)
    metadata = {"artifact_sha256": digest, "model_sha256": stated, **baseline_of}
    metadata |= {name: f"s3://none/{name}" for name in ("training_set_id", "execution")}
    metadata |= {
        "evaluation_uri": f"s3://{bucket}/{evaluation}",
        "evaluation_sha256": hashlib.sha256(evaluated).hexdigest(),
    }
    container = {
        "Image": image,
        "ModelDataUrl": f"s3://{bucket}/{key}",
        "Environment": {"MLOPS_MODEL_SHA256": stated},
    }
    created = loop.sagemaker.create_model_package(
        ModelPackageGroupName=loop.endpoint,
        ModelApprovalStatus="PendingManualApproval",
        CustomerMetadataProperties=registered_metadata(container, metadata),
        InferenceSpecification={
            "Containers": [container],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    )
    return str(created["ModelPackageArn"])


def leftovers(loop: Loop) -> list[str]:
    """Return resources that should not exist between two rollouts: excess versions, alarms, rehearsals, a lock."""
    live = loop.live()
    kept = set() if live is None else {live.config, live.previous, *(live.kept or ())}
    configs = {c["EndpointConfigName"] for c in loop.sagemaker.list_endpoint_configs()["EndpointConfigs"]}
    models = {m["ModelName"] for m in loop.sagemaker.list_models()["Models"]}
    rehearsals = {e["EndpointName"] for e in loop.sagemaker.list_endpoints()["Endpoints"]} - {loop.endpoint}
    alarms = {name for name in loop.alarms() if name.startswith(f"{loop.endpoint}-rollout-")}
    owner = loop.lock_owner()
    return [*((configs | models) - kept), *rehearsals, *alarms, *([] if owner is None else [owner])]
