"""Native data capture: calls sampled into JSON lines in S3, one object a fleet's variant, hour and delivery.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
"""

import base64
import json
import logging
import random
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from botocore.exceptions import ClientError

from mlops_local import clock
from mlops_local.sagemaker.batches import Batches
from mlops_local.sagemaker.roles import Identity
from mlops_local.sagemaker.shapes import Record
from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.capture import CapturedCall, CapturedPayload, CaptureRecord, EventMetadata, capture_key

LOGGER = logging.getLogger(__name__)
_MODES = {"Input": ("INPUT",), "Output": ("OUTPUT",), "InputAndOutput": ("INPUT", "OUTPUT")}


# claim: capture-lines-follow-the-format
class Payload(NamedTuple):
    """One side of a call."""

    body: bytes
    content_type: str


class _Target(NamedTuple):
    destination: str
    endpoint: str
    variant: str
    hour: datetime
    identity: Identity
    key: str | None


def sampled(config: Record | None, generator: random.Random) -> bool:
    """Return whether this call is captured: ``InitialSamplingPercentage`` of them are."""
    if config is None or not config.get("EnableCapture", False):
        return False
    return bool(generator.random() * 100 < config["InitialSamplingPercentage"])


def capture(
    config: Record,
    *,
    endpoint: str,
    variant: str,
    identity: Identity,
    request: Payload,
    response: Payload,
    inference_id: str | None,
) -> None:
    """Keep a call for the next delivery.

    Args:
        config: ``DataCaptureConfig`` of the fleet that answered.
        endpoint: Endpoint name.
        variant: Variant that answered.
        identity: Execution role of its model, with which the object is written.
        request: What came in.
        response: What went out.
        inference_id: The caller's id of the call.
    """
    now = clock.utcnow()
    wanted = {mode for option in config["CaptureOptions"] for mode in _MODES[option["CaptureMode"]]}
    headers = config.get("CaptureContentTypeHeader", {})
    line = CaptureRecord(
        capture=CapturedCall(
            input=_side(request, "INPUT", headers) if "INPUT" in wanted else None,
            output=_side(response, "OUTPUT", headers) if "OUTPUT" in wanted else None,
        ),
        event=EventMetadata(
            event_id=str(uuid.uuid4()), inference_id=inference_id, inference_time=now.strftime("%Y-%m-%dT%H:%M:%SZ")
        ),
    )
    hour = now.replace(minute=0, second=0, microsecond=0)
    target = _Target(config["DestinationS3Uri"], endpoint, variant, hour, identity, config.get("KmsKeyId"))
    _BATCHES.add(target, json.dumps(to_dict(line)))


def encoding(content_type: str, headers: Record) -> Literal["CSV", "JSON", "BASE64"]:
    """Return how a payload is written; a content type that the config does not list is base64, also where it lists none.

    See: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CaptureContentTypeHeader.html

    Example:
        >>> encoding("text/csv; charset=utf-8", {"CsvContentTypes": ["text/csv"]})
        'CSV'
    """
    kind = content_type.split(";", 1)[0].strip().lower()
    if kind in (listed.lower() for listed in headers.get("CsvContentTypes", [])):
        return "CSV"
    if kind in (listed.lower() for listed in headers.get("JsonContentTypes", [])):
        return "JSON"
    return "BASE64"


def _side(payload: Payload, mode: Literal["INPUT", "OUTPUT"], headers: Record) -> CapturedPayload:
    how = encoding(payload.content_type, headers)
    try:
        data = base64.b64encode(payload.body).decode() if how == "BASE64" else payload.body.decode()
    except UnicodeDecodeError:
        how, data = "BASE64", base64.b64encode(payload.body).decode()
    return CapturedPayload(content_type=payload.content_type, mode=mode, data=data, encoding=how)


def _deliver(batch: dict[_Target, list[str]]) -> None:
    for target, lines in batch.items():
        try:
            _put(target, lines)
        except ClientError as error:  # AWS drops what it cannot write, too, but says nothing
            LOGGER.warning("%d captured calls of %s are lost: %s", len(lines), target.endpoint, error)


def _put(target: _Target, lines: Sequence[str]) -> None:
    bucket, _, prefix = target.destination.removeprefix("s3://").partition("/")
    key = capture_key(prefix.rstrip("/"), target.endpoint, target.variant, target.hour, str(uuid.uuid4()))
    encryption = {} if target.key is None else {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": target.key}
    body = "".join(f"{line}\n" for line in lines).encode()
    client = target.identity.client("s3")
    client.put_object(Bucket=bucket, Key=key.lstrip("/"), Body=body, ContentType="application/jsonl", **encryption)


_BATCHES: Batches[_Target, str] = Batches("data capture", _deliver)
