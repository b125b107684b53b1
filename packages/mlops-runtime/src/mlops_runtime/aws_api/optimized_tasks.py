"""Fields that optimized integrations of Step Functions support, a subset of the API's, from the table ``optimized_tasks.json``.

An SDK integration (``aws-sdk:``) passes on every field of the API. An optimized one has its own schema, and a field outside of it
is rejected when the machine is created: ``SCHEMA_VALIDATION_FAILED: The field "key" is not supported by Step Functions``
(amazon-sagemaker-examples#4492, aws-cdk#10014). AWS no longer publishes these schemas. The table has the fields that AWS's pages
once listed or that a published definition uses, each with its evidence; machines must use no other fields.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

# claim: step-functions-optimized-task-fields
_RESOURCE = re.compile(
    r"arn:[^:]+:states:[^:]*:[^:]*:(?P<action>[a-z0-9-]+:[A-Za-z0-9]+)(\.sync(:2)?|\.waitForTaskToken)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsupportedField:
    """A field of a task that its optimized integration is not known to support."""

    state: str
    location: str  # location of the task's arguments, in Step Functions' notation: `/States/Train/Arguments`
    action: str  # integration, such as `sagemaker:createTrainingJob`
    path: str  # path of the field in the arguments, without indexes
    allowed: tuple[str, ...]  # the supported fields at its level

    @property
    def field(self) -> str:
        """Last part of the path."""
        return self.path.rpartition(".")[2]

    @property
    def advice(self) -> str:
        """The supported fields, and the alternatives."""
        return (
            f"is not a field that Step Functions is known to support in {self.action} (allowed there: "
            f"{', '.join(self.allowed)}); omit it, or call aws-sdk:{self.action}, which supports every field of the API"
        )

    @property
    def refusal(self) -> str:
        """The error message of Step Functions."""
        return f'The field "{self.field}" is not supported by Step Functions'


@cache
def optimized_fields() -> Mapping[str, Mapping[str, str]]:
    """Return the evidence for each dotted path, by action; a path that ends with ``.*`` allows anything below it.

    Example:
        >>> optimized_fields()["sagemaker:updateEndpoint"]["EndpointName"]
        'guide-2021'
    """
    text = resources.files("mlops_runtime.aws_api").joinpath("optimized_tasks.json").read_text(encoding="utf-8")
    tasks: Mapping[str, Mapping[str, str]] = json.loads(text)["tasks"]
    return tasks


def tasks_of(
    machine: Mapping[str, Any], language: str = "JSONPath", location: str = ""
) -> Iterator[tuple[str, Mapping[str, Any], str, str]]:
    """Yield the name, state, query language and location of every task, also inside Map and Parallel states.

    Args:
        machine: The definition, or a part of it that has ``States``.
        language: Query language of the enclosing definition. Default: Step Functions' default.
        location: Location of the part. Default: the whole definition.
    """
    if not isinstance(machine, Mapping):
        return  # other checks report invalid definitions
    language = machine.get("QueryLanguage", language)
    states = machine.get("States")
    for name, state in states.items() if isinstance(states, Mapping) else ():
        if not isinstance(state, Mapping):
            continue
        own, here = state.get("QueryLanguage", language), f"{location}/States/{name}"
        if state.get("Type") == "Task":
            yield name, state, own, here
        branches = state.get("Branches")
        for index, branch in enumerate(branches if isinstance(branches, list | tuple) else ()):
            yield from tasks_of(branch, own, f"{here}/Branches[{index}]")
        for key in ("Iterator", "ItemProcessor"):
            if key in state:
                yield from tasks_of(state[key], own, f"{here}/{key}")


def unsupported_fields(definition: Mapping[str, Any]) -> Iterator[UnsupportedField]:
    """Yield every field of an optimized task that is not in the table, in the order of the states.

    Arguments that are a single expression are skipped, since they are only known at run time.

    Example:
        >>> train = {"Type": "Task", "Resource": "arn:aws:states:::sagemaker:createTrainingJob.sync", "End": True,
        ...          "Arguments": {"AlgorithmSpecification": {"ContainerEntrypoint": ["train"]}}}
        >>> [found.path for found in unsupported_fields({"QueryLanguage": "JSONata", "States": {"Train": train}})]
        ['AlgorithmSpecification.ContainerEntrypoint']
    """
    for name, state, language, location in tasks_of(definition):
        resource = re.sub(r"\$\{[^{}]*\}", "aws", str(state.get("Resource", "")))
        key = "Arguments" if language == "JSONata" else "Parameters"
        yield from unsupported_of_task(name, f"{location}/{key}", resource, state.get(key, {}))


def unsupported_of_task(state: str, location: str, resource: str, arguments: object) -> Iterator[UnsupportedField]:
    """Yield the unsupported fields of one call; none for resources that are not optimized integrations of the table.

    Args:
        location: Location of its arguments.
        resource: The task's ``Resource``.
    """
    match = _RESOURCE.fullmatch(resource)
    fields = optimized_fields().get(match["action"]) if match else None
    if match is None or fields is None:
        return
    for path in _paths(arguments, "", fields):
        parent = path.rpartition(".")[0]
        beside = sorted({_next(known, parent) for known in fields} - {""})
        yield UnsupportedField(state=state, location=location, action=match["action"], path=path, allowed=tuple(beside))


def _paths(value: object, path: str, fields: Mapping[str, str]) -> Iterator[str]:
    """Yield the outermost unsupported paths."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from _paths(item, path, fields)
    if not isinstance(value, Mapping) or f"{path}.*" in fields:
        return
    for key, item in value.items():
        name = str(key).removesuffix(".$")
        if name.startswith(("Ref", "Fn::")) and len(value) == 1:
            return  # a CloudFormation intrinsic function
        inner = f"{path}.{name}" if path else name
        if inner not in fields and f"{inner}.*" not in fields:
            yield inner
        else:
            yield from _paths(item, inner, fields)


def _next(known: str, parent: str) -> str:
    """Return the name that follows ``parent`` in a path of the table, or an empty string."""
    if parent and not known.startswith(f"{parent}."):
        return ""
    name = known[len(parent) + 1 if parent else 0 :].partition(".")[0]
    return "" if name == "*" else name
