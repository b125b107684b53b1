"""Client of the feature store for jobs, functions and notebooks, with the same calls for a local folder and Glue.

Building training sets requires DuckDB; ingesting does not import it.
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

import pyarrow as pa
from pyiceberg.table import Table

from mlops_runtime.contracts.events import EventDetail, features_ingested
from mlops_runtime.contracts.features import BuildProcess, Erasure
from mlops_runtime.contracts.retraining import TrainingSetPlan
from mlops_runtime.features.athena_runs import AthenaRuns
from mlops_runtime.features.batch_checks import ArrowStream
from mlops_runtime.features.batch_ingest import (
    Batch,
    Ingested,
    append,
    check_is_given,
    check_is_whole,
    prepared,
    restated,
)
from mlops_runtime.features.build_intent import Builds
from mlops_runtime.features.feature_group import FeatureGroup
from mlops_runtime.features.feature_service import FeatureService, FeatureServices
from mlops_runtime.features.iceberg_tables import described
from mlops_runtime.features.lock_file import FeatureLock
from mlops_runtime.features.online_publication import INLINE_ROWS, publish_new
from mlops_runtime.features.online_store import OnlineStore, ServedFeatures
from mlops_runtime.features.row_files import RowSource
from mlops_runtime.features.set_builds import BuildEngines, SetBuilds
from mlops_runtime.features.source_ingest import IngestedSource, ingest_source
from mlops_runtime.features.table_catalog import Tables, glue_properties
from mlops_runtime.features.training_set_manifest import Manifests, Objects, remove
from mlops_runtime.features.training_set_request import Features, RequestOptions, requested
from mlops_runtime.features.training_set_usage import Use, who_used

if TYPE_CHECKING:
    from mlops_runtime.features.engine_choice import Engine
    from mlops_runtime.features.erasure_places import Places
    from mlops_runtime.features.rebuild import Rebuild
    from mlops_runtime.features.table_maintenance import Maintained
    from mlops_runtime.features.training_set import TrainingSet
    from mlops_runtime.features.training_set_difference import Difference
    from mlops_runtime.features.training_set_sql import Explanation

_WAIT = timedelta(minutes=1)
_utc_now = partial(datetime.now, UTC)


class FeatureStoreError(ValueError):
    """The client lacks a location or resource that the call requires."""


class FeatureStoreClient:
    """Ingest batches, build, verify and compare training sets, read the newest values, and erase entities.

    Create it with ``local`` or ``glue``.

    Example:
        >>> import tempfile
        >>> from datetime import UTC
        >>> from mlops_runtime.features.feature_group import Entity, Feature
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
        >>> entity_rows = pa.table({"store_id": ["1", "2"], "event_timestamp": [day, day]})
        >>> built = store.training_set(entity_rows, [stock], name="shelves")
        >>> built.rows["stock__on_hand"].to_pylist(), store.rebuild(built.id).verdict.value
        ([7, None], 'IDENTICAL')
    """

    def __init__(
        self,
        tables: Tables,
        *,
        now: Callable[[], datetime],
        announce: Callable[[EventDetail], None] | None = None,
        manifests: str | Path | None = None,
        training_sets: str | Path | None = None,
        s3: Any = None,
        engines: BuildEngines | None = None,
        online: OnlineStore | Path | None = None,
        ended: Callable[[BuildProcess], bool] | None = None,
    ) -> None:
        self._tables, self._now, self._announce = tables, now, announce
        self._manifest_place, self._set_place, self._s3 = manifests, training_sets, s3
        self._engines = BuildEngines() if engines is None else engines
        self._online, self._ended = online, ended

    @classmethod
    def local(
        cls,
        path: Path | str,
        *,
        database: str = "features",
        lock: FeatureLock | None = None,
        now: Callable[[], datetime] | None = None,
        announce: Callable[[EventDetail], None] | None = None,
    ) -> "FeatureStoreClient":
        """Return a client of a local folder; tables are created, and get new columns, as groups require.

        Args:
            path: The folder, created if missing.
            database: Name of the database. Default: ``features``.
            lock: Field ids. Default: ids in the order of the declarations.
            now: The clock. Default: the system clock.
            announce: As for ``glue``.

        Raises:
            FeatureStoreError: If ``path`` is not a path; FeatureTableError, if the folder cannot be created.
        """
        if not isinstance(path, str | Path) or not path:
            raise FeatureStoreError(f"path must be the path of a folder, got {path!r}")
        path = Path(path).resolve()  # locations of copies are recorded, for users on other machines
        return cls(
            Tables.local(path, database, lock),
            now=_utc_now if now is None else now,
            announce=announce,
            manifests=path / "manifests",
            training_sets=path / "training_sets",
            online=path / "online.db",
        )

    @classmethod
    def glue(
        cls,
        *,
        database: str,
        environment: Mapping[str, str] | None = None,
        now: Callable[[], datetime] | None = None,
        announce: Callable[[EventDetail], None] | None = None,
        manifests: str | None = None,
        training_sets: str | None = None,
        s3: Any = None,
        glue: Any = None,
        spark_job: str | None = None,
        athena: AthenaRuns | None = None,
        online: OnlineStore | None = None,
        ended: Callable[[BuildProcess], bool] | None = None,
    ) -> "FeatureStoreClient":
        """Return a client of a deployed feature store's Glue tables, which only CloudFormation creates and changes.

        Args:
            database: The Glue database.
            environment: Source of ``AWS_REGION``, ``AWS_ENDPOINT_URL`` and its ``_S3`` and ``_GLUE`` forms, and of access keys if
                set; otherwise boto3 and Arrow find the caller's credentials. Default: the environment of the process.
            now: The clock. Default: the system clock.
            announce: Called after each ingest, also a repeated one, so that a crash between the two loses no event; see
                ``unit_bus``. Pipelines that retrain on new data receive the event. Default: no event.
            manifests: ``s3://`` prefix of manifests, ``s3://<manifests bucket>/manifests``. Default: calls that require it fail.
            training_sets: ``s3://`` location of training sets, ``s3://<training sets bucket>``. Default: calls that require it
                fail.
            s3: A boto3 client of S3, for the two. Default: calls that require it fail.
            glue: A boto3 client of Glue, for ``spark_job`` and ``athena``.
            spark_job: Name of the Glue job that builds sets too large for the memory. Default: such sets are rejected.
            athena: Runs queries for ``engine="athena"``. Default: this engine is rejected.
            online: The online store. Default: with ``announce``, the store's function publishes ingests of groups with ``online``;
                without it, such ingests are rejected, and so are reads of online features.
            ended: Returns whether a job that builds a set has ended, see ``ended_on_aws``; an erasure waits for builds. Default:
                only closed builds count as ended.

        Raises:
            FeatureStoreError: If ``spark_job`` or ``athena`` is given without a client of Glue.
        """
        if glue is None and (spark_job is not None or athena is not None):
            name = "athena" if spark_job is None else "spark_job"
            raise FeatureStoreError(f"{name} needs a boto3 client of Glue: pass glue=")
        given = os.environ if environment is None else environment
        clock = _utc_now if now is None else now
        return cls(
            Tables.glue(database, given),
            now=clock,
            announce=announce,
            manifests=manifests,
            training_sets=training_sets,
            s3=s3,
            engines=BuildEngines(glue, spark_job, athena, database, glue_properties(given), clock),
            online=online,
            ended=ended,
        )

    def ingest(self, group: FeatureGroup, batch: ArrowStream, *, idempotency_key: str | None = None) -> Ingested:
        """Check a batch and append it exactly once, in one commit.

        Args:
            group: The rows' group.
            batch: A pyarrow table, pandas or polars frame. ``created_time`` is optional, with the current time as default; nullable
                features are optional, with null as default.
            idempotency_key: A batch with the key of an earlier one is not written again; keys are remembered for at least 90 days.
                Default: the content hash of the batch, so that the same rows, in any order, are written once.

        Raises:
            BatchError: If the batch does not fit the group; with every problem.
            FeatureTableError: If the table does not fit the group; LostLedgerError, if the file that records its key is missing.
            FeatureLockError: In a local folder, if the group's changes would break readers of the table.
            KeyReusedError: If the key was used for different content.
            OnlineStoreError: If the rows of a group with ``online`` were ingested but not all published; ingesting the same batch
                again, or the next one, publishes them.
        """
        now = self._now()
        prepared_batch = prepared(group, batch, key=idempotency_key, now=now)
        return self._appended(self._tables.writable(group), prepared_batch, now)

    def backfill(self, group: FeatureGroup, batch: ArrowStream, *, idempotency_key: str | None = None) -> Ingested:
        """Ingest past rows, each with the time at which it could first be known.

        Args:
            group: The rows' group.
            batch: As for ``ingest``, with ``created_time``, which must not be later than now.
            idempotency_key: As for ``ingest``.

        Raises:
            BatchError: As for ``ingest``, and if ``created_time`` is missing.
        """
        return self.ingest(group, check_is_given(group, batch), idempotency_key=idempotency_key)

    def ingest_from(self, group: FeatureGroup, source: RowSource, *, backfill: bool = False) -> IngestedSource:
        """Ingest the rows of files or of a query in pieces, each in one commit and exactly once, even after a crash.

        Args:
            group: The rows' group.
            source: ``RowFiles`` or ``AthenaQuery``. All its files are checked before anything is written.
            backfill: Whether the rows have ``created_time``, when each could first be known. Default: ``False``.

        Raises:
            SourceError: If the source cannot be read or lacks columns; with every problem, and nothing was written.
            SourceAccessError: If reading is denied; with the IAM statement that the caller's policy needs.
            BatchError: If rows do not fit the group, with file and rows. Earlier pieces stay, and are not written again.
            FeatureTableError: As for ``ingest``, like its other errors.
        """
        return ingest_source(
            group,
            source,
            is_backfill=backfill,
            load=lambda: self._tables.writable(group),
            ingest=partial(self.ingest, group),
            now=self._now,
        )

    def correct(self, group: FeatureGroup, batch: ArrowStream, *, idempotency_key: str | None = None) -> Ingested:
        """Restate rows: write new versions of existing entities and event times. Reads as of earlier times see earlier versions.

        Args:
            group: The rows' group.
            batch: As for ``ingest``, with every feature; a null feature is null from now on.
            idempotency_key: As for ``ingest``. Default: derived from the content and the restated versions. Rows with unchanged
                values are not written again; a correction back to earlier values is written, once.

        Raises:
            BatchError: As for ``ingest``, and if a feature is missing or a row does not restate an existing one.
        """
        now = self._now()
        prepared_batch = prepared(group, check_is_whole(group, batch), key=idempotency_key, now=now)
        table = self._tables.writable(group)
        found = restated(table, prepared_batch, is_keyed=idempotency_key is not None)
        if isinstance(found, Ingested):
            self._publish(group, now)
            return found
        return self._appended(table, found, now)

    def training_set(
        self,
        entities: ArrowStream | RowSource,
        features: Features,
        *,
        name: str,
        timestamp: str = "event_timestamp",
        time_zone: str | None = None,
        semantics: Literal["known_at", "event_time"] = "known_at",
        as_of: datetime | None = None,
        snapshots: Mapping[str, int] | None = None,
        source: Mapping[str, str] | None = None,
        engine: "Engine | None" = None,
        memory: int | None = None,
    ) -> "TrainingSet":
        """Join features with entity rows as they counted at each row's time; tag the snapshots, write the files and the manifest.

        Every row is kept, in the order of ``row_id``, which is added if missing. Columns are named ``group__feature``, and are null
        if no value counted. The same request over the same snapshots has the same id, for any caller at any time.

        Args:
            entities: Rows with the keys of all groups and a time: a pyarrow table, pandas or polars frame. Keys may be integers of
                another width, or floats without a fraction, such as pandas' integers with missing values; a row with a null key
                gets nulls. Or ``RowFiles`` or ``AthenaQuery``, whose rows are read into memory.
            features: A feature service, which is stored and named in the manifest; groups of which all features are joined; or
                columns by name of group or table. ``GroupJoin`` joins a group under a name and by other columns of the entity rows;
                a set may have several of a group. Two versions of a group have the names of their tables.
            name: Name of the training set: lower-case letters, digits, ``-`` and ``_``.
            timestamp: The time column. Default: ``event_timestamp``.
            time_zone: IANA name of the zone of times without one. Default: such times are rejected.
            semantics: Whether a value counts from the time it was known (``known_at``), or from its event time (``event_time``),
                which may leak later knowledge. Default: ``known_at``.
            as_of: Rows created later are not read. Default: all rows of the snapshots are read.
            snapshots: Snapshots to read, by name of group or table. Default: the current ones.
            source: Code that makes the request, for the manifest: ``repository``, ``commit`` and the like. Default: omitted.
            engine: ``duckdb``, ``spark`` or ``athena``, for any size. Default: sets that fit in memory are built in this process,
                others by the job ``spark_job`` of ``glue``, with the same rows, files and content hash, read lazily.
            memory: Bytes of memory available to DuckDB. Default: 8 GiB.

        Raises:
            TrainingSetError: If entity rows, groups, columns or snapshots are invalid, or Spark is needed and there is no job.
            GlueBuildError: If a run of the job ends without a set; nothing is lost. AthenaError, if a query does.
            ErasedDuringBuildError: If an erasure began during the build; nothing is stored. Build the set again.
            MissingFileError: If a file of a table is missing that no erasure removed; DamagedFileError, if a file cannot be read.
            PlanError: If keys are of another type, or columns clash.
            FeatureServiceError: If the version of the service is stored with other features, or one of its groups has changed
                since.
        """
        sets = self._set_builds
        request = requested(
            sets.rows(entities, features, timestamp, memory),
            features,
            name=name,
            timestamp=timestamp,
            time_zone=time_zone,
            semantics=semantics,
            as_of=as_of,
            snapshots=snapshots,
            source=source,
            engine=engine,
            memory=memory,
        )
        return sets.build(request, features if isinstance(features, FeatureService) else None)

    @property
    def _set_builds(self) -> SetBuilds:
        return SetBuilds(
            load=self.table,
            names=self.table_names(),
            engines=self._engines,
            sets=self._sets,
            manifests=self.manifests,
            builds=self.builds,
            services=self.services,
            s3=self._s3,
        )

    def explain(self, entities: ArrowStream, features: Features, **options: Unpack[RequestOptions]) -> "Explanation":
        """Explain how ``training_set`` would build: engine, data to read, plan by table; its ``sql`` is for Spark and Athena.

        Nothing is tagged or written. Arguments and errors are those of ``training_set``; the name is optional.
        """
        from mlops_runtime.features.training_set_sql import explain  # noqa: PLC0415 - duckdb

        return explain(self.table, self.table_names(), requested(entities, features, **options))

    def split_training_set(
        self, plan: TrainingSetPlan, *, as_of: datetime, tables: Sequence[str] | None = None, tag: str | None = None
    ) -> "TrainingSet":
        """Build the training set of a plan from what was known at ``as_of``: labels with features, split by time.

        Only tags are written, and with ``tag`` nothing: a job leaves the files where its state machine expects them.

        Args:
            plan: Labels, features and split.
            as_of: Cutoff; rows that became known later are not used.
            tables: Names of the tables to choose from. Default: all tables of the database, which requires permission to list them.
            tag: Existing tag of the snapshots to read, from ``SnapshotTags.pin``. Default: the current snapshots are tagged here,
                which requires permission to commit.

        Raises:
            TrainingSetError: If the plan does not fit the tables, a split is empty, or the tag is not that of this plan.
        """
        from mlops_runtime.features import split_set  # noqa: PLC0415 - duckdb

        return split_set.build(self.table, self.table_names() if tables is None else tables, plan, as_of=as_of, tag=tag)

    def rebuild(self, training_set_id: str) -> "Rebuild":
        """Rebuild a training set from its manifest and report whether it is the same.

        Raises:
            ManifestError: If the manifest is missing or was changed.
        """
        from mlops_runtime.features.rebuild import rebuild  # noqa: PLC0415 - duckdb

        return rebuild(self.table, training_set_id, self.manifests, self._sets)

    def diff(self, a: str, b: str) -> "Difference":
        """Compare two training sets by their ids, from their requests down to single values; both are rebuilt for it.

        Raises:
            ManifestError: If a manifest is missing or was changed.
            TrainingSetError: If one of the sets cannot be rebuilt.
        """
        from mlops_runtime.features.training_set_difference import diff  # noqa: PLC0415 - duckdb

        return diff(self.rebuild, a, b)

    def who_used(
        self, group: FeatureGroup | str, *, snapshot: int | None = None, column: str | None = None
    ) -> tuple[Use, ...]:
        """Return the training sets that read a group, or the rows of one snapshot, or one column.

        Args:
            group: The group, or its name, or the name of its table.
            snapshot: Id of a snapshot; its rows are in later ones too. Default: any.
            column: Name of a feature or key. Default: any.

        Raises:
            FeatureTableError: If there is no such group, column or snapshot.
        """
        return who_used(self.manifests, described(self._tables.find(group)), snapshot=snapshot, column=column)

    def latest(self, group: FeatureGroup, entities: ArrowStream | None = None) -> pa.Table:
        """Return the newest row of each entity that is known now and within the time to live of the group's table.

        Args:
            group: Group whose table is read; its time to live applies.
            entities: Keys to look up; the result has their order, with nulls for keys without a row. Default: all entities with a
                row, sorted by key.
        """
        from mlops_runtime.features.point_in_time import latest  # noqa: PLC0415 - duckdb

        return latest(self.table, group, entities, now=self._now())

    def read_online(
        self, features: FeatureService | Sequence[FeatureGroup], entities: ArrowStream, *, consistent: bool = False
    ) -> ServedFeatures:
        """Return the features that count now for entity rows, from the online store: several groups and keys in one read.

        Args:
            features: A feature service, which is compared with its stored version, or groups of which all features are read.
            entities: Rows with the keys of all groups, in any order; unknown keys get nulls, and are reported.
            consistent: Whether DynamoDB reads are strongly consistent, at twice the price. Default: ``False``; new rows may take
                about a second to appear.

        Raises:
            FeatureStoreError: If the client has no online store.
            FeatureServiceError: If the version of the service is stored with other features.
            OnlineStoreError: If keys are missing or of another type, columns clash, or the store does not respond.
        """
        if isinstance(features, FeatureService) and self._manifest_place is not None:
            self.services.check(features.spec)
        return self.online.read(features, entities, now=self._now(), consistent=consistent)

    def publish_online(self, group: FeatureGroup) -> int:
        """Publish the unpublished rows of a group, including those of an interrupted publication; return how many were newer.

        Ingests of a group with ``online`` do this themselves.

        Raises:
            FeatureStoreError: If the client has no online store.
            OnlineStoreError: If rows cannot be published.
        """
        done = publish_new(lambda: self.table(group.table_name), group, self.online, now=self._now())
        return 0 if done is None else done.published.written

    def erase(
        self,
        entity: Mapping[str, object],
        *,
        reason: str,
        in_use: Collection[str],
        include_in_use: bool = False,
        wait: timedelta = _WAIT,
        ended: Collection[str] = (),
    ) -> Erasure:
        """Erase an entity's rows from tables, history and files, from training sets that contain them, and the online store.

        Affected training sets get a tombstone and can no longer be rebuilt; the result lists them. Builds of training sets are
        stopped before they store anything, and awaited. The result is complete unless ``pending`` names some of these builds, or an
        online store that does not respond: ``resume_erasures``, and any later call, continues the erasure, even after a crash.

        Args:
            entity: Values by name of key column, of its type or as strings, for example ``{"household_id": "718"}``.
            reason: Reason for the records, such as a ticket's number. A reason that contains a value of the entity is rejected: as
                a separate word, or anywhere for a string of six letters or more.
            in_use: Ids of training sets of models that serve or may serve again: ``training_sets_in_use``.
            include_in_use: Whether these may be erased too. Default: ``False``; then nothing is erased if one is affected.
            wait: Longest wait for builds of training sets. Default: one minute.
            ended: Ids of pending builds whose processes are known to have ended, if only the caller knows.

        Raises:
            ErasureError: If arguments have other types, the reason names the entity, no table has the key in the values' types, an
                id in ``in_use`` or ``ended`` is unknown, or a set in use is affected. Nothing was erased.
            MissingFileError: If a file of a table is missing (DamagedFileError, if it cannot be read): restore it, and erase again.
                LostLedgerError, if it is of the ledger: run ``maintain``, which rebuilds an index, then erase again.
        """
        from mlops_runtime.features.entity_erasure import erase  # noqa: PLC0415 - duckdb
        from mlops_runtime.features.erasure_arguments import check_arguments  # noqa: PLC0415 - only an erasure needs it

        check_arguments(entity, reason=reason, in_use=in_use, include_in_use=include_in_use, wait=wait, ended=ended)
        return erase(self._places(wait, ended), entity, reason=reason, in_use=in_use, include_in_use=include_in_use)

    def resume_erasures(self, *, wait: timedelta = _WAIT, ended: Collection[str] = ()) -> tuple[Erasure, ...]:
        """Continue the incomplete erasures; return each, complete or still pending.

        Args:
            wait: As for ``erase``.
            ended: As for ``erase``.

        Raises:
            ErasureError: If arguments have other types, or ``ended`` contains an unknown build.
        """
        from mlops_runtime.features.entity_erasure import resume  # noqa: PLC0415 - duckdb
        from mlops_runtime.features.erasure_arguments import check_waits  # noqa: PLC0415 - only an erasure needs it

        check_waits(wait, ended)
        return resume(self._places(wait, ended))

    def _places(self, wait: timedelta, ended: Collection[str]) -> "Places":
        from mlops_runtime.features.erasure_places import Places  # noqa: PLC0415 - only an erasure needs it

        return Places(
            self._tables,
            manifests=self.manifests,
            sets=self._sets,
            builds=self.builds,
            s3=self._s3,
            online=self._online_now,
            has_ended=self._ended,
            ended=ended,
            now=self._now,
            wait=wait,
        )

    def maintain(self, tables: Sequence[str] | None = None) -> "tuple[Maintained, ...]":
        """Maintain tables: compact small files, remove unreferenced files and those of killed builds, drop old keys.

        Idempotent. In a local folder, ingests do this when it is due. ``resume_erasures`` completes erasures.

        Args:
            tables: Names of the tables. Default: all.

        Raises:
            FeatureTableError: If tables could not be maintained, for example due to concurrent writers; the others are maintained.
        """
        from mlops_runtime.features.table_maintenance import maintain_each  # noqa: PLC0415 - imports pandas if installed

        is_folder = self._tables.is_folder
        if is_folder:
            self._sets.remove_parts()
            self.builds.close_ended()
        elif self._set_place is not None:
            self._engines.remove_left(self._sets, self._now(), s3=self._s3)
        return maintain_each(
            self.table_names() if tables is None else tables,
            self.table,
            now=_utc_now() if is_folder else self._now(),
            today=self._now().date(),
            remove=lambda file: remove(file, s3=self._s3),
            keeps_ledger=not is_folder,
            writing=self._writing,
        )

    @property
    def manifests(self) -> Manifests:
        """The store's manifests.

        Raises:
            FeatureStoreError: If the client has no location of manifests.
        """
        return Manifests(self._place_of_manifests, s3=self._s3)

    @property
    def builds(self) -> Builds:
        """The store's builds of training sets, stored beside the manifests.

        Raises:
            FeatureStoreError: If the client has no location of manifests.
        """
        return Builds(self._place_of_manifests, s3=self._s3)

    @property
    def _place_of_manifests(self) -> str | Path:
        if self._manifest_place is None:
            raise FeatureStoreError(
                "this call requires the location of manifests: FeatureStoreClient.glue("
                "manifests='s3://<bucket>/manifests', s3=...)"
            )
        return self._manifest_place

    @property
    def online(self) -> OnlineStore:
        """The online store; of a local folder the file ``online.db``, created if missing.

        Raises:
            FeatureStoreError: If the client has no online store.
        """
        if isinstance(self._online, Path):
            self._online = OnlineStore.local(self._online)
        if self._online is None:
            raise FeatureStoreError(
                "this call requires the online store: FeatureStoreClient.glue("
                "online=OnlineStore(boto3.client('dynamodb'), table=...))"
            )
        return self._online

    @property
    def services(self) -> FeatureServices:
        """The store's feature services, stored beside its manifests.

        Raises:
            FeatureStoreError: As for ``manifests``.
        """
        return FeatureServices(self.manifests.objects)

    def table(self, name: str) -> Table:
        """Load a feature table.

        Raises:
            FeatureTableError: If the table does not exist.
        """
        return self._tables.load(name)

    def table_names(self) -> tuple[str, ...]:
        """Return the names of the database's tables."""
        return self._tables.names()

    @property
    def _sets(self) -> Objects:
        if self._set_place is None:
            raise FeatureStoreError(
                "this call requires the location of training sets: FeatureStoreClient.glue(training_sets='s3://<bucket>', s3=...)"
            )
        return Objects(self._set_place, s3=self._s3)

    def _writing(self, table: Table) -> AbstractContextManager[None]:
        """Announce a write to a table in a local folder: an erasure waits for it, to find files of killed writers.

        On AWS, where Glue writes too without announcing it, maintenance removes such files a day later.
        """
        is_local = self._tables.is_folder and self._manifest_place is not None
        return self.builds.write(table.name()[-1], table.location()) if is_local else nullcontext()

    def _appended(self, table: Table, batch: Batch, now: datetime) -> Ingested:
        if batch.group.online and self._online is None and self._announce is None:
            raise FeatureStoreError(
                f"group {batch.group.name!r} is online, but this client has no online store and does not announce ingests: pass "
                "online=OnlineStore(...) or announce=unit_bus(...) to FeatureStoreClient.glue"
            )
        with self._writing(table):
            done = append(table, batch, now)
            if self._tables.is_folder and not done.duplicate:
                from mlops_runtime.features.table_maintenance import tend  # noqa: PLC0415 - imports pandas if installed

                tend(table, now=_utc_now(), remove=remove)
        if self._announce is not None:
            # identified by the key and not by the ingest: a repeated announcement is the same event
            self._announce(features_ingested(done.table, rows=batch.rows.num_rows, ingest_id=batch.key_hash[:32]))
        self._publish(batch.group, now)
        return done

    def _publish(self, group: FeatureGroup, now: datetime) -> None:
        """Publish the rows of an ingest; many rows are left to the function if the ingest was announced."""
        if group.online and self._online is not None:
            is_announced = self._announce is not None and not self._tables.is_folder
            most = INLINE_ROWS if is_announced else None
            publish_new(lambda: self.table(group.table_name), group, self.online, now=now, most=most)

    def _online_now(self) -> OnlineStore | None:
        """Return the online store if it exists; the first ingest that publishes creates that of a local folder."""
        is_missing = isinstance(self._online, Path) and not self._online.exists()
        return None if self._online is None or is_missing else self.online
