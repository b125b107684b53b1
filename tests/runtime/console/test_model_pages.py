"""Deployed units, their models, and a single model."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.cli.deployed_unit import DONE, DeployedUnit

from mlops_runtime.cloud_connection import CloudConnection
from mlops_runtime.console.api import ConsoleApi
from mlops_runtime.console.http_message import HttpRequest
from mlops_runtime.console.taken_role import TakenRole
from mlops_runtime.contracts.fleet import FleetEnvironment
from mlops_runtime.contracts.rollout import Outcome
from mlops_runtime.contracts.unit_entries import PipelineEntry
from mlops_runtime.eks.slot_alarms import answer_time
from mlops_runtime.fleet.fleet_reading import read_environments
from mlops_runtime.rollout.rollout_progress import Phase, RolloutProgress, RolloutReader

Ask = Callable[..., tuple[int, dict[str, Any]]]


def test_units_are_listed_by_name(ask: Ask, unit: DeployedUnit) -> None:
    """With what each has."""
    status, found = ask("GET", "/units")

    assert status == 200
    assert {"unit": unit.name, "endpoints": [unit.endpoint], "pipelines": []} in found["units"]


def test_a_unit_of_another_version_is_named(ask: Ask, unit: DeployedUnit) -> None:
    """The others are listed, and its own page says why."""
    name = f"/mlops/{unit.name}/endpoint/{unit.endpoint}"
    unit.cloud.client("ssm").put_parameter(Name=name, Value="{}", Type="String", Overwrite=True)
    try:
        status, found = ask("GET", "/units")
        own, problem = ask("GET", f"/units/{unit.name}")
    finally:
        unit.publish(unit.endpoint_entry)

    assert (status, unit.name in [each["unit"] for each in found["units"]]) == (200, False)
    assert "cannot be read by this version of mlops" in found["unread"][unit.name]
    assert (own, problem["detail"]) == (404, found["unread"][unit.name])


def test_a_unit_shows_its_models(ask: Ask, unit: DeployedUnit) -> None:
    """Before the first rollout nothing serves; afterwards the pointer without an endpoint is what needs a person."""
    _, before = ask("GET", f"/units/{unit.name}")
    unit.serve(2)
    status, found = ask("GET", f"/units/{unit.name}")

    assert [model["state"] for model in before["models"]] == ["not deployed"]
    assert (status, found["automation"], found["is_stopped"]) == (200, "runs", False)
    (model,) = found["models"]
    assert (model["endpoint"], model["state"], model["version"]) == (unit.endpoint, "deleted", 2)
    assert model["package"] == unit.package(2)


def test_a_model_shows_what_serves_and_what_a_rollback_returns_to(ask: Ask, unit: DeployedUnit) -> None:
    """The version before is that of the record whose config the pointer names; the sequence is what writes name as seen."""
    unit.serve(1)
    unit.serve(2, previous=unit.pointer(1).config)

    status, found = ask("GET", f"/units/{unit.name}/endpoints/{unit.endpoint}")

    assert status == 200
    assert (found["serves"]["version"], found["sequence"]) == (2, 2)
    assert found["before"]["config"] == unit.pointer(1).config
    assert found["before_did"] == [
        "It served from 2017-07-01 00:00 UTC until 2017-07-01 00:00 UTC, record 2: PROMOTED.",
        "The newest records have no verdict of its rollout.",
        "No monitor window ended in this time.",
    ]
    assert found["overview"]["last"]["outcome"] == Outcome.PROMOTED.value


def test_a_unit_and_its_models_have_an_owner(ask: Ask, unit: DeployedUnit) -> None:
    """As its stack has published."""
    unit.publish(replace(unit.unit_entry, owner="ann", cost_center="shops"))
    pages = [ask("GET", path)[1] for path in (f"/units/{unit.name}", f"/units/{unit.name}/endpoints/{unit.endpoint}")]

    assert [(each["owner"], each["cost_center"]) for each in pages] == [("ann", "shops")] * 2


def test_what_is_not_there_is_named(ask: Ask, unit: DeployedUnit) -> None:
    """With what there is."""
    status, found = ask("GET", f"/units/{unit.name}/endpoints/other")
    missing, of_unit = ask("GET", "/units/never")

    assert (status, found["title"]) == (404, "not found")
    assert found["detail"] == f"unit {unit.name} has no endpoint 'other'; it has {unit.endpoint}"
    assert (missing, unit.name in of_unit["detail"]) == (404, True)


def test_models_that_may_not_be_read_are_named_beside_the_others(unit: DeployedUnit, limited: TakenRole) -> None:
    """Each with what IAM refused; a page of that model alone is refused, and a fleet names it too."""
    unit.serve(2)
    secret = f"{unit.name}-secret"
    api = ConsoleApi(lambda _role: limited)

    def get(path: str) -> tuple[int, Any]:
        found = api.answer(HttpRequest(method="GET", path=f"/api/v1/units/{unit.name}{path}"))
        return found.status, json.loads(found.body)

    status, page = get("")
    own, problem = get(f"/endpoints/{secret}")
    environment = FleetEnvironment(name="build", account="000000000000", region="us-east-1")
    fleet = read_environments([environment], lambda _: limited, now=limited.now(), unit=unit.name)

    assert (status, own) == (200, 403)
    assert [model["endpoint"] for model in page["models"]] == [unit.endpoint]
    ((name, why),) = page["unread"].items()
    assert name == f"endpoint {secret}"
    assert why.startswith("AWS refused GetItem (AccessDeniedException): ")
    assert f"{unit.name}-secret" in problem["detail"]
    assert [model.model for model in fleet.models] == ["forecast"]
    assert fleet.unread == {f"build/{unit.name} {name}": why}


def test_a_rollout_between_slots_shows_the_time_of_answers(
    ask: Ask, unit: DeployedUnit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of both slots, as the load balancer measured it for each target group."""
    wait = {"StartAt": "Bake", "States": {"Bake": {"Type": "Wait", "Seconds": 86400, "End": True}}}
    machine = unit.make_machine("slots", wait)
    unit.publish(replace(unit.endpoint_entry, target="EKS", deploy_machine=machine))
    unit.serve(2)
    execution = unit.stepfunctions.start_execution(stateMachineArn=machine)["executionArn"]
    unit.lock(execution)
    arn = "arn:aws:elasticloadbalancing:us-east-1:000000000000"
    times = {
        fleet: answer_time(f"{arn}:listener-rule/app/{unit.name}/1/2/3", f"{arn}:targetgroup/{slot}/1")
        for fleet, slot in (("new", "green"), ("old", "blue"))
    }
    now = datetime.fromisoformat(unit.cloud.clock()["now"])
    for time, seconds in zip(times.values(), (0.02, 0.004), strict=True):
        named: Any = [{"Name": name, "Value": value} for name, value in time.dimensions.items()]
        datum: Any = {"MetricName": time.metric, "Dimensions": named, "Timestamp": now - timedelta(minutes=10)}
        unit.cloud.client("cloudwatch").put_metric_data(
            Namespace=time.namespace, MetricData=[{**datum, "Value": seconds}]
        )
    begun = (now - timedelta(minutes=40)).isoformat()
    bakes = RolloutProgress(
        execution=execution, phase=Phase.BAKING, since=begun, started=begun, slot_times=times, is_between_slots=True
    )
    monkeypatch.setattr(RolloutReader, "read", lambda *_: bakes)
    try:
        status, page = ask("GET", f"/units/{unit.name}/endpoints/{unit.endpoint}")
    finally:
        unit.stepfunctions.stop_execution(executionArn=execution)

    assert status == 200
    assert [(each["fleet"], round(each["p99_ms"])) for each in page["latencies"]] == [("new", 20), ("old", 4)]
    assert page["latencies"][1]["config"] == unit.pointer(2).config


def test_a_unit_reads_nothing_twice(ask: Ask, unit: DeployedUnit, connection: CloudConnection) -> None:
    """One listing of its parameters, and eight calls for each model with its pipeline; the time needs no call of AWS."""
    unit.publish(
        PipelineEntry(
            pipeline=unit.endpoint,
            unit=unit.name,
            group=unit.endpoint,
            retraining_table=f"{unit.name}-retraining",
            retrain_machine=unit.make_machine("retrain", DONE),
            queue_url="none",
            endpoint=unit.endpoint,
        )
    )
    requests: list[str] = []

    def count(params: Any, model: Any, **_: Any) -> None:
        requests.append(f"{model.name} {params}")

    for service in ("dynamodb", "s3", "sagemaker", "ssm", "stepfunctions", "sts"):
        connection.client(service).meta.events.register("provide-client-params.*.*", count)
    status, _ = ask("GET", f"/units/{unit.name}")

    assert status == 200
    assert sorted(set(requests)) == sorted(requests)
    assert sorted(each.partition(" ")[0] for each in requests) == [
        "DescribeEndpoint",
        "GetItem",
        "GetItem",
        "GetItem",
        "GetParametersByPath",
        "ListExecutions",
        "ListExecutions",
        "ListModelPackages",
        "ListObjectsV2",
    ]
