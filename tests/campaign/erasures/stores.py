"""The stores of the schedules: one in a folder, one in S3, Glue and DynamoDB of an embedded cloud."""

import os
import re
import shutil
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from pyiceberg.catalog.glue import GlueCatalog
from tests.campaign.erasures import search
from tests.runtime.features.conftest import SALES, STOCK, day, sales, stock

from mlops_local.cloud import Cloud
from mlops_runtime.contracts.features import BuildProcess
from mlops_runtime.features.iceberg_tables import iceberg_partition, iceberg_schema, iceberg_sort_order
from mlops_runtime.features.lock_file import FeatureLock
from mlops_runtime.features.online_store import OnlineStore
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.features.table_catalog import glue_properties
from mlops_runtime.features.table_compaction import FAN_IN

SECRET, OTHER = "household-4711-of-the-campaign", "household-0815-of-the-campaign"
ENTITIES = (SECRET, OTHER)
ONLINE = replace(STOCK, online=True)
_PID = re.compile(r"\b\d+\b")


class Store(Protocol):
    """A store shared by processes."""

    @property
    def sets(self) -> str:
        """Location of training sets."""

    @property
    def manifests(self) -> str:
        """Location of manifests."""

    @property
    def s3(self) -> Any:
        """A client of S3, if the store uses it."""

    def client(self) -> FeatureStoreClient:
        """Return a client whose clock is after all rows."""

    def put_back(self) -> None:
        """Restore the filled state."""

    def abort_uploads(self) -> None:
        """Abort incomplete uploads, as the bucket's lifecycle does a day after their start."""

    def left(self) -> list[str]:
        """Return the places that name an entity."""


def fill(client: FeatureStoreClient) -> None:
    """Ingest rows of both entities and of others, in shared and separate files, as many as the next compaction takes.

    The online store has the rows of some files only, so that the next publication adds others.
    """
    for store_id in ("1", SECRET, OTHER):
        rows = sales(*((n, float(n), n + 1) for n in range(10)))
        client.ingest(SALES, rows.set_column(0, "store_id", [[store_id] * 10]))
    for number in range(FAN_IN - 1):
        rows = stock(*((number + part / 10, number, number + 1) for part in range(3)))
        of = rows.set_column(0, "store_id", [[SECRET, OTHER, "1"]])
        client.ingest(ONLINE if number < FAN_IN // 2 else STOCK, of)


def has_ended(process: BuildProcess) -> bool:
    """Return whether a process of a schedule has ended; all have a process id in their names."""
    found = _PID.search(process.name)
    try:
        os.kill(int(found.group()) if found else 0, 0)
    except ProcessLookupError:
        return True
    return False


@dataclass(frozen=True, slots=True)
class FolderStore:
    """A store in a folder, at the same path in every schedule: its files contain absolute paths."""

    place: Path

    @classmethod
    def filled(cls, place: Path) -> "FolderStore":
        """Create the store, and a copy beside it."""
        made = cls(place)
        fill(made.client())
        shutil.copytree(made._store, place / "copy")
        return made

    @property
    def _store(self) -> Path:
        return self.place / "store"

    @property
    def sets(self) -> str:
        """Location of training sets."""
        return str(self._store / "training_sets")

    @property
    def manifests(self) -> str:
        """Location of manifests."""
        return str(self._store / "manifests")

    @property
    def s3(self) -> None:
        """None."""
        return

    def client(self) -> FeatureStoreClient:
        """Return a client whose clock is after all rows."""
        return FeatureStoreClient.local(self._store, now=partial(day, 20))

    def put_back(self) -> None:
        """Restore the filled state."""
        shutil.rmtree(self._store)
        shutil.copytree(self.place / "copy", self._store)

    def abort_uploads(self) -> None:
        """Do nothing: a folder has no uploads."""

    def left(self) -> list[str]:
        """Return the files that name an entity."""
        return search.in_folder(self._store, ENTITIES)


@dataclass(frozen=True, slots=True)
class _Kept:
    """The parts of a filled store."""

    objects: dict[str, bytes]
    tables: list[dict[str, Any]]
    items: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class CloudStore:
    """A store of an embedded cloud; its bucket, named like the database, is versioned."""

    cloud: Cloud
    name: str = "erasures"
    kept: list[_Kept] = field(default_factory=list, repr=False)

    @classmethod
    def filled(cls, cloud: Cloud, name: str = "erasures") -> "CloudStore":
        """Create the store, and remember its parts."""
        made = cls(cloud, name)
        s3, glue, dynamodb = (cloud.client(service) for service in ("s3", "glue", "dynamodb"))
        s3.create_bucket(Bucket=name)
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        glue.create_database(DatabaseInput={"Name": name})
        dynamodb.create_table(
            TableName=made.table,
            KeySchema=[{"AttributeName": "entity", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "entity", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        catalog = GlueCatalog("campaign", None, **glue_properties(cloud.environment()))
        lock = FeatureLock().extend([SALES, STOCK])
        for group in (SALES, STOCK):
            locked = lock.table(group)
            catalog.create_table(
                (name, group.table_name),
                iceberg_schema(group, locked),
                location=f"s3://{name}/{name}/{group.table_name}",
                partition_spec=iceberg_partition(locked),
                sort_order=iceberg_sort_order(group, locked),
                properties=group.properties,
            )
        fill(made.client())
        keys = (
            each["Key"]
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name)
            for each in page["Contents"]
        )
        made.kept.append(
            _Kept(
                {key: s3.get_object(Bucket=name, Key=key)["Body"].read() for key in keys},
                [_input(table) for table in glue.get_tables(DatabaseName=name)["TableList"]],
                dynamodb.scan(TableName=made.table)["Items"],
            )
        )
        return made

    def __getstate__(self) -> tuple[Cloud, str]:
        """Return the state that another process needs."""
        return (self.cloud, self.name)

    def __setstate__(self, state: tuple[Cloud, str]) -> None:
        """Restore the store in another process."""
        object.__setattr__(self, "cloud", state[0])
        object.__setattr__(self, "name", state[1])
        object.__setattr__(self, "kept", [])

    @property
    def table(self) -> str:
        """Name of the online table."""
        return f"{self.name}-online"

    @property
    def sets(self) -> str:
        """Location of training sets."""
        return f"s3://{self.name}"

    @property
    def manifests(self) -> str:
        """Location of manifests."""
        return f"s3://{self.name}/manifests"

    @property
    def s3(self) -> Any:
        """A client of S3."""
        return self.cloud.client("s3")

    def client(self) -> FeatureStoreClient:
        """Return a client with the cloud's clock, which timestamps uploads; it is after all rows."""
        return FeatureStoreClient.glue(
            database=self.name,
            environment=self.cloud.environment(),
            now=lambda: datetime.fromisoformat(self.cloud.clock()["now"]),
            manifests=self.manifests,
            training_sets=self.sets,
            s3=self.s3,
            online=OnlineStore(self.cloud.client("dynamodb"), table=self.table),
            ended=has_ended,
        )

    def online(self, keys: list[str]) -> list[str]:
        """Return the keys that have an item."""
        keys_requested = [{"entity": {"S": key}} for key in keys]
        found = self.cloud.client("dynamodb").batch_get_item(RequestItems={self.table: {"Keys": keys_requested}})
        there = {item["entity"]["S"] for item in found["Responses"][self.table]}
        return [key for key in keys if key in there]

    def put_back(self) -> None:
        """Restore the filled state."""
        (kept,) = self.kept
        s3, glue, dynamodb = (self.cloud.client(service) for service in ("s3", "glue", "dynamodb"))
        self.abort_uploads()
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=self.name):
            there = (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
            gone = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in there]
            s3.delete_objects(Bucket=self.name, Delete={"Objects": gone, "Quiet": True})
        for key, content in kept.objects.items():
            s3.put_object(Bucket=self.name, Key=key, Body=content)
        for table in kept.tables:
            glue.delete_table(DatabaseName=self.name, Name=table["Name"])
            glue.create_table(DatabaseName=self.name, TableInput=table)
        for item in dynamodb.scan(TableName=self.table)["Items"]:
            dynamodb.delete_item(TableName=self.table, Key={"entity": item["entity"]})
        for item in kept.items:
            dynamodb.put_item(TableName=self.table, Item=item)

    def abort_uploads(self) -> None:
        """Abort incomplete uploads, as the bucket's lifecycle does a day after their start."""
        s3 = self.s3
        for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=self.name):
            for each in page.get("Uploads", ()):
                s3.abort_multipart_upload(Bucket=self.name, Key=each["Key"], UploadId=each["UploadId"])

    def left(self) -> list[str]:
        """Return where the cloud's own storage names an entity, in all services."""
        self.cloud.save()
        return search.in_state(self.cloud.home / "saved", ENTITIES)


def _input(table: dict[str, Any]) -> dict[str, Any]:
    """Return the input that creates a table of the catalog again."""
    return {key: table[key] for key in ("Name", "TableType", "Parameters", "StorageDescriptor") if key in table}
