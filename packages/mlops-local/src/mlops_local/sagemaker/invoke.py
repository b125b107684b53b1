"""InvokeEndpoint: one request through the fleets of an endpoint to a container and back.

See: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

import time
from collections.abc import Mapping

from ministack.core.responses import get_account_id

from mlops_local.sagemaker import calls, endpoints, store
from mlops_local.sagemaker.calls import Call
from mlops_local.sagemaker.errors import ServiceError
from mlops_local.sagemaker.shapes import Record

_SERVING = ("InService", "Updating", "SystemUpdating", "RollingBack")
_UNSUPPORTED = ("target-model", "target-container-hostname", "inference-component", "session-id", "enable-explanations")


def invoke(name: str, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send a request to an endpoint.

    Args:
        name: Endpoint name.
        headers: The request's headers, in lower case.
        body: The request's payload.

    Returns:
        Status, headers and payload of the response.

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
    if len(body) > calls.LIMIT:
        raise ServiceError(
            "ValidationError", f"request of {len(body)} bytes is too large; at most {calls.LIMIT} bytes are allowed"
        )
    record = serving(name)
    if "AsyncInferenceConfig" in record:
        raise ServiceError("ValidationError", f"Endpoint {name} is asynchronous; use InvokeEndpointAsync.")
    state, call = endpoints.live(record), Call(name, headers, body, began)
    with state.route(headers.get("x-amzn-sagemaker-target-variant")) as (fleet, server):
        calls.shadow(call, state, fleet, server)
        answer = calls.serve(call, state, fleet, server)
    given = {"Content-Type": answer.payload.content_type, "x-Amzn-Invoked-Production-Variant": server.variant}
    if answer.attributes is not None:
        given["X-Amzn-SageMaker-Custom-Attributes"] = answer.attributes
    return 200, given, answer.payload.body


def serving(name: str) -> Record:
    """Return the record of an endpoint that answers calls.

    Raises:
        ServiceError: ``ValidationError``: there is none.
    """
    # claim: invocations-have-limits
    record = store.store().records["Endpoint"].get(name)
    if record is None or record["EndpointStatus"] not in _SERVING:
        raise ServiceError("ValidationError", f"Endpoint {name} of account {get_account_id()} not found.")
    return record
