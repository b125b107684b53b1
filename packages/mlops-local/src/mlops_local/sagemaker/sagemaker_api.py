"""Entry point of the service: its operations including tags, dispatch of requests, and error responses."""

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

from mlops_local.sagemaker import (
    endpoint_configs,
    endpoint_restarts,
    endpoint_updates,
    endpoints,
    invocations,
    lineage_store,
    monitoring_schedules,
    package_versions,
    processing_jobs,
    resource_store,
    training_jobs,
    transform_jobs,
)
from mlops_local.sagemaker.api_shapes import Record, ServiceError, check_request, check_response, page, validation

_LIMIT = 50  # tags per resource


def add(request: Record) -> Record:
    """AddTags."""
    # claim: resources-have-fifty-tags
    arn = _known(request["ResourceArn"])
    with resource_store.LOCK:
        keys = {tag["Key"] for tag in request["Tags"]} | set(resource_store.store().tags[arn])
        if len(keys) > _LIMIT:
            raise validation(f"a resource has at most {_LIMIT} tags, got {len(keys)}")
        resource_store.set_tags(arn, request["Tags"])
    return {"Tags": _shown(arn)}


def list_(request: Record) -> Record:
    """ListTags, paginated."""
    return page("Tags", _shown(_known(request["ResourceArn"])), request, code="ValidationException")


def delete(request: Record) -> Record:
    """DeleteTags."""
    arn = _known(request["ResourceArn"])
    with resource_store.LOCK:
        for key in request["TagKeys"]:
            resource_store.store().tags[arn].pop(key, None)
    return {}


def _known(arn: str) -> str:
    # claim: resources-have-fifty-tags
    if arn not in resource_store.store().tags:
        raise validation(f"Could not find resource {arn}.")
    return arn


def _shown(arn: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in resource_store.store().tags[arn].items()]


# MiniStack sets the API's content type on every JSON response, but a model's response keeps its own; API clients ignore it
responses._WIRE_CT_SUCCESS_OVERRIDE["sagemaker"] = "application/json"

LOGGER = logging.getLogger(__name__)
Response = tuple[int, dict[str, str], bytes]

_JOBS = ("TrainingJob", "ProcessingJob", "TransformJob")
OPERATIONS: Mapping[str, Callable[[Record], Record]] = {
    **{f"Describe{kind}": partial(resource_store.describe, kind) for kind in ("Model", "EndpointConfig", *_JOBS)},
    **{
        f"List{kind}s": partial(resource_store.list_all, kind, descending=True)
        for kind in ("Model", "EndpointConfig", "Endpoint", "TransformJob")
    },
    **{
        f"List{kind}s": partial(resource_store.list_all, kind, descending=False)
        for kind in ("TrainingJob", "ProcessingJob", "ModelPackageGroup")
    },
    **{f"Delete{kind}": partial(resource_store.delete, kind) for kind in ("Model", "EndpointConfig")},
    "CreateModel": endpoint_configs.create_model,
    "CreateEndpointConfig": endpoint_configs.create_config,
    "CreateEndpoint": endpoints.create,
    "DescribeEndpoint": endpoints.describe,
    "DeleteEndpoint": endpoints.delete,
    "UpdateEndpoint": endpoint_updates.update,
    "UpdateEndpointWeightsAndCapacities": endpoints.update_weights,
    "CreateTrainingJob": training_jobs.create,
    "StopTrainingJob": training_jobs.stop,
    "CreateProcessingJob": processing_jobs.create,
    "StopProcessingJob": processing_jobs.stop,
    "CreateTransformJob": transform_jobs.create,
    "StopTransformJob": transform_jobs.stop,
    "CreateModelPackageGroup": package_versions.create_group,
    "DescribeModelPackageGroup": package_versions.describe_group,
    "DeleteModelPackageGroup": package_versions.delete_group,
    "PutModelPackageGroupPolicy": package_versions.put_group_policy,
    "GetModelPackageGroupPolicy": package_versions.get_group_policy,
    "DeleteModelPackageGroupPolicy": package_versions.delete_group_policy,
    "CreateModelPackage": package_versions.create_package,
    "DescribeModelPackage": package_versions.describe_package,
    "ListModelPackages": package_versions.list_packages,
    "UpdateModelPackage": package_versions.update_package,
    "DeleteModelPackage": package_versions.delete_package,
    **lineage_store.OPERATIONS,
    **monitoring_schedules.OPERATIONS,
    "AddTags": add,
    "ListTags": list_,
    "DeleteTags": delete,
}
# operations on an existing endpoint
_OF_ENDPOINTS = ("DescribeEndpoint", "UpdateEndpoint", "UpdateEndpointWeightsAndCapacities", "DeleteEndpoint")
_INVOCATIONS = re.compile(r"/endpoints/([^/]+)/(async-)?invocations")
# requests wait for containers and for the embedded cloud itself; asyncio's default pool is too small for both
_POOL = ThreadPoolExecutor(max_workers=64, thread_name_prefix="sagemaker")


def call(name: str, request: object) -> Record:
    """Run an operation; request and response are validated against botocore's model.

    Raises:
        ServiceError: The operation's error, ``ValidationException``, or ``UnknownOperationException`` if unsupported.
    """
    operation = OPERATIONS.get(name)
    if operation is None:
        known = ", ".join(sorted(OPERATIONS))
        raise ServiceError(
            "UnknownOperationException", f"{name} is not an operation of the embedded SageMaker; it has {known}"
        )
    return check_response(name, operation(check_request(name, request)))


async def handle(method: str, path: str, headers: Mapping[str, str], body: bytes | str, query: object) -> Response:
    """Serve a request of the service ``sagemaker`` (API or runtime); MiniStack's handler signature."""
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
                endpoint_restarts.wait(found.group(1))
                work = invocations.invoke if found.group(2) is None else invocations.invoke_async
                return work(found.group(1), headers, body)
            known = "the embedded SageMaker runtime has InvokeEndpoint and InvokeEndpointAsync only"
            return _error(ServiceError("ValidationError", f"{known}, got {path}"), runtime=True)
        name, request = target.removeprefix("SageMaker."), _parse(body)
        if name in _OF_ENDPOINTS and isinstance(request, dict):
            endpoint_restarts.wait(str(request.get("EndpointName")))
        response = call(name, request)
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
