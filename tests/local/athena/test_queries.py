"""Athena of the embedded cloud: SQL over the catalog's tables at any snapshot, the output and errors of UNLOAD, and rights."""

import json
import re
import time

import boto3
import pytest

from mlops_local.athena import queries

TRUST = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
NEEDED = {
    "glue:GetDatabase": "*",
    "glue:GetTable": "*",
    "s3:GetBucketLocation": "arn:aws:s3:::athena-lake",
    "s3:ListBucket": "arn:aws:s3:::athena-lake",
    "s3:GetObject": "arn:aws:s3:::athena-lake/*",
    "s3:PutObject": "arn:aws:s3:::athena-lake/*",
}
TABLES = "select i.n, h.micros from ice as i join hive as h on i.key = h.key"


def test_athenas_sql_over_tables_of_both_kinds(lake):
    """Runs Athena's functions, quotes and casts; reads an Iceberg table at the given snapshot, by default the newest."""
    assert lake.rows("select count(*) as n from ice")[1] == [["2"]]
    at_first = f"for version as of {lake.first}"
    assert lake.rows("select max(n) as n from lake.ice " + at_first)[1] == [["0"]]  # noqa: S608 - a number
    joined = """
        with both as (select ice.n, hive.micros from "lake"."ice" join hive on ice.key = hive.key)
        select max_by(micros, n) as chosen,
            cast(round(to_unixtime(timestamp '2017-01-01 00:00:00.123456 UTC') * 1e6) as bigint) as m
        from both
    """
    assert lake.rows(joined)[1] == [["5", "1483228800123456"]]
    nanos = "select from_unixtime_nanos(cast(micros as decimal(19, 0)) * 1000) = timestamp '1970-01-01 00:00:00.000005 UTC' as same"
    assert lake.rows(f"{nanos} from hive where key = 'a'")[1] == [["true"]]


def test_columns_have_athenas_types(lake):
    """Result columns have Athena's types, also in an empty result."""
    types, rows = lake.rows("select *, array[1.5] as list, cast(1 as decimal(9, 2)) as d from ice limit 0")
    assert (types, rows) == (["varchar", "bigint", "timestamp with time zone", "array", "decimal"], [])


def test_unload_writes_files_of_each_partition_in_no_order(lake):
    """UNLOAD omits the partition column from the files and gives them random names."""
    target = "s3://athena-lake/unloaded/parts/"
    query = "select n, n % 2 as half from unnest(sequence(0, 999)) as t (n)"
    done = lake.run(f"UNLOAD ({query}) TO '{target}' WITH (format = 'PARQUET', partitioned_by = array['half'])")
    assert done["Status"]["State"] == "SUCCEEDED", done["Status"]
    found = lake.unloaded("unloaded/parts/")
    assert sorted(key.split("/")[0] for key in found) == ["half=0", "half=1"]
    assert {table.schema.names[0] for table in found.values()} == {"n"}
    values = [n for table in found.values() for n in table["n"].to_pylist()]
    assert sorted(values) == list(range(1000))
    assert values != sorted(values)


@pytest.mark.parametrize(
    ("query", "options", "reason"),
    [
        ("select * from ice", "", "NOT_SUPPORTED: Unsupported Hive type: timestamp.6. with time zone"),
        ("select n, key from ice", ", partitioned_by = array['n']", "Partition keys must be the last columns"),
        ("select n from nowhere", "", "TABLE_NOT_FOUND: Table 'awsdatacatalog.lake.nowhere' does not exist"),
        ("select n from", "", "SYNTAX_ERROR"),
        ("select nothing from ice", "", "GENERIC_USER_ERROR: .*nothing"),
    ],
)
def test_unload_refuses(lake, query, options, reason):
    """Rejects what Athena rejects: times with a zone, partition columns that are not the last, missing tables."""
    done = lake.run(f"unload ({query}) to 's3://athena-lake/unloaded/refused/' with (format = 'PARQUET'{options})")
    assert done["Status"]["State"] == "FAILED"
    assert re.search(reason, done["Status"]["StateChangeReason"])


def test_unload_needs_an_empty_place_and_leaves_what_failed(lake):
    """When the partition 101 fails, the files of the first hundred stay, so the next attempt finds a non-empty location."""
    text = (
        "unload (select n, n as part from unnest(sequence(1, 101)) as t (n)) to 's3://athena-lake/unloaded/many/' "
        "with (format = 'PARQUET', partitioned_by = array['part'])"
    )
    assert "HIVE_TOO_MANY_OPEN_PARTITIONS" in lake.run(text)["Status"]["StateChangeReason"]
    assert len(lake.unloaded("unloaded/many/")) == 100
    assert "HIVE_PATH_ALREADY_EXISTS" in lake.run(text)["Status"]["StateChangeReason"]


def test_statements_and_workgroups_are_checked(lake):
    """Checks a statement's size, missing and disabled workgroups, and a workgroup that enforces the result location."""
    refused = lake.athena.exceptions.InvalidRequestException
    with pytest.raises(refused, match="at most 262144 bytes, got 262151"):
        lake.run("select " + "1" * 262144)
    with pytest.raises(refused, match="WorkGroup none is not found"):
        lake.run("select 1", WorkGroup="none")
    own = {"OutputLocation": "s3://athena-lake/own/"}
    lake.athena.create_work_group(
        Name="strict", Configuration={"EnforceWorkGroupConfiguration": True, "ResultConfiguration": own}
    )
    found = lake.run("select 1 as one", WorkGroup="strict")
    assert found["ResultConfiguration"]["OutputLocation"].startswith("s3://athena-lake/own/")
    lake.athena.update_work_group(WorkGroup="strict", State="DISABLED")
    with pytest.raises(refused, match="WorkGroup is disabled"):
        lake.run("select 1", WorkGroup="strict")


def test_other_statements_are_left_to_ministack():
    """DDL and DESCRIBE statements are left to MiniStack."""
    statements = (
        "show tables",
        "create external table a (b int)",
        "  SELECT 1",
        "(select 1)",
        "unload (select 1)",
        "selection",
    )
    assert [queries.is_query(each) for each in statements] == [False, False, True, True, True, False]


@pytest.fixture(scope="module")
def ask(cloud, lake):
    """Return a function that runs a query as a role with some permissions: state and reason, or why it did not start."""
    made = cloud.client("iam")
    role = made.create_role(RoleName="athena-caller", AssumeRolePolicyDocument=json.dumps({"Statement": [TRUST]}))[
        "Role"
    ]
    keys = cloud.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="athena")["Credentials"]
    athena = boto3.client(
        "athena",
        endpoint_url=cloud.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )

    def refusal(statement: str, without: str | None = None, **narrower: str) -> str:
        rights = {"athena:*": "*", **NEEDED, **narrower}
        allowed = [{"Effect": "Allow", "Action": a, "Resource": r} for a, r in rights.items() if a != without]
        made.put_role_policy(
            RoleName="athena-caller", PolicyName="p", PolicyDocument=json.dumps({"Statement": allowed})
        )
        try:
            query = athena.start_query_execution(
                QueryString=statement,
                QueryExecutionContext={"Database": "lake"},
                ResultConfiguration={"OutputLocation": "s3://athena-lake/out/"},
            )["QueryExecutionId"]
        except athena.exceptions.InvalidRequestException as error:
            return str(error)
        while (found := athena.get_query_execution(QueryExecutionId=query)["QueryExecution"]["Status"])[
            "State"
        ] not in (
            "SUCCEEDED",
            "FAILED",
        ):
            time.sleep(0.01)
        return f"{found['State']} {found.get('StateChangeReason', '')}"

    return refusal


@pytest.mark.parametrize("right", NEEDED)
def test_a_query_needs_each_right_of_its_caller(ask, right):
    """A query needs permissions to find tables, to read files of both kinds of table, and to write results and unloaded data."""
    statement = f"unload ({TABLES}) to 's3://athena-lake/unloaded/{right.partition(':')[2]}/' with (format = 'PARQUET')"
    found = ask(statement, without=right)
    if right == "s3:GetBucketLocation":
        assert found.endswith("Unable to verify/create output bucket athena-lake")
    else:
        assert found.startswith("FAILED Insufficient permissions to execute the query. User: ")
        assert f"is not authorized to perform: {right} on resource: " in found
    assert ask(statement) == "SUCCEEDED "


def test_rights_on_the_database_of_a_query_are_not_enough(ask):
    """Athena reads the database ``default`` too, whichever database the query names."""
    database = "arn:aws:glue:us-east-1:*:database/"
    named = {"glue:GetDatabase": ["arn:aws:glue:us-east-1:*:catalog", f"{database}lake"]}
    found = ask(TABLES, **named)
    assert "is not authorized to perform: glue:GetDatabase on resource: " in found
    assert "database/default" in found
    named["glue:GetDatabase"].append(f"{database}default")
    assert ask(TABLES, **named) == "SUCCEEDED "
