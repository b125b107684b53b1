"""Which feature store and groups a verb of ``mlops features`` uses: a folder, or a unit on the embedded cloud."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.glue import GlueCatalog
from tests.cli.deployed_unit import DeployedUnit
from tests.cli.feature_shops import GROUPS, STOCK, FeatureShop, day, stock

from mlops_cli.aws_account import UserError
from mlops_cli.feature_location import load_groups, pairs, read_parquet
from mlops_runtime.cloud_connection import CloudConnection, embedded_options
from mlops_runtime.console.api import ConsoleApi
from mlops_runtime.console.http_message import HttpRequest
from mlops_runtime.contracts.model import ModelPackageSpec
from mlops_runtime.contracts.unit_entries import FeatureStoreEntry
from mlops_runtime.features.iceberg_tables import iceberg_partition, iceberg_schema
from mlops_runtime.features.lock_file import FeatureLock
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.features.table_catalog import glue_properties
from mlops_runtime.registry.model_package import package_request

MODULE = """
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup

STOCK = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"),),
    features=(Feature("on_hand", "{on_hand}", "units on hand"), Feature("price", "double", "dollars", nullable=True)),
    owner="demand",
    description="stock",
)
GROUPS = (STOCK,)
"""


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in a folder with a package that declares a group, and unload it afterwards."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "declared.py").write_text(MODULE.format(on_hand="long"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield tmp_path / "shop"
    for name in [name for name in sys.modules if name == "shop" or name.startswith("shop.")]:
        del sys.modules[name]


def test_groups_are_those_of_a_module(package: Path) -> None:
    """The lock file is beside the module's file."""
    module, groups = load_groups("shop.declared:GROUPS")

    assert module.__file__ == str(package / "declared.py")
    assert [group.table_name for group in groups] == ["stock_v1"]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ("shop.declared", "groups must be <module>:<name>, got 'shop.declared'"),
        ("shop.absent:GROUPS", "cannot load module 'shop.absent': No module named 'shop.absent'"),
        ("shop.declared:NONE", "'shop.declared:NONE' must be a tuple or list of FeatureGroup, got nothing"),
        ("shop.declared:STOCK", "'shop.declared:STOCK' must be a tuple or list of FeatureGroup, got FeatureGroup("),
        ("shop:GROUPS", "'shop:GROUPS' must be a tuple or list of FeatureGroup, got nothing"),
        (
            "shop.wrong:GROUPS",
            "cannot load module 'shop.wrong': shop/wrong.py:4: feature group 'stock': feature 'on_hand' has type",
        ),
    ],
)
def test_fails_when_there_are_no_such_groups(package: Path, groups: str, message: str) -> None:
    """The error has the name and the value found."""
    (package / "wrong.py").write_text(MODULE.format(on_hand="number"))
    with pytest.raises(UserError) as error:
        load_groups(groups)

    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            '"store"),),',
            '"store")),',
            "shop/slip.py:4: feature group 'stock': entities must be a tuple of Entity, got one Entity without a comma; "
            "write entities=(Entity(...),)",
        ),
        (
            'owner="demand"',
            'owner=5, ttl=14, version="2"',
            "shop/slip.py:4: feature group 'stock': owner must be a str, got 5; ttl must be a timedelta such as "
            "timedelta(days=14), got 14; omit it for none; version must be a whole number, at least 1, got '2'",
        ),
        (
            'entities=(Entity("store_id", "string", "store"),),',
            "",
            "shop/slip.py:4: TypeError: FeatureGroup.__init__() missing 1 required keyword-only argument: 'entities'",
        ),
        ("GROUPS = (STOCK,)", "GROUPS = (STOK,)", "shop/slip.py:11: NameError: name 'STOK' is not defined"),
        ("GROUPS = (STOCK,)", "GROUPS = (STOCK,", "shop/slip.py:11: SyntaxError: '(' was never closed"),
        ("GROUPS = (STOCK,)", "import absent_library", "shop/slip.py:11: No module named 'absent_library'"),
    ],
)
def test_fails_when_the_module_does_not_load(package: Path, before: str, after: str, message: str) -> None:
    """The error has file, line and cause in one line."""
    text = MODULE.format(on_hand="long")
    assert before in text
    (package / "slip.py").write_text(text.replace(before, after))
    with pytest.raises(UserError) as error:
        load_groups("shop.slip:GROUPS")

    assert str(error.value).startswith(f"cannot load module 'shop.slip': {message}")
    assert len(str(error.value).splitlines()) == 1


def test_pairs_name_each_once() -> None:
    """Keeps the order; values may contain the separator."""
    assert pairs("--entity", ["sku=7", "store_id=a=b"]) == [("sku", "7"), ("store_id", "a=b")]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["sku", "=7", "store_id=1"], "--entity must be NAME=VALUE, got 'sku', '=7'"),
        (["sku=7", "sku=8"], "--entity names sku more than once"),
    ],
)
def test_fails_when_a_pair_is_none(given: list[str], message: str) -> None:
    """The error names each invalid pair."""
    with pytest.raises(UserError, match=message):
        pairs("--entity", given)


def test_fails_when_a_file_is_not_parquet(tmp_path: Path) -> None:
    """Rejects missing files too."""
    file = tmp_path / "rows.csv"
    file.write_text("a,b")
    with pytest.raises(UserError, match=r"--entities must be a Parquet file, got .*rows\.csv: "):
        read_parquet("--entities", file)
    with pytest.raises(UserError, match=r"got .*absent\.parquet: the file does not exist"):
        read_parquet("--entities", tmp_path / "absent.parquet")


class DeployedStore:
    """A unit's feature store in Glue, as deployed by CloudFormation, and its package group."""

    def __init__(self, unit: DeployedUnit) -> None:
        self.unit, cloud = unit, unit.cloud
        buckets = {name: f"{unit.name}-{name}" for name in ("data", "sets", "manifests")}
        for bucket in buckets.values():
            unit.s3.create_bucket(Bucket=bucket)
        self.entry = FeatureStoreEntry(
            unit=unit.name,
            database=f"{unit.name}_features",
            data_bucket=buckets["data"],
            training_sets_bucket=buckets["sets"],
            manifests_bucket=buckets["manifests"],
        )
        cloud.client("glue").create_database(DatabaseInput={"Name": self.entry.database})
        catalog = GlueCatalog("glue", None, **glue_properties(cloud.environment()))
        lock = FeatureLock().extend(GROUPS)
        for group in GROUPS:
            catalog.create_table(
                (self.entry.database, group.table_name),
                iceberg_schema(group, lock.table(group)),
                location=f"s3://{buckets['data']}/{self.entry.database}/{group.table_name}",
                partition_spec=iceberg_partition(lock.table(group)),
                properties=group.properties,
            )
        unit.publish(self.entry)
        self.client = FeatureStoreClient.glue(
            database=self.entry.database,
            environment=cloud.environment(),
            now=lambda: day(20),
            manifests=f"s3://{buckets['manifests']}/manifests",
            training_sets=f"s3://{buckets['sets']}",
            s3=unit.s3,
        )
        self.client.ingest(STOCK, stock(*range(10)))
        self.sagemaker = cloud.client("sagemaker")
        self.sagemaker.create_model_package_group(ModelPackageGroupName=unit.endpoint)

    def register(self, training_set_id: str) -> str:
        """Register a package trained from a training set; return its ARN."""
        spec = ModelPackageSpec(
            group=self.unit.endpoint,
            image="000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "1" * 64,
            artifact_uri="s3://artifacts/model.tar.gz",
            artifact_sha256="a" * 64,
            model_sha256="b" * 64,
            training_set_id=training_set_id,
            execution="arn:aws:states:us-east-1:000000000000:execution:Retrain:one",
            baseline_uri="s3://artifacts/baseline.json",
            baseline_sha256="8" * 64,
            evaluation_uri="s3://artifacts/evaluation.json",
        )
        return str(self.sagemaker.create_model_package(**package_request(spec))["ModelPackageArn"])


@pytest.fixture
def store(deployed: DeployedUnit) -> DeployedStore:
    """A deployed store with ten days of stock."""
    return DeployedStore(deployed)


@pytest.fixture
def features(store: DeployedStore, in_process: Run) -> Run:
    """Run a verb on the unit's store."""
    where = ("--unit", store.unit.name, "--home", store.unit.cloud.home)
    return lambda verb, *arguments: in_process("features", verb, *arguments, *where)


@pytest.mark.cloud
def test_a_units_store_is_found_by_its_parameter(store: DeployedStore, features: Run, tmp_path: Path) -> None:
    """Covers build, rebuild and catalog, with the package trained from the set."""
    pq.write_table(_entity_rows(), tmp_path / "rows.parquet")
    listed = json.loads(features("list", "--json").stdout)
    places = features("list").stdout.splitlines()[-2:]
    built = features("build", "shelves", "--entities", tmp_path / "rows.parquet", "--features", "stock")
    assert built.returncode == 0, built.stderr
    training_set_id, _, matched, place = built.stdout.splitlines()
    version = store.register(training_set_id).rpartition(":model-package/")[2]
    shown = features("catalog", "--output", tmp_path / "page.html")

    assert [(table["table"], table["rows"]) for table in listed] == [("price_v1", 0), ("stock_v1", 10)]
    assert places == [
        f"database {store.entry.database}, tables in s3://{store.entry.data_bucket}",
        f"training_sets s3://{store.entry.training_sets_bucket}, manifests s3://{store.entry.manifests_bucket}/manifests",
    ]
    assert matched.endswith(" of them have a matching row in stock_v1")
    assert place == f"s3://{store.entry.training_sets_bucket}/sets/shelves/{training_set_id}/part-0.parquet"
    assert features("rebuild", training_set_id).stdout.startswith(f"IDENTICAL {training_set_id}")
    assert shown.stdout.endswith("2 groups, 1 training sets, 1 packages\n")
    assert f'data-key="model {version}"' in (tmp_path / "page.html").read_text()


@pytest.mark.cloud
def test_what_the_registry_or_an_endpoint_relies_on_is_spared(store: DeployedStore, features: Run) -> None:
    """Keeps sets of approved packages and of serving ones rejected since; pending packages keep nothing."""
    whom = ("--entity", "store_id=1", "--reason", "T-1", "--yes")
    approved, live, waiting = (
        store.client.training_set(_entity_rows(), {"stock": [column]}, name=name).id
        for column, name in (("on_hand", "approved"), ("shelf", "live"), ("shelf", "waiting"))
    )
    store.register(waiting)
    for trained_from in (approved, "f" * 64):  # the second id is of a set in another store
        package = store.register(trained_from)
        store.sagemaker.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")
    store.unit.serve(1, training_set_id=live)

    spared = features("erase", *whom)
    done = features("erase", *whom, "--include-in-use")

    assert (spared.returncode, done.returncode) == (1, 0), done.stderr
    assert "from 2 training sets" in spared.stderr
    assert approved in spared.stderr
    assert live in spared.stderr
    assert waiting not in spared.stderr
    assert store.client.table("stock_v1").scan().to_arrow().num_rows == 0
    assert waiting in done.stdout


@pytest.mark.cloud
def test_an_erasure_reaches_the_online_table_and_names_the_rest(store: DeployedStore, features: Run) -> None:
    """The parameter names table and bucket; the erasure stays pending until the table responds."""
    dynamodb, name = store.unit.cloud.client("dynamodb"), f"{store.unit.name}-online"
    store.client.ingest(STOCK, stock(1, store="2"))
    where = {"incoming_bucket": f"{store.unit.name}-in", "incoming_days": 30, "online_table": name}
    store.unit.publish(replace(store.entry, **where))
    whom = ("--entity", "store_id=1", "--reason", "T-9", "--yes")
    absent = features("erase", *whom)
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "entity", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "entity", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    for key in ('stock_v1/["1"]', 'price_v1/["1"]', 'stock_v1/["2"]'):
        dynamodb.put_item(TableName=name, Item={"entity": {"S": key}})
    done = features("maintain")
    again = features("erase", *whom)
    places = features("list").stdout.splitlines()[-2:]

    assert places == [
        f"batches s3://{store.unit.name}-in/incoming/<table>/<key>.parquet",
        f"online table {name}",
    ]
    assert absent.returncode == 3
    assert absent.stderr.startswith(f"pending: online store: PutItem of table {name} failed")
    assert "stock_v1: 3 snapshots" in absent.stdout
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("is complete: T-9\n")
    assert again.stdout.splitlines() == [
        "the store has no data of the entity",
        f"not reached: received batches, s3://{store.unit.name}-in/incoming/, and reports, "
        f"s3://{store.unit.name}-in/rejected/, which expire after 30 days; to remove them sooner, delete all "
        "versions of the objects that contain the entity",
        "not reached: copies outside the store, including those of other units; ask every unit with read access",
    ]
    left = {item["entity"]["S"] for item in dynamodb.scan(TableName=name)["Items"]}
    assert {key for key in left if not key.startswith("#erased/")} == {'stock_v1/["2"]'}


@pytest.mark.cloud
def test_an_ingest_is_told_on_the_units_bus(store: DeployedStore, features: Run, tmp_path: Path) -> None:
    """Pipelines receive the event as from the client in a job; the newest value is readable."""
    events, sqs, name = (*map(store.unit.cloud.client, ("events", "sqs")), store.unit.name)
    events.create_event_bus(Name=name)
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    target = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allowed = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = {"Version": "2012-10-17", "Statement": [allowed | {"Resource": target}]}
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(policy)})
    events.put_rule(Name=name, EventBusName=name, EventPattern=json.dumps({"source": [{"prefix": "mlops"}]}))
    events.put_targets(Rule=name, EventBusName=name, Targets=[{"Id": "queue", "Arn": target}])
    store.unit.publish(replace(store.unit.unit_entry, bus=name))
    pq.write_table(stock(12), tmp_path / "batch.parquet")
    declaration = ("--groups", "tests.cli.feature_shops:GROUPS")
    done = features("ingest", "stock", tmp_path / "batch.parquet", "--backfill", *declaration)
    newest = json.loads(features("latest", "stock", *declaration, "--json").stdout)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("stock_v1: 1 rows in snapshot ")
    assert [(row["store_id"], row["on_hand"]) for row in newest] == [("1", 12)]
    (message,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=10)["Messages"]
    assert json.loads(message["Body"])["detail-type"] == "MLOps Features Ingested"
    assert json.loads(message["Body"])["detail"]["subject"] == "stock_v1"


@pytest.mark.cloud
def test_fails_when_a_unit_has_no_store(deployed: DeployedUnit, in_process: Run) -> None:
    """The error lists units with a store."""
    result = in_process("features", "list", "--unit", deployed.name, "--home", deployed.cloud.home)

    assert result.returncode == 1
    assert result.stderr.startswith(f"mlops: business unit {deployed.name!r} has not published a feature store")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name a feature store: --path FOLDER for a local one, or --unit NAME for a deployed one"),
        (("--path", "shop", "--unit", "demand"), "name a feature store: --path FOLDER for a local one, or"),
        (
            ("--path", "absent"),
            "no feature store found in absent; create one with mlops features ingest or FeatureStoreClient.local",
        ),
        (("--path", "shop", "--profile", "x"), "--profile and --home require --unit; a local folder needs no account"),
    ],
)
def test_fails_when_it_is_not_clear_which(
    feature_shop: FeatureShop,
    in_process: Run,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    """Creates no folder."""
    monkeypatch.chdir(feature_shop.path.parent)

    result = in_process("features", "list", *arguments)

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"mlops: {message}")
    assert not Path("absent").exists()


def _entity_rows() -> Any:
    import pyarrow as pa

    return pa.table({"store_id": ["1"], "event_timestamp": [day(5)]})


@pytest.mark.cloud
def test_the_console_finds_what_the_command_finds(store: DeployedStore, features: Run) -> None:
    """Hits have the same texts, as have readers of a table; an unknown column is reported."""
    options = embedded_options(store.unit.cloud.home)
    assert options is not None
    connection = CloudConnection(session=boto3.Session(), options=options)
    api = ConsoleApi(lambda _role: connection)

    def ask(path: str, **query: str) -> tuple[int, dict[str, Any]]:
        found = api.answer(HttpRequest(method="GET", path=f"/api/v1/units/{store.unit.name}{path}", query=query))
        return found.status, json.loads(found.body)

    status, page = ask("/features", text="stock")
    result = json.loads(features("find", "stock", "--json").stdout)
    readers, users = ask(f"/features/{STOCK.table_name}/users")
    missing, problem = ask(f"/features/{STOCK.table_name}/users", column="weight")

    assert (status, page["hits"], page["problems"]) == (200, result, [])
    assert result != []
    assert (readers, users["users"]) == (200, [])
    assert (missing, "weight" in problem["detail"]) == (404, True)
