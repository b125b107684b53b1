"""Records of endpoint calls: data capture in S3 and ``AWS/SageMaker`` metrics, delivered asynchronously."""

import base64
import json
import logging
import random
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from botocore.exceptions import ClientError

from mlops_local import clock
from mlops_local.sagemaker.api_shapes import Record
from mlops_local.sagemaker.batch_delivery import Batches, metric_batches
from mlops_local.sagemaker.role_clients import Identity, encryption, split
from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.capture import CapturedCall, CapturedPayload, CaptureRecord, EventMetadata, capture_key

LOGGER = logging.getLogger(__name__)
NAMESPACE = "AWS/SageMaker"
# claim: metrics-by-endpoint-config
_PERIOD = 60  # seconds; endpoint metrics have 1-minute frequency
_UNITS = {
    "ModelLatency": "Microseconds",
    "OverheadLatency": "Microseconds",
    "ModelSetupTime": "Microseconds",
    "ApproximateAgeOfOldestRequest": "Seconds",
    "TimeInBacklog": "Milliseconds",
    "TotalProcessingTime": "Milliseconds",
}
_MODES = {"Input": ("INPUT",), "Output": ("OUTPUT",), "InputAndOutput": ("INPUT", "OUTPUT")}


class Invocation(NamedTuple):
    """One invocation, as counted by metrics."""

    status: int  # status of the container's response; 0 without a response
    model: float  # seconds that the container took
    overhead: float  # remaining seconds
    instances: int  # instances of the variant; 0 for a serverless variant
    # seconds that a serverless variant took to start. Default: it was running, or has instances
    setup: float | None = None
    # whether the endpoint is asynchronous, which has other metrics than `Invocations`. Default: real-time
    is_queued: bool = False


def record(endpoint: str, variant: str, config: str | None, call: Invocation) -> None:
    """Count one invocation.

    Args:
        variant: Variant that served the call.
        config: Endpoint config of its fleet, for metrics by fleet; ``None`` without these.
        call: The invocation.
    """
    values = {
        "Invocation4XXErrors": float(400 <= call.status < 500),
        "Invocation5XXErrors": float(call.status >= 500 or call.status == 0),
        "ModelLatency": round(call.model * 1e6),
        "OverheadLatency": round(call.overhead * 1e6),
    }
    # metrics of asynchronous and serverless endpoints have their own documentation:
    # https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-monitor.html
    # https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints-monitoring.html
    if not call.is_queued:
        values["Invocations"] = 1.0
    if call.instances and not call.is_queued:
        values["InvocationModelErrors"] = float(not 200 <= call.status < 300)
        # "1/numberOfInstances is sent as the value on each request"
        values["InvocationsPerInstance"] = 1.0 / call.instances
    if call.setup is not None:
        values["ModelSetupTime"] = round(call.setup * 1e6)
    publish(endpoint, values, clock.now(), (variant, config))


def publish(endpoint: str, values: Mapping[str, float], at: float, fleet: tuple[str, str | None] | None = None) -> None:
    """Publish values of an endpoint.

    Args:
        values: Values by metric.
        at: A time in the minute of the values, epoch seconds.
        fleet: Variant, and the endpoint config of its fleet for metrics by fleet. Default: the whole endpoint.
    """
    base: tuple[tuple[str, str], ...] = (("EndpointName", endpoint),)
    if fleet is not None:
        base = (*base, ("VariantName", fleet[0]))
    config = None if fleet is None else fleet[1]
    minute = int(at) // _PERIOD * _PERIOD
    for dimensions in [base] if config is None else [base, (*base, ("EndpointConfigName", config))]:
        for name, value in values.items():
            _METRICS.add((dimensions, name, minute), float(value))


_METRICS = metric_batches("endpoint metrics", NAMESPACE, lambda name: _UNITS.get(name, "None"))


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
    """Return whether to capture this call: ``InitialSamplingPercentage`` of the calls are captured."""
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
    """Add a call to the next delivery of captures, which the model's execution role writes."""
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
    _CAPTURES.add(target, json.dumps(to_dict(line)))


def encoding(content_type: str, headers: Record) -> Literal["CSV", "JSON", "BASE64"]:
    """Return the encoding of a payload: BASE64 for a content type that the config does not list.

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


def _deliver_captures(batch: dict[_Target, list[str]]) -> None:
    for target, lines in batch.items():
        try:
            _put(target, lines)
        except ClientError as error:  # AWS drops captures that it cannot write, too, without an error
            LOGGER.warning("%d captured calls of %s are lost: %s", len(lines), target.endpoint, error)


def _put(target: _Target, lines: Sequence[str]) -> None:
    bucket, prefix = split(target.destination)
    key = capture_key(prefix.rstrip("/"), target.endpoint, target.variant, target.hour, str(uuid.uuid4()))
    body = "".join(f"{line}\n" for line in lines).encode()
    client = target.identity.client("s3")
    client.put_object(
        Bucket=bucket, Key=key.lstrip("/"), Body=body, ContentType="application/jsonl", **encryption(target.key)
    )


_CAPTURES: Batches[_Target, str] = Batches("data capture", _deliver_captures)


def settle(limit: float) -> None:
    """Wait at most some real seconds until every metric and capture is delivered."""
    for batches in (_METRICS, _CAPTURES):
        batches.settle(limit)
