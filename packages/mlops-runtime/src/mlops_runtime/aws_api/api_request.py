"""Check a request against botocore's model of the operation before AWS does."""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any

from mlops_runtime.aws_api.service_models import Shape, candidates

_SCALARS: dict[str, tuple[type, ...]] = {
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "string": (str,),
    "character": (str,),
    "timestamp": (str, int, float, datetime),
    "blob": (str, bytes, bytearray),
}


class UnknownOperationError(ValueError):
    """The service has no such operation; the message names the nearest ones."""


def operation_name(service: str, action: str) -> str:
    """Return the API's operation (``UpdateEndpoint``) for a state's action (``updateEndpoint``).

    Step Functions writes actions in camel case and refuses the API's own spelling.

    Raises:
        UnknownServiceError: If botocore has no such service.
        UnknownOperationError: If the service has no such operation.

    Example:
        >>> operation_name("sagemaker", "updateEndpoint")
        'UpdateEndpoint'
    """
    for model in candidates(service):
        actions = {_camel(name): name for name in model.inputs}
        if action in actions:
            return actions[action]
    near = difflib.get_close_matches(_camel(action), actions, n=3)
    hint = f"; did you mean {', '.join(map(repr, near))}" if near else ""
    raise UnknownOperationError(f"{service} has no action {action!r}{hint}")


def input_shape(service: str, operation: str) -> Shape:
    """Return the input shape of an operation; an empty structure for an operation without input.

    Raises:
        UnknownServiceError: If botocore has no such service.
        UnknownOperationError: If the service has no such operation.
    """
    return next(_input_shapes(service, operation))


def _input_shapes(service: str, operation: str) -> Iterator[Shape]:
    """Yield the input shape of the table, if it has the operation, and then botocore's."""
    is_known = False
    for model in candidates(service):
        if operation in model.inputs:
            is_known = True
            yield model.input_shape(operation)
    if not is_known:
        near = difflib.get_close_matches(operation, model.inputs, n=3)
        hint = f"; did you mean {', '.join(map(repr, near))}" if near else ""
        raise UnknownOperationError(f"{service} has no operation {operation!r}{hint}")


def _camel(name: str) -> str:
    return name[:1].lower() + name[1:]


class Severity(StrEnum):
    """Whether AWS would certainly refuse the request."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One problem of a request, with the path of the field."""

    path: str
    message: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        return f"{self.path} {self.message}"


class InvalidRequestError(ValueError):
    """A request that AWS would refuse; the message lists every problem with its path."""


def check_request(
    service: str,
    operation: str,
    arguments: Mapping[str, Any],
    *,
    is_wildcard: Callable[[object], bool] = lambda _: False,
    free_form: frozenset[str] = frozenset(),
) -> list[Finding]:
    """Check a request against botocore's model of its operation; return every problem, in the order of the request.

    Args:
        service: Botocore's service name.
        operation: The API's operation, such as ``CreateEndpointConfig``.
        arguments: The request.
        is_wildcard: Returns whether a value is only known later and matches every shape. Default: no value is.
        free_form: Field names whose value may be any JSON, such as ``Payload`` of an optimized integration.

    Raises:
        UnknownServiceError: If botocore has no such service.
        UnknownOperationError: If the service has no such operation.

    Example:
        >>> [str(f) for f in check_request("sagemaker", "DescribeEndpoint", {"EndpointNam": "a"})]
        ["$.EndpointNam is not a field of DescribeEndpointInput; did you mean 'EndpointName'", '$.EndpointName is missing']
    """
    checker = _Checker(is_wildcard=is_wildcard, free_form=free_form)
    findings: list[Finding] = []
    for shape in _input_shapes(service, operation):
        findings = list(checker.check(arguments, shape, "$"))
        if not findings:
            break
        # the installed botocore may know fields and values that are newer than the table
    return findings


def require_valid_request(service: str, operation: str, arguments: Mapping[str, Any]) -> None:
    """Raise an error for a request that AWS would refuse.

    Raises:
        InvalidRequestError: With every error of the request; warnings are ignored.
    """
    errors = [str(f) for f in check_request(service, operation, arguments) if f.severity is Severity.ERROR]
    if errors:
        raise InvalidRequestError(f"not a valid {service} {operation}: " + "; ".join(errors))


@dataclass(frozen=True, slots=True)
class _Checker:
    is_wildcard: Callable[[object], bool]
    free_form: frozenset[str]

    def check(self, value: Any, shape: Shape, path: str) -> Iterator[Finding]:
        if self.is_wildcard(value) or shape.traits.get("document"):
            return
        if shape.type_name == "structure":
            yield from self._structure(value, shape, path)
        elif shape.type_name == "list":
            yield from self._list(value, shape, path)
        elif shape.type_name == "map":
            yield from self._map(value, shape, path)
        else:
            yield from _scalar(value, shape, path)

    def _structure(self, value: Any, shape: Shape, path: str) -> Iterator[Finding]:
        if not isinstance(value, Mapping):
            yield Finding(path=path, message=f"must be an object, got {value!r}")
            return
        members = {_pascal(name): member for name, member in shape.members.items()}
        for name, item in value.items():
            if name not in members:
                near = difflib.get_close_matches(name, members, n=1)
                hint = f"; did you mean {near[0]!r}" if near else ""
                yield Finding(path=f"{path}.{name}", message=f"is not a field of {shape.name}{hint}")
            elif name not in self.free_form:
                yield from self.check(item, members[name], f"{path}.{name}")
        for name in shape.traits.get("required", ()):
            # every SDK fills in idempotency tokens
            if _pascal(name) not in value and not members[_pascal(name)].traits.get("idempotencyToken"):
                yield Finding(path=f"{path}.{_pascal(name)}", message="is missing")
        if shape.traits.get("union") and len(value) != 1:
            yield Finding(path=path, message=f"must have exactly one of {', '.join(members)}, got {len(value)} fields")

    def _list(self, value: Any, shape: Shape, path: str) -> Iterator[Finding]:
        if not isinstance(value, list | tuple):
            yield Finding(path=path, message=f"must be an array, got {value!r}")
            return
        yield from _bounds(len(value), shape, path, "entries")
        member = shape.inner(shape.traits["member"])
        for index, item in enumerate(value):
            yield from self.check(item, member, f"{path}[{index}]")

    def _map(self, value: Any, shape: Shape, path: str) -> Iterator[Finding]:
        if not isinstance(value, Mapping):
            yield Finding(path=path, message=f"must be an object, got {value!r}")
            return
        yield from _bounds(len(value), shape, path, "entries")
        names, values = shape.inner(shape.traits["key"]), shape.inner(shape.traits["value"])
        for key, item in value.items():
            yield from self.check(key, names, f"{path} key {key!r}")
            yield from self.check(item, values, f"{path}.{key}")


def _scalar(value: Any, shape: Shape, path: str) -> Iterator[Finding]:
    allowed = _SCALARS[shape.type_name]
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        yield Finding(path=path, message=f"must be a {shape.type_name}, got {value!r}")
    elif isinstance(value, int | float) and shape.type_name != "boolean":
        yield from _bounds(value, shape, path, "")
    elif isinstance(value, str) and shape.type_name == "string":
        yield from _string(value, shape, path)


def _string(value: str, shape: Shape, path: str) -> Iterator[Finding]:
    yield from _bounds(len(value), shape, path, "characters")
    pattern = shape.traits.get("pattern")
    if pattern is not None and not _matches(pattern, value):
        yield Finding(path=path, message=f"must match {pattern}, got {value!r}")
    known = shape.traits.get("enum", ())
    if known and value not in known:
        near = difflib.get_close_matches(value, known, n=3) or known[:3]
        message = f"is not a value of {shape.name} that botocore knows, got {value!r}; similar: {', '.join(near)}"
        yield Finding(path=path, message=message, severity=Severity.WARNING)


def _bounds(size: float, shape: Shape, path: str, unit: str) -> Iterator[Finding]:
    unit = f" {unit}" if unit else ""
    if "min" in shape.traits and size < shape.traits["min"]:
        yield Finding(path=path, message=f"must be at least {shape.traits['min']}{unit}, got {size}")
    if "max" in shape.traits and size > shape.traits["max"]:
        yield Finding(path=path, message=f"must be at most {shape.traits['max']}{unit}, got {size}")


def _matches(pattern: str, value: str) -> bool:
    compiled = _compiled(pattern)
    return compiled is None or compiled.fullmatch(value) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    # some of AWS's patterns use Java's syntax (\p{L}); these cannot be checked and match everything
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error:
        return None


def _pascal(name: str) -> str:
    return name[:1].upper() + name[1:]
