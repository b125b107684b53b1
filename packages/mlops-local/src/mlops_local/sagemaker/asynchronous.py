"""InvokeEndpointAsync: a request's input waits in S3 until an instance takes it; its answer, or its failure, is an object too.

The queue of an endpoint is in memory. What waits is told each embedded minute, while there is something and half an hour longer.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference.html
and https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-monitor.html
"""

import json
import logging
import time
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from threading import RLock
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from ministack.core.responses import get_account_id, get_region, set_request_account_id, set_request_region

from mlops_local import clock
from mlops_local.sagemaker import calls, endpoints, invoke, metrics, store, transfer
from mlops_local.sagemaker.calls import Call
from mlops_local.sagemaker.endpoints import Live
from mlops_local.sagemaker.errors import ServiceError
from mlops_local.sagemaker.fleets import Fleet, Server
from mlops_local.sagemaker.processes import background
from mlops_local.sagemaker.shapes import Record

LOGGER = logging.getLogger(__name__)

_HEADER = "x-amzn-sagemaker-"
_UNSUPPORTED = ("s3outputpathextension", "filename")
_LIFE, _TIMEOUT = (
    21_600.0,
    900.0,
)  # seconds that a request may wait, embedded, and an answer may take, real; botocore's maximum
_CONCURRENCY = 4  # calls of an instance at a time where the config says nothing: AWS chooses, and does not say how
_LINGER = 1800.0  # embedded seconds that an empty queue is still told of
_MINUTE = 60.0
_LOCK = RLock()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    id: str
    call: Call
    source: str
    output: str
    failure: str | None
    received: float
    until: float


@dataclass(slots=True)
class _Queue:
    endpoint: str
    scope: tuple[str, str]
    created: datetime
    waiting: deque[_Waiting] = field(default_factory=deque)
    busy: int = 0
    active: float = 0.0


_QUEUES: dict[str, _Queue] = {}


def invoke_async(name: str, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    """Take a request into an endpoint's queue.

    Args:
        name: Endpoint name.
        headers: The request's headers, in lower case.
        body: The request's payload, which must be empty: the input is in S3.

    Returns:
        Status 202, where the answer and the failure will be, and the id of the inference.

    Raises:
        ServiceError: ``ValidationError``: the endpoint is not asynchronous, or the request is not one that is known here.
    """
    # claim: asynchronous-answers-are-objects
    refused = [member for member in _UNSUPPORTED if _HEADER + member in headers] + (["body"] if body else [])
    source = headers.get(f"{_HEADER}inputlocation", "")
    if refused or not source.startswith("s3://"):
        named = ", ".join(refused) or f"InputLocation {source!r}"
        raise ServiceError(
            "ValidationError", f"{named} is not supported by the embedded SageMaker; give InputLocation in S3"
        )
    record = invoke.serving(name)
    if "AsyncInferenceConfig" not in record:
        raise ServiceError("ValidationError", f"Endpoint {name} is not asynchronous; use InvokeEndpoint.")
    config, identity = record["AsyncInferenceConfig"]["OutputConfig"], str(uuid.uuid4())
    passed = {key: headers[_HEADER + key] for key in ("content-type", "accept") if _HEADER + key in headers}
    inference = headers.get(calls.INFERENCE, identity)
    passed |= {key: headers[key] for key in (calls.ATTRIBUTES,) if key in headers} | {calls.INFERENCE: inference}
    failures = config.get("S3FailurePath")
    item = _Waiting(
        id=inference,
        call=Call(
            name, passed, b"", 0.0, float(headers.get(f"{_HEADER}invocationtimeoutseconds", _TIMEOUT)), is_queued=True
        ),
        source=source,
        output=f"{config['S3OutputPath'].rstrip('/')}/{identity}.out",
        failure=None if failures is None else f"{failures.rstrip('/')}/{identity}-error.out",
        received=clock.now(),
        until=clock.now() + float(headers.get(f"{_HEADER}requestttlseconds", _LIFE)),
    )
    with _LOCK:
        fresh = _Queue(name, (get_account_id(), get_region()), record["CreationTime"])
        queue = _QUEUES.get(record["EndpointArn"], fresh)
        if queue.created != record["CreationTime"]:  # of an endpoint of that name which is gone
            queue = fresh
        _QUEUES[record["EndpointArn"]] = queue
        queue.waiting.append(item)
        queue.active = clock.now()
    _pump(record, queue)
    clock.wake()
    given = {"Content-Type": "application/json", "X-Amzn-SageMaker-OutputLocation": item.output}
    if item.failure is not None:
        given["X-Amzn-SageMaker-FailureLocation"] = item.failure
    return 202, given, json.dumps({"InferenceId": inference}).encode()


class Backlogs:
    """What waits in the queues, told each minute as one source of the embedded clock."""

    def due(self, after: float) -> float | None:
        """Return the next minute, while a queue has something to tell."""
        with _LOCK:
            told = any(queue.waiting or queue.busy or queue.active + _LINGER > after for queue in _QUEUES.values())
        return (after // _MINUTE + 1) * _MINUTE if told else None

    def run(self, at: float) -> bool:
        """Tell, and let instances that have come take what waits."""
        before = get_account_id(), get_region()
        for identity, queue in list(_QUEUES.items()):
            set_request_account_id(queue.scope[0])
            set_request_region(queue.scope[1])
            record = store.store().records["Endpoint"].get(queue.endpoint)
            if record is None or record["CreationTime"] != queue.created:
                del _QUEUES[identity]
                continue
            _publish(record, queue, at)
            _pump(record, queue)
        set_request_account_id(before[0])
        set_request_region(before[1])
        return False


def _publish(record: Record, queue: _Queue, at: float) -> None:
    with _LOCK:
        size, oldest = len(queue.waiting), queue.waiting[0].received if queue.waiting else at
        if size or queue.busy:
            queue.active = at
    instances = _instances(endpoints.live(record))
    values = {
        "ApproximateBacklogSize": size,
        "ApproximateBacklogSizePerInstance": size / max(1, instances),
        "ApproximateAgeOfOldestRequest": max(0.0, at - oldest),
        "HasBacklogWithoutCapacity": float(size > 0 and instances == 0),
    }
    metrics.publish(queue.endpoint, values, at - _MINUTE)


def _instances(state: Live) -> int:
    return 0 if state.fleet is None else sum(server.instances for server in state.fleet.servers.values())


def _pump(record: Record, queue: _Queue) -> None:
    """Start as many of the waiting requests as the instances take at a time."""
    most = (
        record["AsyncInferenceConfig"].get("ClientConfig", {}).get("MaxConcurrentInvocationsPerInstance", _CONCURRENCY)
    )
    state = endpoints.live(record)
    with _LOCK:
        while queue.waiting and queue.busy < most * _instances(state):
            queue.busy += 1
            background(f"asynchronous call of {queue.endpoint}", _work, record, queue, queue.waiting.popleft())


def _work(record: Record, queue: _Queue, item: _Waiting) -> None:
    state, started = endpoints.live(record), clock.now()
    with state.route(None) as (fleet, server):
        values = {
            "TimeInBacklog": (started - item.received) * 1000,
            "InvocationFailures": 0.0,
            "InvocationsProcessed": 1.0,
        }
        try:
            kind = _answer(record, item, state, fleet, server)
        except (ServiceError, ClientError, BotoCoreError) as error:
            values["InvocationFailures"] = 1.0
            _fail(record, server, item, error)
        else:
            parameters = {"contentType": kind, "outputLocation": item.output}
            _notify(
                record, server, item, "Success", {"invocationStatus": "Completed", "responseParameters": parameters}
            )
        finally:
            values["TotalProcessingTime"] = (clock.now() - item.received) * 1000
            metrics.publish(
                queue.endpoint, values, clock.now(), (server.variant, fleet.config if state.compared else None)
            )
            with _LOCK:
                queue.busy -= 1
                queue.active = clock.now()
            _pump(record, queue)


def _answer(record: Record, item: _Waiting, state: Live, fleet: Fleet, server: Server) -> str:
    """Read the input, call the container, write its answer, and return the answer's content type."""
    # claim: asynchronous-answers-are-objects
    if clock.now() > item.until:
        raise ServiceError("ValidationError", "the request has expired in the queue")
    s3 = server.identity.client("s3")
    bucket, key = transfer.split(item.source)
    content = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    answer = calls.serve(item.call._replace(body=content, began=time.perf_counter()), state, fleet, server)
    bucket, key = transfer.split(item.output)
    kind = answer.payload.content_type
    s3.put_object(Bucket=bucket, Key=key, Body=answer.payload.body, ContentType=kind, **_encryption(record))
    return kind


def _fail(record: Record, server: Server, item: _Waiting, error: Exception) -> None:
    what = f"{'ClientError' if isinstance(error, ClientError) else 'InternalServerError'}: {error}"
    LOGGER.info("asynchronous call %s of endpoint %s failed: %s", item.id, item.call.endpoint, what)
    if item.failure is not None:
        bucket, key = transfer.split(item.failure)
        try:
            server.identity.client("s3").put_object(Bucket=bucket, Key=key, Body=what.encode(), **_encryption(record))
        except (ClientError, BotoCoreError) as second:
            LOGGER.warning("the failure of call %s cannot be written to %s: %s", item.id, item.failure, second)
    _notify(record, server, item, "Error", {"invocationStatus": "Failed", "failureReason": what})


def _notify(record: Record, server: Server, item: _Waiting, topic: str, outcome: Record) -> None:
    """Tell the topic, if there is one, in the name of the execution role.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-check-predictions.html
    """
    arn = record["AsyncInferenceConfig"]["OutputConfig"].get("NotificationConfig", {}).get(f"{topic}Topic")
    if not arn:
        return
    message = {
        "awsRegion": get_region(),
        "eventTime": clock.iso(),
        "receivedTime": clock.iso(item.received),
        "requestParameters": {
            "endpointName": item.call.endpoint,
            "inputLocation": item.source,
            **({"contentType": item.call.headers["content-type"]} if "content-type" in item.call.headers else {}),
        },
        "inferenceId": item.id,
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
        **outcome,
    }
    try:
        server.identity.of_service().client("sns").publish(TopicArn=arn, Message=json.dumps(message))
    except (ClientError, BotoCoreError) as error:
        LOGGER.warning("%s cannot be told of call %s: %s", arn, item.id, error)


def _encryption(record: Record) -> dict[str, Any]:
    key = record["AsyncInferenceConfig"]["OutputConfig"].get("KmsKeyId")
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key} if key else {}
