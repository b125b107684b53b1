"""Fixtures of the Athena tests: one lake in the shared embedded cloud."""

import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField, StringType, TimestamptzType

from mlops_runtime.features.table_catalog import glue_properties

TIME = datetime(2017, 1, 1, 12, 30, 0, 123456, tzinfo=UTC)


@pytest.fixture(scope="session")
def lake(cloud):
    """Return a database with an Iceberg table of two snapshots and a Hive table, and a function that runs a query to its end."""
    s3, athena, glue = cloud.client("s3"), cloud.client("athena"), cloud.client("glue")
    s3.create_bucket(Bucket="athena-lake")
    glue.create_database(DatabaseInput={"Name": "lake"})
    catalog = GlueCatalog("tests", None, **glue_properties(cloud.environment()))
    schema = Schema(
        NestedField(1, "key", StringType()), NestedField(2, "n", LongType()), NestedField(3, "at", TimestamptzType())
    )
    table = catalog.create_table(("lake", "ice"), schema, location="s3://athena-lake/ice")
    for n in range(2):
        table.append(pa.table({"key": ["a"], "n": [n], "at": pa.array([TIME], pa.timestamp("us", "UTC"))}))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"key": ["a", "b"], "micros": [5, 6]}), sink)
    s3.put_object(Bucket="athena-lake", Key="hive/x", Body=sink.getvalue().to_pybytes())
    columns = [{"Name": "key", "Type": "string"}, {"Name": "micros", "Type": "bigint"}]
    storage = {
        "Columns": columns,
        "Location": "s3://athena-lake/hive/",
        "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
        "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
        "SerdeInfo": {"SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"},
    }
    glue.create_table(
        DatabaseName="lake",
        TableInput={"Name": "hive", "TableType": "EXTERNAL_TABLE", "StorageDescriptor": storage},
    )

    def run(statement: str, **options) -> dict:
        requested = {
            "QueryExecutionContext": {"Database": "lake"},
            "ResultConfiguration": {"OutputLocation": "s3://athena-lake/out/"},
        }
        query = athena.start_query_execution(QueryString=statement, **{**requested, **options})["QueryExecutionId"]
        while True:
            found = athena.get_query_execution(QueryExecutionId=query)["QueryExecution"]
            if found["Status"]["State"] in ("SUCCEEDED", "FAILED"):
                return found
            time.sleep(0.01)

    def rows(statement: str) -> tuple[list[str], list[list[str]]]:
        found = run(statement)
        assert found["Status"]["State"] == "SUCCEEDED", found["Status"]
        answer = athena.get_query_results(QueryExecutionId=found["QueryExecutionId"])["ResultSet"]
        types = [each["Type"] for each in answer["ResultSetMetadata"]["ColumnInfo"]]
        return types, [[cell.get("VarCharValue") for cell in row["Data"]] for row in answer["Rows"][1:]]

    def unloaded(prefix: str) -> dict[str, pa.Table]:
        keys = [each["Key"] for each in s3.list_objects_v2(Bucket="athena-lake", Prefix=prefix).get("Contents", [])]
        bodies = {key: s3.get_object(Bucket="athena-lake", Key=key)["Body"].read() for key in keys}
        return {key.removeprefix(prefix): pq.read_table(pa.BufferReader(body)) for key, body in bodies.items()}

    first = table.metadata.snapshots[0].snapshot_id
    return SimpleNamespace(run=run, rows=rows, unloaded=unloaded, first=first, athena=athena)
