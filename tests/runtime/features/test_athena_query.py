"""Rows of a query on the embedded cloud: types, times, cleanup, repeats, and queries that Athena rejects."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import boto3
import pyarrow as pa
import pytest
from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.schema import Schema
from pyiceberg.types import DecimalType, DoubleType, ListType, NestedField, StringType, TimestampType, TimestamptzType

from mlops_runtime.features import athena_query
from mlops_runtime.features.access_errors import SourceAccessError, SourceError
from mlops_runtime.features.athena_query import AthenaQuery, unload
from mlops_runtime.features.athena_runs import AthenaError
from mlops_runtime.features.source_ingest import IngestedSource
from mlops_runtime.features.table_catalog import glue_properties

DAY = datetime(2017, 1, 1, tzinfo=UTC)
SQL = "select key as store_id, at as event_time, at + interval '1' hour as created_time, cast(n as bigint) as on_hand from raw"


@pytest.fixture(scope="module")
def athena(cloud):
    """Return clients, a table ``raw`` of four rows in its own database, a result location, and a query factory."""
    s3, client, glue = cloud.client("s3"), cloud.client("athena"), cloud.client("glue")
    s3.create_bucket(Bucket="query-results")
    glue.create_database(DatabaseInput={"Name": "query_lake"})
    catalog = GlueCatalog("tests", None, **glue_properties(cloud.environment()))
    schema = Schema(
        NestedField(1, "key", StringType()),
        NestedField(2, "at", TimestamptzType()),
        NestedField(3, "n", DoubleType()),
        NestedField(4, "price", DecimalType(9, 2)),
        NestedField(5, "seen", ListType(6, DoubleType(), False)),
        NestedField(7, "here", TimestampType()),
    )
    table = catalog.create_table(("query_lake", "raw"), schema, location="s3://query-results/raw")
    times = [DAY + timedelta(days=n, microseconds=n) for n in range(4)]
    table.append(
        pa.table(
            {
                "key": ["1"] * 4,
                "at": pa.array(times, pa.timestamp("us", "UTC")),
                "n": [0.0, 1.0, 2.0, 3.0],
                "price": pa.array([None, 1, 2, 3], pa.decimal128(9, 2)),
                "seen": [[1.5], [None], [], None],
                "here": pa.array([time.replace(tzinfo=None) for time in times], pa.timestamp("us")),
            }
        )
    )

    def query(sql: str = SQL, **options) -> AthenaQuery:
        given = {"database": "query_lake", "output": "s3://query-results/scratch", "athena": client, "s3": s3}
        return AthenaQuery(sql, **{**given, **options})

    def left() -> list[str]:
        found = s3.list_objects_v2(Bucket="query-results", Prefix="scratch/mlops-queries/").get("Contents", [])
        return [each["Key"] for each in found]

    return SimpleNamespace(query=query, left=left, s3=s3, athena=client, cloud=cloud, table=table)


def all_rows(query: AthenaQuery) -> list[dict]:
    """Return the rows of a query."""
    with query.opened() as rows:
        found = [row for file in rows.files.files() for piece in rows.pieces(file, {}) for row in piece.to_pylist()]
    return sorted(found, key=str)


def test_a_query_is_a_backfill(athena, shop):
    """Times keep microseconds, the result location is empty afterwards, and a repeated query's rows are duplicates by content."""
    done = shop.client.ingest_from(shop.STOCK, athena.query(), backfill=True)
    assert done == IngestedSource(table="stock_v1", files=1, pieces=1, rows=4)
    rows = shop.client.table("stock_v1").scan().to_arrow().sort_by("event_time")
    assert rows["event_time"].to_pylist() == [DAY + timedelta(days=n, microseconds=n) for n in range(4)]
    assert rows["created_time"][3].as_py() - rows["event_time"][3].as_py() == timedelta(hours=1)
    assert athena.left() == []
    again = shop.client.ingest_from(shop.STOCK, athena.query(), backfill=True)
    assert (again.duplicates, again.rows) == (1, 0)


def test_a_query_is_entity_rows(athena, shop):
    """The set has the rows of the query."""
    shop.client.ingest_from(shop.STOCK, athena.query(), backfill=True)
    requested = athena.query("select key as store_id, at + interval '2' hour as event_timestamp from raw where n > 1")
    built = shop.client.training_set(requested, [shop.STOCK], name="s")
    assert sorted(built.rows["stock__on_hand"].to_pylist()) == [2, 3]


def test_types_come_through(athena):
    """Decimals, lists with nulls, and times with and without a zone keep their types."""
    (row, *_) = all_rows(athena.query("select price, seen, at, here from raw where n = 1"))
    time = DAY + timedelta(days=1, microseconds=1)
    assert row == {"price": 1, "seen": [None], "at": time, "here": time.replace(tzinfo=None)}


def test_a_run_that_was_killed_goes_on_with_what_was_unloaded(athena, shop, monkeypatch):
    """The table has changed since: the unloaded rows are ingested, each once; the next query sees the change."""
    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patch:
        patch.setattr(type(shop.client), "ingest", _interrupted)
        shop.client.ingest_from(shop.STOCK, athena.query(), backfill=True)
    assert athena.left()[0].endswith("/done.json")
    more = athena.query(
        SQL + " union all select '2', timestamp '2017-01-09 00:00:00 UTC', timestamp '2017-01-09 00:00:00 UTC', 9"
    )
    assert shop.client.ingest_from(shop.STOCK, athena.query(), backfill=True).rows == 4
    assert athena.left() == []
    done = shop.client.ingest_from(shop.STOCK, more, backfill=True)
    assert done.rows == 5  # another query's rows are another batch; no row counts twice


def _interrupted(*_given, **_options):
    raise KeyboardInterrupt


def test_what_a_failed_query_wrote_is_removed(athena, monkeypatch):
    """The location is empty for the next attempt, also after this process was killed before the cleanup."""
    fails = athena.query("select key, 1 / (n - n) as x, cast('a' as bigint) as y from raw")
    with pytest.raises(AthenaError, match=r"query .* ended FAILED: GENERIC_USER_ERROR: .*'a'"):
        all_rows(fails)
    assert athena.left() == []
    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patch:
        patch.setattr(athena_query, "remove_all", lambda _: None)
        patch.setattr(athena_query.RowFiles, "files", _interrupted)
        patch.setattr(athena_query.Objects, "put_once", lambda *_: None)
        all_rows(athena.query())
    assert athena.left() != []
    assert len(all_rows(athena.query())) == 4
    assert athena.left() == []


def test_a_query_without_rows_and_columns_that_no_file_holds(athena):
    """Rejects each by name."""
    with pytest.raises(AthenaError, match="the query returned no rows: select key from raw where n > 9"):
        all_rows(athena.query("select key from raw where n > 9"))
    with pytest.raises(AthenaError, match="column 't' is time, which UNLOAD does not support; cast it in the query"):
        all_rows(athena.query("select cast(here as time) as t from raw"))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"sql": " ; "}, "sql must be a query, got ' ; '"),
        (
            {"s3": None, "athena": None},
            "a query needs a boto3 client of Athena: pass athena=; a query needs a boto3 client of S3",
        ),
        ({"output": "results"}, "output must be s3://bucket/prefix, got 'results'"),
    ],
)
def test_what_is_no_query_is_refused(athena, options, problem):
    """Rejects it before any request."""
    with pytest.raises(SourceError, match=problem):
        athena.query(**options)


def test_a_caller_without_rights_is_told_the_statement(athena):
    """Applies to a role without permissions, with IAM enforced."""
    cloud = athena.cloud
    trust = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}'
    role = cloud.client("iam").create_role(RoleName="queries-nothing", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    keys = cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="weak")["Credentials"]
    weak = {
        name: boto3.client(
            name,
            endpoint_url=cloud.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
        )
        for name in ("athena", "s3")
    }
    with pytest.raises(SourceAccessError, match=r"reading workgroup primary was denied: .*athena:GetWorkGroup"):
        all_rows(athena.query(**weak))
    with pytest.raises(SourceAccessError, match=r"using s3://query-results/scratch/mlops-queries/.* was denied: .*s3:"):
        all_rows(athena.query(s3=weak["s3"]))


def test_names_are_quoted_and_places_end_in_a_slash():
    """UNLOAD requires quoted names and a trailing slash."""
    assert unload("select 1", "s3://b/p", by="bucket") == (
        "unload (select 1) to 's3://b/p/' with (format = 'PARQUET', compression = 'ZSTD', partitioned_by = array['bucket'])"
    )
