"""The function that maintains tables, on the embedded cloud with IAM enforced."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pyarrow as pa
import pytest
from aws_cdk import aws_iam as iam
from tests.lambdas.named_layer import name_layer

from mlops_constructs import BusinessUnit, Entity, Feature, FeatureGroup, FeatureIngest, FeatureStore, Profile
from mlops_local.cloud import Cloud
from mlops_local.stacks import deployer
from mlops_runtime.features.ingest_ledger import KEPT, hash_of
from mlops_runtime.features.ledger_index import INDEX_FILES, LostLedgerError
from mlops_runtime.features.lock_file import write_lock
from mlops_runtime.features.store_client import FeatureStoreClient

UNIT = "maintained-unit"
STOCK = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"),),
    features=(Feature("on_hand", "long", "units on hand"),),
    owner="demand",
    description="stock",
)


def _synthesize(folder: Path) -> Path:
    write_lock([STOCK], folder / "features.lock.json")
    app = cdk.App(outdir=str(folder / "assembly"))
    stack = cdk.Stack(app, "Maintained")
    unit = BusinessUnit(stack, "Unit", name=UNIT, profile=Profile.DEVELOPMENT)
    store = FeatureStore(
        stack,
        "Features",
        business_unit=unit,
        groups=[STOCK],
        lock_file=folder / "features.lock.json",
        ingest=FeatureIngest(),
    )
    store.grant_build_by_athena(iam.Role(stack, "Scientist", assumed_by=iam.AccountRootPrincipal()))
    for name, value in {
        "Data": store.data_bucket.bucket_name,
        "TrainingSets": store.training_sets_bucket.bucket_name,
        "Manifests": store.manifests_bucket.bucket_name,
        "Function": store.node.find_child("Maintenance").function_name,  # type: ignore[attr-defined]
    }.items():
        cdk.CfnOutput(stack, name, value=value)
    app.synth()
    return folder / "assembly"


class _Deployed:
    """The store, with its administrator's permissions."""

    def __init__(self, cloud: Cloud, assembly: Path) -> None:
        self.cloud, self.s3 = cloud, cloud.client("s3")
        self.outputs = deployer.deploy(cloud, assembly)["Maintained"]
        self.store = FeatureStoreClient.glue(
            database="maintained_unit_features",
            environment=cloud.environment(),
            now=self.now,
            manifests=f"s3://{self.outputs['Manifests']}/manifests",
            training_sets=f"s3://{self.outputs['TrainingSets']}",
            s3=self.s3,
        )

    def now(self) -> datetime:
        """Return the cloud's time."""
        return datetime.fromisoformat(self.cloud.clock()["now"])

    def files(self) -> set[str]:
        found = self.s3.list_objects_v2(Bucket=self.outputs["Data"], Prefix="maintained_unit_features/")["Contents"]
        return {entry["Key"] for entry in found}

    def tags(self) -> int:
        return sum(name.startswith("ts-") for name in self.store.table("stock_v1").metadata.refs)

    def maintain(self, at: datetime | None = None) -> list[dict[str, Any]]:
        """Invoke the function as its schedule does."""
        now = self.now() if at is None else at
        answer = self.cloud.client("lambda").invoke(
            FunctionName=self.outputs["Function"], Payload=json.dumps({"time": now.isoformat()})
        )
        parsed = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, parsed
        done: list[dict[str, Any]] = parsed
        return done


@pytest.fixture(scope="module")
def deployed(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Deployed]:
    """Deploy with a layer of names and versions: the embedded cloud mounts none, but checks that it has the packages."""
    folder = tmp_path_factory.mktemp("maintenance")
    with pytest.MonkeyPatch.context() as patch:
        name_layer(folder, patch)
        assembly = _synthesize(folder)
    yield _Deployed(cloud, assembly)
    deployer.destroy(cloud, assembly)


def test_small_files_become_few_and_what_nobody_names_goes(deployed: _Deployed, wait_for: Callable[..., Any]) -> None:
    """Rows and the newest training sets stay; files of a killed writer are deleted after a day."""
    day = deployed.now() - timedelta(days=1)
    entities = pa.table({"store_id": ["1"], "event_timestamp": [deployed.now()]})
    for number in range(9):
        batch = pa.table({"store_id": ["1"], "event_time": [day + timedelta(minutes=number)], "on_hand": [number]})
        deployed.store.ingest(STOCK, batch)
        built = deployed.store.training_set(entities, {"stock": ["on_hand"]}, name=f"set{number}")
    litter = "maintained_unit_features/stock_v1/data/killed.parquet"
    deployed.s3.put_object(Bucket=deployed.outputs["Data"], Key=litter, Body=b"half")
    before = deployed.store.latest(STOCK)

    (young,) = deployed.maintain()

    assert litter in deployed.files()
    assert young["compacted"] >= 8
    deployed.cloud.clock_jump(by=timedelta(days=2))
    wait_for(lambda: litter not in deployed.files())  # its schedule is due
    assert len(list(deployed.store.table("stock_v1").scan().plan_files())) <= 2
    assert deployed.tags() == 8
    assert deployed.store.latest(STOCK).equals(before)
    assert deployed.store.rebuild(built.id).verdict == "IDENTICAL"


def test_what_the_ledger_lost_is_named_and_its_index_made_again(deployed: _Deployed) -> None:
    """An ingest names the missing file and writes nothing; the function may rebuild the index from the rows."""
    day = deployed.now() - timedelta(days=1)

    def ingest(number: int) -> bool:
        batch = pa.table({"store_id": ["2"], "event_time": [day + timedelta(minutes=number)], "on_hand": [number]})
        return deployed.store.ingest(STOCK, batch, idempotency_key=f"batch {number}").duplicate

    for number in range(2 * KEPT + 2):
        ingest(number)
    listed = deployed.s3.list_objects_v2(Bucket=deployed.outputs["Data"], Prefix="ledger/")["Contents"]
    kept = [entry["Key"] for entry in sorted(listed, key=lambda entry: entry["LastModified"])]
    lost = next(key for key in kept if hash_of("batch 0") in key)
    indexes = [key for key in kept if INDEX_FILES in key]
    for key in (lost, *indexes):
        deployed.s3.delete_object(Bucket=deployed.outputs["Data"], Key=key)
    before = deployed.store.table("stock_v1").metadata_location

    with pytest.raises(LostLedgerError, match="index of the ledger of stock_v1 is missing"):
        ingest(99)
    assert deployed.store.table("stock_v1").metadata_location == before
    deployed.maintain()

    with pytest.raises(LostLedgerError, match=f"missing: s3://.*/{lost.rpartition('/')[2]}"):
        ingest(0)
    assert ingest(1)
    assert not ingest(99)


def test_what_a_killed_build_by_athena_left_goes_three_days_later(deployed: _Deployed) -> None:
    """Deletes the table of its entity rows and its staged files; others' tables and other files stay."""
    glue, sets = deployed.cloud.client("glue"), deployed.outputs["TrainingSets"]
    database = "maintained_unit_features"
    for name in ("mlops_rows_killed", "mlops_others"):
        glue.create_table(DatabaseName=database, TableInput={"Name": name})
    for key in ("staged/killed/rows/rows.parquet", "sets/killed/part-0.parquet"):
        deployed.s3.put_object(Bucket=sets, Key=key, Body=b"rows")
    made = glue.get_table(DatabaseName=database, Name="mlops_rows_killed")["Table"]["CreateTime"]

    def left() -> tuple[set[str], set[str]]:
        tables = {each["Name"] for each in glue.get_tables(DatabaseName=database)["TableList"]}
        keys = {each["Key"] for each in deployed.s3.list_objects_v2(Bucket=sets).get("Contents", [])}
        return {each for each in tables if each.startswith("mlops_")}, {each for each in keys if "killed" in each}

    deployed.maintain(made + timedelta(days=2.9))
    assert left() == (
        {"mlops_rows_killed", "mlops_others"},
        {"staged/killed/rows/rows.parquet", "sets/killed/part-0.parquet"},
    )

    deployed.maintain(made + timedelta(days=3.1))

    assert left() == ({"mlops_others"}, {"sets/killed/part-0.parquet"})
    glue.delete_table(DatabaseName=database, Name="mlops_others")
