"""Grants on feature tables by group and, with Lake Formation, by column."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lakeformation as lakeformation
from aws_cdk import aws_s3 as s3

from constructs import Construct, DependencyGroup, IConstruct, IDependable
from mlops_constructs._roles import (
    WRITES_ONCE,
    allow,
    allow_listing,
    grant_statements,
    key_statement,
    service_role,
    source_conditions,
)
from mlops_constructs._stack_values import stack_of, stack_values
from mlops_constructs._validation import ValidationError
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.features import ERASING, LEDGER

_READ_CATALOG = ("glue:GetDatabase", "glue:GetTable", "glue:GetTables")
_READ_BUCKET = ("s3:GetBucketLocation", "s3:ListBucket")

Permissions = lakeformation.CfnPrincipalPermissions
SERVICE = "lakeformation.amazonaws.com"
DESCRIBE = ("DESCRIBE",)
READ = ("DESCRIBE", "SELECT")
WRITE = ("ALTER", "DESCRIBE", "INSERT", "SELECT")
BUILD = ("ALTER", "DESCRIBE", "SELECT")
TAG = ("ALTER", "DESCRIBE")
# https://docs.aws.amazon.com/glue/latest/dg/optimization-prerequisites.html
MAINTAIN = ("ALTER", "DELETE", "DESCRIBE", "INSERT", "SELECT")
_LOCATION_REASON = (
    "Lake Formation reads and writes data files below the tables' prefix for every principal with its permission; "
    "rejected: its service-linked role, which EMR cannot use and which would reach every registered location of the account"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableAccess:
    """Catalog entries, objects and key of some tables of a store. ``is_whole``: the tables are all tables of the store."""

    scope: IConstruct
    database: str
    tables: tuple[str, ...]
    bucket: s3.IBucket
    key: kms.IKey
    is_whole: bool

    def catalog(self, *, update: bool = False) -> iam.PolicyStatement:
        """Read the tables' catalog entries, and with ``update`` commit to the tables."""
        actions = [*_READ_CATALOG, "glue:UpdateTable"] if update else list(_READ_CATALOG)
        return allow(actions, *self.catalog_arns())

    def catalog_arns(self) -> list[str]:
        """Return the ARNs of catalog, database and tables: Glue requires all three.

        See: https://docs.aws.amazon.com/glue/latest/dg/glue-specifying-resource-arns.html
        """
        stack = stack_values(self.scope)
        names = [f"{self.database}/{table}" for table in self.tables]
        return [
            stack.format_arn(service="glue", resource="catalog"),
            stack.format_arn(service="glue", resource="database", resource_name=self.database),
            *(stack.format_arn(service="glue", resource="table", resource_name=name) for name in names),
        ]

    def names(self) -> iam.PolicyStatement:
        """List the tables of the database, which Glue only authorizes for all of them together.

        See: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsglue.html
        """
        stack = stack_values(self.scope)
        every = stack.format_arn(service="glue", resource="table", resource_name=f"{self.database}/*")
        return allow("glue:GetTables", *self.catalog_arns()[:2], every)

    def objects(self, below: str = "*") -> list[str]:
        """Return the ARNs of the tables' objects: one pattern for a whole store, otherwise one per table."""
        folders = [f"{self.database}/*"] if self.is_whole else [f"{self.database}/{table}/*" for table in self.tables]
        if below != "*":
            folders = [f"{folder.removesuffix('/*')}/{'*/' if self.is_whole else ''}{below}" for folder in folders]
        return [self.bucket.arn_for_objects(folder) for folder in folders]

    def ledger(self) -> list[str]:
        """Return the ARNs of the objects with idempotency keys, which are outside the tables' locations."""
        folders = ["*"] if self.is_whole else [f"{table}/*" for table in self.tables]
        return [self.bucket.arn_for_objects(f"{LEDGER}/{self.database}/{folder}") for folder in folders]

    def listing(self, *others: s3.IBucket, is_writer: bool = False) -> list[iam.PolicyStatement]:
        """List the tables' objects, for a writer also their ledger, and other buckets as a whole.

        Without permission to list, S3 returns 403 for a missing key, and writers read keys that may be missing.
        See: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
        """
        if self.is_whole:
            arns = [self.bucket.bucket_arn, *(bucket.bucket_arn for bucket in others)]
            return [allow(_READ_BUCKET, *arns)]
        names = [f"{self.database}/{table}" for table in self.tables]
        folders = [*names, *(f"{LEDGER}/{name}" for name in names if is_writer)]
        statements = [
            allow("s3:GetBucketLocation", self.bucket.bucket_arn),
            allow_listing(self.bucket.bucket_arn, [*folders, *(f"{folder}/*" for folder in folders)]),
        ]
        if others:
            arns = [bucket.bucket_arn for bucket in others]
            statements.append(allow(_READ_BUCKET, *arns))
        return statements

    def read(self) -> list[iam.PolicyStatement]:
        """Read the tables."""
        return [
            self.catalog(),
            *self.listing(),
            allow("s3:GetObject", *self.objects()),
            key_statement(self.key, services=["s3"], actions=["kms:Decrypt"]),
        ]

    def snapshots(self) -> list[iam.PolicyStatement]:
        """Read the tables' metadata files, no rows."""
        return [
            allow("glue:GetTable", *self.catalog_arns()),
            allow("s3:GetObject", *self.objects("metadata/*.metadata.json")),
            key_statement(self.key, services=["s3"], actions=["kms:Decrypt"]),
        ]

    def describe(self, *, manifests: s3.IBucket) -> list[iam.PolicyStatement]:
        """Read descriptions of the tables and the training sets that read them: metadata files, manifests and services; no rows."""
        read = [*self.objects("metadata/*.metadata.json"), manifests.arn_for_objects("manifests/*")]
        return [
            self.names(),
            allow("s3:GetObject", *read),
            key_statement(self.key, services=["s3"], actions=["kms:Decrypt"]),
            # training sets and tombstones are found by listing
            allow("s3:ListBucket", manifests.bucket_arn),
        ]

    def write(self) -> list[iam.PolicyStatement]:
        """Read the tables and append to them, and update the ledger of keys, without deletion."""
        return [
            self.catalog(update=True),
            *self.listing(is_writer=True),
            allow(["s3:GetObject", "s3:PutObject"], *self.objects(), *self.ledger()),
            key_statement(self.key, services=["s3"]),
        ]

    def tag(self) -> list[iam.PolicyStatement]:
        """Tag the tables' snapshots: read metadata, write new metadata files without overwriting, commit. No rows are read."""
        metadata = self.objects("metadata/*.metadata.json")
        return [
            allow(["glue:GetTable", "glue:UpdateTable"], *self.catalog_arns()),
            allow("s3:GetObject", *metadata),
            allow("s3:PutObject", *metadata, conditions=WRITES_ONCE),
            key_statement(self.key, services=["s3"]),
        ]

    def build(self, *, sets: s3.IBucket, manifests: s3.IBucket, is_tagged: bool = False) -> list[iam.PolicyStatement]:
        """Read the tables and tag their snapshots; write sets, entities, manifests and lineage once, without overwriting.

        A tag only writes a new metadata file: data files and manifests of tables cannot be written. If another role tags
        (``is_tagged``), nothing below a table can be written.
        """
        once = [
            *(manifests.arn_for_objects(f"{folder}/*") for folder in ("lineage", "manifests")),
            *(sets.arn_for_objects(f"{folder}/*") for folder in ("entities", "sets")),
        ]
        tags = self.objects("metadata/*.metadata.json")
        return [
            # a job receives the names of its tables
            allow("glue:GetTable", *self.catalog_arns()) if is_tagged else self.catalog(update=True),
            # a commit checks whether its metadata file exists
            *([] if is_tagged else self.listing(sets, manifests)),
            allow("s3:GetObject", *self.objects(), *once),
            *([] if is_tagged else [allow("s3:PutObject", *tags)]),
            allow("s3:PutObject", *once, conditions=WRITES_ONCE),
            key_statement(self.key, services=["s3"]),
        ]

    def maintain(self) -> list[iam.PolicyStatement]:
        """Compact the tables' files, remove every version of files without a snapshot, rebuild a missing index of the ledger."""
        return [
            self.catalog(update=True),
            *self.listing(is_writer=True),
            allow("s3:ListBucketVersions", self.bucket.bucket_arn),
            allow("s3:GetObject", *self.objects(), *self.ledger()),
            allow("s3:PutObject", *self.objects(), *self.ledger()),
            allow(["s3:DeleteObject", "s3:DeleteObjectVersion"], *self.objects()),
            key_statement(self.key, services=["s3"]),
        ]

    def erase(self, *, sets: s3.IBucket, manifests: s3.IBucket, unit: str) -> list[iam.PolicyStatement]:
        """Rewrite the tables without some rows, remove every version of files that contained them, and write tombstones.

        Requests are stored under ``erasing`` until they are complete. SageMaker reports whether a job that builds a training set
        has ended.
        """
        erasures = sets.arn_for_objects(f"{ERASING}/*")
        folders = ("entities", "sets", "staged")
        rows = [*self.objects(), erasures, *(sets.arn_for_objects(f"{folder}/*") for folder in folders)]
        kept = manifests.arn_for_objects("manifests/*")
        stack = stack_values(self.scope)
        jobs = stack.format_arn(service="sagemaker", resource="processing-job", resource_name=f"{unit}-*")
        statistics = [f"glue:{verb}ColumnStatisticsForTable" for verb in ("Delete", "Get")]
        return [
            self.catalog(update=True),
            allow(statistics, *self.catalog_arns()),
            *self.listing(sets, manifests),
            allow("s3:ListBucketVersions", self.bucket.bucket_arn, sets.bucket_arn),
            allow("s3:ListBucketMultipartUploads", self.bucket.bucket_arn),
            allow("sagemaker:DescribeProcessingJob", jobs),
            allow("s3:GetObject", *rows, *self.ledger(), kept),
            allow("s3:PutObject", *self.objects(), *self.ledger(), erasures, kept),
            allow(["s3:DeleteObject", "s3:DeleteObjectVersion"], *rows),
            key_statement(self.key, services=["s3"]),
        ]


def grant_all(grantee: iam.IGrantable, statements: Sequence[iam.PolicyStatement], *, scope: IConstruct) -> iam.Grant:
    """Grant statements to a principal, or raise an error if they cannot be added to the template.

    Args:
        grantee: The principal.
        statements: At least one statement.
        scope: The granted resource, for the error's path.

    Raises:
        ValidationError: If nothing can be added to the grantee's policies from this stack.
    """
    _check_takes(grantee, statements[0], scope)
    return grant_statements(grantee, statements)


def _check_takes(grantee: iam.IGrantable, statement: iam.PolicyStatement, scope: IConstruct) -> None:
    """Add one statement. An imported role may report success without adding it, with an empty dependency instead of its policy."""
    principal = grantee.grant_principal
    result = principal.add_to_principal_policy(statement)
    is_role = isinstance(principal, iam.Role | iam.LazyRole)
    if result.statement_added and (is_role or not isinstance(result.policy_dependable, DependencyGroup)):
        return
    problem = (
        f"no policy can be added to grantee {_name(grantee)} from this stack: grant to a role, user or group that is defined "
        f"here or "
        "imported from this account as mutable, or let its owner grant the statements of read_statements()"
    )
    raise ValidationError("LostGrant", [problem], scope)


def _name(grantee: iam.IGrantable) -> str:
    principal = grantee.grant_principal
    node = getattr(principal, "node", None)
    return repr(type(principal).__name__ if node is None else node.path)


def access_statement() -> iam.PolicyStatement:
    """Return a statement that allows requesting credentials from Lake Formation; the action has no resource type.

    See: https://docs.aws.amazon.com/lake-formation/latest/dg/access-control-underlying-data.html
    """
    return allow("lakeformation:GetDataAccess", "*")


def define_location(
    scope: Construct, id: str, *, business_unit: IBusinessUnit, bucket: s3.IBucket, prefix: str
) -> lakeformation.CfnResource:
    """Register the tables' location in Lake Formation with a role of its own.

    See: https://docs.aws.amazon.com/lake-formation/latest/dg/registration-role.html and
    https://docs.aws.amazon.com/lake-formation/latest/dg/cross-service-confused-deputy-prevention.html

    Args:
        scope: Parent.
        id: Construct id; the role is ``<id>Role``.
        business_unit: The unit; provides key and permissions boundary.
        bucket: Bucket of the tables.
        prefix: Prefix of the tables.
    """
    source = stack_values(scope).format_arn(
        service="lakeformation", resource="*", arn_format=cdk.ArnFormat.NO_RESOURCE_NAME
    )
    role = service_role(
        scope,
        f"{id}Role",
        service=SERVICE,
        source_arn=source,
        business_unit=business_unit,
        description=f"Lake Formation's access to the feature tables of unit {business_unit.name}",
        wildcard_reason=_LOCATION_REASON,
        statements=[
            allow("s3:ListBucket", bucket.bucket_arn),
            allow(["s3:DeleteObject", "s3:GetObject", "s3:PutObject"], bucket.arn_for_objects(f"{prefix}/*")),
            key_statement(business_unit.key, services=["s3"]),
        ],
    )
    glue = iam.ServicePrincipal("glue.amazonaws.com", conditions=source_conditions(scope, "glue.amazonaws.com"))
    assert role.assume_role_policy is not None  # noqa: S101 - set for every role that is defined here
    role.assume_role_policy.add_statements(iam.PolicyStatement(actions=["sts:AssumeRole"], principals=[glue]))
    location = lakeformation.CfnResource(
        scope,
        id,
        resource_arn=bucket.arn_for_objects(prefix),
        role_arn=role.role_arn,
        use_service_linked_role=False,
        hybrid_access_enabled=False,
    )
    location.node.add_dependency(role)
    return location


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeFormationTables:
    """Some tables of one database, and the constructs on which permissions on them depend."""

    scope: Construct
    database: str
    tables: tuple[str, ...]
    after: Sequence[IDependable] = ()

    def permit(
        self, principal: iam.IPrincipal, permissions: Sequence[str], *, columns: Sequence[str] | None = None
    ) -> None:
        """Grant a role or user permissions on each table, and DESCRIBE on the database.

        Args:
            permissions: Permissions on the tables; ignored with ``columns``, which only supports SELECT.
            columns: The only columns. Default: all.

        Raises:
            ValidationError: If the principal is neither a role nor a user.
        """
        identifier = self._identifier(principal)
        catalog = stack_values(self.scope).account
        database = Permissions.DatabaseResourceProperty(catalog_id=catalog, name=self.database)
        self._define(identifier, DESCRIBE, Permissions.ResourceProperty(database=database))
        for table in self.tables:
            if columns is None:
                whole = Permissions.TableResourceProperty(catalog_id=catalog, database_name=self.database, name=table)
                self._define(identifier, permissions, Permissions.ResourceProperty(table=whole))
                continue
            part = Permissions.TableWithColumnsResourceProperty(
                catalog_id=catalog, database_name=self.database, name=table, column_names=list(columns)
            )
            # columns support no other permission; it includes reading their names
            self._define(identifier, ("SELECT",), Permissions.ResourceProperty(table_with_columns=part))

    def _identifier(self, principal: iam.IPrincipal) -> str:
        for attribute in ("role_arn", "user_arn"):
            found = getattr(principal, attribute, None)
            if found is not None:
                return str(found)
        problem = f"Lake Formation supports roles and users, got {type(principal).__name__}; grant to a role"
        raise ValidationError("LostGrant", [problem], self.scope)

    def _define(self, principal: str, permissions: Sequence[str], resource: object) -> None:
        resolved = stack_of(self.scope).resolve([principal, sorted(permissions), resource])
        digest = hashlib.sha256(json.dumps(resolved, sort_keys=True).encode()).hexdigest()
        name = f"Permission{digest[:12].upper()}"
        if self.scope.node.try_find_child(name) is not None:
            return
        permission = Permissions(
            self.scope,
            name,
            principal=Permissions.DataLakePrincipalProperty(data_lake_principal_identifier=principal),
            resource=resource,  # type: ignore[arg-type] # one of the properties above
            permissions=sorted(permissions),
            permissions_with_grant_option=[],
        )
        permission.node.add_dependency(*self.after)
