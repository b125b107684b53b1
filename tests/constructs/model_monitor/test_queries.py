"""The saved queries, run over files of the monitor's own contracts: Athena's SQL rewritten for DuckDB by sqlglot."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot

from mlops_constructs.model_monitor.queries import SAVED_QUERIES
from mlops_constructs.model_monitor.tables import COLUMNS
from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.capture import (
    CapturedCall,
    CapturedPayload,
    CaptureRecord,
    EventMetadata,
    GroundTruthData,
    GroundTruthRecord,
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
    """Tables with the columns that Athena is told, and the partition; keys in lower case, as the SerDe reads them."""
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
    """What is older than it asks for is not read; labels that came twice count once; what is no number is left out."""
    (statement,) = sqlglot.transpile(SAVED_QUERIES[name][1], read="athena", write="duckdb")
    assert database.execute(statement).fetchall() == EXPECTED[name]


def test_every_query_says_what_it_answers() -> None:
    """As the console lists them."""
    assert all(description for description, _ in SAVED_QUERIES.values())
    assert set(EXPECTED) == set(SAVED_QUERIES)
