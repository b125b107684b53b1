"""Models of the example units behind our server's own answering, checked by golden requests in process."""

import hashlib
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from botocore.exceptions import ClientError

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.serving import GoldenSpec
from mlops_runtime.rollout.golden_rehearsal import GoldenCaller
from mlops_runtime.serving.http_app import NonFiniteError, answer
from mlops_runtime.serving.model_folder import manifest_of, write_manifest
from mlops_runtime.serving.model_source import ModelEnvironment, load_folder
from mlops_runtime.serving.request_payload import PayloadError

# a model that is not ONNX runs in this very environment, which has what the lock of the unit has
ENVIRONMENT = ModelEnvironment(python=Path(sys.executable), requirements_sha256="0" * 64)


def train(folder: Path, script: Path, table: pa.Table) -> Any:
    """Train a script on a table and load the model."""
    (folder / "train").mkdir()
    pq.write_table(table, folder / "train" / "part-0.parquet")
    return load_folder(trained(script, folder / "train", folder / "model"), ENVIRONMENT)


def trained(script: Path, rows: Path, model: Path) -> Path:
    """Train a script on a folder of rows, and return the folder of its model, packed as the training job packs it."""
    subprocess.run([sys.executable, script, "--train", rows, "--model-dir", model], check=True, capture_output=True)
    if not (model / "model.onnx").exists():
        write_manifest(model, manifest_of(model, requirements_sha256="0" * 64, python="3.13"))
    return model


def archived(model: Path) -> Path:
    """Return ``model.tar.gz`` of a model's folder, beside it."""
    archive = model.with_suffix(".tar.gz")
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(model.iterdir()):
            tar.add(path, path.name)
    return archive


class Changed:
    """A model whose answers are changed."""

    def __init__(self, model: Any, change: Any) -> None:
        self.signature, self._model, self._change = model.signature, model, change

    def predict(self, rows: Any) -> Any:
        """Return what the model answers, changed."""
        return self._change(self._model.predict(rows))


class _Platform:
    """S3 and InvokeEndpoint in process, as boto3 answers."""

    def __init__(self, content: bytes, **endpoints: Any) -> None:
        self._content, self._endpoints = content, endpoints

    def get_object(self, **_: Any) -> dict[str, Any]:
        """Return the set."""
        return {"Body": BytesIO(self._content)}

    def invoke_endpoint(self, *, EndpointName: str, Body: Any, ContentType: str, **_: Any) -> dict[str, Any]:  # noqa: N803 - boto3's names
        """Return what the model answers."""
        try:
            body, kind = answer(self._endpoints[EndpointName], ContentType, None, Body)
        except (PayloadError, NonFiniteError, RuntimeError) as error:
            status = error.status if isinstance(error, PayloadError) else 500
            answered: Any = {"Error": {"Code": "ModelError", "Message": ""}, "OriginalStatusCode": status}
            raise ClientError({**answered, "OriginalMessage": str(error)}, "InvokeEndpoint") from error
        return {"Body": BytesIO(body), "ContentType": kind, "ResponseMetadata": {}}


def verdict(content: bytes, candidate: Any, live: Any = None, **limits: Any) -> dict[str, Any]:
    """Return what the check says of a candidate, beside a live model if there is one; no time passes."""
    platform: Any = _Platform(content, new=candidate, live=live)
    caller = GoldenCaller(s3=platform, runtime=platform, bucket="artifacts", timer=lambda: 0.0)
    spec = GoldenSpec(uri="s3://assets/golden.jsonl", sha256=hashlib.sha256(content).hexdigest(), **limits)
    event = {"mode": "check", "endpoint": "new", "golden": to_dict(spec), "live_endpoint": "live" if live else None}
    return caller.handle(event)
