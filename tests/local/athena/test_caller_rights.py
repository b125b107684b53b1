"""Athena acts with the permissions of its caller only."""

import json
import time

import boto3
import pytest

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

    def asked(statement: str, without: str | None = None, **narrower: str) -> str:
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

    return asked


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
