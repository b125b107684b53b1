"""Our own image on the embedded cloud: its training job, registry entry, server, and a captured call."""

import hashlib
import io
import json
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.capture import CaptureRecord
from mlops_runtime.image.requirements_lock import asset_name

if TYPE_CHECKING:
    from conftest import Plane

BUCKET = "plane"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "1" * 64

# fits y = slope * x on the channel's rows, and writes it as ONNX
SCRIPT = """
import csv, json, os, pathlib
import numpy as np
from onnx import TensorProto, helper, numpy_helper

rows = list(csv.DictReader((pathlib.Path(os.environ["SM_CHANNEL_TRAIN"]) / "rows.csv").open()))
x, y = (np.array([float(row[name]) for row in rows]) for name in ("x", "y"))
slope = numpy_helper.from_array(np.array([[x @ y / (x @ x)]], dtype=np.float32), "slope")
graph = helper.make_graph(
    [helper.make_node("MatMul", ["features", "slope"], ["units"])],
    "linear",
    [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, 1])],
    [helper.make_tensor_value_info("units", TensorProto.FLOAT, [None, 1])],
    [slope],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
folder = pathlib.Path(os.environ["SM_MODEL_DIR"])
(folder / "model.onnx").write_bytes(model.SerializeToString())
signature = {"inputs": [{"name": "x", "type": "number"}], "output": "units"}
(folder / "signature.json").write_text(json.dumps(signature))
"""


def test_model_is_trained_registered_served_and_captured(plane: "Plane") -> None:
    """From rows to a captured prediction, all by the real entry points."""
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("train.py", SCRIPT)
    plane.s3.put_object(Bucket=BUCKET, Key="runtime/code/source.zip", Body=code.getvalue())
    plane.s3.put_object(Bucket=BUCKET, Key="runtime/train/rows.csv", Body=b"x,y\n1,3\n2,6\n")
    sources = {"train": "runtime/train/", "code": "runtime/code/source.zip"}
    plane.sagemaker.create_training_job(
        TrainingJobName="runtime",
        AlgorithmSpecification={"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        HyperParameters={"sagemaker_program": "train.py"},
        RoleArn=plane.role,
        InputDataConfig=[
            {
                "ChannelName": name,
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{key}"}},
            }
            for name, key in sources.items()
        ],
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/runtime/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        StoppingCondition={"MaxRuntimeInSeconds": 120},
    )

    def ended() -> Any:
        described = plane.sagemaker.describe_training_job(TrainingJobName="runtime")
        return described if described["TrainingJobStatus"] != "InProgress" else None

    job = plane.wait(ended, "the end of the training job", 60)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    artifact = job["ModelArtifacts"]["S3ModelArtifacts"]
    body = plane.s3.get_object(Bucket=BUCKET, Key=artifact.removeprefix(f"s3://{BUCKET}/"))["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        assert sorted(tar.getnames()) == ["model.onnx", "signature.json"]

    plane.sagemaker.create_model_package_group(ModelPackageGroupName="runtime")
    package = plane.sagemaker.create_model_package(
        ModelPackageGroupName="runtime",
        ModelApprovalStatus="Approved",
        InferenceSpecification={
            "Containers": [{"Image": IMAGE, "ModelDataUrl": artifact}],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    )["ModelPackageArn"]
    plane.sagemaker.create_model(
        ModelName="runtime",
        ExecutionRoleArn=plane.role,
        Containers=[{"ModelPackageName": package}],
        EnableNetworkIsolation=True,
    )
    assert plane.sagemaker.describe_model(ModelName="runtime")["Containers"] == [{"ModelPackageName": package}]
    plane.config(
        "runtime",
        EnableCapture=True,
        InitialSamplingPercentage=100,
        DestinationS3Uri=f"s3://{BUCKET}/runtime/capture",
        CaptureOptions=[{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        CaptureContentTypeHeader={"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]},
    )
    plane.endpoint("runtime", "runtime")
    response = plane.runtime.invoke_endpoint(
        EndpointName="runtime", ContentType="application/json", Body=json.dumps({"instances": [{"x": 7}]})
    )
    answered = response["Body"].read()
    assert b"21" in answered

    def captured() -> Any:
        found = plane.s3.list_objects_v2(Bucket=BUCKET, Prefix="runtime/capture/runtime/AllTraffic/")
        return [item["Key"] for item in found.get("Contents", [])]

    (key,) = plane.wait(captured, "the captured call")
    record = from_json(CaptureRecord, plane.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
    assert record.capture.output is not None
    assert record.capture.output.data == answered.decode()


def test_a_job_fails_with_why_its_environment_cannot_be_made(plane: "Plane") -> None:
    """The reason has the fix; an image digest without a lock is rejected at the job's creation."""
    lock = f"# uv pip compile --python-version 3.4\none==1.0 --hash=sha256:{'0a' * 32}\n".encode()
    digest = hashlib.sha256(lock).hexdigest()
    plane.s3.create_bucket(Bucket="plane-assets")
    plane.s3.put_object(Bucket="plane-assets", Key=f"{asset_name(digest)}.lock", Body=lock)
    repository = IMAGE.partition("@")[0].replace("mlops-runtime", "mlops-model")

    def create(name: str, image: str) -> None:
        plane.sagemaker.create_training_job(
            TrainingJobName=name,
            AlgorithmSpecification={"TrainingImage": image, "TrainingInputMode": "File"},
            HyperParameters={"sagemaker_program": "train.py"},
            RoleArn=plane.role,
            OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/environment/out"},
            ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
            StoppingCondition={"MaxRuntimeInSeconds": 120},
        )

    def ended() -> Any:
        described = plane.sagemaker.describe_training_job(TrainingJobName="environment")
        return described if described["TrainingJobStatus"] != "InProgress" else None

    create("environment", f"{repository}@sha256:{digest}")
    job = plane.wait(ended, "the end of the training job", 60)
    assert job["TrainingJobStatus"] == "Failed"
    assert "the lock is of Python 3.4, which uv does not find here; install it" in job["FailureReason"]
    assert "mlops image lock" in job["FailureReason"]
    with pytest.raises(ClientError, match=r"no runner for image repository 'mlops-model'.*runs here without digest="):
        create("unknown", f"{repository}@sha256:{'0b' * 32}")
