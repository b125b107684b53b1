"""The feature store of a unit, its grants, and another unit that reads one of its groups."""

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from constructs import Construct
from examples.pages.feature_groups import GROUPS, PRICE, STOCK
from mlops_constructs import BusinessUnit, FeatureIngest, FeatureStore, Network


class FeatureStores(cdk.Stack):
    """A unit that owns a store, and a unit that reads from it."""

    def __init__(self, scope: Construct, id: str, *, network: Network) -> None:
        super().__init__(scope, id)
        unit = BusinessUnit(self, "Unit", name="demand", network=network)
        # [start:store]
        store = FeatureStore(
            self,
            "Features",
            business_unit=unit,
            groups=GROUPS,
            lock_file=Path(__file__).with_name("features.lock.json"),
            ingest=FeatureIngest(max_rows=200_000),
        )
        # [end:store]
        # [start:grants]
        analyst, producer, trainer, privacy = (
            iam.Role(self, name, assumed_by=iam.AccountRootPrincipal())
            for name in ("Analyst", "Producer", "Trainer", "Privacy")
        )
        store.grant_read(analyst, groups=[PRICE])
        store.grant_describe(producer)  # metadata of tables and the sets that read them, no rows
        store.grant_deliver(producer, groups=[STOCK])  # delivers batches
        store.grant_write(producer, groups=[STOCK])  # reads and appends, cannot delete
        store.grant_build_training_sets(trainer)
        store.grant_erase(privacy)
        # [end:grants]
        other = BusinessUnit(self, "OtherUnit", name="pricing", network=network)
        # [start:imported]
        stock = FeatureStore.from_feature_store_attributes(
            self,
            "DemandsStock",
            business_unit=other,
            owner_name="demand",
            data_bucket=store.data_bucket,
            key=store.key,
            groups=[STOCK],
        )
        reader = iam.Role(self, "Reader", assumed_by=iam.AccountRootPrincipal())
        stock.grant_read(reader)
        # [end:imported]
