"""The online store's table and grants, and publishing and reading under them on the embedded cloud."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import boto3
import pyarrow as pa
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template

from mlops_constructs import BusinessUnit, Entity, Feature, FeatureGroup, FeatureIngest, Profile, ValidationError
from mlops_constructs.feature_store import _online
from mlops_constructs.feature_store.table_grants import grant_all
from mlops_local.stacks import deployer
from mlops_runtime.features import online_items
from mlops_runtime.features.online_items import ErasedMeanwhileError, OnlineStoreError
from mlops_runtime.features.online_store import OnlineStore

if TYPE_CHECKING:
    from mlops_local.cloud import Cloud

DAY = datetime(2017, 1, 2, tzinfo=UTC)


def _group(name: str) -> FeatureGroup:
    return FeatureGroup(
        name=name,
        entities=(Entity("store_id", "string", "store"),),
        features=(Feature("on_hand", "double", "units"),),
        owner="logistics",
        description=name,
    )


def _stack(app: cdk.App, profile: Profile = Profile.DEVELOPMENT) -> cdk.Stack:
    """Define the table, a publisher of all groups and a reader of stock."""
    stack = cdk.Stack(app, "Online")
    unit = BusinessUnit(stack, "Unit", name="online", profile=profile)
    table = _online.define_online_table(stack, "Table", business_unit=unit)
    for name, statements in (
        ("Publisher", _online.publish_online_statements(table, unit.key)),
        ("Reader", _online.read_online_statements(table, unit.key, tables=["stock_v1"])),
    ):
        role = iam.Role(stack, name, assumed_by=iam.AccountRootPrincipal())
        grant_all(role, statements, scope=table)
        cdk.CfnOutput(stack, f"{name}Arn", value=role.role_arn)
    cdk.CfnOutput(stack, "TableName", value=table.table_name)
    return stack


@pytest.mark.parametrize(
    ("profile", "policy"), [(Profile.PRODUCTION, "RetainExceptOnCreate"), (Profile.DEVELOPMENT, "Delete")]
)
def test_the_table_has_the_adapters_key_and_time_to_live(profile: Profile, policy: str) -> None:
    """Partition key and TTL match the items; encrypted, recoverable, on demand, retained in PRODUCTION."""
    template = Template.from_stack(_stack(cdk.App(), profile))

    template.has_resource(
        "AWS::DynamoDB::Table",
        {
            "DeletionPolicy": policy,
            "Properties": {
                "KeySchema": [{"AttributeName": online_items.KEY, "KeyType": "HASH"}],
                "TimeToLiveSpecification": {"AttributeName": online_items.EXPIRES, "Enabled": True},
                "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
                "BillingMode": "PAY_PER_REQUEST",
                "SSESpecification": {"SSEEnabled": True, "SSEType": "KMS"},
            },
        },
    )


def test_rights_are_the_calls_of_the_adapter_and_reach_the_tables_named() -> None:
    """Readers read and publishers write; neither scans, and a reader of one group is limited to its keys."""
    policies = Template.from_stack(_stack(cdk.App())).find_resources("AWS::IAM::Policy").values()
    statements: list[dict[str, Any]] = [
        s for policy in policies for s in policy["Properties"]["PolicyDocument"]["Statement"]
    ]
    table = [s for s in statements if "dynamodb" in str(s["Action"])]

    assert sorted(str(s["Action"]) for s in table) == [
        "['dynamodb:DeleteItem', 'dynamodb:PutItem']",
        "dynamodb:BatchGetItem",
        "dynamodb:BatchGetItem",
        "dynamodb:ConditionCheckItem",
    ]
    read = [s["Condition"]["ForAllValues:StringLike"] for s in table if s["Action"] == "dynamodb:BatchGetItem"]
    assert sorted(each["dynamodb:LeadingKeys"] for each in read) == [["#published/*", "#erased/*"], ["stock_v1/*"]]
    assert all("/index" not in str(s["Resource"]) and s["Resource"] != "*" for s in table)


def test_a_store_has_the_table_where_it_is_asked_for(define_store: Any, group: Any, resources: Any) -> None:
    """Opt-in; grants for a group are limited to its keys, and require table and group."""
    plain, store = define_store(group("stock")), define_store(group("stock"), group("sales"), online=True)

    assert plain.online_table is None
    for grant in (plain.grant_read_online, plain.grant_publish_online):
        with pytest.raises(ValidationError, match="this store has no online table; set online=True"):
            grant(iam.User(plain, f"User{grant.__name__}"))
    assert store.online_table is not None
    with pytest.raises(ValidationError, match="group must be one of"):
        store.grant_read_online(iam.User(store, "Nobody"), groups=[group("prices")])
    store.grant_read_online(iam.User(store, "Reader"), groups=[group("stock")])
    store.grant_publish_online(iam.User(store, "Publisher"), groups=[group("sales")])
    statements = [
        s for policy in resources(store, "AWS::IAM::Policy").values() for s in policy["PolicyDocument"]["Statement"]
    ]
    keys = sorted(
        (str(s["Action"]), s["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"])
        for s in statements
        if "dynamodb" in str(s["Action"])
    )
    assert keys == [
        ("['dynamodb:DeleteItem', 'dynamodb:PutItem']", ["sales_v1/*", "#published/sales_v1", "#erased/sales_v1"]),
        ("dynamodb:BatchGetItem", ["#published/sales_v1", "#erased/sales_v1"]),
        ("dynamodb:BatchGetItem", ["stock_v1/*"]),
        ("dynamodb:ConditionCheckItem", ["#erased/sales_v1"]),
    ]


@pytest.mark.usefixtures("wheels")
def test_an_online_group_brings_table_and_function(define_store: Any, group: Any, resources: Any) -> None:
    """The group's flag suffices; the function receives events of its tables only, and reads no item."""
    store = define_store(group("stock", online=True), group("sales"))
    assert store.online_table is not None
    (rule,) = (r for r in resources(store, "AWS::Events::Rule").values() if "subject" in str(r))
    assert rule["EventPattern"]["detail"] == {"subject": ["stock_v1"]}
    (publisher,) = (
        f
        for f in resources(store, "AWS::Lambda::Function").values()
        if "ONLINE_TABLE" in f.get("Environment", {}).get("Variables", {})
    )
    assert publisher["Environment"]["Variables"]["DECLARATION"] == "groups.json"
    statements = [
        s
        for kind in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy")
        for policy in resources(store, kind).values()
        for s in policy["PolicyDocument"]["Statement"]
    ]
    (read,) = (s for s in statements if s.get("Action") == "dynamodb:BatchGetItem")
    assert read["Condition"]["ForAllValues:StringLike"] == {
        "dynamodb:LeadingKeys": ["#published/stock_v1", "#erased/stock_v1"]
    }


def test_whoever_erases_forgets_there_too(define_store: Any, group: Any, resources: Any) -> None:
    """Deletes items by whole keys, and by partial ones after a scan; a store without the table grants no more."""
    plain, store = define_store(group("stock")), define_store(group("stock"), online=True)

    for each in (plain, store):
        each.grant_erase(iam.User(each, "Officer"))

    found = [
        [s for policy in resources(each, "AWS::IAM::Policy").values() for s in policy["PolicyDocument"]["Statement"]]
        for each in (plain, store)
    ]
    of_table = [[s for s in statements if "dynamodb:" in str(s["Action"])] for statements in found]
    assert of_table[0] == []
    assert [(s["Action"], list(s["Resource"])) for s in of_table[1]] == [
        (["dynamodb:DeleteItem", "dynamodb:Scan"], ["Fn::GetAtt"]),
        ("dynamodb:PutItem", ["Fn::GetAtt"]),
        ("dynamodb:UpdateItem", ["Fn::GetAtt"]),
    ]
    assert [s["Condition"]["ForAllValues:StringLike"] for s in of_table[1][1:]] == [
        {"dynamodb:LeadingKeys": [each]} for each in ("#erased/*", "#published/*")
    ]


@pytest.mark.usefixtures("wheels")
def test_the_units_parameter_names_what_an_erasure_has_to_reach(define_store: Any, group: Any, resources: Any) -> None:
    """Names online table and incoming bucket with its retention, where they exist."""
    plain = define_store(group("stock"))
    store = define_store(group("stock"), online=True, ingest=FeatureIngest(retention=cdk.Duration.days(7)))

    (little,), (much,) = (
        [
            json.dumps(p["Value"])
            for p in resources(each, "AWS::SSM::Parameter").values()
            if p["Name"] == "/mlops/demand/features"
        ]
        for each in (plain, store)
    )
    assert not any(name in little for name in ("incoming_bucket", "incoming_days", "online_table"))
    assert all(name in much for name in ("incoming_bucket", 'incoming_days\\":7', "online_table"))


@pytest.mark.cloud
def test_rows_are_published_and_read_under_the_grants(cloud: "Cloud", tmp_path: Path) -> None:
    """A publisher publishes both groups and reads none; a reader of one group reads only it and writes nothing."""
    app = cdk.App(outdir=str(tmp_path / "cdk.out"))
    _stack(app)
    app.synth()
    outputs = deployer.deploy(cloud, tmp_path / "cdk.out")["Online"]

    def store(role: str) -> OnlineStore:
        session = cloud.client("sts").assume_role(RoleArn=outputs[f"{role}Arn"], RoleSessionName=role.lower())
        keys = session["Credentials"]
        client = boto3.client(
            "dynamodb",
            region_name="us-east-1",
            endpoint_url=cloud.endpoint_url,
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
        )
        return OnlineStore(client, table=outputs["TableName"])

    stock, prices = _group("stock"), _group("prices")
    rows = pa.table(
        {
            "store_id": ["1", "2"],
            "event_time": [DAY, DAY],
            "created_time": [DAY, DAY],
            "ingest_id": ["0", "0"],
            "on_hand": [0.1, float("inf")],
        }
    )
    entities = pa.table({"store_id": ["2", "3", "1"]})
    publisher, reader = store("Publisher"), store("Reader")

    assert [publisher.publish(group, rows, now=DAY).written for group in (stock, prices)] == [2, 2]
    assert publisher.publish(stock, rows, now=DAY).kept == 2
    first = publisher.generation("stock_v1")
    assert publisher.publish(stock, rows, now=DAY, generation=first).kept == 2
    with pytest.raises(OnlineStoreError, match=r"TransactWriteItems of table .* failed: .*AccessDenied"):
        reader.publish(stock, rows, now=DAY, generation=first)
    assert reader.get(stock, entities, now=DAY, consistent=True)["on_hand"].to_pylist() == [float("inf"), None, 0.1]
    with pytest.raises(OnlineStoreError, match=r"BatchGetItem of table .* failed: .*AccessDenied"):
        reader.get(prices, entities, now=DAY)
    with pytest.raises(OnlineStoreError, match=r"PutItem of table .* failed: .*AccessDenied"):
        reader.publish(stock, rows, now=DAY)
    with pytest.raises(OnlineStoreError, match=r"BatchGetItem of table .* failed: .*AccessDenied"):
        publisher.get(stock, entities, now=DAY)
    assert publisher.forget(stock, entities) == 2
    with pytest.raises(ErasedMeanwhileError, match="stock_v1"):
        publisher.publish(stock, rows, now=DAY, generation=first)
    assert reader.get(stock, entities, now=DAY, consistent=True)["on_hand"].null_count == 3
