"""Permissions of a feature store's readers and writers, in the owning stack and in importing stacks."""

from collections.abc import Sequence
from enum import Enum
from typing import Literal

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3

from constructs import Construct, IConstruct, IDependable
from mlops_constructs._platform_rules import publication
from mlops_constructs._roles import allow
from mlops_constructs._shared_values import import_part, read_value
from mlops_constructs._stack_values import stack_values
from mlops_constructs._validation import ValidationError, raise_if_any
from mlops_constructs.feature_store._online import (
    forget_online_statements,
    publish_online_statements,
    read_online_statements,
)
from mlops_constructs.feature_store.table_grants import (
    BUILD,
    DESCRIBE,
    MAINTAIN,
    READ,
    TAG,
    WRITE,
    LakeFormationTables,
    TableAccess,
    access_statement,
    grant_all,
)
from mlops_constructs.model_endpoint.endpoint_role import OnlineFeatures
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.unit_entries import store_parameter
from mlops_runtime.features.feature_group import RESERVED, FeatureGroup

_PERMISSIONS = {"build": BUILD, "describe": DESCRIBE, "erase": MAINTAIN, "read": READ, "tag": TAG, "write": WRITE}


RESULTS = "staged/athena"
ROWS_TABLE = "mlops_rows_"  # prefix of the tables of entity rows

# Athena uses the caller's permissions: https://docs.aws.amazon.com/athena/latest/ug/s3-permissions.html
_RUN_QUERIES = (
    "athena:GetQueryExecution",
    "athena:GetWorkGroup",
    "athena:StartQueryExecution",
    "athena:StopQueryExecution",
)
# https://docs.aws.amazon.com/athena/latest/ug/fine-grained-access-to-glue-resources.html
_CATALOG_TABLES = ("glue:CreateTable", "glue:DeleteTable", "glue:GetDatabase", "glue:GetPartitions", "glue:GetTable")
# claim: athena-writes-in-parts
_WRITE_RESULTS = ("s3:AbortMultipartUpload", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject")
_LIST_RESULTS = ("s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads")


def athena_statements(
    scope: IConstruct,
    *,
    database: str,
    workgroup: str,
    sets: s3.IBucket,
    results: s3.IBucket | None,
    results_prefix: str,
) -> list[iam.PolicyStatement]:
    """Return a caller's permissions for Athena, the catalog table of its entity rows, and staged objects.

    Args:
        scope: The store.
        database: Database of the store.
        sets: Bucket of training sets.
        results: Bucket of query results; ``None`` for ``sets``.
        results_prefix: Prefix of query results.
    """
    stack = stack_values(scope)
    catalog = [
        stack.format_arn(service="glue", resource="catalog"),
        stack.format_arn(service="glue", resource="database", resource_name=database),
        # claim: athena-needs-the-default-database
        stack.format_arn(service="glue", resource="database", resource_name="default"),
        stack.format_arn(service="glue", resource="table", resource_name=f"{database}/{ROWS_TABLE}*"),
    ]
    statements = [
        allow(_RUN_QUERIES, stack.format_arn(service="athena", resource="workgroup", resource_name=workgroup)),
        allow(_CATALOG_TABLES, *catalog),
        allow([*_WRITE_RESULTS, "s3:DeleteObject", "s3:DeleteObjectVersion"], sets.arn_for_objects("staged/*")),
        allow([*_LIST_RESULTS, "s3:ListBucketVersions"], sets.bucket_arn),
    ]
    if results is not None:
        statements += [
            allow(_WRITE_RESULTS, results.arn_for_objects(f"{results_prefix}/*")),
            allow(_LIST_RESULTS, results.bucket_arn),
        ]
        if results.encryption_key is not None:
            keys = ["kms:Decrypt", "kms:GenerateDataKey"]
            statements.append(allow(keys, results.encryption_key.key_arn))
    return statements


class FeatureAccess(Enum):
    """How the grants of a feature store are enforced.

    ``IAM``: policies on catalog and objects, per table. A Parquet file is read as a whole, so a grant cannot be narrower.

    ``LAKE_FORMATION``: Lake Formation vends credentials to Athena, Glue and EMR, which enforce column permissions. The store's
    location is registered with a role of its own. A grantee with read access has no permissions on the objects, so pyiceberg, which
    reads them directly, works only for writers and builders. A data lake administrator must do three things before the first
    deployment: make the deploying role (CDK's execution role) a data lake administrator too, as it registers locations and grants
    permissions; remove ``IAMAllowedPrincipals`` from the default permissions of new databases and tables, with which IAM alone
    controls access; and, in an account with older settings, revoke it from existing databases.

    See: https://docs.aws.amazon.com/lake-formation/latest/dg/change-settings.html
    """

    IAM = "IAM"
    LAKE_FORMATION = "LAKE_FORMATION"


def database_name(unit: str) -> str:
    """Return the name of a unit's Glue database; Athena does not accept hyphens.

    Example:
        >>> database_name("demand-eu")
        'demand_eu_features'
    """
    return f"{unit.replace('-', '_')}_features"


class FeatureStoreBase(Construct):
    """A feature store with its database, bucket and key, which is defined here or imported."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        unit: str,
        groups: Sequence[FeatureGroup],
        access: FeatureAccess,
        is_whole: bool,
    ) -> None:
        super().__init__(scope, id)
        names = [group.table_name for group in groups]
        doubled = sorted({name for name in names if names.count(name) > 1})
        problems = [f"table {name!r} is declared {names.count(name)} times; raise one version" for name in doubled]
        if not groups:
            problems.append("groups must have at least one feature group, got none")
        raise_if_any(self, "InvalidFeatureStore", problems)
        self._groups = tuple(groups)
        self._access = access
        self._unit_name, self._database_name = unit, database_name(unit)
        self._is_whole = is_whole
        self._data: s3.IBucket
        self._key: kms.IKey
        # Lake Formation permissions depend on these: tables and the registered location
        self._permitted_after: list[IDependable] = []

    @property
    def database_name(self) -> str:
        """Name of the Glue database, ``<unit>_features``."""
        return self._database_name

    @property
    def groups(self) -> tuple[FeatureGroup, ...]:
        """The feature groups."""
        return self._groups

    @property
    def access(self) -> FeatureAccess:
        """Service that enforces the grants."""
        return self._access

    @property
    def data_bucket(self) -> s3.IBucket:
        """Bucket of the tables, each under ``<database>/<table>/``."""
        return self._data

    @property
    def key(self) -> kms.IKey:
        """Key of the tables."""
        return self._key

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
        self._check([group])
        return group.table_name

    def read_statements(self, *, groups: Sequence[FeatureGroup] | None = None) -> list[iam.PolicyStatement]:
        """Return a role's permissions to read tables.

        Args:
            groups: The groups. Default: all.

        Raises:
            ValidationError: If the store has no such group.
        """
        return self._tables(groups).read()

    def grant_read(
        self,
        grantee: iam.IGrantable,
        *,
        groups: Sequence[FeatureGroup] | None = None,
        columns: Sequence[str] | None = None,
    ) -> iam.Grant:
        """Grant read access to tables, or to columns of one.

        A role of another unit can only read what that unit has imported (``from_feature_store_attributes``), as its permissions
        boundary denies all else. With Lake Formation the grantee has no permissions on objects and reads through Athena, Glue or
        EMR.

        Args:
            grantee: The principal; with Lake Formation a role or a user.
            groups: The groups. Default: all.
            columns: Features of one group that may be read; its entities, times and ingest id are included, as point-in-time reads
                need them. Default: all.

        Raises:
            ValidationError: If the store has no such group or column, if columns are requested with IAM, or if the grant cannot be
                added from this stack.
        """
        tables = self._tables(groups)
        chosen = None if columns is None else self._columns(groups, columns)
        if self._access is FeatureAccess.IAM:
            return grant_all(grantee, tables.read(), scope=self)
        self._lake_formation(tables.tables).permit(grantee.grant_principal, READ, columns=chosen)
        return grant_all(grantee, [tables.catalog(), access_statement()], scope=self)

    def _check(self, groups: Sequence[FeatureGroup]) -> None:
        known = ", ".join(repr(g.table_name) for g in self._groups)
        problems = [f"group must be one of {known}, got {g.table_name!r}" for g in groups if g not in self._groups]
        if not groups:
            problems.append(f"groups must contain at least one of {known}, got none; omit it for all")
        raise_if_any(self, "UnknownFeatureGroup", problems)

    def _tables(self, groups: Sequence[FeatureGroup] | None) -> TableAccess:
        if groups is not None:
            self._check(groups)
        chosen = self._groups if groups is None else groups
        return TableAccess(
            scope=self,
            database=self._database_name,
            tables=tuple(group.table_name for group in chosen),
            bucket=self._data,
            key=self._key,
            is_whole=self._is_whole and groups is None,
        )

    def _lake_formation(self, tables: tuple[str, ...]) -> LakeFormationTables:
        return LakeFormationTables(
            scope=self, database=self._database_name, tables=tables, after=tuple(self._permitted_after)
        )

    def _columns(self, groups: Sequence[FeatureGroup] | None, columns: Sequence[str]) -> list[str]:
        chosen = self._groups if groups is None else tuple(groups)
        if self._access is FeatureAccess.IAM:
            problem = (
                f"columns={list(columns)!r} cannot be enforced by IAM, as a Parquet file is read as a whole; declare the store "
                f"with "
                "access=FeatureAccess.LAKE_FORMATION, or remove columns"
            )
            raise ValidationError("ColumnsNeedLakeFormation", [problem], self)
        problems = []
        if len(chosen) != 1:
            problems.append(
                f"columns must be of one group, got {len(chosen)} groups; grant each separately with groups=[...]"
            )
        if not columns:
            problems.append("columns must contain at least one feature, got none; omit it for all")
        known = {name for group in chosen for name in (*group.entity_names, *group.feature_names, *RESERVED)}
        problems += [
            f"column {name!r} is not one of {', '.join(sorted(known))}" for name in columns if name not in known
        ]
        raise_if_any(self, "InvalidColumns", problems)
        wanted = {*columns, *chosen[0].entity_names, *RESERVED}
        return [column.name for column in chosen[0].columns if column.name in wanted]


class UnitFeatureStore(FeatureStoreBase):
    """The store of the unit itself: adds permissions to change tables and build training sets to those of readers."""

    _training_sets: s3.IBucket
    _manifests: s3.IBucket

    @property
    def training_sets_bucket(self) -> s3.IBucket:
        """Bucket of training sets (``sets/``) and of the entity rows of their requests (``entities/``)."""
        return self._training_sets

    @property
    def manifests_bucket(self) -> s3.IBucket:
        """Bucket of manifests, with tombstones of erased data (``manifests/``), and of lineage (``lineage/``)."""
        return self._manifests

    def write_statements(self, *, groups: Sequence[FeatureGroup] | None = None) -> list[iam.PolicyStatement]:
        """Return a role's permissions to read tables and append to them, without deletion.

        Args:
            groups: The groups. Default: all.
        """
        return self._tables(groups).write()

    def build_statements(self, *, tagged: bool = False) -> list[iam.PolicyStatement]:
        """Return a role's permissions to build training sets: read tables, tag their snapshots, write sets and manifests.

        Args:
            tagged: Whether another role tags the snapshots; the permissions then include no writes to tables.
                Default: the role tags them itself.
        """
        return self._tables(None).build(sets=self._training_sets, manifests=self._manifests, is_tagged=tagged)

    def tag_statements(self) -> list[iam.PolicyStatement]:
        """Return a role's permissions to tag snapshots: metadata and commits of tables, no rows."""
        return self._tables(None).tag()

    def snapshot_statements(self, group: FeatureGroup) -> list[iam.PolicyStatement]:
        """Return a role's permissions to read a table's metadata: its snapshots and their summaries, no rows.

        Raises:
            ValidationError: If the store has no such group.
        """
        return self._tables([group]).snapshots()

    def admit(
        self,
        role: iam.IRole,
        *,
        to: Literal["build", "describe", "erase", "read", "tag", "write"],
        groups: Sequence[FeatureGroup] | None = None,
    ) -> None:
        """Grant Lake Formation permissions to a role that already has the store's IAM statements; without effect with IAM.

        Args:
            role: Role that gets the Lake Formation permissions.
            to: The statements that it has.
            groups: The groups. Default: all.

        Raises:
            ValidationError: If the store has no such group.
        """
        self._permit(role, to, groups)

    def grant_describe(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant reading the descriptions of tables and the training sets that read them: metadata, snapshots, manifests; no rows.

        Readers of the console's feature pages and of ``mlops features find`` need it.

        Args:
            grantee: The principal; with Lake Formation a role or a user.

        Raises:
            ValidationError: If the grant cannot be added from this stack.
        """
        self._permit(grantee, "describe", None)
        return grant_all(grantee, self._tables(None).describe(manifests=self._manifests), scope=self)

    def grant_write(self, grantee: iam.IGrantable, *, groups: Sequence[FeatureGroup] | None = None) -> iam.Grant:
        """Grant reading tables and appending to them; with Lake Formation this includes permissions on the objects.

        Args:
            grantee: The principal; with Lake Formation a role or a user.
            groups: The groups. Default: all.

        Raises:
            ValidationError: If the store has no such group, or the grant cannot be added from this stack.
        """
        self._permit(grantee, "write", groups)
        return grant_all(grantee, self.write_statements(groups=groups), scope=self)

    def grant_build_training_sets(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant building training sets, which read whole tables and tag the snapshots that they read.

        A tag is a commit, so a person with this grant could also make a table refer to other data. The platform's own jobs do not
        have it: a function tags for them.

        Args:
            grantee: The principal; with Lake Formation a role or a user.

        Raises:
            ValidationError: If the grant cannot be added from this stack.
        """
        self._permit(grantee, "build", None)
        return grant_all(grantee, [*self.build_statements(), self._tables(None).names()], scope=self)

    def grant_build_by_athena(
        self,
        grantee: iam.IGrantable,
        *,
        workgroup: str = "primary",
        results: s3.IBucket | None = None,
        results_prefix: str = RESULTS,
    ) -> iam.Grant:
        """Grant ``engine="athena"``: queries in a workgroup, tables ``mlops_rows_*``, and the objects that a build stages.

        If the store is defined in this stack, its daily function then removes the leftovers of interrupted builds, after three
        days.

        Args:
            grantee: The principal, which also needs ``grant_build_training_sets``.
            workgroup: Name of the workgroup. Default: ``primary``.
            results: Bucket of query results, if the workgroup enforces its own. Default: the bucket of training sets, in which
                they expire after three days: ``AthenaRuns(output="s3://<training sets bucket>/staged/athena")``.
            results_prefix: Prefix of the results in ``results``, without leading or trailing ``/``. Default: ``staged/athena``.

        Raises:
            ValidationError: If the grant cannot be added from this stack, or the store uses Lake Formation, where only
                administrators let others create tables.
        """
        if self._access is FeatureAccess.LAKE_FORMATION:
            problem = (
                "a build by Athena creates a table, which needs CREATE_TABLE on the whole database in Lake Formation; build by "
                "Spark (TrainingSetJob), or declare the store with access=FeatureAccess.IAM"
            )
            raise ValidationError("AthenaNeedsIam", [problem], self)
        statements = athena_statements(
            self,
            database=self._database_name,
            workgroup=workgroup,
            sets=self._training_sets,
            results=results,
            results_prefix=results_prefix,
        )
        self._let_remove_leftovers()
        return grant_all(grantee, statements, scope=self)

    def _let_remove_leftovers(self) -> None:
        """Let the store's maintenance function, if there is one, remove the leftovers of interrupted Athena builds."""

    def _permit(
        self,
        grantee: iam.IGrantable,
        to: Literal["build", "describe", "erase", "read", "tag", "write"],
        groups: Sequence[FeatureGroup] | None,
    ) -> None:
        tables = self._tables(groups).tables
        if self._access is FeatureAccess.LAKE_FORMATION:
            self._lake_formation(tables).permit(grantee.grant_principal, _PERMISSIONS[to])


class OwnedFeatureStore(UnitFeatureStore):
    """The store in the stack that defines it: adds erasure of entities and the online table."""

    _online: dynamodb.Table | None

    @property
    def online_table(self) -> dynamodb.ITable | None:
        """Table with the newest row of each entity; None without ``online``."""
        return self._online

    def grant_erase(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant erasing entities: deleting every version of files of tables and sets; manifests are kept and get tombstones.

        With ``online`` it includes deleting items of the online table. Add ``TrainingSetJob.grant_read_runs`` to read whether a
        Spark build has ended; without it an erasure stays pending until the build has ended by itself.

        Args:
            grantee: The principal, such as the role of a data protection officer; with Lake Formation a role or a user.

        Raises:
            ValidationError: If the grant cannot be added from this stack.
        """
        self._permit(grantee, "erase", None)
        statements = self._tables(None).erase(sets=self._training_sets, manifests=self._manifests, unit=self._unit_name)
        if self._online is not None:
            statements += forget_online_statements(self._online, self._key)
        return grant_all(grantee, statements, scope=self)

    def grant_publish_online(
        self, grantee: iam.IGrantable, *, groups: Sequence[FeatureGroup] | None = None
    ) -> iam.Grant:
        """Grant publishing rows to the online table and erasing entities there; ``grant_read`` is needed to read the rows.

        Args:
            grantee: The principal.
            groups: The groups. Default: all.

        Raises:
            ValidationError: If the store has no online table or no such group, or the grant cannot be added from this stack.
        """
        statements = publish_online_statements(self._served(), self._key, tables=self._named(groups))
        return grant_all(grantee, statements, scope=self)

    def grant_read_online(self, grantee: iam.IGrantable, *, groups: Sequence[FeatureGroup] | None = None) -> iam.Grant:
        """Grant reading the newest rows, without access to the feature tables.

        Args:
            grantee: The principal, such as the role of a prediction service.
            groups: The groups. Default: all.

        Raises:
            ValidationError: For the same reasons as ``grant_publish_online``.
        """
        statements = read_online_statements(self._served(), self._key, tables=self._named(groups))
        return grant_all(grantee, statements, scope=self)

    def online_features(self, *, groups: Sequence[FeatureGroup] | None = None) -> OnlineFeatures:
        """Return the argument of endpoints whose models look up features: ``ModelEndpoint(features=store.online_features())``.

        Args:
            groups: The groups whose rows its containers may read. Default: all.

        Raises:
            ValidationError: For the same reasons as ``grant_publish_online``.
        """
        table = self._served()
        statements = read_online_statements(table, self._key, tables=self._named(groups))
        return OnlineFeatures(table_name=table.table_name, statements=statements)

    def _served(self) -> dynamodb.Table:
        if self._online is None:
            problem = "this store has no online table; set online=True"
            raise ValidationError("NoOnlineTable", [problem], self)
        return self._online

    def _named(self, groups: Sequence[FeatureGroup] | None) -> tuple[str, ...] | None:
        return None if groups is None else self._tables(groups).tables


class ImportedFeatureStore(FeatureStoreBase):
    """Groups of another unit's store; see ``FeatureStore.from_feature_store_attributes``."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        business_unit: IBusinessUnit,
        unit: str,
        data_bucket: s3.IBucket,
        key: kms.IKey,
        groups: Sequence[FeatureGroup],
        access: FeatureAccess,
    ) -> None:
        super().__init__(scope, id, unit=unit, groups=groups, access=access, is_whole=False)
        self._data, self._key = data_bucket, key
        business_unit.read_from(unit)


class ImportedUnitStore(UnitFeatureStore):
    """The store of a unit in another of its stacks; see ``FeatureStore.from_name``."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        business_unit: IBusinessUnit,
        groups: Sequence[FeatureGroup],
        access: FeatureAccess,
    ) -> None:
        super().__init__(scope, id, unit=business_unit.name, groups=groups, access=access, is_whole=False)
        self._unit, self._key = business_unit, business_unit.key
        import_part(self, unit=business_unit.name, entry=store_parameter(business_unit.name))
        self._data = self._bucket("Data", "features/data_bucket")
        self._training_sets = self._bucket("TrainingSets", "features/training_sets_bucket")
        self._manifests = self._bucket("Manifests", "features/manifests_bucket")

    def _bucket(self, id: str, field: str) -> s3.IBucket:
        name = read_value(self, unit=self._unit.name, profile=publication(self._unit), field=field)
        return s3.Bucket.from_bucket_attributes(self, id, bucket_name=name, encryption_key=self._key)
