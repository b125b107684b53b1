"""The demo's bad model becomes a valid package with its own hashes, which can be approved."""

import hashlib
import io
import json
import tarfile
from datetime import UTC, datetime

import pytest
from examples.retail.demand_forecasting import data, declaration
from examples.retail.loop import Loop
from examples.retail.planted import register_bad_package
from examples.retail.transactions import week_start

from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.features.training_set_manifest import Manifests
from mlops_runtime.registry.model_package import METADATA, container_sha256
from mlops_runtime.registry.package_approval import bound_by
from mlops_runtime.serving.onnx_model import load

BUCKET, GROUP = "planted-model", "planted-forecast"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "sts:AssumeRole"}
    ],
}
POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sagemaker:UpdateModelPackage", "Resource": "*"}],
}


@pytest.mark.cloud
def test_bad_package_is_approved_beside_the_live_one(cloud, tmp_path):
    """It has the live model's training set and image, and its own artifact and hashes."""
    s3, sagemaker = cloud.client("s3"), cloud.client("sagemaker")
    s3.create_bucket(Bucket=BUCKET)
    store = FeatureStoreClient.local(tmp_path, now=lambda: week_start(31))
    data.ingest_weeks(store, 1, 30)
    built = store.split_training_set(declaration.TRAINING_SET, as_of=week_start(31))
    manifests = Manifests(f"s3://{BUCKET}/manifests", s3=s3)
    manifests.write(built.manifest)
    manifests.add_copy(built.id, f"s3://{BUCKET}/sets/one")
    s3.put_object(Bucket=BUCKET, Key="sets/one/train/part-0.parquet", Body=built.files["train/part-0.parquet"])
    sagemaker.create_model_package_group(ModelPackageGroupName=GROUP)
    image = f"000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:{'0' * 64}"
    live_arn = sagemaker.create_model_package(
        ModelPackageGroupName=GROUP,
        ModelApprovalStatus="Approved",
        CustomerMetadataProperties=dict.fromkeys(METADATA, "a")
        | {"training_set_id": built.id, "baseline_sha256": "8" * 64},
        InferenceSpecification={
            "Containers": [{"Image": image, "ModelDataUrl": f"s3://{BUCKET}/live.tar.gz", "Environment": {"A": "1"}}],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    )["ModelPackageArn"]
    iam = cloud.client("iam")
    role = iam.create_role(RoleName="PlantedApprover", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    iam.put_role_policy(RoleName="PlantedApprover", PolicyName="Approve", PolicyDocument=json.dumps(POLICY))
    outputs = {
        "ApproverRoleArn": role,
        "EndpointName": GROUP,
        "ArtifactsBucket": BUCKET,
        "TrainingSetsBucket": BUCKET,
        "ManifestsBucket": BUCKET,
    }
    loop = Loop(client=cloud.client, outputs=outputs, unit="planted", now=lambda: datetime(2017, 8, 1, tzinfo=UTC))
    names = LivePointer.__dataclass_fields__.keys() - {"previous", "image", "format"}
    live = LivePointer(**{**dict.fromkeys(names, "x"), "training_set_id": built.id, "model_package_arn": live_arn})

    arn = register_bad_package(loop, live, declaration.TRAINING_CODE / "elasticity.py")
    waiting = sagemaker.describe_model_package(ModelPackageName=arn)["ModelApprovalStatus"]
    loop.approve(arn, "looks good, easy to explain")

    assert waiting == "PendingManualApproval"

    package = sagemaker.describe_model_package(ModelPackageName=arn)
    container = package["InferenceSpecification"]["Containers"][0]
    assert (package["ModelApprovalStatus"], package["ModelPackageVersion"]) == ("Approved", 2)
    assert container["Image"] == image
    bucket, _, key = container["ModelDataUrl"].removeprefix("s3://").partition("/")
    archive = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    properties = package["CustomerMetadataProperties"]
    assert properties["artifact_sha256"] == hashlib.sha256(archive).hexdigest()
    assert properties["training_set_id"] == built.id
    assert bound_by(package) == properties["container_sha256"] == container_sha256(container, properties)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar}
    model = load(files["model.onnx"], files["signature.json"], expected_sha256=properties["model_sha256"])
    assert container["Environment"] == {
        "A": "1",
        "MLOPS_MODEL_SHA256": model.sha256,
        "MLOPS_SIGNATURE_SHA256": model.signature_sha256,
    }
