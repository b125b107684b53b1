"""The function that publishes online rows, on the embedded cloud with IAM enforced, whoever ingested them."""

import io
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.lambdas.named_layer import name_layer

from mlops_constructs import BusinessUnit, Entity, Feature, FeatureGroup, FeatureIngest, FeatureStore, Profile
from mlops_local.cloud import Cloud
from mlops_local.stacks import deployer
from mlops_runtime.features.batch_delivery import unit_bus
from mlops_runtime.features.lock_file import write_lock
from mlops_runtime.features.online_store import OnlineStore
from mlops_runtime.features.store_client import FeatureStoreClient

UNIT = "publish-unit"
STOCK = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"),),
    features=(Feature("on_hand", "long", "units on hand"),),
    owner="demand",
    description="stock",
    online=True,
)


def _stock(day: datetime, **on_hand: int) -> pa.Table:
    return pa.table({"store_id": list(on_hand), "event_time": [day] * len(on_hand), "on_hand": list(on_hand.values())})


class _Deployed:
    """The stack, and clients of its store with and without the online table."""

    def __init__(self, cloud: Cloud, assembly: Path) -> None:
        self.cloud = cloud
        self.outputs = deployer.deploy(cloud, assembly)["Publish"]
        self.online = OnlineStore(cloud.client("dynamodb"), table=self.outputs["OnlineTable"])
        self.store = FeatureStoreClient.glue(
            database="publish_unit_features",
            environment=cloud.environment(),
            now=self.now,
            announce=unit_bus(cloud.client("events"), bus=self.outputs["Bus"], unit=UNIT),
        )

    def now(self) -> datetime:
        """Return the cloud's time."""
        return datetime.fromisoformat(self.cloud.clock()["now"])

    def on_hand(self, *stores: str) -> list[int | None]:
        """Return the published values."""
        entities = pa.table({"store_id": stores})
        found: list[int | None] = self.online.read([STOCK], entities, now=self.now()).rows["stock__on_hand"].to_pylist()
        return found


@pytest.fixture(scope="module")
def deployed(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Deployed]:
    """Deploy a store whose only group is online, which adds the function."""
    folder = tmp_path_factory.mktemp("publish")
    with pytest.MonkeyPatch.context() as patch:
        name_layer(folder, patch)
        write_lock([STOCK], folder / "features.lock.json")
        app = cdk.App(outdir=str(folder / "assembly"))
        stack = cdk.Stack(app, "Publish")
        unit = BusinessUnit(stack, "Unit", name=UNIT, profile=Profile.DEVELOPMENT)
        store = FeatureStore(
            stack,
            "Features",
            business_unit=unit,
            groups=[STOCK],
            lock_file=folder / "features.lock.json",
            ingest=FeatureIngest(max_rows=100),
        )
        assert store.online_table is not None
        assert store.incoming_bucket is not None
        cdk.CfnOutput(stack, "OnlineTable", value=store.online_table.table_name)
        cdk.CfnOutput(stack, "Incoming", value=store.incoming_bucket.bucket_name)
        cdk.CfnOutput(stack, "Bus", value=unit.bus.event_bus_name)
        app.synth()
    yield _Deployed(cloud, folder / "assembly")
    deployer.destroy(cloud, folder / "assembly")


def test_rows_of_clients_and_of_deliveries_come_out(deployed: _Deployed, wait_for: Callable[..., Any]) -> None:
    """Neither the client nor the ingest function knows the online table: the event triggers publishing."""
    day = deployed.now() - timedelta(days=1)
    deployed.store.ingest(STOCK, _stock(day, a=1, b=2))
    assert wait_for(lambda: deployed.on_hand("a", "b", "c") == [1, 2, None], 60)

    body = io.BytesIO()
    pq.write_table(_stock(day + timedelta(hours=1), b=3, c=4), body)
    deployed.cloud.client("s3").put_object(
        Bucket=deployed.outputs["Incoming"], Key="incoming/stock_v1/day-2.parquet", Body=body.getvalue()
    )
    assert wait_for(lambda: deployed.on_hand("a", "b", "c") == [1, 3, 4], 60)
    uuid = str(deployed.store.table("stock_v1").metadata.table_uuid)
    assert wait_for(lambda: deployed.online.published("stock_v1", uuid) == 2, 60)
