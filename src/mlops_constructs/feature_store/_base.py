"""Names of tables and grants to read them, of any feature store."""

from collections.abc import Iterable, Sequence

from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3

from constructs import Construct, IDependable
from mlops_constructs._errors import ValidationError
from mlops_constructs._validation import check_type, raise_if_any
from mlops_constructs.feature_store._grants import TableAccess, grant_all
from mlops_constructs.feature_store._lake_formation import READ, LakeFormationTables, access_statement
from mlops_constructs.feature_store.access import FeatureAccess
from mlops_runtime.features.feature_group import RESERVED, FeatureGroup


def database_name(unit: str) -> str:
    """Return the name of a unit's Glue database; a hyphen is none of Athena's.

    Example:
        >>> database_name("demand-eu")
        'demand_eu_features'
    """
    return f"{unit.replace('-', '_')}_features"


class FeatureStoreBase(Construct):
    """A feature store by its database, bucket and key, defined here or elsewhere; ``others`` are problems told with its own."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        unit: str,
        groups: Sequence[FeatureGroup],
        access: FeatureAccess,
        is_whole: bool,
        others: Iterable[str | None] = (),
    ) -> None:
        super().__init__(scope, id)
        problems = _group_problems(groups)
        if not problems:
            names = [group.table_name for group in groups]
            doubled = sorted({name for name in names if names.count(name) > 1})
            problems = [f"table {name!r} is declared {names.count(name)} times; raise one version" for name in doubled]
            if not groups:
                problems.append("groups must have at least one feature group, got none")
        way = check_type("access", access, FeatureAccess, allowed="a member of FeatureAccess")
        raise_if_any(self, "InvalidFeatureStore", [*problems, way, *others])
        self._groups = tuple(groups)
        self._access = access
        self._database_name = database_name(unit)
        self._is_whole = is_whole
        self._data: s3.IBucket
        self._key: kms.IKey
        # what stands before a permission of Lake Formation: tables and registered location
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
        """What holds the grants."""
        return self._access

    @property
    def data_bucket(self) -> s3.IBucket:
        """Bucket of the tables, each below ``<database>/<table>/``."""
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
        """Return what a role of ours needs to read tables.

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
        """Let somebody read tables, or columns of one.

        A role of another unit reads only what that unit has imported (``from_feature_store_attributes``): its boundary denies the
        rest. Under Lake Formation the grantee gets no right to objects: it reads through Athena, Glue or EMR.

        Args:
            grantee: Who; under Lake Formation a role or a user.
            groups: The groups. Default: all.
            columns: Features of one group that may be read, besides its entities, times and ingest id, without which no value can
                be read as known at a time. Default: all.

        Raises:
            ValidationError: If the store has no such group or column, if IAM would have to hold columns back, or if the grant could
                not be given from here.
        """
        tables = self._tables(groups)
        chosen = None if columns is None else self._columns(groups, columns)
        if self._access is FeatureAccess.IAM:
            return grant_all(grantee, tables.read(), scope=self)
        self._lake_formation(tables.tables).permit(grantee.grant_principal, READ, columns=chosen)
        return grant_all(grantee, [tables.catalog(), access_statement()], scope=self)

    def _check(self, groups: Sequence[FeatureGroup]) -> None:
        raise_if_any(self, "UnknownFeatureGroup", _group_problems(groups))
        known = ", ".join(repr(g.table_name) for g in self._groups)
        problems = [f"group must be one of {known}, got {g.table_name!r}" for g in groups if g not in self._groups]
        if not groups:
            problems.append(f"groups must name at least one of {known}, got none; leave it out for all")
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
                f"columns={list(columns)!r} cannot be held by IAM, which opens a Parquet file in whole; declare the store with "
                "access=FeatureAccess.LAKE_FORMATION, or leave columns out"
            )
            raise ValidationError("ColumnsNeedLakeFormation", [problem], self)
        problems = []
        if len(chosen) != 1:
            problems.append(
                f"columns are of one group, got {len(chosen)} groups; grant each by itself with groups=[...]"
            )
        if not columns:
            problems.append("columns must name at least one feature, got none; leave it out for all")
        known = {name for group in chosen for name in (*group.entity_names, *group.feature_names, *RESERVED)}
        problems += [f"column {name!r} is none of {', '.join(sorted(known))}" for name in columns if name not in known]
        raise_if_any(self, "InvalidColumns", problems)
        wanted = {*columns, *chosen[0].entity_names, *RESERVED}
        return [column.name for column in chosen[0].columns if column.name in wanted]


def _group_problems(groups: Sequence[FeatureGroup]) -> list[str]:
    """Return the problems of what is no tuple or list of feature groups."""
    if isinstance(groups, FeatureGroup):
        fix = "write groups=(GROUP,)"
        return [f"groups must be a tuple or list of FeatureGroup, got the one of {groups.table_name!r}; {fix}"]
    if not isinstance(groups, tuple | list):
        return [f"groups must be a tuple or list of FeatureGroup, got {groups!r}"]
    return [
        f"groups must hold FeatureGroup each, got {each!r}" for each in groups if not isinstance(each, FeatureGroup)
    ]
