"""Models of the example units behind our server's code, checked with golden requests in this process."""

import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from botocore.exceptions import ClientError
from examples.retail.model_files import HERE, train

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.serving import GoldenSpec
from mlops_runtime.rollout.golden_rehearsal import GoldenCaller
from mlops_runtime.serving.http_app import NonFiniteError, answer
from mlops_runtime.serving.model_source import load_folder
from mlops_runtime.serving.request_payload import PayloadError


def trained_model(folder: Path, script: Path, table: pa.Table) -> Any:
    """Train a script on a table and load the model."""
    (folder / "train").mkdir()
    pq.write_table(table, folder / "train" / "part-0.parquet")
    train(script, folder / "train", folder / "model")
    return load_folder(folder / "model", HERE)


class Changed:
    """A model with changed answers."""

    def __init__(self, model: Any, change: Any) -> None:
        self.signature, self._model, self._change = model.signature, model, change

    def predict(self, rows: Any) -> Any:
        """Return the model's answers with the change."""
        return self._change(self._model.predict(rows))


class _Platform:
    """S3 and InvokeEndpoint in this process, with the interface of boto3."""

    def __init__(self, content: bytes, **endpoints: Any) -> None:
        self._content, self._endpoints = content, endpoints

    def get_object(self, **_: Any) -> dict[str, Any]:
        """Return the golden set."""
        return {"Body": BytesIO(self._content)}

    def put_object(self, **_: Any) -> None:
        """Take the announcement of calls."""

    def invoke_endpoint(self, *, EndpointName: str, Body: Any, ContentType: str, **_: Any) -> dict[str, Any]:  # noqa: N803 - boto3's names
        """Return the model's response."""
        try:
            body, kind = answer(self._endpoints[EndpointName], ContentType, None, Body)
        except (PayloadError, NonFiniteError, RuntimeError) as error:
            status = error.status if isinstance(error, PayloadError) else 500
            answered: Any = {"Error": {"Code": "ModelError", "Message": ""}, "OriginalStatusCode": status}
            raise ClientError({**answered, "OriginalMessage": str(error)}, "InvokeEndpoint") from error
        return {"Body": BytesIO(body), "ContentType": kind, "ResponseMetadata": {}}


def verdict(content: bytes, candidate: Any, live: Any = None, **limits: Any) -> dict[str, Any]:
    """Return the check's result for a candidate, compared with a live model if given; without waiting."""
    platform: Any = _Platform(content, new=candidate, live=live)
    caller = GoldenCaller(s3=platform, runtime=platform, bucket="artifacts", timer=lambda: 0.0)
    spec = GoldenSpec(uri="s3://assets/golden.jsonl", sha256=hashlib.sha256(content).hexdigest(), **limits)
    event = {"mode": "check", "endpoint": "new", "golden": to_dict(spec), "live_endpoint": "live" if live else None}
    return caller.handle({**event, "now": "2017-08-01T09:00:00Z", "execution": "arn:execution"})
