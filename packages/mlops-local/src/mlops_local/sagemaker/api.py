"""The service's front: which operations there are, how a request reaches one, and how an error leaves.

Only what constructs, demo and command use is here; every other operation is refused by name.
"""

import asyncio
import json
import logging
import re
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any

from ministack.core import responses

from mlops_local import compat
from mlops_local.sagemaker import (
    asynchronous,
    endpoints,
    invoke,
    lineage,
    models,
    monitoring,
    processing,
    registry,
    tags,
    training,
    updates,
)
from mlops_local.sagemaker.errors import ServiceError
from mlops_local.sagemaker.shapes import Record, check_request, check_response

compat.expect("ministack.core.responses", _WIRE_CT_SUCCESS_OVERRIDE=dict)
# MiniStack gives every JSON answer the API's content type, but a model's keeps its own; clients of the API do not look at it
responses._WIRE_CT_SUCCESS_OVERRIDE["sagemaker"] = "application/json"

LOGGER = logging.getLogger(__name__)
Response = tuple[int, dict[str, str], bytes]

OPERATIONS: Mapping[str, Callable[[Record], Record]] = {
    "CreateModel": models.create_model,
    "DescribeModel": models.describe_model,
    "ListModels": models.list_models,
    "DeleteModel": models.delete_model,
    "CreateEndpointConfig": models.create_config,
    "DescribeEndpointConfig": models.describe_config,
    "ListEndpointConfigs": models.list_configs,
    "DeleteEndpointConfig": models.delete_config,
    "CreateEndpoint": endpoints.create,
    "DescribeEndpoint": endpoints.describe,
    "ListEndpoints": endpoints.list_,
    "DeleteEndpoint": endpoints.delete,
    "UpdateEndpoint": updates.update,
    "UpdateEndpointWeightsAndCapacities": endpoints.update_weights,
    "CreateTrainingJob": training.create,
    "DescribeTrainingJob": training.describe,
    "ListTrainingJobs": training.list_,
    "StopTrainingJob": training.stop,
    "CreateProcessingJob": processing.create,
    "DescribeProcessingJob": processing.describe,
    "ListProcessingJobs": processing.list_,
    "StopProcessingJob": processing.stop,
    "CreateModelPackageGroup": registry.create_group,
    "DescribeModelPackageGroup": registry.describe_group,
    "ListModelPackageGroups": registry.list_groups,
    "DeleteModelPackageGroup": registry.delete_group,
    "CreateModelPackage": registry.create_package,
    "DescribeModelPackage": registry.describe_package,
    "ListModelPackages": registry.list_packages,
    "UpdateModelPackage": registry.update_package,
    "DeleteModelPackage": registry.delete_package,
    "CreateArtifact": lineage.create_artifact,
    "DescribeArtifact": lineage.describe_artifact,
    "ListArtifacts": lineage.list_artifacts,
    "DeleteArtifact": lineage.delete_artifact,
    "CreateAction": lineage.create_action,
    "DescribeAction": lineage.describe_action,
    "ListActions": lineage.list_actions,
    "DeleteAction": lineage.delete_action,
    "CreateContext": lineage.create_context,
    "DescribeContext": lineage.describe_context,
    "ListContexts": lineage.list_contexts,
    "DeleteContext": lineage.delete_context,
    "AddAssociation": lineage.add_association,
    "ListAssociations": lineage.list_associations,
    "DeleteAssociation": lineage.delete_association,
    **monitoring.OPERATIONS,
    "AddTags": tags.add,
    "ListTags": tags.list_,
    "DeleteTags": tags.delete,
}

_INVOCATIONS = re.compile(r"/endpoints/([^/]+)/(async-)?invocations")
# requests block on containers and on the embedded cloud itself; asyncio's default pool is too small for both
_POOL = ThreadPoolExecutor(max_workers=64, thread_name_prefix="sagemaker")


def call(name: str, request: object) -> Record:
    """Run an operation: request and response follow botocore's model, or it is an error.

    Raises:
        ServiceError: The operation's error, ``ValidationException``, or ``UnknownOperationException`` for one that is not here.
    """
    operation = OPERATIONS.get(name)
    if operation is None:
        known = ", ".join(sorted(OPERATIONS))
        raise ServiceError(
            "UnknownOperationException", f"{name} is not an operation of the embedded SageMaker; it has {known}"
        )
    return check_response(name, operation(check_request(name, request)))


async def handle(method: str, path: str, headers: Mapping[str, str], body: bytes | str, query: object) -> Response:
    """Answer a request of the service ``sagemaker``, for its API and its runtime; MiniStack's handler signature."""
    del method, query
    data = body.encode() if isinstance(body, str) else body
    lowered = {name.lower(): value for name, value in headers.items()}
    work = partial(_answer, path, lowered, data)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_POOL, partial(copy_context().run, work))


def _answer(path: str, headers: Mapping[str, str], body: bytes) -> Response:
    # claim: wire-requests-are-json
    target = headers.get("x-amz-target", "")
    runtime = not target.startswith("SageMaker.")
    try:
        if runtime:
            found = _INVOCATIONS.fullmatch(path)
            if found is not None:
                work = invoke.invoke if found.group(2) is None else asynchronous.invoke_async
                return work(found.group(1), headers, body)
            known = "the embedded SageMaker runtime has InvokeEndpoint and InvokeEndpointAsync only"
            return _error(ServiceError("ValidationError", f"{known}, got {path}"), runtime=True)
        response = call(target.removeprefix("SageMaker."), _parse(body))
        return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(response).encode()
    except ServiceError as error:
        return _error(error, runtime=runtime)
    except Exception as error:
        LOGGER.exception("%s failed", target or path)
        return _error(ServiceError("InternalFailure", f"{type(error).__name__}: {error}", status=500), runtime=runtime)


def _parse(body: bytes) -> Any:
    # claim: wire-requests-are-json
    try:
        return json.loads(body or b"{}")
    except ValueError as error:
        raise ServiceError("SerializationException", f"the request is not JSON: {error}") from error


def _error(error: ServiceError, *, runtime: bool) -> Response:
    content: Record = {"Message": error.message} if runtime else {"__type": error.code, "message": error.message}
    headers = {
        "Content-Type": "application/json" if runtime else "application/x-amz-json-1.1",
        "x-amzn-ErrorType": error.code,
        "x-amzn-RequestId": str(uuid.uuid4()),
    }
    return error.status, headers, json.dumps(content | error.fields).encode()
