"""Athena's tables over a monitor's files, and who may read them."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from mlops_constructs import DataCapture, MonitorTables, PersonalData, ValidationError
from mlops_constructs.compliance.harness import check
from mlops_constructs.model_monitor.tables import COLUMNS
from mlops_runtime.contracts.capture import capture_key, ground_truth_key


@pytest.fixture(scope="module")
def made(define_once: Callable[..., Any]) -> Any:
    """A unit with a monitor and tables over it, whose endpoint hashes a field."""
    demand = define_once(
        endpoint={"capture": DataCapture(sampling_percent=100, personal_data=PersonalData(hashed=("household",)))}
    )
    MonitorTables(demand.stack, "Tables", monitor=demand.monitor)
    return demand


@pytest.fixture(scope="module")
def resources(made: Any) -> dict[str, Any]:
    """What the tables define."""
    found: dict[str, Any] = Template.from_stack(made.stack).to_json()["Resources"]
    return {name: resource for name, resource in found.items() if name.startswith("Tables")}


def _of(resources: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [resource["Properties"] for resource in resources.values() if resource["Type"] == kind]


def _text(value: Any) -> str:
    """Return a joined text with ``~`` for what is known at deployment."""
    if isinstance(value, str):
        return value
    return "".join(part if isinstance(part, str) else "~" for part in value["Fn::Join"][1])


def test_a_table_finds_the_keys_that_the_contracts_write(resources: dict[str, Any]) -> None:
    """Athena puts the hour into the template: captures, labels and counts lie where their keys say."""
    tables = {table["TableInput"]["Name"]: table["TableInput"] for table in _of(resources, "AWS::Glue::Table")}
    at = datetime(2026, 3, 1, 7, 30, tzinfo=UTC)
    hour = {name: _text(table["Parameters"]["storage.location.template"]) for name, table in tables.items()}
    places = {name: text.replace("${hour}", f"{at:%Y/%m/%d/%H}").partition("~/")[2] for name, text in hour.items()}
    assert set(tables) == set(COLUMNS)
    assert capture_key("capture", "demand-forecast", "AllTraffic", at, "a").startswith(places["capture"])
    assert ground_truth_key("labels", "demand-forecast", at, "a").startswith(places["labels"])
    assert places["counts"] == "monitor/demand-forecast/counts/AllTraffic/2026/03/01/07/"
    assert {table["Parameters"]["projection.hour.range"] for table in tables.values()} == {"NOW-90DAYS,NOW"}


def test_results_are_encrypted_limited_and_expire_beside_the_captures(resources: dict[str, Any]) -> None:
    """The workgroup's settings win over a client's."""
    (workgroup,) = _of(resources, "AWS::Athena::WorkGroup")
    configuration = workgroup["WorkGroupConfiguration"]
    assert configuration["EnforceWorkGroupConfiguration"] is True
    assert configuration["BytesScannedCutoffPerQuery"] == 10 * 1024**3
    result = configuration["ResultConfiguration"]
    assert result["EncryptionConfiguration"]["EncryptionOption"] == "SSE_KMS"
    assert _text(result["OutputLocation"]).endswith("/queries/demand-forecast/")
    queries = _of(resources, "AWS::Athena::NamedQuery")
    assert {query["Name"] for query in queries} == {
        f"demand-forecast-{name}" for name in ("calls", "errors", "labels", "rows", "violations")
    }


def test_the_reader_reads_the_endpoints_own_prefixes_and_writes_results_alone(resources: dict[str, Any]) -> None:
    """In a role that the account must let somebody take, within the unit's boundary."""
    (role,), (policy,) = _of(resources, "AWS::IAM::Role"), _of(resources, "AWS::IAM::ManagedPolicy")
    assert "root" in json.dumps(role["AssumeRolePolicyDocument"])
    assert role["PermissionsBoundary"]
    written = [s["Resource"] for s in policy["PolicyDocument"]["Statement"] if "s3:PutObject" in s["Action"]]
    assert [_text(resource) for resource in written] == ["~/queries/demand-forecast/*"]
    (read,) = [s["Resource"] for s in policy["PolicyDocument"]["Statement"] if s["Action"] == "s3:GetObject"]
    assert sorted(_text(resource) for resource in read) == [
        "~/capture/demand-forecast/AllTraffic/*",
        "~/labels/demand-forecast/*",
        "~/monitor/demand-forecast/counts/AllTraffic/*",
        "~/monitor/demand-forecast/violations/*",
    ]


def test_fails_with_every_value_that_is_not_possible(define_once: Callable[..., Any]) -> None:
    """Both at once."""
    demand = define_once()
    with pytest.raises(ValidationError, match=r"history must be .*; max_scan must be at least 10 MB, got 1024 bytes"):
        MonitorTables(
            demand.stack,
            "Tables",
            monitor=demand.monitor,
            history=cdk.Duration.hours(1),
            max_scan=cdk.Size.kibibytes(1),
        )


def test_nothing_is_left_to_ask(made: Any) -> None:
    """Six packs find nothing that is not acknowledged, in the tables or the key of the hash."""
    (stack,) = check(made.stack.node.root).stacks
    assert stack.problems == []
