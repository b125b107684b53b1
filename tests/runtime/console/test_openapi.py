"""The document describes what is answered."""

import json
import re
from collections.abc import Callable
from typing import Any

from openapi_spec_validator import OpenAPIV31SpecValidator
from tests.cli.deployed_unit import DeployedUnit

from mlops_runtime.console.api import ConsoleApi
from mlops_runtime.console.openapi import document

Ask = Callable[..., tuple[int, dict[str, Any]]]


def test_the_document_is_valid(api: ConsoleApi) -> None:
    """By a validator of others."""
    OpenAPIV31SpecValidator(document(api.routes)).validate()


def test_it_is_served(ask: Ask, api: ConsoleApi) -> None:
    """To generators of clients."""
    status, found = ask("GET", "/openapi.json")

    assert (status, found) == (200, json.loads(json.dumps(document(api.routes))))


def test_answers_are_as_described(ask: Ask, api: ConsoleApi, unit: DeployedUnit) -> None:
    """Each read is held to its schema."""
    from jsonschema import Draft202012Validator

    unit.serve(2)
    found = document(api.routes)
    unit.serve(3)
    execution = unit.stepfunctions.start_execution(stateMachineArn=unit.machine, name="by-hand")["executionArn"]
    names = {"unit": unit.name, "endpoint": unit.endpoint, "execution": execution.rpartition(":")[2]}
    names |= {"name": unit.endpoint, "number": "2"}
    checked = 0
    for path, operations in found["paths"].items():
        if (
            "get" in operations
            and not re.search("drift|features|packages", path)
            and set(re.findall(r"{(\w+)}", path)) <= set(names)
        ):
            (media,) = operations["get"]["responses"]["200"]["content"].values()
            status, answered = ask("GET", path.format(**names))
            assert status == 200
            Draft202012Validator({**media["schema"], "components": found["components"]}).validate(answered)
            checked += 1
    assert checked == 10


def test_bodies_are_closed(api: ConsoleApi) -> None:
    """As unknown fields of a write are refused; answers may gain fields."""
    schemas = document(api.routes)["components"]["schemas"]

    assert [schemas[name]["additionalProperties"] for name in ("DecisionBody", "SeenPackage", "ClockBody")] == [
        False
    ] * 3
    assert "additionalProperties" not in schemas["PackagePage"]
