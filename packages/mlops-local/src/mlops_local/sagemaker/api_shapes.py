"""Validation of requests and responses against botocore's models of SageMaker and other services, and the services' errors."""

import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import groupby
from typing import Any

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel

Record = dict[str, Any]
Shape = Any  # members of a botocore shape depend on its type name

# members that the model requires and the service omits: a job has no artifacts before the upload, and a version in a group has
# no name of its own
_LEFT_OUT = {("DescribeTrainingJobResponse", "ModelArtifacts"), ("DescribeModelPackageOutput", "ModelPackageName")}
_NULL = "Member must not be null"
_SHOWN = 80  # maximum characters of an invalid value in an error message
_ASCII = 127
# syntax of Java's regular expressions that Python lacks; a quantifier on "$" has no effect
_JAVA = {
    r"\p{ASCII}": r"\x00-\x7F",
    r"\p{Print}": r"\x20-\x7E",
    r"\p{Alnum}": "a-zA-Z0-9",
    r"\uD800\uDC00-\uDBFF\uDFFF": r"\U00010000-\U0010FFFF",
    r"\z": r"\Z",
}


class ServiceError(Exception):
    """An error response of the service: code, message and HTTP status.

    Args:
        code: AWS's error code, botocore's ``Error.Code``.
        message: AWS's message.
        status: HTTP status. Default: 400, as for every client error of this service.
        fields: Further members of the error's body, such as ``OriginalStatusCode`` of ``ModelError``. Default: none.
    """

    def __init__(self, code: str, message: str, *, status: int = 400, fields: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.fields: dict[str, object] = {} if fields is None else fields


def validation(message: str) -> ServiceError:
    """Return SageMaker's ``ValidationException``, which any operation may raise although no model lists it."""
    return ServiceError("ValidationException", message)


def conflict(message: str) -> ServiceError:
    """Return the model registry's ``ConflictException``."""
    return ServiceError("ConflictException", message)


@cache
def model(service: str = "sagemaker") -> ServiceModel:
    """Return botocore's model of a service."""
    return ServiceModel(Loader().load_service_model(service, "service-2"), service_name=service)


def operation(name: str, service: str = "sagemaker") -> OperationModel:
    """Return the model of an operation."""
    return model(service).operation_model(name)


def output_shape(name: str, service: str = "sagemaker") -> Shape:
    """Return the output shape of an operation; ``None`` without output."""
    return operation(name, service).output_shape


def check_request(name: str, request: object, service: str = "sagemaker") -> Record:
    """Return the request of an operation after validation against the model.

    Raises:
        ServiceError: ``ValidationException`` in the service's wording, listing every problem.
    """
    # claim: requests-follow-the-model
    shape = operation(name, service).input_shape
    problems = [] if shape is None else list(_problems(shape, request, ""))
    if problems:
        count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected: "
        raise validation(count + "; ".join(problems))
    return dict(request) if isinstance(request, Mapping) else {}


def check_response(name: str, response: Record, service: str = "sagemaker") -> Record:
    """Return the response as JSON: only members of the model, no nulls, times as epoch seconds.

    Raises:
        ServiceError: ``InternalFailure`` if the response does not match the model, which is our error.
    """
    # claim: requests-follow-the-model
    shape = output_shape(name, service)
    if shape is None:
        return {}
    body: Record = wire(shape, response)
    problems = list(_problems(shape, body, ""))
    if problems:
        raise ServiceError("InternalFailure", f"bad response of {name}: " + "; ".join(problems), status=500)
    return body


async def serve_operation(
    operation: str, service: str, title: str, answer: Callable[[Record], Record], *request: Any
) -> tuple[int, dict[str, str], bytes]:
    """Serve a request to a service that has one operation here, in the JSON protocol.

    Args:
        operation: The only operation.
        service: botocore's name of the service.
        title: The service's name in messages.
        answer: Returns the response of a valid request.
        request: Method, path, headers, body and query, as MiniStack's handlers get them.
    """
    _, _, headers, body, _ = request
    kind = {"Content-Type": "application/x-amz-json-1.1"}
    name = {key.lower(): value for key, value in headers.items()}.get("x-amz-target", "").rpartition(".")[2]
    try:
        if name != operation:
            # claim: requests-follow-the-model
            raise validation(f"{name} is not an operation of the embedded {title}; it has {operation}")
        given = check_request(name, json.loads(body or b"{}"), service)
        return 200, kind, json.dumps(check_response(name, answer(given), service)).encode()
    except ServiceError as failure:
        content = {"__type": failure.code, "Message": failure.message}
        return failure.status, kind | {"x-amzn-ErrorType": failure.code}, json.dumps(content).encode()


def page(
    member: str, rows: Sequence[Any], request: Record, *, most: int = 50, code: str = "InvalidNextTokenException"
) -> Record:
    """Return the rows of a page as a member of a response, with the token of the next page, if any."""
    # claim: requests-follow-the-model
    size, token = request.get("MaxResults", most), request.get("NextToken", "0")
    if not token.isdigit():
        raise ServiceError(code, f"NextToken {token!r} is not one of this service")
    end = int(token) + size
    return {member: rows[int(token) : end], **({"NextToken": str(end)} if end < len(rows) else {})}


def call_of_template(operation: Callable[[str, Record], Record], name: str, request: Record) -> Record:
    """Call an operation, with its error as the reason of a failed resource."""
    # claim: resource-fails-with-the-services-reason
    try:
        return operation(name, request)
    except ServiceError as error:
        raise ValueError(f'Resource handler returned message: "{error.message}"') from error


def wire(shape: Shape, value: Any) -> Any:
    """Return a value as wire JSON, limited to the members of its shape."""
    if shape.type_name == "structure":
        members = shape.members
        return {key: wire(members[key], item) for key, item in value.items() if key in members and item is not None}
    if shape.type_name == "list":
        return [wire(shape.member, item) for item in value]
    if shape.type_name == "map":
        return {key: wire(shape.value, item) for key, item in value.items()}
    if isinstance(value, datetime):
        return value.timestamp()
    return value


def from_text(shape: Shape, value: Any) -> Any:
    """Convert a template's value to the types of its shape: CloudFormation may pass numbers and booleans as strings."""
    if shape.type_name == "structure" and isinstance(value, Mapping):
        members = shape.members
        return {k: from_text(members[k], v) if k in members else v for k, v in value.items()}
    if shape.type_name == "list" and isinstance(value, list):
        return [from_text(shape.member, item) for item in value]
    if shape.type_name == "map" and isinstance(value, Mapping):
        return {key: from_text(shape.value, item) for key, item in value.items()}
    if isinstance(value, str) and shape.type_name == "boolean" and value in ("true", "false"):
        return value == "true"
    if isinstance(value, str) and shape.type_name in ("integer", "long") and re.fullmatch(r"-?\d+", value):
        return int(value)
    if isinstance(value, str) and shape.type_name in ("float", "double") and re.fullmatch(r"-?\d+(\.\d+)?", value):
        return float(value)
    if shape.type_name == "string" and isinstance(value, int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return value


_TYPES: dict[str, tuple[type, ...]] = {
    "structure": (dict,),
    "list": (list,),
    "map": (dict,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float),
    "blob": (str,),
}


def _problems(shape: Shape, value: Any, path: str) -> Iterator[str]:
    kinds = _TYPES[shape.type_name]
    if type(value) not in kinds:  # exact types: True is not an integer
        yield _failed(value, path, f"Member must be a {shape.type_name}")
        return
    if shape.type_name == "structure":
        yield from _structure(shape, value, path)
    elif shape.type_name == "list":
        yield from _bounds(shape, value, path, len(value), "length")
        for index, item in enumerate(value, 1):
            yield from _problems(shape.member, item, f"{path}.{index}.member")
    elif shape.type_name == "map":
        yield from _bounds(shape, value, path, len(value), "length")
        for key, item in value.items():
            yield from _problems(shape.key, key, f"{path}.{key}.key")
            yield from _problems(shape.value, item, f"{path}.{key}.member")
    elif shape.type_name == "string":
        yield from _string(shape, value, path)
    elif shape.type_name in ("integer", "long", "float", "double"):
        yield from _bounds(shape, value, path, value, "value")


def _structure(shape: Shape, value: Mapping[str, Any], path: str) -> Iterator[str]:
    for name in shape.required_members:
        if value.get(name) is None and (shape.name, name) not in _LEFT_OUT:
            yield _failed(None, _join(path, name), _NULL)
    for name, item in value.items():
        if name not in shape.members:
            allowed = ", ".join(shape.members)
            yield f"unknown member {name!r} at '{path.lstrip('.') or 'request'}'; allowed are {allowed}"
        elif item is not None:
            yield from _problems(shape.members[name], item, _join(path, name))


def _string(shape: Shape, value: str, path: str) -> Iterator[str]:
    if shape.enum and value not in shape.enum:
        yield _failed(value, path, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]")
    yield from _bounds(shape, value, path, len(value), "length")
    if len(value) > shape.metadata.get("max", len(value)):
        return  # some of AWS's patterns take quadratic time, bounded by the lengths
    pattern = shape.metadata.get("pattern")
    if pattern is not None and not _pattern(pattern, is_ascii=value.isascii()).fullmatch(value):
        yield _failed(value, path, f"Member must satisfy regular expression pattern: {pattern}")


def _bounds(shape: Shape, value: Any, path: str, size: float, what: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and size < low:
        yield _failed(value, path, f"Member must have {what} greater than or equal to {low}")
    if high is not None and size > high:
        yield _failed(value, path, f"Member must have {what} less than or equal to {high}")


def _failed(value: Any, path: str, constraint: str) -> str:
    shown = "null" if value is None else str(value)
    shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
    return f"Value '{shown}' at '{path.lstrip('.')}' failed to satisfy constraint: {constraint}"


def _join(path: str, name: str) -> str:
    """Return the path of a member in the service's format: camel case, with dots between levels."""
    return f"{path}.{name[0].lower()}{name[1:]}"


@cache
def _pattern(text: str, *, is_ascii: bool) -> re.Pattern[str]:
    """Return a pattern for ``re``; Unicode categories cover all of Unicode only if the value needs it."""
    for java, python in _JAVA.items():
        alone = java.startswith(r"\p") and text.startswith(java)
        text = text.replace(java, f"[{python}]" if alone else python)
    text = re.sub(r"\$\{\d+,\d+\}", "$", text)
    return re.compile(
        re.sub(r"\\p\{([A-Z])\}", lambda m: _category(m.group(1), _ASCII if is_ascii else sys.maxunicode), text)
    )


@cache
def _category(letter: str, last: int) -> str:
    """Return a Unicode category, up to a code point, as ranges of a character class; ``re`` supports no categories."""
    points = (p for p in range(last + 1) if unicodedata.category(chr(p))[0] == letter)
    ranges = []
    for _, group in groupby(enumerate(points), lambda pair: pair[1] - pair[0]):
        run = [point for _, point in group]
        ranges.append(f"\\U{run[0]:08x}-\\U{run[-1]:08x}")
    return "".join(ranges)
