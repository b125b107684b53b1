"""The OpenAPI document describes the real responses."""

import json
import re
from collections.abc import Callable
from typing import Any

from openapi_spec_validator import OpenAPIV31SpecValidator
from tests.cli.deployed_unit import DeployedUnit

from mlops_runtime.cloud_connection import CloudConnection
from mlops_runtime.console.api import ConsoleApi
from mlops_runtime.console.fleet_page import Fleet
from mlops_runtime.console.http_message import HttpRequest
from mlops_runtime.console.openapi import document
from mlops_runtime.contracts.fleet import FleetEnvironment

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
            and not re.search("drift|features|fleet|packages", path)
            and set(re.findall(r"{(\w+)}", path)) <= set(names)
        ):
            (media,) = operations["get"]["responses"]["200"]["content"].values()
            status, answered = ask("GET", path.format(**names))
            assert status == 200
            Draft202012Validator({**media["schema"], "components": found["components"]}).validate(answered)
            checked += 1
    assert checked == 10


def test_a_fleet_is_as_described(api: ConsoleApi, connection: CloudConnection, unit: DeployedUnit) -> None:
    """Where a console has one; another refuses it, and does not offer it."""
    from jsonschema import Draft202012Validator

    own = FleetEnvironment(name="own", account="000000000000", region="us-east-1")
    fleet = ConsoleApi(lambda _role: connection, fleet=Fleet([own], lambda _: connection))
    found = document(fleet.routes)
    (media,) = found["paths"]["/fleet"]["get"]["responses"]["200"]["content"].values()
    requested, me = (HttpRequest(method="GET", path=f"/api/v1/{path}") for path in ("fleet", "me"))
    page = json.loads(fleet.answer(requested).body)

    Draft202012Validator({**media["schema"], "components": found["components"]}).validate(page)
    assert (unit.name in [each["unit"] for each in page["models"]], page["here"]) == (True, "own")
    assert api.answer(requested).status == 404
    offered = [json.loads(each.answer(me).body)["operations"] for each in (fleet, api)]
    assert ["readFleet" in each for each in offered] == [True, False]


def test_bodies_are_closed(api: ConsoleApi) -> None:
    """As unknown fields of a write are refused; answers may gain fields."""
    schemas = document(api.routes)["components"]["schemas"]

    assert [schemas[name]["additionalProperties"] for name in ("DecisionBody", "SeenPackage", "ClockBody")] == [
        False
    ] * 3
    assert "additionalProperties" not in schemas["PackagePage"]
