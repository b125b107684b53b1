"""InvokeEndpoint and InvokeEndpointAsync: calls of containers through fleets, serverless variants and queues."""

import http.client
import json
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from threading import RLock
from typing import NamedTuple

from botocore.exceptions import BotoCoreError, ClientError
from ministack.core.responses import get_account_id, get_region, request_scope

from mlops_local import clock
from mlops_local.sagemaker import call_records, endpoints, resource_store, role_clients
from mlops_local.sagemaker.api_shapes import Record, ServiceError, model
from mlops_local.sagemaker.call_records import Payload
from mlops_local.sagemaker.container_processes import background
from mlops_local.sagemaker.endpoints import Live
from mlops_local.sagemaker.fleets import LOG_GROUP, Fleet, FleetError, Server
from mlops_local.saved_state import kept_stores

IDLE = 300.0  # embedded seconds
_IDLE_LOCK = threading.Lock()

LOGGER = logging.getLogger(__name__)

# "containers must respond to requests within 60 seconds"
TIMEOUT = 60.0
ATTRIBUTES, INFERENCE = "x-amzn-sagemaker-custom-attributes", "x-amzn-sagemaker-inference-id"
LIMIT = int(model("sagemaker-runtime").shape_for("BodyBlob").metadata["max"])
_SHADOWS = ThreadPoolExecutor(max_workers=8, thread_name_prefix="shadow")
_REVIVING = threading.Lock()

_SERVING = ("InService", "Updating", "SystemUpdating", "RollingBack")
_UNSUPPORTED = ("target-model", "target-container-hostname", "inference-component", "session-id", "enable-explanations")

_HEADER = "x-amzn-sagemaker-"
_UNSUPPORTED_ASYNCHRONOUS = ("s3outputpathextension",)
_LIFE, _TIMEOUT = (
    21_600.0,
    900.0,
)  # longest queue time in embedded seconds, and timeout of a response in real seconds: botocore's maxima
_CONCURRENCY = 4  # default of concurrent calls per instance; AWS's choice is not documented
_LINGER = 1800.0  # embedded seconds for which an empty queue still publishes metrics
_MINUTE = 60.0
_QUEUE_LOCK = RLock()


@contextmanager
def awake(server: Server) -> Iterator[float | None]:
    """Keep a server running during one call, starting a serverless variant if necessary.

    Returns:
        Real seconds that the start took; ``None`` if it was running.

    Raises:
        ServiceError: ``ThrottlingException`` if all of its concurrency is in use; ``ServiceUnavailable`` if it does not start.
    """
    # claim: serverless-throttles-over-concurrency
    if server.serverless is None:
        yield None
        return
    with _IDLE_LOCK:
        if server.busy >= server.serverless["MaxConcurrency"]:
            raise ServiceError("ThrottlingException", "Rate exceeded", status=429)
        server.busy += 1
    try:
        yield _wake(server)
    finally:
        with _IDLE_LOCK:
            server.busy -= 1
            server.used = clock.now()
        clock.wake()  # the next idle time has changed


def _wake(server: Server) -> float | None:
    # claim: serverless-throttles-over-concurrency
    with server.waking:
        if server.process is not None:
            return None
        began = time.perf_counter()
        server.start()
        try:
            server.wait_healthy(threading.Event())
        except FleetError as error:
            server.rest()
            raise ServiceError("ServiceUnavailable", str(error), status=503) from error
        return time.perf_counter() - began


class Rests:
    """Stops idle serverless variants, as one source of the embedded clock."""

    def due(self, after: float) -> float | None:
        """Return when the next server has been idle long enough."""
        times = [max(server.used + IDLE, after + 0.001) for server in endpoints.servers() if _may_rest(server)]
        return min(times, default=None)

    def run(self, at: float) -> bool:
        """Stop the servers that have been idle long enough."""
        for server in endpoints.servers():
            if _may_rest(server) and server.used + IDLE <= at:
                with server.waking:
                    if server.busy == 0:
                        server.rest()
        return False


def _may_rest(server: Server) -> bool:
    if server.serverless is None or server.serverless.get("ProvisionedConcurrency"):
        return False
    return server.busy == 0 and server.process is not None


# claim: shadow-copies-are-not-answered
@kept_stores.record
class Call(NamedTuple):
    """A call in progress: headers in lower case, start in ``time.perf_counter`` seconds, whether it waited in a queue."""

    endpoint: str
    headers: Mapping[str, str]
    body: bytes
    began: float
    timeout: float = TIMEOUT
    is_queued: bool = False


class Answer(NamedTuple):
    """Response of a container; status 0 means a timeout or no container."""

    status: int
    payload: Payload
    attributes: str | None


def serve(call: Call, state: Live, fleet: Fleet, server: Server) -> Answer:
    """Serve a call with a server, and record its metrics and capture.

    Raises:
        ServiceError: ``ModelError``, ``ServiceUnavailable`` or ``ThrottlingException``.
    """
    # claim: model-error-carries-the-answer
    with awake(server) as setup:
        sent = time.perf_counter()
        answer = _send(server, call)
        took = time.perf_counter() - sent
    call_records.record(
        call.endpoint,
        server.variant,
        fleet.config if state.compared else None,
        call_records.Invocation(
            status=answer.status,
            model=took,
            overhead=time.perf_counter() - call.began - took,
            instances=server.instances,
            setup=setup,
            is_queued=call.is_queued,
        ),
    )
    if not 200 <= answer.status < 300:
        raise _model_error(call.endpoint, answer)
    if len(answer.payload.body) > LIMIT:
        raise _model_error(call.endpoint, answer._replace(payload=Payload(b"response too large", "text/plain")))
    if call_records.sampled(fleet.capture, state.generator):
        call_records.capture(
            fleet.capture or {},
            endpoint=call.endpoint,
            variant=server.variant,
            identity=server.identity,
            request=Payload(call.body, call.headers.get("content-type", "application/octet-stream")),
            response=answer.payload,
            inference_id=call.headers.get(INFERENCE),
        )
    return answer


def shadow(call: Call, state: Live, fleet: Fleet, server: Server) -> None:
    """Send a copy of a call to the fleet's shadow variants, whose responses go only to capture and metrics.

    The copied share is the shadow's weight relative to the production variant's.
    See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-shadow-deployment.html
    """
    for copy in fleet.shadows.values():
        if server.weight > 0 and state.generator.random() < copy.weight / server.weight:
            later = call._replace(began=time.perf_counter())
            _SHADOWS.submit(partial(copy_context().run, _serve_shadow, later, state, fleet, copy))


def _serve_shadow(call: Call, state: Live, fleet: Fleet, server: Server) -> None:
    try:
        serve(call, state, fleet, server)
    except ServiceError as error:
        LOGGER.info("shadow %s of endpoint %s: %s", server.variant, call.endpoint, error)
    except Exception:
        LOGGER.exception("shadow %s of endpoint %s failed", server.variant, call.endpoint)


def _send(server: Server, call: Call) -> Answer:
    given = call.headers
    passed = {name: given[name] for name in ("content-type", "accept", ATTRIBUTES, INFERENCE) if name in given}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=call.timeout)
    try:
        connection.request("POST", "/invocations", body=call.body, headers=passed)
        response = connection.getresponse()
        payload = Payload(response.read(), response.headers.get("content-type", "application/octet-stream"))
        return Answer(response.status, payload, response.headers.get(ATTRIBUTES))
    except TimeoutError:
        message = (
            "Your invocation timed out while waiting for a response from container primary. Review the latency metrics "
            "for each container in Amazon CloudWatch, resolve the issue, and try again."
        )
        return Answer(0, Payload(message.encode(), "text/plain"), None)
    except (OSError, http.client.HTTPException) as error:
        LOGGER.info("the container of variant %s does not answer: %s", server.variant, error)
        _revive(server)
        # status and wording of public reports: github.com/aws/amazon-sagemaker-examples/issues/3089
        message = (
            f"Amazon SageMaker could not get a response from the {call.endpoint} endpoint. This can occur when CPU or memory "
            "utilization is high."
        )
        return Answer(0, Payload(message.encode(), "text/plain"), None)
    finally:
        connection.close()


def _revive(server: Server) -> None:
    """Restart a container that has ended by itself, as SageMaker does; calls fail until it responds."""
    with _REVIVING:
        process = server.process
        if process is not None and process.poll() is not None and server.root.exists():
            LOGGER.warning(
                "the container of variant %s has ended (%s) and is restarted", server.variant, process.poll()
            )
            server.start()


def _model_error(endpoint: str, answer: Answer) -> ServiceError:
    text = answer.payload.body.decode(errors="replace")[:2048]
    group = f"{LOG_GROUP}/{endpoint}"
    who = "client" if 400 <= answer.status < 500 else "server"
    message = (
        f'Received {who} error ({answer.status}) from primary with message "{text}". See log group {group} in account '
        f"{get_account_id()} for more information."
    )
    return ServiceError(
        "ModelError",
        message,
        status=424,
        fields={
            "OriginalStatusCode": answer.status,
            "OriginalMessage": text,
            "LogStreamArn": f"arn:aws:logs:{get_region()}:{get_account_id()}:log-group:{group}",
        },
    )


def invoke(name: str, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send a request to an endpoint; return status, headers and payload of the response.

    Raises:
        ServiceError: ``ValidationError``, ``ModelError``, ``ServiceUnavailable`` or ``ThrottlingException``.
    """
    # claim: invocations-have-limits
    began = time.perf_counter()
    for member in _UNSUPPORTED:
        if f"x-amzn-sagemaker-{member}" in headers:
            raise ServiceError(
                "ValidationError", f"header x-amzn-sagemaker-{member} is not supported by the embedded SageMaker"
            )
    if len(body) > LIMIT:
        raise ServiceError(
            "ValidationError", f"request of {len(body)} bytes is too large; at most {LIMIT} bytes are allowed"
        )
    record = serving(name)
    if "AsyncInferenceConfig" in record:
        raise ServiceError("ValidationError", f"Endpoint {name} is asynchronous; use InvokeEndpointAsync.")
    state, call = endpoints.live(record), Call(name, headers, body, began)
    with state.route(headers.get("x-amzn-sagemaker-target-variant")) as (fleet, server):
        shadow(call, state, fleet, server)
        answer = serve(call, state, fleet, server)
    given = {"Content-Type": answer.payload.content_type, "x-Amzn-Invoked-Production-Variant": server.variant}
    if answer.attributes is not None:
        given["X-Amzn-SageMaker-Custom-Attributes"] = answer.attributes
    return 200, given, answer.payload.body


def serving(name: str) -> Record:
    """Return the record of an endpoint that can serve calls.

    Raises:
        ServiceError: ``ValidationError`` if it does not exist or is not in service.
    """
    # claim: invocations-have-limits
    record = resource_store.store().records["Endpoint"].get(name)
    if record is None or record["EndpointStatus"] not in _SERVING:
        raise ServiceError("ValidationError", f"Endpoint {name} of account {get_account_id()} not found.")
    return record


@kept_stores.record
@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    id: str
    call: Call
    source: str
    output: str
    failure: str | None
    received: float
    until: float


@kept_stores.record
@dataclass(slots=True)
class _Queue:
    endpoint: str
    scope: tuple[str, str]
    created: datetime
    waiting: deque[_Waiting] = field(default_factory=deque)
    working: dict[str, _Waiting] = field(default_factory=dict)
    active: float = 0.0

    @property
    def busy(self) -> int:
        """Number of requests in progress."""
        return len(self.working)


_QUEUES: dict[str, _Queue] = {}


def _restore_queues(queues: dict[str, _Queue]) -> None:
    """Restore the queues; requests in progress are first in line."""
    for queue in queues.values():
        items = [*queue.working.values(), *queue.waiting]
        queue.waiting = deque(items)
        queue.working = {}
    kept_stores.refill(_QUEUES, queues)


kept_stores.keep_by(__name__, "_QUEUES", save=lambda: _QUEUES, restore=_restore_queues)


def invoke_async(name: str, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    """Add a request to an endpoint's queue; return status 202, the locations of the response and the failure, and the inference id.

    Args:
        name: Endpoint name.
        headers: The request's headers, in lower case.
        body: The request's body, which must be empty: the input is in S3.

    Raises:
        ServiceError: ``ValidationError`` if the endpoint is not asynchronous, or the request is not supported.
    """
    # claim: asynchronous-answers-are-objects
    refused = [member for member in _UNSUPPORTED_ASYNCHRONOUS if _HEADER + member in headers] + (
        ["body"] if body else []
    )
    source = headers.get(f"{_HEADER}inputlocation", "")
    if refused or not source.startswith("s3://"):
        named = ", ".join(refused) or f"InputLocation {source!r}"
        raise ServiceError(
            "ValidationError", f"{named} is not supported by the embedded SageMaker; give InputLocation in S3"
        )
    record = serving(name)
    if "AsyncInferenceConfig" not in record:
        raise ServiceError("ValidationError", f"Endpoint {name} is not asynchronous; use InvokeEndpoint.")
    config, identity = record["AsyncInferenceConfig"]["OutputConfig"], str(uuid.uuid4())
    passed = {key: headers[_HEADER + key] for key in ("content-type", "accept") if _HEADER + key in headers}
    inference = headers.get(INFERENCE, identity)
    passed |= {key: headers[key] for key in (ATTRIBUTES,) if key in headers} | {INFERENCE: inference}
    failures = config.get("S3FailurePath")
    # claim: asynchronous-answers-have-given-names
    identity = headers.get(f"{_HEADER}filename", identity)
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
    with _QUEUE_LOCK:
        fresh = _Queue(name, (get_account_id(), get_region()), record["CreationTime"])
        queue = _QUEUES.get(record["EndpointArn"], fresh)
        if queue.created != record["CreationTime"]:  # the queue of a deleted endpoint of the same name
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
    """Backlog metrics of the queues, published each minute, as one source of the embedded clock."""

    def due(self, after: float) -> float | None:
        """Return the next minute while a queue has metrics to publish."""
        with _QUEUE_LOCK:
            is_active = any(queue.waiting or queue.busy or queue.active + _LINGER > after for queue in _QUEUES.values())
        return (after // _MINUTE + 1) * _MINUTE if is_active else None

    def run(self, at: float) -> bool:
        """Publish the metrics, and start waiting requests on new instances."""
        for identity, queue in list(_QUEUES.items()):
            with request_scope(*queue.scope):
                record = resource_store.store().records["Endpoint"].get(queue.endpoint)
                if record is None or record["CreationTime"] != queue.created:
                    del _QUEUES[identity]
                    continue
                _publish(record, queue, at)
                _pump(record, queue)
        return False


def _publish(record: Record, queue: _Queue, at: float) -> None:
    with _QUEUE_LOCK:
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
    call_records.publish(queue.endpoint, values, at - _MINUTE)


def _instances(state: Live) -> int:
    return 0 if state.fleet is None else sum(server.instances for server in state.fleet.servers.values())


def _pump(record: Record, queue: _Queue) -> None:
    """Start waiting requests, up to the instances' concurrency."""
    most = (
        record["AsyncInferenceConfig"].get("ClientConfig", {}).get("MaxConcurrentInvocationsPerInstance", _CONCURRENCY)
    )
    state = endpoints.live(record)
    with _QUEUE_LOCK:
        while queue.waiting and queue.busy < most * _instances(state):
            item = queue.waiting.popleft()
            queue.working[item.id] = item
            background(f"asynchronous call of {queue.endpoint}", _work, record, queue, item)


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
            call_records.publish(
                queue.endpoint, values, clock.now(), (server.variant, fleet.config if state.compared else None)
            )
            with _QUEUE_LOCK:
                queue.working.pop(item.id)
                queue.active = clock.now()
            _pump(record, queue)


def _answer(record: Record, item: _Waiting, state: Live, fleet: Fleet, server: Server) -> str:
    """Read the input, call the container, write its response; return the response's content type."""
    # claim: asynchronous-answers-are-objects
    if clock.now() > item.until:
        raise ServiceError("ValidationError", "the request has expired in the queue")
    s3 = server.identity.client("s3")
    bucket, key = role_clients.split(item.source)
    content = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    answer = serve(item.call._replace(body=content, began=time.perf_counter()), state, fleet, server)
    bucket, key = role_clients.split(item.output)
    kind = answer.payload.content_type
    s3.put_object(Bucket=bucket, Key=key, Body=answer.payload.body, ContentType=kind, **_encryption(record))
    return kind


def _fail(record: Record, server: Server, item: _Waiting, error: Exception) -> None:
    what = f"{'ClientError' if isinstance(error, ClientError) else 'InternalServerError'}: {error}"
    LOGGER.info("asynchronous call %s of endpoint %s failed: %s", item.id, item.call.endpoint, what)
    if item.failure is not None:
        bucket, key = role_clients.split(item.failure)
        try:
            server.identity.client("s3").put_object(Bucket=bucket, Key=key, Body=what.encode(), **_encryption(record))
        except (ClientError, BotoCoreError) as second:
            LOGGER.warning("the failure of call %s cannot be written to %s: %s", item.id, item.failure, second)
    _notify(record, server, item, "Error", {"invocationStatus": "Failed", "failureReason": what})


def _notify(record: Record, server: Server, item: _Waiting, topic: str, outcome: Record) -> None:
    """Notify the topic, if any, with the execution role."""
    # https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-check-predictions.html
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
        LOGGER.warning("%s cannot be notified of call %s: %s", arn, item.id, error)


def _encryption(record: Record) -> dict[str, str]:
    return role_clients.encryption(record["AsyncInferenceConfig"]["OutputConfig"].get("KmsKeyId") or None)
