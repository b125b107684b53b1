"""The unit's feature store: a Glue database of append-only Iceberg tables, and the buckets of rows, training sets and manifests."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_ssm as ssm

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._assets import layer
from mlops_constructs._functions import ARCHITECTURE, role_of
from mlops_constructs._platform_rules import publication
from mlops_constructs._roles import ServiceRole, idle_role
from mlops_constructs._shared_values import publish_values
from mlops_constructs._stack_values import stack_of, stack_values
from mlops_constructs._unit_resources import define_bucket, resource_of
from mlops_constructs._validation import ValidationError, check_duration, raise_if_any
from mlops_constructs._warnings import SNAPSHOT_RETENTION, warn
from mlops_constructs.feature_store._freshness import (
    LONGEST,
    SHORTEST,
    age_metric,
    define_freshness_alarms,
    define_freshness_function,
)
from mlops_constructs.feature_store._maintenance import define_maintenance, let_remove_leftovers
from mlops_constructs.feature_store._online import define_online_table, define_publisher
from mlops_constructs.feature_store.feature_ingest import (
    REMEMBERED_DAYS,
    DefinedIngest,
    FeatureIngest,
    define_ingest,
    deliver_statements,
)
from mlops_constructs.feature_store.glue_tables import (
    define_optimizer_role,
    define_optimizers,
    define_ruleset,
    define_table,
)
from mlops_constructs.feature_store.interface import IFeatureStore, IUnitFeatureStore
from mlops_constructs.feature_store.store_access import (
    FeatureAccess,
    ImportedFeatureStore,
    ImportedUnitStore,
    OwnedFeatureStore,
)
from mlops_constructs.feature_store.table_grants import DESCRIBE, MAINTAIN, define_location, grant_all
from mlops_constructs.model_endpoint.endpoint_metrics import MetricOptions
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.features import LEDGER, LEDGER_DAYS, STAGED_DAYS
from mlops_runtime.contracts.unit_entries import STORE_PARAMETERS, FeatureStoreEntry
from mlops_runtime.features.feature_group import FeatureGroup
from mlops_runtime.features.lock_file import FeatureLock, FeatureLockError

MANIFEST_LOCK = cdk.Duration.days(365)
# readers without sequence numbers need the tagged snapshot of a training set
LEAST_RETENTION = cdk.Duration.days(91)
_HOURLY = cdk.Duration.hours(1)


@checked("InvalidFeatureStore")
class FeatureStore(OwnedFeatureStore):
    """The feature tables of a unit. Stateful.

    Tables are named ``<group>_v<version>`` in database ``<unit>_features``, each with a data quality ruleset of its group's
    constraints. Field ids come from a lock file in git; changes that would break readers are rejected at synthesis. In PRODUCTION
    tables and data are retained when the stack is deleted, files are compacted, and manifests cannot be deleted for a year; rows
    always can. For groups with ``freshness`` a function measures the age of their newest events, and one alarm per group fires when
    they are too old.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: Unit that owns the store; its key encrypts tables and buckets.
        groups: The feature groups.
        lock_file: ``features.lock.json``, written by ``mlops features lock``.
        access: Service that enforces the grants. Default: IAM.
        snapshot_retention: Time that Glue keeps snapshots of tables, whole days, at least 91; adds a warning, as it was never
            verified on AWS that its optimizer keeps the tagged snapshots of training sets. Default: Glue expires no snapshots, as
            its retention is disabled explicitly for each table; ingests expire snapshots that are no longer needed.
        freshness_interval: Interval of the age measurements, 1 to 84 hours. Default: every hour, if a group declares ``freshness``.
        ingest: Ingest of batches that arrive as objects. Default: only clients ingest.
        online: Whether to define a DynamoDB table for the newest row of each entity, which
            ``mlops_runtime.features.online_store.OnlineStore`` writes and reads. Default: if a group declares ``online``; a
            function then also publishes the rows that are ingested into these groups.
        maintenance: Whether a function compacts small files once a day, removes files that no snapshot refers to and continues
            pending erasures. It needs the layer ``features``: ``"build": "mlops assets build --layer monitor --layer features"`` in
            ``cdk.json``. Default: if another function needs that layer, for ``ingest`` or online groups; otherwise run
            ``mlops features maintain`` daily.

    Raises:
        ValidationError: If an argument has a wrong type, two groups share a table, there is no group, groups and lock file
            differ, or a duration is not allowed.

    Example:
        >>> store = FeatureStore(self, "Features", business_unit=unit, groups=GROUPS, lock_file="features.lock.json")
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        business_unit: IBusinessUnit,
        groups: Sequence[FeatureGroup],
        lock_file: str | Path,
        access: FeatureAccess = FeatureAccess.IAM,
        snapshot_retention: cdk.Duration | None = None,
        freshness_interval: cdk.Duration | None = None,
        ingest: FeatureIngest | None = None,
        online: bool = False,
        maintenance: bool | None = None,
    ) -> None:
        name = business_unit.name
        super().__init__(scope, id, unit=name, groups=groups, access=access, is_whole=True)
        every = _HOURLY if freshness_interval is None else freshness_interval
        self._watched = tuple(group for group in groups if group.freshness is not None)
        self._validate(snapshot_retention, freshness_interval, every)
        lock = self._read_lock(groups, Path(lock_file))
        self._unit, self._key = business_unit, business_unit.key
        kept = business_unit.profile.keeps_data
        self._data = define_bucket(
            self,
            "Data",
            business_unit=business_unit,
            lifecycle_rules=[
                s3.LifecycleRule(id="Ledger", prefix=f"{LEDGER}/", expiration=cdk.Duration.days(LEDGER_DAYS))
            ],
        )
        self._training_sets = define_bucket(
            self,
            "TrainingSets",
            business_unit=business_unit,
            lifecycle_rules=[
                # objects of an interrupted build by Spark or Athena; a Spark run takes at most a day
                s3.LifecycleRule(
                    id="Staged",
                    prefix="staged/",
                    expiration=cdk.Duration.days(STAGED_DAYS),
                    noncurrent_version_expiration=cdk.Duration.days(1),
                )
            ],
        )
        self._manifests = define_bucket(
            self, "Manifests", business_unit=business_unit, object_lock=MANIFEST_LOCK if kept else None
        )
        database = self._define_database()
        if access is FeatureAccess.LAKE_FORMATION:
            location = define_location(
                self, "Location", business_unit=business_unit, bucket=self._data, prefix=self._database_name
            )
            self._permitted_after.append(location)
        self._define_tables(lock, database, maintain=kept, snapshot_retention=snapshot_retention)
        self._freshness: lambda_.Function | None = None
        self._freshness_alarms: dict[str, cloudwatch.Alarm] = {}
        if self._watched:
            self._define_freshness(every)
        self._ingest: DefinedIngest | None = None
        if ingest is not None:
            self._ingest = define_ingest(
                self, "Ingest", business_unit=business_unit, tables=self._tables(None), groups=groups, ingest=ingest
            )
            for role in self._ingest.roles:
                self.admit(role, to="write")
        wheels = None if self._ingest is None else self._ingest.wheels
        served = tuple(group for group in groups if group.online)
        self._online = define_online_table(self, "Online", business_unit=business_unit) if online or served else None
        if self._online is not None and served:
            wheels = self._define_publisher(served, self._online, wheels)
        self._maintenance: lambda_.Function | None = None
        self._removes_leftovers = False
        if maintenance or (maintenance is None and wheels is not None):
            self._define_maintenance(wheels)
        if snapshot_retention is not None:
            warn(self, SNAPSHOT_RETENTION, days=str(snapshot_retention.to_days(integral=False)))
        self._export = business_unit.export(self, "features")
        self._entry_parameter = business_unit.publish_entry(self, "Entry", self._entry())
        self._training_set_job: str | None = None
        self._publish()
        business_unit.tag(self)

    @classmethod
    def from_name(
        cls,
        scope: Construct,
        id: str,
        *,
        business_unit: IBusinessUnit,
        groups: Sequence[FeatureGroup],
        access: FeatureAccess = FeatureAccess.IAM,
    ) -> IUnitFeatureStore:
        """Import the store of the unit itself, which another of its stacks owns, to ingest, read or train.

        Erasure, batches that arrive as objects and the online table are available only in the stack that defines the store.

        Args:
            scope: Parent.
            id: Construct id.
            business_unit: The unit, imported with ``BusinessUnit.from_name``.
            groups: The groups, as the store declares them; grants are limited to them.
            access: Service that enforces the store's grants. Default: IAM.

        Raises:
            ValidationError: If there is no group or two share a table.

        Example:
            >>> imported = FeatureStore.from_name(self, "Imported", business_unit=unit, groups=GROUPS)
            >>> imported.database_name
            'demand_features'
        """
        return ImportedUnitStore(scope, id, business_unit=business_unit, groups=groups, access=access)

    @classmethod
    def from_feature_store_attributes(
        cls,
        scope: Construct,
        id: str,
        *,
        business_unit: IBusinessUnit,
        owner_name: str,
        data_bucket: s3.IBucket,
        key: kms.IKey,
        groups: Sequence[FeatureGroup],
        access: FeatureAccess = FeatureAccess.IAM,
    ) -> IFeatureStore:
        """Import groups of another unit's store, in the same account and Region, for this unit to read.

        The permissions boundary of this unit's roles then allows reading resources with the other unit's tag, and no other access
        to them. The other unit's key needs no change: its policy delegates to the account's IAM policies.

        Args:
            scope: Parent.
            id: Construct id.
            business_unit: The reading unit.
            owner_name: Name of the unit that owns the store.
            data_bucket: Bucket of the store's tables.
            key: Key of the store.
            groups: The groups, as that unit declares them; grants are limited to them.
            access: Service that enforces that store's grants. Default: IAM.

        Raises:
            ValidationError: If there is no group or two share a table.

        Example:
            >>> from aws_cdk import aws_kms as kms, aws_s3 as s3
            >>> prices = FeatureStore.from_feature_store_attributes(
            ...     self, "Prices", business_unit=unit, owner_name="pricing",
            ...     data_bucket=s3.Bucket.from_bucket_name(self, "PricesData", "pricing-data"),
            ...     key=kms.Key.from_key_arn(self, "PricesKey", "arn:aws:kms:us-east-1:111111111111:key/..."),
            ...     groups=PRICES)
        """
        return ImportedFeatureStore(
            scope,
            id,
            business_unit=business_unit,
            unit=owner_name,
            data_bucket=data_bucket,
            key=key,
            groups=groups,
            access=access,
        )

    @property
    def freshness_function(self) -> lambda_.IFunction | None:
        """Function that measures ages, as of the time in its event; None if no group declares ``freshness``."""
        return self._freshness

    @property
    def freshness_alarms(self) -> Mapping[str, cloudwatch.IAlarm]:
        """Alarms on the age of tables, by table name."""
        return dict(self._freshness_alarms)

    @property
    def incoming_bucket(self) -> s3.IBucket | None:
        """Bucket for batches, as ``incoming/<table>/<idempotency key>.parquet``; None without ``ingest``."""
        return None if self._ingest is None else self._ingest.bucket

    def metric_feature_age(self, group: FeatureGroup, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the metric of the seconds since the newest event time of a group.

        Args:
            group: A group of this store that declares ``freshness``; others have no such metric.
            options: Label, period (default one hour) and statistic (default minimum).

        Raises:
            ValidationError: If the store has no such group, or its age is not measured.
        """
        table = self.table_name(group)
        if group.freshness is None:
            problem = f"group {group.name!r} has no freshness, so its age is not measured; declare freshness="
            raise ValidationError("AgeNotMeasured", [problem], self)
        return age_metric(self._unit.name, table, options)

    def grant_deliver(self, grantee: iam.IGrantable, *, groups: Sequence[FeatureGroup] | None = None) -> iam.Grant:
        """Grant delivery of batches and reading of rejection reports; not access to the tables.

        Args:
            grantee: The principal.
            groups: Groups of the batches. Default: all.

        Raises:
            ValidationError: If the store has no ingest or no such group, or the grant cannot be added from this stack.
        """
        if self._ingest is None:
            problem = "this store accepts no batches as objects; set ingest=FeatureIngest()"
            raise ValidationError("NoIngest", [problem], self)
        return grant_all(grantee, deliver_statements(self._ingest.bucket, self._tables(groups)), scope=self)

    def _validate(self, retention: cdk.Duration | None, schedule: cdk.Duration | None, every: cdk.Duration) -> None:
        problems = [check_duration("freshness_interval", schedule, minimum=SHORTEST, maximum=LONGEST)]
        if schedule is not None and not self._watched:
            problems.append("freshness_interval applies to groups with freshness=, and no group declares it; remove it")
        problems += [
            f"freshness of group {group.name!r} must be at least the interval of its measurement, {every.to_human_string()}, "
            f"got {group.freshness}"
            for group in self._watched
            if group.freshness is not None and group.freshness.total_seconds() < every.to_seconds(integral=False)
        ]
        if retention is not None:
            least = LEAST_RETENTION.to_days()
            if (
                retention.to_seconds(integral=False) % 86400
                or retention.to_seconds(integral=False) < LEAST_RETENTION.to_seconds()
            ):
                problems.append(
                    f"snapshot_retention must be whole days, at least {least}, got {retention.to_human_string()}; snapshots "
                    f"contain the idempotency keys of {REMEMBERED_DAYS} days"
                )
        raise_if_any(self, "InvalidFeatureStore", problems)

    def name_training_set_job(self, job_name: str) -> None:
        """Publish the name of the Glue job that builds training sets, for the CLI; only the first call has an effect."""
        if self._training_set_job is None:
            self._training_set_job = job_name
            entry = replace(self._entry(), training_set_job=job_name)
            parameter = resource_of(self._entry_parameter, ssm.CfnParameter)
            parameter.value = stack_of(self).to_json_string(to_dict(entry))

    def _entry(self) -> FeatureStoreEntry:
        return FeatureStoreEntry(
            unit=self._unit.name,
            database=self._database_name,
            data_bucket=self._data.bucket_name,
            training_sets_bucket=self._training_sets.bucket_name,
            manifests_bucket=self._manifests.bucket_name,
            incoming_bucket=None if self._ingest is None else self._ingest.bucket.bucket_name,
            incoming_days=None if self._ingest is None else self._ingest.kept_days,
            online_table=None if self._online is None else self._online.table_name,
            export=self._export,
        )

    def _publish(self) -> None:
        buckets = {"data": self._data, "training_sets": self._training_sets, "manifests": self._manifests}
        publish_values(
            self,
            "Shared",
            unit=self._unit.name,
            profile=publication(self._unit),
            parameters=STORE_PARAMETERS,
            values={f"features/{name}_bucket": bucket.bucket_name for name, bucket in buckets.items()},
        )

    def _read_lock(self, groups: Sequence[FeatureGroup], lock_file: Path) -> FeatureLock:
        try:
            lock = FeatureLock.read(lock_file)
            lock.check(groups)
        except FeatureLockError as error:
            raise ValidationError("InvalidFeatureStore", error.problems, self) from error
        return lock

    def _define_database(self) -> glue.CfnDatabase:
        database = glue.CfnDatabase(
            self,
            "Database",
            catalog_id=stack_values(self).account,
            database_input=glue.CfnDatabase.DatabaseInputProperty(
                name=self._database_name, description=f"Feature tables of business unit {self._unit.name}"
            ),
        )
        database.apply_removal_policy(self._unit.profile.removal_policy)
        return database

    def _define_tables(
        self,
        lock: FeatureLock,
        database: glue.CfnDatabase,
        *,
        maintain: bool,
        snapshot_retention: cdk.Duration | None,
    ) -> None:
        tables = Construct(self, "Tables")
        is_run = snapshot_retention is not None or maintain
        role = self._define_optimizer_role() if is_run else self._define_idle_role()
        for group in self._groups:
            name = "".join(word.capitalize() for word in group.table_name.split("_"))
            location = self._data.s3_url_for_object(f"{self._database_name}/{group.table_name}")
            table = define_table(
                tables, name, group=group, locked=lock.table(group), database=database, location=location
            )
            table.apply_removal_policy(self._unit.profile.removal_policy)
            self._permitted_after.append(table)
            define_ruleset(tables, f"{name}Quality", group=group, table=table, database_name=self._database_name)
            define_optimizers(
                tables,
                name,
                table=table,
                role=role,
                location=location,
                maintain=maintain,
                snapshot_retention=snapshot_retention,
            )
        if is_run and self._access is FeatureAccess.LAKE_FORMATION:
            self._lake_formation(self.table_names).permit(role, MAINTAIN)

    def _define_idle_role(self) -> ServiceRole:
        # claim: disabled-optimizer-needs-no-rights
        return idle_role(
            self,
            "OptimizerRole",
            service="glue.amazonaws.com",
            business_unit=self._unit,
            description=f"Named by the optimizers of feature tables of unit {self._unit.name}, which are disabled",
        )

    def _define_optimizer_role(self) -> ServiceRole:
        return define_optimizer_role(
            self,
            "OptimizerRole",
            business_unit=self._unit,
            bucket=self._data,
            prefix=self._database_name,
            resources=self._tables(None).catalog_arns(),
            is_vended=self._access is FeatureAccess.LAKE_FORMATION,
        )

    def _let_remove_leftovers(self) -> None:
        if self._maintenance is not None and not self._removes_leftovers:
            let_remove_leftovers(self._maintenance, tables=self._tables(None), sets=self._training_sets)
            self._removes_leftovers = True

    def _define_maintenance(self, wheels: lambda_.ILayerVersion | None) -> None:
        tables = self._tables(None)
        if wheels is None:
            wheels = layer(self, "MaintenanceLayer", name="features", architecture=ARCHITECTURE)
        self._maintenance = function = define_maintenance(
            self, "Maintenance", business_unit=self._unit, tables=tables, wheels=wheels
        )
        if self._access is FeatureAccess.LAKE_FORMATION:
            self._lake_formation(tables.tables).permit(role_of(function), MAINTAIN)

    def _define_publisher(
        self, served: Sequence[FeatureGroup], online: dynamodb.ITable, wheels: lambda_.ILayerVersion | None
    ) -> lambda_.ILayerVersion:
        publisher = define_publisher(
            self,
            "Serving",
            business_unit=self._unit,
            tables=self._tables(served),
            groups=served,
            online=online,
            wheels=wheels,
        )
        self.admit(role_of(publisher.consumer.function), to="read", groups=served)
        return publisher.wheels

    def _define_freshness(self, every: cdk.Duration) -> None:
        tables = self._tables(self._watched)
        self._freshness = define_freshness_function(
            self, "Freshness", business_unit=self._unit, tables=tables, every=every
        )
        if self._access is FeatureAccess.LAKE_FORMATION:
            self._lake_formation(tables.tables).permit(role_of(self._freshness), DESCRIBE)
        self._freshness_alarms = define_freshness_alarms(
            self, "Age", business_unit=self._unit, groups=self._watched, every=every
        )
