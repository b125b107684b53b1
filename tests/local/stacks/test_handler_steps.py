"""Steps before and after MiniStack's handlers of a CloudFormation type."""

from typing import Any

import pytest
from ministack.services.cloudformation import provisioners

from mlops_local.stacks import handler_steps

TYPE = "AWS::Test::Thing"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Register a type whose handlers note their calls."""
    noted: list[Any] = []

    def create(logical_id: str, properties: dict[str, Any], _stack: str) -> Any:
        noted.append(("create", properties))
        return logical_id.lower(), {"Arn": "arn"}

    def update(physical_id: str, _old: dict[str, Any], new: dict[str, Any], _stack: str) -> Any:
        noted.append(("update", new))
        return physical_id, {"Arn": "arn"}

    def delete(physical_id: str, _properties: dict[str, Any]) -> None:
        noted.append(("delete", physical_id))

    handler = {"create": create, "update": update, "delete": delete}
    monkeypatch.setitem(provisioners._RESOURCE_HANDLERS, TYPE, handler)
    return noted


def _refuse(properties: dict[str, Any]) -> None:
    if "Wrong" in properties:
        raise ValueError("wrong")


def test_a_check_comes_before_the_handler(calls: list[Any]) -> None:
    """A refused resource is neither created nor updated."""
    handler_steps.check(TYPE, _refuse)
    handler = provisioners._RESOURCE_HANDLERS[TYPE]

    for verb, given in (("create", ("One", {"Wrong": 1}, "stack")), ("update", ("one", {}, {"Wrong": 1}, "stack"))):
        with pytest.raises(ValueError, match="wrong"):
            handler[verb](*given)
    assert calls == []
    assert handler["create"]("One", {}, "stack") == ("one", {"Arn": "arn"})
    assert handler["update"]("one", {"Wrong": 1}, {}, "stack") == ("one", {"Arn": "arn"})


def test_a_completed_type_has_more_attributes(calls: list[Any]) -> None:
    """A step adds attributes; a resource whose step fails at its creation is deleted again."""

    def step(physical_id: str, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        _refuse(new)
        return {"Seen": (physical_id, old, new)}

    handler_steps.complete(TYPE, step)
    handler = provisioners._RESOURCE_HANDLERS[TYPE]

    assert handler["create"]("One", {"A": 1}, "stack") == ("one", {"Arn": "arn", "Seen": ("one", {}, {"A": 1})})
    updated = handler["update"]("one", {"A": 1}, {"A": 2}, "stack")
    assert updated == ("one", {"Arn": "arn", "Seen": ("one", {"A": 1}, {"A": 2})})
    with pytest.raises(ValueError, match="wrong"):
        handler["create"]("Two", {"Wrong": 1}, "stack")
    assert calls[-1] == ("delete", "two")
