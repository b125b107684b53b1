"""Athena tables over a monitor's files, their readers, and the saved queries, run on DuckDB after translation by sqlglot."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import duckdb
import pytest
import sqlglot
from aws_cdk.assertions import Template

from mlops_constructs import DataCapture, MonitorTables, PersonalData, ValidationError
from mlops_constructs.compliance.harness import check
from mlops_constructs.model_monitor.monitor_tables import COLUMNS, SAVED_QUERIES
from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.capture import (
    CapturedCall,
    CapturedPayload,
    CaptureRecord,
    EventMetadata,
    GroundTruthData,
    GroundTruthRecord,
    capture_key,
    ground_truth_key,
)
from mlops_runtime.contracts.monitor import Counts, FeatureCounts, Violation

NOW = datetime.now(UTC)
HOUR, OLD = (f"{at:%Y/%m/%d/%H}" for at in (NOW - timedelta(hours=3), NOW - timedelta(days=400)))


def _call(event_id: str, answer: str, inference_id: str | None = None) -> CaptureRecord:
    sides = (
        CapturedPayload(content_type="text/csv", mode=mode, data=data, encoding="CSV")
        for mode, data in (("INPUT", "1,2"), ("OUTPUT", answer))
    )
    event = EventMetadata(event_id=event_id, inference_id=inference_id, inference_time="2026-01-01T00:00:00Z")
    return CaptureRecord(capture=CapturedCall(input=next(sides), output=next(sides)), event=event)


def _label(event_id: str, data: str) -> GroundTruthRecord:
    return GroundTruthRecord(truth=GroundTruthData(data=data), event=EventMetadata(event_id=event_id))


RECORDS: dict[str, list[tuple[str, Any]]] = {
    "capture": [
        (HOUR, _call("e1", "3.5\n")),
        (HOUR, _call("e2", '{"predictions": [9.0]}', inference_id="i2")),
        (HOUR, _call("e3", "1")),
        (OLD, _call("e4", "1")),
    ],
    "labels": [
        (HOUR, _label("e1", "3")),
        (HOUR, _label("i2", "4\n")),
        (HOUR, _label("i2", "4")),
        (HOUR, _label("x", "")),
    ],
    "counts": [
        (
            HOUR,
            Counts(
                baseline_sha256="b" * 64,
                rows=rows,
                calls=1,
                features=(FeatureCounts(name="price", counts=(1, 0)),),
                first="",
                last="",
                malformed=1,
            ),
        )
        for rows in (5, 7)
    ],
    "violations": [
        (HOUR, Violation(feature_name="price", constraint_check_type="baseline_drift_check", description="it rose")),
        (OLD, Violation(feature_name="old", constraint_check_type="baseline_drift_check", description="long ago")),
    ],
}
EXPECTED: dict[str, list[tuple[Any, ...]]] = {
    "calls": [(HOUR, 3)],
    "rows": [(HOUR, "b" * 64, 12, 2)],
    "labels": [(HOUR, 3, 2)],
    "errors": [(HOUR, "i2", 9.0, 4.0, 5.0), (HOUR, "e1", 3.5, 3.0, 0.5)],
    "violations": [(HOUR, "price", "baseline_drift_check", "it rose")],
}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> duckdb.DuckDBPyConnection:
    """Tables with Athena's columns and partition; keys in lower case, as the SerDe reads them."""
    folder: Path = tmp_path_factory.mktemp("tables")
    connection = duckdb.connect()
    for name, columns in COLUMNS.items():
        types = {key: sqlglot.parse_one(f"CAST(x AS {kind})", "hive").to.sql("duckdb") for key, kind in columns.items()}
        path = folder / f"{name}.json"
        lines = [json.dumps({**_lower(to_dict(record)), "hour": hour}) for hour, record in RECORDS[name]]
        path.write_text("\n".join(lines))
        declared = ", ".join(f"'{key}': '{kind}'" for key, kind in {**types, "hour": "VARCHAR"}.items())
        connection.execute(
            f"CREATE TABLE {name} AS SELECT * FROM read_json('{path}', format='newline_delimited', columns={{{declared}}})"  # noqa: S608 - names of this test
        )
    return connection


def _lower(value: Any) -> Any:
    if isinstance(value, dict):
        return {key.lower(): _lower(item) for key, item in value.items()}
    return [_lower(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", sorted(SAVED_QUERIES))
def test_a_saved_query_answers_from_the_monitors_own_files(name: str, database: duckdb.DuckDBPyConnection) -> None:
    """Skips older rows, counts repeated labels once, and omits non-numeric values."""
    (statement,) = sqlglot.transpile(SAVED_QUERIES[name][1], read="athena", write="duckdb")
    assert database.execute(statement).fetchall() == EXPECTED[name]


def test_every_query_says_what_it_answers() -> None:
    """Queries have descriptions, as the console lists them."""
    assert all(description for description, _ in SAVED_QUERIES.values())
    assert set(EXPECTED) == set(SAVED_QUERIES)


@pytest.fixture(scope="module")
def made(define_once: Callable[..., Any]) -> Any:
    """A unit with a monitor and its tables, whose endpoint hashes a field."""
    demand = define_once(
        endpoint={"capture": DataCapture(sampling_percent=100, personal_data=PersonalData(hashed=("household",)))}
    )
    MonitorTables(demand.stack, "Tables", monitor=demand.monitor)
    return demand


@pytest.fixture(scope="module")
def resources(made: Any) -> dict[str, Any]:
    """The resources of the tables."""
    found: dict[str, Any] = Template.from_stack(made.stack).to_json()["Resources"]
    return {name: resource for name, resource in found.items() if name.startswith("Tables")}


def _of(resources: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [resource["Properties"] for resource in resources.values() if resource["Type"] == kind]


def _text(value: Any) -> str:
    """Return a joined string with ``~`` for values known at deployment."""
    if isinstance(value, str):
        return value
    return "".join(part if isinstance(part, str) else "~" for part in value["Fn::Join"][1])


def test_a_table_finds_the_keys_that_the_contracts_write(resources: dict[str, Any]) -> None:
    """Athena's partition template with the hour matches the keys of captures, labels and counts."""
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
    """The workgroup's settings override a client's."""
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
    """The role must be assumable in the account and has the unit's boundary."""
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
    """Reports both values at once."""
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
    """Six packs report nothing unacknowledged for the tables and the hashing key."""
    (stack,) = check(made.stack.node.root).stacks
    assert stack.problems == []
