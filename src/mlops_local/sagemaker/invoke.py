"""InvokeEndpoint: one request through the fleets of an endpoint to a container and back.

See: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

import http.client
import time
from collections.abc import Mapping
from typing import NamedTuple

from ministack.core.responses import get_account_id, get_region

from mlops_local.sagemaker import capture, endpoints, metrics, store
from mlops_local.sagemaker.capture import Payload
from mlops_local.sagemaker.errors import ServiceError
from mlops_local.sagemaker.fleets import LOG_GROUP, Server
from mlops_local.sagemaker.shapes import model

# "containers must respond to requests within 60 seconds"
# https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
TIMEOUT = 60.0
_SERVING = ("InService", "Updating", "SystemUpdating", "RollingBack")
_ATTRIBUTES, _INFERENCE = "x-amzn-sagemaker-custom-attributes", "x-amzn-sagemaker-inference-id"
_UNSUPPORTED = ("target-model", "target-container-hostname", "inference-component", "session-id", "enable-explanations")


class Answer(NamedTuple):
    """What a container answered; status 0 stands for no answer in time."""

    status: int
    payload: Payload
    attributes: str | None


def invoke(name: str, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send a request to an endpoint.

    Args:
        name: Endpoint name.
        headers: The request's headers, in lower case.
        body: The request's payload.

    Returns:
        Status, headers and payload of the response.

    Raises:
        ServiceError: ``ValidationError``, ``ModelError`` or ``ServiceUnavailable``.
    """
    began = time.perf_counter()
    for member in _UNSUPPORTED:
        if f"x-amzn-sagemaker-{member}" in headers:
            raise ServiceError(
                "ValidationError", f"header x-amzn-sagemaker-{member} is not supported by the embedded SageMaker"
            )
    limit = model("sagemaker-runtime").shape_for("BodyBlob").metadata["max"]
    if len(body) > limit:
        raise ServiceError(
            "ValidationError", f"request of {len(body)} bytes is too large; at most {limit} bytes are allowed"
        )
    record = store.store().records["Endpoint"].get(name)
    if record is None or record["EndpointStatus"] not in _SERVING:
        raise ServiceError("ValidationError", f"Endpoint {name} of account {get_account_id()} not found.")
    state = endpoints.live(record)
    fleet, server = state.route(headers.get("x-amzn-sagemaker-target-variant"))
    sent = time.perf_counter()
    answer = _call(server, headers, body)
    took = time.perf_counter() - sent
    metrics.record(
        name,
        server.variant,
        fleet.config if state.compared else None,
        status=answer.status,
        model=took,
        overhead=time.perf_counter() - began - took,
    )
    if not 200 <= answer.status < 300:
        raise _model_error(name, answer)
    if len(answer.payload.body) > limit:
        raise _model_error(name, answer._replace(payload=Payload(b"response too large", "text/plain")))
    if capture.sampled(fleet.capture, state.generator):
        capture.capture(
            fleet.capture or {},
            endpoint=name,
            variant=server.variant,
            identity=server.identity,
            request=Payload(body, headers.get("content-type", "application/octet-stream")),
            response=answer.payload,
            inference_id=headers.get(_INFERENCE),
        )
    given = {"Content-Type": answer.payload.content_type, "x-Amzn-Invoked-Production-Variant": server.variant}
    if answer.attributes is not None:
        given["X-Amzn-SageMaker-Custom-Attributes"] = answer.attributes
    return 200, given, answer.payload.body


def _call(server: Server, headers: Mapping[str, str], body: bytes) -> Answer:
    passed = {name: headers[name] for name in ("content-type", "accept", _ATTRIBUTES, _INFERENCE) if name in headers}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)
    try:
        connection.request("POST", "/invocations", body=body, headers=passed)
        response = connection.getresponse()
        payload = Payload(response.read(), response.headers.get("content-type", "application/octet-stream"))
        return Answer(response.status, payload, response.headers.get(_ATTRIBUTES))
    except TimeoutError:
        message = (
            "Your invocation timed out while waiting for a response from container primary. Review the latency metrics "
            "for each container in Amazon CloudWatch, resolve the issue, and try again."
        )
        return Answer(0, Payload(message.encode(), "text/plain"), None)
    except (OSError, http.client.HTTPException) as error:
        message = f"the container of variant {server.variant} does not answer: {error}"
        raise ServiceError("ServiceUnavailable", message, status=503) from error
    finally:
        connection.close()


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
