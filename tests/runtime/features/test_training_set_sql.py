"""Athena's statement parsed by sqlglot and run as DuckDB's against both oracles; errors of both dialects.

The rewrite for DuckDB removes ``for version as of <snapshot>``, since its table has the rows of that snapshot; sqlglot
writes the
rest. Spark's statement runs on a real Spark next to its ingest job.

Build estimates without a build.
"""

import functools
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import duckdb
import polars
import pyarrow as pa
import pytest
import sqlglot
from hypothesis import given, settings
from sqlglot import exp
from tests.runtime.features.oracles import differing
from tests.runtime.features.test_point_in_time import (
    COLUMNS,
    EITHER_MEANING,
    ENTITIES,
    FEATURES,
    LIVES,
    RESTATED,
    at,
    entity_rows,
    expected,
    group,
    lifetimes,
)

from mlops_runtime.features.column_type import ColumnType
from mlops_runtime.features.engine_choice import EngineError
from mlops_runtime.features.point_in_time import point_in_time
from mlops_runtime.features.table_types import arrow_type
from mlops_runtime.features.training_set_request import TrainingSetError
from mlops_runtime.features.training_set_sql import (
    SqlEntities,
    SqlGroup,
    SqlPlan,
    SqlPlanError,
    SqlTable,
    precondition,
    render,
)

KEYS = {"store_id": "string", "sku": "long"}
ENTITY = SqlEntities(
    table=SqlTable(database="features", table="entity", snapshot_id=11),
    timestamp="at",
    columns={**KEYS, "at": "timestamp"},
)
STOCK = SqlTable(database="features", table="stock_v1", snapshot_id=22)


ENTITIES_TABLE = SqlTable(database="demand", table="asked_v1", snapshot_id=3)


def stock(**options) -> SqlGroup:
    """Return the request for the table of ``group``."""
    wanted = {"name": "stock", "table": STOCK, "entities": KEYS, "columns": {"units": "double", "note": "string"}}
    return SqlGroup(**{**wanted, **options})


def as_duckdb(text: str) -> tuple[str, dict[str, str]]:
    """Return Athena's statement as DuckDB's, and the snapshots of its tables."""
    tree = sqlglot.parse_one(text, read="athena", error_level=sqlglot.ErrorLevel.RAISE)
    snapshots = {}
    for table in tree.find_all(exp.Table):
        version = table.args.get("version")
        if version is not None:
            assert (version.name, version.args["kind"]) == ("VERSION", "AS OF")
            snapshots[table.name] = version.expression.name
            table.set("version", None)
        table.set("db", None)
    return tree.sql(dialect="duckdb"), snapshots


@functools.cache
def database() -> duckdb.DuckDBPyConnection:
    """Return one database for all statements, because opening one takes longer than a statement."""
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    return connection


def run(plan: SqlPlan, rows: pa.Table, features: pa.Table, text=render) -> pa.Table:
    """Run Athena's statement over tables in memory."""
    query, snapshots = as_duckdb(text(plan, "athena"))
    assert snapshots.items() <= {"entity": "11", "stock_v1": "22"}.items()
    connection = database()
    for name, table in (("entity", rows), ("stock_v1", features)):
        connection.register(name, table)
    return connection.sql(query).to_arrow_table()


def with_ids(rows: pa.Table) -> pa.Table:
    """Return entity rows with ids."""
    return rows.append_column("row_id", pa.arange(0, rows.num_rows, 1))


@EITHER_MEANING
@settings(max_examples=40, deadline=None)
@given(rows=ENTITIES, features=FEATURES | RESTATED, life=LIVES)
def test_athenas_statement_equals_the_oracle(semantics, rows, features, life):
    """Covers ties, late rows, restatements, nulls, NaN, expiry, duplicates, unknown keys, and rows that differ only in values."""
    # Athena's intervals are in milliseconds, so all times are a thousand times as long
    plan = SqlPlan(
        entities=ENTITY,
        groups=(stock(**({} if life is None else {**lifetimes(life), "ttl": timedelta(milliseconds=life[0])})),),
        semantics=semantics,
    )
    slow = {"store_id": 0, "sku": 0, "at": 1, "event_time": 1, "created_time": 1}
    result = run(plan, _slower(with_ids(entity_rows(rows)), slow), _slower(group(features).rows, slow))
    assert differing(result, COLUMNS, expected(semantics, rows, features, life)) == []
    assert result["row_id"].to_pylist() == list(range(len(rows)))
    assert result.schema.names == ["row_id", "store_id", "sku", "at", "units", "note"]


def _slower(table, names):
    start = pa.scalar(at(0), pa.timestamp("us", "UTC")).value
    for i, name in enumerate(table.schema.names):
        if names.get(name):
            ticks = [
                start + (pa.scalar(time, pa.timestamp("us", "UTC")).value - start) * 1000
                for time in table[name].to_pylist()
            ]
            table = table.set_column(i, name, pa.array(ticks, pa.int64()).cast(pa.timestamp("us", "UTC")))
    return table


@EITHER_MEANING
def test_rows_created_after_the_cut_are_not_read(semantics):
    """``as_of`` is inclusive under both semantics; rows out of reach of the entity rows change nothing."""
    rows, created = with_ids(entity_rows([("1", 0, 6)])), (2, 3, 4)
    features = group([("1", 0, tick, tick, "a", float(tick), None) for tick in created]).rows
    for cut in created:
        plan = SqlPlan(entities=ENTITY, groups=(stock(),), semantics=semantics, as_of=at(cut), within=(at(6), at(6)))
        assert run(plan, rows, features)["units"].to_pylist() == [float(cut)]


def test_several_groups_with_names_as_the_planner_has_them():
    """Names may contain blanks and quotes."""
    features = [("1", 0, 2, 2, "a", 9.0, "x"), ("2", 0, 2, 2, "a", 8.0, "y")]
    rows = entity_rows([("1", 0, 6), ("2", 0, 6), ("2", 0, 6)])
    odd = {"units": 'the "units"; drop table stock_v1 --', "note": "an `other`"}
    one = stock(names=odd, ttl=timedelta(days=30))
    plan = SqlPlan(entities=ENTITY, groups=(one, stock(name="again", columns={"note": "string"})))
    wanted = point_in_time(
        rows,
        "at",
        [group(features, names=odd, ttl=timedelta(days=30)), group(features, name="again", columns=("note",))],
    )
    found = run(plan, with_ids(rows), group(features).rows)
    assert found.select(wanted.schema.names).to_pydict() == wanted.to_pydict()
    assert 'as `the "units"; drop table stock_v1 --`' in render(plan, "spark")
    assert "as `an ``other```" in render(plan, "spark")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("boolean", True),
        ("int", 1),
        ("long", 1),
        ("float", 1),
        ("double", 1),
        ("string", "a"),
        ("date", datetime(2017, 1, 1).date()),
        ("timestamp", at(1)),
        ("binary", b"a\0"),
        ("decimal(9,2)", Decimal("1.10")),
        ("list<double>", [1.0, None]),
        ("list<string>", []),
        ("vector(2)", [1.0, 0.5]),
    ],
)
def test_every_type_can_be_a_column(kind, value):
    """Null values in otherwise equal rows keep the order defined, and types survive, vectors as lists."""
    features = group([("1", 0, 2, 2, "a", 9.0, "x"), ("2", 0, 2, 2, "a", 9.0, "x"), ("2", 0, 2, 2, "a", 9.0, "x")]).rows
    is_ordered = ColumnType.of(kind).is_ordered  # other types do not break ties
    features = features.set_column(
        5, "units", pa.array([value, value, None if is_ordered else value], arrow_type(kind))
    )
    plan = SqlPlan(entities=ENTITY, groups=(stock(columns={"units": kind}),))
    result = run(plan, with_ids(entity_rows([("1", 0, 5), ("2", 0, 5)])), features)
    assert result["units"].to_pylist() == [value, None if is_ordered else value]
    assert result.schema.field("units").type in (arrow_type(kind), arrow_type("list<float>"))


def test_the_precondition_counts_what_would_break_the_statement():
    """Counts rows with a shared id, without a key and without a time."""
    rows = with_ids(entity_rows([("1", 0, 6), ("2", 0, 6), ("2", 0, 7)]))
    rows = rows.set_column(0, "store_id", pa.array(["1", None, "2"])).set_column(3, "row_id", pa.array([1, 1, 2]))
    place = rows.column_names.index("at")
    rows = rows.set_column(place, "at", pa.array([None, *rows["at"].to_pylist()[1:]], rows["at"].type))
    plan = SqlPlan(entities=ENTITY, groups=(stock(),))
    found = run(plan, rows, group([]).rows, text=precondition).to_pylist()
    assert found == [{"entity_rows": 3, "row_ids": 2, "incomplete": 1}]


def test_spark_reads_the_snapshot_from_the_catalog_named():
    """Both dialects name the snapshot; the rest of the text is run elsewhere."""
    text = render(SqlPlan(entities=ENTITY, groups=(stock(),)), "spark", catalog="glue_catalog")
    assert "from `glue_catalog`.`features`.`stock_v1` version as of 22" in text
    assert sqlglot.parse_one(text, read="spark", error_level=sqlglot.ErrorLevel.RAISE)


def test_fails_with_every_problem():
    """Only names, numbers and times of a plan reach the text."""
    bad = SqlTable(database="features", table="stock\n_v1", snapshot_id="1; drop table x")
    entities = SqlEntities(table=STOCK, timestamp="at", columns={"store_id": "long", "at": "date", "row_id": "long"})
    with pytest.raises(SqlPlanError) as error:
        SqlPlan(
            entities=entities,
            groups=(
                stock(table=bad, columns={"at": "double", "x": "decimal"}, ttl=timedelta(0), ttl_inclusive=False),
                stock(name="none", columns={}),
            ),
            semantics="now",
            as_of=datetime(2017, 1, 1),
        )
    message = str(error.value)
    for part in (
        "semantics must be known_at or event_time, got 'now'",
        "datetime.datetime(2017, 1, 1, 0, 0) has no time zone; set one",
        "column 'at' of the entity rows must be a timestamp and among their columns",
        "'row_id' is added automatically",
        "snapshot of stock must be a whole number, got '1; drop table x'",
        "'stock\\n_v1' of stock is not a name",
        "column 'x' of stock has type 'decimal': give the number of digits",
        "ttl of stock must not be negative, and must be positive if it is exclusive",
        "key 'store_id' is long in the entity rows and string in stock; give both one type",
        "key 'sku' is missing in the entity rows and long in stock; give both one type",
        "column 'at' of stock clashes with the entity rows",
        "none needs at least one key and one column",
    ):
        assert part in message
    with pytest.raises(SqlPlanError, match="at least one group is required, got none"):
        SqlPlan(entities=ENTITY, groups=())


def test_fails_for_a_life_that_athena_cannot_express():
    """Spark has microseconds, Athena's intervals milliseconds."""
    plan = SqlPlan(entities=ENTITY, groups=(stock(ttl=timedelta(microseconds=1500)),))
    assert "<= 1500" in render(plan, "spark")
    with pytest.raises(SqlPlanError, match="ttl of stock must be whole milliseconds for Athena, got"):
        render(plan, "athena")


def test_times_in_the_text_are_utc():
    """A cutoff in another zone is the same instant."""
    cut = datetime(2017, 1, 1, 1, 30, tzinfo=UTC)
    plan = SqlPlan(entities=ENTITY, groups=(stock(),), as_of=cut)
    assert "`created_time` <= cast('2017-01-01 01:30:00.000000 UTC' as timestamp)" in render(plan, "spark")


def test_engine_plan_and_sizes_are_said(filled):
    """No table is tagged and nothing is written."""
    found = filled.client.explain(filled.asked((3, "1")), [filled.STOCK])

    assert (found.engine.engine, found.engine.rows) == ("duckdb", 10)
    assert found.plans["stock_v1"].plan == "fan_out"
    assert found.tables[0].names == ("stock__on_hand",)
    assert set(filled.client.table("stock_v1").metadata.refs) == {"main"}
    assert filled.client.manifests.ids() == ()


def test_what_does_not_fit_is_for_another_engine(filled):
    """A build in this process is rejected with the alternative, unless it is forced."""
    rows = filled.asked((3, "1"))

    assert filled.client.explain(rows, [filled.STOCK], memory=1000).engine.engine == "spark"
    with pytest.raises(
        TrainingSetError, match=r"training set s requires spark: .*; this client has no job that builds it"
    ):
        filled.client.training_set(rows, [filled.STOCK], name="s", memory=1000)
    with pytest.raises(TrainingSetError, match=r"this client has no Athena: .* run the statement of explain"):
        filled.client.training_set(rows, [filled.STOCK], name="s", engine="athena")
    assert filled.client.training_set(rows, [filled.STOCK], name="s", memory=1000, engine="duckdb").rows.num_rows == 1
    with pytest.raises(EngineError, match="engine must be one of duckdb, athena, spark, got 'pandas'"):
        filled.client.explain(rows, [filled.STOCK], engine="pandas")


def test_the_statement_names_snapshots_and_columns(filled):
    """For both dialects, as requested, with as_of and time to live."""
    requested = {"as_of": filled.day(5), "semantics": "event_time", "engine": "spark"}
    found = filled.client.explain(filled.asked((3, "1")), [filled.STOCK], **requested)
    snapshot = found.tables[0].snapshot_id

    athena, spark = (found.sql(dialect, ENTITIES_TABLE) for dialect in ("athena", "spark"))

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
    """Has the errors of the training set itself."""
    with pytest.raises(TrainingSetError, match=message):
        filled.client.explain(filled.asked((3, "1")), [filled.STOCK], **change)
    with pytest.raises(TrainingSetError, match="as_of must have a time zone, got 2017-01-06T00:00:00"):
        filled.client.explain(filled.asked((3, "1")), [filled.STOCK], as_of=filled.day(5).replace(tzinfo=None))


def test_own_row_ids_are_those_of_the_statement(filled):
    """They may stay in the request; inexpressible options are rejected."""
    rows = filled.asked((3, "1")).append_column("row_id", [[7]])
    found = filled.client.explain(rows, [filled.STOCK])

    assert found.sql("spark", ENTITIES_TABLE) == filled.client.explain(filled.asked((3, "1")), [filled.STOCK]).sql(
        "spark", ENTITIES_TABLE
    )
    with pytest.raises(SqlPlanError, match="dialect must be one of spark, athena, got 'snowflake'"):
        found.sql("snowflake", ENTITIES_TABLE)
    with pytest.raises(SqlPlanError, match=r"entities must be a SqlTable, .*, got 'asked_v1'"):
        found.sql("spark", "asked_v1")


@pytest.mark.parametrize("frame", ["pandas", "polars", "large"])
def test_frames_of_other_libraries_have_the_statement_of_the_same_rows(filled, frame):
    """Their strings have other layouts in memory."""
    rows = filled.asked((3, "1"))
    frames = {
        "pandas": lambda: rows.to_pandas().astype({"store_id": "string"}),
        "polars": lambda: polars.DataFrame(rows),
        "large": lambda: rows.set_column(0, "store_id", rows["store_id"].cast(pa.large_string())),
    }

    expected = filled.client.explain(rows, [filled.STOCK]).sql("athena", ENTITIES_TABLE)
    assert filled.client.explain(frames[frame](), [filled.STOCK]).sql("athena", ENTITIES_TABLE) == expected


def test_fails_for_columns_that_no_table_could_have(filled):
    """They are not silently left out of the result."""
    rows = filled.asked((3, "1")).append_column("week", pa.array([3], pa.uint8()))
    with pytest.raises(
        SqlPlanError, match="column 'week' of the entity rows is uint8, which is not a type of feature tables"
    ):
        filled.client.explain(rows, [filled.STOCK]).sql("spark", ENTITIES_TABLE)
