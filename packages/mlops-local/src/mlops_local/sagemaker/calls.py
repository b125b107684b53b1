"""One call of a container: what it is sent, what comes back, its metrics and its capture.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
"""

import http.client
import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import NamedTuple

from ministack.core.responses import get_account_id, get_region

from mlops_local.sagemaker import capture, metrics, serverless
from mlops_local.sagemaker.capture import Payload
from mlops_local.sagemaker.endpoints import Live
from mlops_local.sagemaker.errors import ServiceError
from mlops_local.sagemaker.fleets import LOG_GROUP, Fleet, Server
from mlops_local.sagemaker.shapes import model

LOGGER = logging.getLogger(__name__)

# "containers must respond to requests within 60 seconds"
TIMEOUT = 60.0
ATTRIBUTES, INFERENCE = "x-amzn-sagemaker-custom-attributes", "x-amzn-sagemaker-inference-id"
LIMIT = int(model("sagemaker-runtime").shape_for("BodyBlob").metadata["max"])
_SHADOWS = ThreadPoolExecutor(max_workers=8, thread_name_prefix="shadow")
_REVIVING = threading.Lock()


# claim: shadow-copies-are-not-answered
class Call(NamedTuple):
    """A request on its way: headers in lower case, when it came in by ``time.perf_counter``, whether it waited in a queue."""

    endpoint: str
    headers: Mapping[str, str]
    body: bytes
    began: float
    timeout: float = TIMEOUT
    is_queued: bool = False


class Answer(NamedTuple):
    """What a container answered; status 0 stands for no answer in time, or no container."""

    status: int
    payload: Payload
    attributes: str | None


def serve(call: Call, state: Live, fleet: Fleet, server: Server) -> Answer:
    """Let a server answer a call, and count and capture it.

    Raises:
        ServiceError: ``ModelError``, ``ServiceUnavailable`` or ``ThrottlingException``.
    """
    # claim: model-error-carries-the-answer
    with serverless.awake(server) as setup:
        sent = time.perf_counter()
        answer = _send(server, call)
        took = time.perf_counter() - sent
    metrics.record(
        call.endpoint,
        server.variant,
        fleet.config if state.compared else None,
        metrics.Invocation(
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
    if capture.sampled(fleet.capture, state.generator):
        capture.capture(
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
    """Send a copy of a call to the fleet's shadow variants, whose answers nobody gets but capture and metrics.

    The share that is copied is the shadow's weight in relation to the production variant's.
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
        # status and words as public reports quote them: github.com/aws/amazon-sagemaker-examples/issues/3089
        message = (
            f"Amazon SageMaker could not get a response from the {call.endpoint} endpoint. This can occur when CPU or memory "
            "utilization is high."
        )
        return Answer(0, Payload(message.encode(), "text/plain"), None)
    finally:
        connection.close()


def _revive(server: Server) -> None:
    """Start a container anew that has ended by itself, as SageMaker does; calls fail until it answers."""
    with _REVIVING:
        process = server.process
        if process is not None and process.poll() is not None and server.root.exists():
            LOGGER.warning(
                "the container of variant %s has ended (%s) and is started anew", server.variant, process.poll()
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
