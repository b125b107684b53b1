"""Units, models and one model, as they are deployed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.cli.deployed_unit import DONE, DeployedUnit

from mlops_runtime.cloud_connection import CloudConnection
from mlops_runtime.contracts.rollout import Outcome
from mlops_runtime.contracts.unit_entries import PipelineEntry

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
    assert (model["endpoint"], model["state"], model["version"]) == (unit.endpoint, "gone", 2)
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
        "No verdict of its rollout is among the newest records.",
        "No window of its monitor ended meanwhile.",
    ]
    assert found["overview"]["last"]["outcome"] == Outcome.PROMOTED.value


def test_a_unit_and_its_models_have_an_owner(ask: Ask, unit: DeployedUnit) -> None:
    """As its stack has published; null where an older one has not."""
    before = [
        ask("GET", path)[1].get("owner")
        for path in (f"/units/{unit.name}", f"/units/{unit.name}/endpoints/{unit.endpoint}")
    ]
    unit.publish(replace(unit.unit_entry, owner="ann", cost_center="shops"))
    after = [ask("GET", path)[1] for path in (f"/units/{unit.name}", f"/units/{unit.name}/endpoints/{unit.endpoint}")]

    assert before == [None, None]
    assert [(each["owner"], each["cost_center"]) for each in after] == [("ann", "shops")] * 2


def test_what_is_not_there_is_named(ask: Ask, unit: DeployedUnit) -> None:
    """With what there is."""
    status, found = ask("GET", f"/units/{unit.name}/endpoints/other")
    missing, of_unit = ask("GET", "/units/never")

    assert (status, found["title"]) == (404, "not found")
    assert found["detail"] == f"unit {unit.name} has no endpoint 'other'; it has {unit.endpoint}"
    assert (missing, unit.name in of_unit["detail"]) == (404, True)


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
    asked: list[str] = []

    def count(params: Any, model: Any, **_: Any) -> None:
        asked.append(f"{model.name} {params}")

    for service in ("dynamodb", "s3", "sagemaker", "ssm", "stepfunctions", "sts"):
        connection.client(service).meta.events.register("provide-client-params.*.*", count)
    status, _ = ask("GET", f"/units/{unit.name}")

    assert status == 200
    assert sorted(set(asked)) == sorted(asked)
    assert sorted(each.partition(" ")[0] for each in asked) == [
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
