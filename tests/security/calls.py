"""Calls that name a resource: every operation of the services in `targets.yaml` that takes an identifier of the resource."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape
from botocore.session import get_session

DATA = Path(__file__).with_name("targets.yaml")
_READS = (
    "Describe",
    "Get",
    "List",
    "Head",
    "Query",
    "Scan",
    "BatchGet",
    "Receive",
    "Search",
    "Filter",
    "Select",
    "Test",
)
_LAST = ("Delete", "Remove", "Schedule", "Disable", "Terminate", "Purge", "Disassociate", "Untag", "Stop")
_POLICY = re.compile(r"^Put.*Policy$|^(Create|Retire|Revoke)Grant$")  # might lock the administrator out


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A deployed resource.

    Args:
        unit: Name of its stack.
        logical_id: Its id in the template.
        kind: Its CloudFormation type.
        words: Placeholders for the templates of `targets.yaml`: ``id``, ``name``, ``arn`` and properties.
    """

    unit: str
    logical_id: str
    kind: str
    words: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request that names a target.

    Args:
        target: The named resource.
        service: Name of the service's client.
        operation: The API's operation.
        arguments: The request.
    """

    target: Target
    service: str
    operation: str
    arguments: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Key that is unique among the calls of a target."""
        return f"{self.service}:{self.operation}"

    @property
    def action(self) -> str:
        """The IAM action."""
        prefixes = {"sagemaker-runtime": "sagemaker", "stepfunctions": "states"}
        return f"{prefixes.get(self.service, self.service)}:{self.operation}"

    @property
    def arn(self) -> str:
        """The ARN that the action is evaluated on: the target, or the log group with its name."""
        if self.service != "logs":
            return self.target.words["arn"]
        start = "arn:aws:logs:{region}:{account}:log-group:".format_map(self.target.words)
        return f"{start}/aws/sagemaker/Endpoints/{self.target.words['name']}:log-stream:"

    @property
    def order(self) -> int:
        """Order of the administrator's calls: reads, changes, then deletions; keys go last."""
        if self.operation.startswith(_READS):
            return 0
        return (2 if self.operation.startswith(_LAST) or _POLICY.match(self.operation) else 1) + 2 * (
            self.service == "kms"
        )


@cache
def data() -> Mapping[str, Any]:
    """Return the table of targets."""
    loaded: dict[str, Any] = yaml.safe_load(DATA.read_text())
    return loaded


def calls(target: Target) -> Iterator[Call]:
    """Yield every call that names a target, in the order of the services' models.

    Args:
        target: A resource of a type in the table.

    Raises:
        KeyError: If its type is not in the table.
    """
    for service, members in data()["types"][target.kind].items():
        model = _model(service)
        left_out = data()["left_out"].get(service, {})
        for operation in model.operation_names:
            shape = model.operation_model(operation).input_shape
            if shape is None or operation in left_out:
                continue
            named = _named(operation, shape, members, target.words)
            if named:
                given = data()["arguments"].get(service, {})
                own = {**given.get("*", {}), **given.get(operation, {})}
                own = {name: filled(value, target.words) for name, value in own.items() if name in shape.members}
                own = {name: value for name, value in own.items() if value != ""}
                required = {m: _value(shape.members[m], m) for m in shape.required_members if m not in own | named}
                yield Call(target=target, service=service, operation=operation, arguments={**required, **own, **named})


def _named(operation: str, shape: Shape, members: Mapping[str, Any], words: Mapping[str, str]) -> dict[str, Any]:
    """Fill in the parameters by which an operation identifies the target; ``Operation.Member`` applies to one operation."""
    found = {}
    for key, value in members.items():
        only, _, member = key.rpartition(".")
        if only in ("", operation) and member in shape.members:
            found[member] = filled(value, words)
    return found


def filled(value: Any, words: Mapping[str, str]) -> Any:
    """Replace placeholders in every string of a nested value."""
    if isinstance(value, str):
        return value.format_map(words)
    if isinstance(value, Mapping):
        return {key: filled(inner, words) for key, inner in value.items()}
    return [filled(inner, words) for inner in value] if isinstance(value, list) else value


@cache
def _model(service: str) -> Any:
    return get_session().get_service_model(service)


def _value(shape: Shape, name: str, depth: int = 0) -> Any:
    """Return the smallest value of a shape; `values` of the table overrides members by name."""
    if name in data()["values"]:
        return data()["values"][name]
    if isinstance(shape, StructureShape):
        return {m: _value(shape.members[m], m, depth + 1) for m in shape.required_members if depth < 8}
    if isinstance(shape, ListShape):
        return [_value(shape.member, name.removesuffix("s"), depth + 1)] if depth < 8 else []
    if isinstance(shape, MapShape):
        return {_value(shape.key, "key"): _value(shape.value, "value", depth + 1)}
    if isinstance(shape, StringShape) and shape.enum:
        return shape.enum[0]
    return _SCALARS.get(shape.type_name, lambda _: "attack")(shape)


_SCALARS: dict[str, Any] = {
    "integer": lambda shape: int(shape.metadata.get("min", 1)),
    "long": lambda shape: int(shape.metadata.get("min", 1)),
    "float": lambda _: 1.0,
    "double": lambda _: 1.0,
    "boolean": lambda _: True,
    "blob": lambda _: b"attack",
    "timestamp": lambda _: "2026-01-01T00:00:00Z",
    "string": lambda shape: "attack".ljust(int(shape.metadata.get("min", 1)), "k"),
}
