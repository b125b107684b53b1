"""ValidateStateMachineDefinition: what keeps a definition from being taken, as diagnostics.

MiniStack says OK to anything. Codes are those that AWS's page shows; it asks not to rely on them, nor on the messages.

See: https://docs.aws.amazon.com/step-functions/latest/apireference/API_ValidateStateMachineDefinition.html,
https://states-language.net/
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ministack.core.responses import json_response
from ministack.services import stepfunctions as sfn

from mlops_local import compat, state_machines

compat.expect("ministack.services.stepfunctions", _validate_state_machine_definition="(data)")
compat.expect(
    "ministack.core.responses", json_response="(data, status=200, *, content_type='application/x-amz-json-1.0')"
)

_TYPES = frozenset({"Task", "Pass", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map"})
_ENDS = frozenset({"Succeed", "Fail"})
_MAXIMUM = 100  # claim: validation-returns-diagnostics
Diagnostic = dict[str, str]


def install() -> None:
    """Answer in place of MiniStack."""
    sfn._validate_state_machine_definition = lambda data: json_response(validate(data))


def validate(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return result and diagnostics of a request.

    Args:
        data: The request.
    """
    definition = str(data.get("definition", ""))
    found = [*_diagnostics(definition), *state_machines.diagnostics(definition)]
    limit = int(data.get("maxResults") or _MAXIMUM)
    return {"result": "FAIL" if found else "OK", "diagnostics": found[:limit], "truncated": len(found) > limit}


def _diagnostics(text: str) -> Iterator[Diagnostic]:
    try:
        definition = json.loads(text)
    except ValueError as error:
        yield _error("INVALID_JSON_DESCRIPTION", f"The definition is not JSON: {error}", "")
        return
    if not isinstance(definition, dict):
        yield _error("SCHEMA_VALIDATION_FAILED", "The definition must be a JSON object", "/")
        return
    yield from _machine(definition, "")


def _machine(machine: Mapping[str, Any], path: str) -> Iterator[Diagnostic]:
    states = machine.get("States")
    if not isinstance(states, dict) or not states:
        yield _error("SCHEMA_VALIDATION_FAILED", "These fields are required: [States]", f"{path}/")
        return
    if "StartAt" not in machine:
        yield _error("SCHEMA_VALIDATION_FAILED", "These fields are required: [StartAt]", f"{path}/")
    elif machine["StartAt"] not in states:
        yield _error("MISSING_TRANSITION_TARGET", f"Missing 'Next' target: {machine['StartAt']}", f"{path}/StartAt")
    for name, state in states.items():
        yield from _state(state, states, f"{path}/States/{name}")


def _state(state: Any, states: Mapping[str, Any], path: str) -> Iterator[Diagnostic]:
    if not isinstance(state, dict):
        yield _error("SCHEMA_VALIDATION_FAILED", "A state must be a JSON object", path)
        return
    kind = state.get("Type")
    if kind not in _TYPES:
        yield _error("SCHEMA_VALIDATION_FAILED", f"Value is not valid, got {kind!r}", f"{path}/Type")
        return
    if kind not in _ENDS and kind != "Choice" and ("Next" in state) == (state.get("End") is True):
        yield _error("SCHEMA_VALIDATION_FAILED", "These fields are required: one of [Next, End]", path)
    if kind == "Task" and "Resource" not in state:
        yield _error("SCHEMA_VALIDATION_FAILED", "These fields are required: [Resource]", path)
    if kind == "Choice" and not state.get("Choices"):
        yield _error("SCHEMA_VALIDATION_FAILED", "These fields are required: [Choices]", path)
    for target, where in _targets(state):
        if target not in states:
            yield _error("MISSING_TRANSITION_TARGET", f"Missing 'Next' target: {target}", f"{path}/{where}")
    for number, branch in enumerate(state.get("Branches", ())):
        yield from _machine(branch, f"{path}/Branches[{number}]")
    for inner in ("Iterator", "ItemProcessor"):
        if inner in state:
            yield from _machine(state[inner], f"{path}/{inner}")


def _targets(state: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for field in ("Next", "Default"):
        if field in state:
            yield state[field], field
    for field in ("Choices", "Catch"):
        for number, rule in enumerate(state.get(field, ())):
            if "Next" in rule:
                yield rule["Next"], f"{field}[{number}]/Next"


def _error(code: str, message: str, location: str) -> Diagnostic:
    return {"severity": "ERROR", "code": code, "message": message, "location": location}
