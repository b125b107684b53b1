"""The unit's feature store: a Glue database of append-only Iceberg tables, their bucket, and the bucket of training sets."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from constructs import Construct
from mlops_constructs._bucket import define_bucket
from mlops_constructs._errors import ValidationError
from mlops_constructs._iam import key_statement
from mlops_constructs._validation import raise_if_any
from mlops_constructs.feature_store._tables import define_optimizer_role, define_optimizers, define_table
from mlops_runtime.features.group import FeatureGroup
from mlops_runtime.features.lock import FeatureLock, FeatureLockError

if TYPE_CHECKING:
    from mlops_constructs.business_unit import BusinessUnit

_READ_CATALOG = ("glue:GetDatabase", "glue:GetTable", "glue:GetTables")
_READ_BUCKET = ("s3:GetBucketLocation", "s3:ListBucket")


class FeatureStore(Construct):
    """Define the feature tables of a unit. Stateful.

    Tables are named ``<group>_v<version>`` in database ``<unit>_features``. Field ids come from a lock file in git; what readers
    would not survive is refused at synth. In PRODUCTION tables and data stay when the stack goes.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit.
        groups: The feature groups.
        lock_file: ``features.lock.json``, written by ``python -m mlops_runtime.features.lock``.

    Raises:
        ValidationError: If two groups share a table, there is none, or groups and lock file do not agree.

    Example:
        >>> store = FeatureStore(self, "Features", business_unit=unit, groups=GROUPS, lock_file=Path("features.lock.json"))
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        business_unit: "BusinessUnit",
        groups: Sequence[FeatureGroup],
        lock_file: Path,
    ) -> None:
        super().__init__(scope, id)
        lock = self._read_lock(groups, lock_file)
        self._unit = business_unit
        self._groups = tuple(groups)
        self._database_name = f"{business_unit.name.replace('-', '_')}_features"
        self._data = define_bucket(self, "Data", business_unit=business_unit)
        self._training_sets = define_bucket(self, "TrainingSets", business_unit=business_unit)
        database = glue.CfnDatabase(
            self,
            "Database",
            catalog_id=cdk.Stack.of(self).account,
            database_input=glue.CfnDatabase.DatabaseInputProperty(
                name=self._database_name, description=f"Feature tables of business unit {business_unit.name}"
            ),
        )
        database.apply_removal_policy(business_unit.profile.removal_policy)
        self._define_tables(lock, database)
        business_unit.tag(self)

    @property
    def database_name(self) -> str:
        """Name of the Glue database, ``<unit>_features``."""
        return self._database_name

    @property
    def groups(self) -> tuple[FeatureGroup, ...]:
        """The feature groups."""
        return self._groups

    @property
    def data_bucket(self) -> s3.IBucket:
        """Bucket of the tables, each below ``<database>/<table>/``."""
        return self._data

    @property
    def training_sets_bucket(self) -> s3.IBucket:
        """Bucket of training sets (``sets/``) and manifests (``manifests/``)."""
        return self._training_sets

    @property
    def table_names(self) -> tuple[str, ...]:
        """Names of all tables of the store."""
        return tuple(group.table_name for group in self._groups)

    def table_name(self, group: FeatureGroup) -> str:
        """Return the name of a group's table.

        Args:
            group: A group of this store.

        Raises:
            ValidationError: If the store has no such group.
        """
        if group not in self._groups:
            known = ", ".join(repr(g.table_name) for g in self._groups)
            raise ValidationError(
                "UnknownFeatureGroup", [f"group must be one of {known}, got {group.table_name!r}"], self
            )
        return group.table_name

    def read_statements(self) -> list[iam.PolicyStatement]:
        """Return what a role of ours needs to read the tables."""
        return [
            iam.PolicyStatement(actions=list(_READ_CATALOG), resources=self._catalog_arns()),
            iam.PolicyStatement(actions=list(_READ_BUCKET), resources=[self._data.bucket_arn]),
            iam.PolicyStatement(actions=["s3:GetObject"], resources=[self._table_objects()]),
            key_statement(self._unit.key, services=["s3"], actions=["kms:Decrypt"]),
        ]

    def write_statements(self) -> list[iam.PolicyStatement]:
        """Return what a role of ours needs to read the tables and append to them; nothing is ever deleted."""
        return [
            iam.PolicyStatement(actions=[*_READ_CATALOG, "glue:UpdateTable"], resources=self._catalog_arns()),
            iam.PolicyStatement(actions=list(_READ_BUCKET), resources=[self._data.bucket_arn]),
            iam.PolicyStatement(actions=["s3:GetObject", "s3:PutObject"], resources=[self._table_objects()]),
            key_statement(self._unit.key, services=["s3"]),
        ]

    def build_statements(self) -> list[iam.PolicyStatement]:
        """Return what a role of ours needs to build training sets: read tables, tag their snapshots, write sets and manifests."""
        return [
            iam.PolicyStatement(actions=[*_READ_CATALOG, "glue:UpdateTable"], resources=self._catalog_arns()),
            iam.PolicyStatement(
                actions=list(_READ_BUCKET), resources=[self._data.bucket_arn, self._training_sets.bucket_arn]
            ),
            iam.PolicyStatement(
                actions=["s3:GetObject"],
                resources=[self._table_objects(), *self._set_objects()],
            ),
            iam.PolicyStatement(
                actions=["s3:PutObject"],
                resources=[self._data.arn_for_objects(f"{self._database_name}/*/metadata/*"), *self._set_objects()],
            ),
            key_statement(self._unit.key, services=["s3"]),
        ]

    def grant_read(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let somebody read the tables.

        Args:
            grantee: Who.
        """
        return _grant(grantee, self.read_statements())

    def grant_write(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let somebody read the tables and append to them.

        Args:
            grantee: Who.
        """
        return _grant(grantee, self.write_statements())

    def grant_build_training_sets(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let somebody build training sets.

        Args:
            grantee: Who.
        """
        return _grant(grantee, self.build_statements())

    def _read_lock(self, groups: Sequence[FeatureGroup], lock_file: Path) -> FeatureLock:
        names = [group.table_name for group in groups]
        doubled = sorted({name for name in names if names.count(name) > 1})
        problems = [f"table {name!r} is declared {names.count(name)} times; raise one version" for name in doubled]
        if not groups:
            problems.append("groups must have at least one feature group, got none")
        raise_if_any(self, "InvalidFeatureStore", problems)
        try:
            lock = FeatureLock.read(lock_file)
            lock.check(groups)
        except FeatureLockError as error:
            raise ValidationError("InvalidFeatureStore", error.problems, self) from error
        return lock

    def _define_tables(self, lock: FeatureLock, database: glue.CfnDatabase) -> None:
        tables = Construct(self, "Tables")
        kept = self._unit.profile.removal_policy is cdk.RemovalPolicy.RETAIN
        role = (
            define_optimizer_role(
                self,
                "OptimizerRole",
                business_unit=self._unit,
                bucket=self._data,
                prefix=self._database_name,
                resources=self._catalog_arns(),
            )
            if kept
            else None
        )
        for group in self._groups:
            construct_id = "".join(word.capitalize() for word in group.table_name.split("_"))
            location = self._data.s3_url_for_object(f"{self._database_name}/{group.table_name}")
            table = define_table(
                tables, construct_id, group=group, locked=lock.table(group), database=database, location=location
            )
            table.apply_removal_policy(self._unit.profile.removal_policy)
            if role is not None:
                define_optimizers(tables, construct_id, table=table, role=role, location=location)

    def _catalog_arns(self) -> list[str]:
        stack = cdk.Stack.of(self)
        return [
            stack.format_arn(service="glue", resource="catalog"),
            stack.format_arn(service="glue", resource="database", resource_name=self._database_name),
            *(
                stack.format_arn(
                    service="glue", resource="table", resource_name=f"{self._database_name}/{group.table_name}"
                )
                for group in self._groups
            ),
        ]

    def _table_objects(self) -> str:
        return self._data.arn_for_objects(f"{self._database_name}/*")

    def _set_objects(self) -> list[str]:
        return [self._training_sets.arn_for_objects(f"{prefix}/*") for prefix in ("manifests", "sets")]


def _grant(grantee: iam.IGrantable, statements: Sequence[iam.PolicyStatement]) -> iam.Grant:
    grants = [
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=statement.actions,
            resource_arns=statement.resources,
            conditions=statement.conditions or None,
        )
        for statement in statements
    ]
    combined = grants[0]
    for grant in grants[1:]:
        combined = combined.combine(grant)
    return combined
