"""The feature store from a job or a notebook: the same calls on a folder and on Glue."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table

from mlops_runtime.contracts.events import EventDetail, features_ingested
from mlops_runtime.contracts.retraining import TrainingSetPlan
from mlops_runtime.features.batch import ArrowStream, checked
from mlops_runtime.features.group import CREATED_TIME, EVENT_TIME, INGEST_ID, FeatureGroup
from mlops_runtime.features.hashing import content_hash
from mlops_runtime.features.iceberg import (
    FeatureTableError,
    TableMeaning,
    check_table,
    committed,
    iceberg_partition,
    iceberg_schema,
    read_rows,
    snapshot_with,
)
from mlops_runtime.features.lock import FeatureLock
from mlops_runtime.features.training_set import TrainingSet, build

IDEMPOTENCY_KEY = "mlops.idempotency-key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """What an ingest did. ``duplicate``: the batch had been ingested before, and nothing was written."""

    table: str
    snapshot_id: int
    rows: int
    duplicate: bool


class FeatureStoreClient:
    """Ingest batches and build training sets.

    Made by ``local`` or ``glue``.

    Example:
        >>> import tempfile
        >>> from mlops_runtime.features.group import Entity, Feature
        >>> stock = FeatureGroup(
        ...     name="stock",
        ...     entities=(Entity("store_id", "string", "store"),),
        ...     features=(Feature("on_hand", "long", "units on hand"),),
        ...     owner="demand",
        ...     description="stock",
        ... )
        >>> day = datetime(2017, 1, 2, tzinfo=UTC)
        >>> store = FeatureStoreClient.local(Path(tempfile.mkdtemp()), now=lambda: day)
        >>> batch = pa.table({"store_id": ["1"], "event_time": [day], "on_hand": [7]})
        >>> store.ingest(stock, batch).duplicate, store.ingest(stock, batch).duplicate
        (False, True)
        >>> store.latest(stock)["on_hand"].to_pylist()
        [7]
    """

    def __init__(
        self,
        catalog: Catalog,
        database: str,
        *,
        now: Callable[[], datetime],
        local_lock: FeatureLock | None = None,
        announce: Callable[[EventDetail], None] | None = None,
    ) -> None:
        self.database = database
        self._catalog, self._now, self._local_lock, self._announce = catalog, now, local_lock, announce

    @classmethod
    def local(
        cls,
        path: Path,
        *,
        database: str = "features",
        lock: FeatureLock | None = None,
        now: Callable[[], datetime] | None = None,
        announce: Callable[[EventDetail], None] | None = None,
    ) -> "FeatureStoreClient":
        """Keep tables in a folder; they are made, and grow columns, as groups ask.

        Args:
            path: The folder, made when missing.
            database: Name of the database. Default: ``features``.
            lock: Field ids. Default: ids in the order of the declarations.
            now: The clock. Default: the machine's.
            announce: As for ``glue``.
        """
        path.mkdir(parents=True, exist_ok=True)
        catalog = SqlCatalog(
            "local", uri=f"sqlite:///{path.resolve()}/catalog.db", warehouse=path.resolve().as_uri() + "/tables"
        )
        catalog.create_namespace_if_not_exists(database)
        return cls(
            catalog,
            database,
            now=_utc_now if now is None else now,
            local_lock=FeatureLock() if lock is None else lock,
            announce=announce,
        )

    @classmethod
    def glue(
        cls,
        *,
        database: str,
        environment: Mapping[str, str] | None = None,
        now: Callable[[], datetime] | None = None,
        announce: Callable[[EventDetail], None] | None = None,
    ) -> "FeatureStoreClient":
        """Use the tables that a deployed feature store has in Glue; CloudFormation alone makes and changes them.

        Args:
            database: The Glue database.
            environment: Where ``AWS_REGION``, ``AWS_ENDPOINT_URL`` and its ``_S3`` and ``_GLUE`` forms are read, and keys if
                it holds them; else boto3 and Arrow find the caller's credentials. Default: the process's.
            now: The clock. Default: the machine's.
            announce: Told of each ingest, also of one that had been done before: whoever died between the two tells it then.
                Pipelines that retrain on new data listen, see ``unit_bus``. Default: nobody is told.
        """
        properties = glue_properties(os.environ if environment is None else environment)
        catalog = GlueCatalog("glue", None, **properties)
        return cls(catalog, database, now=_utc_now if now is None else now, announce=announce)

    def ingest(self, group: FeatureGroup, batch: ArrowStream, *, idempotency_key: str | None = None) -> Ingested:
        """Check a batch and append it, once, in one commit.

        Args:
            group: What the rows are.
            batch: A pyarrow table, pandas or polars frame; ``created_time`` may be left out: it is now.
            idempotency_key: A batch with the key of an earlier one is not written again. Default: the content hash of the batch, so
                that the very same rows are written once. The key is found as long as the table keeps the snapshot.

        Raises:
            BatchError: If the batch does not fit the group; with every problem.
            FeatureTableError: If the table does not fit the group.
        """
        now = self._now()
        given = pa.table(batch) if isinstance(batch, ArrowStream) else batch
        rows = checked(group, given, now)
        key = content_hash(rows if CREATED_TIME in given.column_names else rows.drop_columns([CREATED_TIME]))
        key = key if idempotency_key is None else idempotency_key
        table = self._writable(group)
        check_table(group, table)
        # batches sort by the time of their ingest, so of two rows created at once the later ingested one counts
        ingest_id = f"{now.astimezone(UTC):%Y%m%dT%H%M%S.%f}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
        ids = pa.array([ingest_id] * rows.num_rows, pa.string())
        rows = rows.append_column(pa.field(INGEST_ID, pa.string(), nullable=False), ids)

        def attempt(fresh: Table) -> Ingested:
            before = snapshot_with(fresh, IDEMPOTENCY_KEY, key)
            if before is None:
                ordered = rows.select([f.name for f in fresh.schema().fields if f.name in rows.column_names])
                fresh.append(ordered, snapshot_properties={IDEMPOTENCY_KEY: key})
            after = snapshot_with(fresh, IDEMPOTENCY_KEY, key)
            if after is None:
                raise FeatureTableError(f"table {group.table_name} does not show the snapshot that was committed")
            return Ingested(
                table=group.table_name,
                snapshot_id=after.snapshot_id,
                rows=0 if before else rows.num_rows,
                duplicate=before is not None,
            )

        done = committed(table, attempt)
        if self._announce is not None:
            # by the key and not by the ingest: told twice, it is the same event
            told = hashlib.sha256(key.encode()).hexdigest()[:32]
            self._announce(features_ingested(group.table_name, rows=rows.num_rows, ingest_id=told))
        return done

    def latest(self, group: FeatureGroup) -> pa.Table:
        """Return for each entity the newest row known now: what an online store would hold."""
        table = self.table(group.table_name)
        snapshot = table.current_snapshot()
        names = [column.name for column in group.columns]
        if snapshot is None:
            return table.scan(selected_fields=tuple(names)).to_arrow()
        rows = read_rows(table, snapshot.snapshot_id, names, known_by=self._now())
        order = [(name, "descending") for name in (EVENT_TIME, CREATED_TIME, INGEST_ID)]
        ordered = rows.sort_by([*((name, "ascending") for name in group.entity_names), *order])
        firsts = ordered.append_column("place", pa.array(range(ordered.num_rows), pa.int64()))
        places = firsts.group_by(list(group.entity_names)).aggregate([("place", "min")])["place_min"]
        return ordered.take(places.combine_chunks().sort())

    def training_set(
        self, plan: TrainingSetPlan, *, as_of: datetime, uri: str = "", tables: Sequence[str] | None = None
    ) -> TrainingSet:
        """Pin the plan's tables by a tag and build the training set from what was known at ``as_of``.

        Args:
            plan: Labels, features and split.
            as_of: Nothing that became known later is used.
            uri: Where the files will lie, for the manifest.
            tables: Names of the tables to choose from. Default: all of the database, which takes the right to list them.

        Raises:
            TrainingSetError: If the plan does not fit the tables, or a split is empty.
        """
        return build(self.table, self.table_names() if tables is None else tables, plan, as_of=as_of, uri=uri)

    def table(self, name: str) -> Table:
        """Load a feature table.

        Raises:
            FeatureTableError: If there is none of that name.
        """
        try:
            return self._catalog.load_table((self.database, name))
        except NoSuchTableError:
            # a caller who may read the tables need not be allowed to list them
            raise FeatureTableError(
                f"database {self.database} has no table {name}; deploy the feature store that declares it"
            ) from None

    def table_names(self) -> tuple[str, ...]:
        """Return the names of the database's tables."""
        return tuple(sorted(identifier[-1] for identifier in self._catalog.list_tables(self.database)))

    def _writable(self, group: FeatureGroup) -> Table:
        if self._local_lock is None:
            return self.table(group.table_name)
        self._local_lock = self._local_lock.extend([group])
        locked = self._local_lock.table(group)
        table = self._catalog.create_table_if_not_exists(
            (self.database, group.table_name),
            iceberg_schema(group, locked),
            partition_spec=iceberg_partition(locked),
            properties=group.properties,
        )
        known = {field.name for field in table.schema().fields}
        added = [field for field in iceberg_schema(group, locked).fields if field.name not in known]
        if added:
            TableMeaning.of(group.table_name, table.properties)
            with table.update_schema() as update:
                for field in added:
                    update.add_column(field.name, field.field_type, doc=field.doc)
        return table


def glue_properties(environment: Mapping[str, str]) -> dict[str, str]:
    """Return pyiceberg's catalog properties for an AWS environment: region, endpoints, keys where given."""
    everywhere = environment.get("AWS_ENDPOINT_URL")
    values = {
        "client.region": environment.get("AWS_REGION", environment.get("AWS_DEFAULT_REGION")),
        "glue.endpoint": environment.get("AWS_ENDPOINT_URL_GLUE", everywhere),
        "s3.endpoint": environment.get("AWS_ENDPOINT_URL_S3", everywhere),
        "client.access-key-id": environment.get("AWS_ACCESS_KEY_ID"),
        "client.secret-access-key": environment.get("AWS_SECRET_ACCESS_KEY"),
        "client.session-token": environment.get("AWS_SESSION_TOKEN"),
    }
    return {name: value for name, value in values.items() if value is not None}


def _utc_now() -> datetime:
    return datetime.now(UTC)
