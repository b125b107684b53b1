"""What a build would take is said without building."""

import polars
import pyarrow as pa
import pytest

from mlops_runtime.features.engine import EngineError
from mlops_runtime.features.request import TrainingSetError
from mlops_runtime.features.sql import SqlPlanError, SqlTable

ENTITIES = SqlTable(database="demand", table="asked_v1", snapshot_id=3)


def test_engine_plan_and_sizes_are_said(filled):
    """And nothing is tagged or written."""
    found = filled.client.explain(filled.asked((3, "1")), [filled.STOCK])

    assert (found.engine.engine, found.engine.rows) == ("duckdb", 10)
    assert found.plans["stock_v1"].plan == "fan_out"
    assert found.tables[0].names == ("stock__on_hand",)
    assert set(filled.client.table("stock_v1").metadata.refs) == {"main"}
    assert filled.client.manifests.ids() == ()


def test_what_does_not_fit_is_for_another_engine(filled):
    """A build there is refused with the way out; forced, it is done."""
    rows = filled.asked((3, "1"))

    assert filled.client.explain(rows, [filled.STOCK], memory=1000).engine.engine == "athena"
    with pytest.raises(TrainingSetError, match=r"training set s is one for athena: .*; run the statement of explain"):
        filled.client.training_set(rows, [filled.STOCK], name="s", memory=1000)
    assert filled.client.training_set(rows, [filled.STOCK], name="s", memory=1000, engine="duckdb").rows.num_rows == 1
    with pytest.raises(EngineError, match="engine must be one of duckdb, athena, spark, got 'pandas'"):
        filled.client.explain(rows, [filled.STOCK], engine="pandas")


def test_the_statement_names_snapshots_and_columns(filled):
    """For both dialects; it is what was asked, as_of and time to live too."""
    asked = {"as_of": filled.day(5), "semantics": "event_time", "engine": "spark"}
    found = filled.client.explain(filled.asked((3, "1")), [filled.STOCK], **asked)
    snapshot = found.tables[0].snapshot_id

    athena, spark = (found.sql(dialect, ENTITIES) for dialect in ("athena", "spark"))

    assert found.plans == {}
    assert f"for version as of {snapshot}" in athena.lower()
    assert f"version as of {snapshot}" in spark.lower()
    for text in (athena, spark):
        assert all(part in text for part in ("stock__on_hand", "asked_v1", "2017-01-06"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "No Good"}, "name must match"),
        ({"semantics": "sometime"}, "semantics must be one of known_at, event_time, got 'sometime'"),
    ],
)
def test_fails_for_what_cannot_be_asked(filled, change, message):
    """As the training set itself."""
    with pytest.raises(TrainingSetError, match=message):
        filled.client.explain(filled.asked((3, "1")), [filled.STOCK], **change)
    with pytest.raises(TrainingSetError, match="as_of must have a time zone, got 2017-01-06T00:00:00"):
        filled.client.explain(filled.asked((3, "1")), [filled.STOCK], as_of=filled.day(5).replace(tzinfo=None))


def test_own_row_ids_are_those_of_the_statement(filled):
    """Whoever has them need not leave them out; what cannot be said is refused."""
    rows = filled.asked((3, "1")).append_column("row_id", [[7]])
    found = filled.client.explain(rows, [filled.STOCK])

    assert found.sql("spark", ENTITIES) == filled.client.explain(filled.asked((3, "1")), [filled.STOCK]).sql(
        "spark", ENTITIES
    )
    with pytest.raises(SqlPlanError, match="dialect must be one of spark, athena, got 'snowflake'"):
        found.sql("snowflake", ENTITIES)
    with pytest.raises(SqlPlanError, match=r"entities must be a SqlTable: .*, got 'asked_v1'"):
        found.sql("spark", "asked_v1")


@pytest.mark.parametrize("frame", ["pandas", "polars", "large"])
def test_frames_of_other_libraries_have_the_statement_of_the_same_rows(filled, frame):
    """Their texts have other layouts in memory."""
    rows = filled.asked((3, "1"))
    frames = {
        "pandas": lambda: rows.to_pandas().astype({"store_id": "string"}),
        "polars": lambda: polars.DataFrame(rows),
        "large": lambda: rows.set_column(0, "store_id", rows["store_id"].cast(pa.large_string())),
    }

    expected = filled.client.explain(rows, [filled.STOCK]).sql("athena", ENTITIES)
    assert filled.client.explain(frames[frame](), [filled.STOCK]).sql("athena", ENTITIES) == expected


def test_fails_for_columns_that_no_table_could_have(filled):
    """Rather than leaving them out of the result."""
    rows = filled.asked((3, "1")).append_column("week", pa.array([3], pa.uint8()))
    with pytest.raises(
        SqlPlanError, match="column 'week' of the entity rows is uint8, which no column of a feature table"
    ):
        filled.client.explain(rows, [filled.STOCK]).sql("spark", ENTITIES)
