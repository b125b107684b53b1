"""Diagnostics of invalid state machine definitions, for validation, creation and update.

MiniStack returns OK for any definition. The codes are AWS's; its documentation advises not to rely on codes or messages.

See: https://docs.aws.amazon.com/step-functions/latest/apireference/API_ValidateStateMachineDefinition.html,
https://states-language.net/
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ministack.core.responses import json_response
from ministack.services import stepfunctions as sfn

from mlops_runtime.aws_api import unsupported_fields

_TYPES = frozenset({"Task", "Pass", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map"})
_ENDS = frozenset({"Succeed", "Fail"})
_MAXIMUM = 100  # claim: validation-returns-diagnostics
_SCHEMA = "SCHEMA_VALIDATION_FAILED"
_LISTS = ("Branches", "Choices", "Catch", "Retry")
_MACHINES = ("Iterator", "ItemProcessor")
Diagnostic = dict[str, str]


def install() -> None:
    """Replace MiniStack's ValidateStateMachineDefinition."""
    sfn._validate_state_machine_definition = lambda data: json_response(validate(data))


def validate(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return result and diagnostics of a request."""
    found = list(diagnostics(str(data.get("definition", ""))))
    limit = int(data.get("maxResults") or _MAXIMUM)
    return {"result": "FAIL" if found else "OK", "diagnostics": found[:limit], "truncated": len(found) > limit}


def diagnostics(text: str) -> Iterator[Diagnostic]:
    """Yield the problems of a definition: its structure, then fields that optimized integrations do not support."""
    try:
        definition = json.loads(text)
    except ValueError as error:
        yield _error("INVALID_JSON_DESCRIPTION", f"The definition is not JSON: {error}", "")
        return
    yield from _machine(definition, "")
    # claim: step-functions-validates-task-fields
    if isinstance(definition, dict):
        for field in unsupported_fields(definition):
            yield _error(_SCHEMA, field.refusal, field.location)


def _machine(machine: Any, path: str) -> Iterator[Diagnostic]:
    if not isinstance(machine, dict):
        yield _error(_SCHEMA, "The definition must be a JSON object", f"{path}/")
        return
    states = machine.get("States")
    if not isinstance(states, dict) or not states:
        yield _error(_SCHEMA, "These fields are required: [States]", f"{path}/")
        return
    if "StartAt" not in machine:
        yield _error(_SCHEMA, "These fields are required: [StartAt]", f"{path}/")
    else:
        yield from _target(machine["StartAt"], states, f"{path}/StartAt")
    for name, state in states.items():
        yield from _state(state, states, f"{path}/States/{name}")


def _state(state: Any, states: Mapping[str, Any], path: str) -> Iterator[Diagnostic]:
    if not isinstance(state, dict):
        yield _error(_SCHEMA, "A state must be a JSON object", path)
        return
    kind = state.get("Type")
    if not isinstance(kind, str) or kind not in _TYPES:
        yield _error(_SCHEMA, f"Value is not valid, got {kind!r}", f"{path}/Type")
        return
    if kind not in _ENDS and kind != "Choice" and ("Next" in state) == (state.get("End") is True):
        yield _error(_SCHEMA, "These fields are required: one of [Next, End]", path)
    if kind == "Task" and "Resource" not in state:
        yield _error(_SCHEMA, "These fields are required: [Resource]", path)
    if kind == "Choice" and not state.get("Choices"):
        yield _error(_SCHEMA, "These fields are required: [Choices]", path)
    for field in ("Next", "Default"):
        if field in state:
            yield from _target(state[field], states, f"{path}/{field}")
    for field in _LISTS:
        if not isinstance(state.get(field, []), list):
            yield _error(_SCHEMA, f"Value is not valid, must be a list, got {state[field]!r}", f"{path}/{field}")
            continue
        for number, item in enumerate(state.get(field, [])):
            yield from _item(field, item, states, f"{path}/{field}[{number}]")
    for inner in _MACHINES:
        if inner in state:
            yield from _machine(state[inner], f"{path}/{inner}")


def _item(field: str, item: Any, states: Mapping[str, Any], path: str) -> Iterator[Diagnostic]:
    """Yield the problems of one branch, choice, catcher or retrier."""
    if field == "Branches":
        yield from _machine(item, path)
    elif not isinstance(item, dict):
        yield _error(_SCHEMA, f"Value is not valid, must be a JSON object, got {item!r}", path)
    elif "Next" in item:
        yield from _target(item["Next"], states, f"{path}/Next")


def _target(name: Any, states: Mapping[str, Any], path: str) -> Iterator[Diagnostic]:
    if not isinstance(name, str):
        yield _error(_SCHEMA, f"Value is not valid, must be the name of a state, got {name!r}", path)
    elif name not in states:
        yield _error("MISSING_TRANSITION_TARGET", f"Missing 'Next' target: {name}", path)


def _error(code: str, message: str, location: str) -> Diagnostic:
    return {"severity": "ERROR", "code": code, "message": message, "location": location}
