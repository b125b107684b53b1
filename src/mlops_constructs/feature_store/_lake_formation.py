"""Lake Formation: the registered location, and permissions of principals on tables and columns.

Each property of ``AWS::LakeFormation::PrincipalPermissions`` is create-only. So each permission is a resource of its own, whose
logical id is a hash of all that it says: another grant is another resource, and none is ever replaced under the same id.

See: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-lakeformation-principalpermissions.html
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lakeformation as lakeformation
from aws_cdk import aws_s3 as s3

from constructs import Construct, IDependable
from mlops_constructs._errors import ValidationError
from mlops_constructs._iam import key_statement, service_role, source_conditions
from mlops_constructs.unit_interface import IBusinessUnit

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
    "Lake Formation reads and writes data files below the tables' prefix for whomever it permits; "
    "rejected: its service-linked role, which EMR cannot use and which would reach every registered location of the account"
)


def access_statement() -> iam.PolicyStatement:
    """Return the right to ask Lake Formation for credentials; the action has no resource type.

    See: https://docs.aws.amazon.com/lake-formation/latest/dg/access-control-underlying-data.html
    """
    return iam.PolicyStatement(actions=["lakeformation:GetDataAccess"], resources=["*"])


def define_location(
    scope: Construct, id: str, *, business_unit: IBusinessUnit, bucket: s3.IBucket, prefix: str
) -> lakeformation.CfnResource:
    """Register the tables' location with a role of its own.

    See: https://docs.aws.amazon.com/lake-formation/latest/dg/registration-role.html and
    https://docs.aws.amazon.com/lake-formation/latest/dg/cross-service-confused-deputy-prevention.html

    Args:
        scope: Parent.
        id: Construct id; the role is ``<id>Role``.
        business_unit: The unit; gives key and boundary.
        bucket: Bucket of the tables.
        prefix: Their prefix.
    """
    source = cdk.Stack.of(scope).format_arn(
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
            iam.PolicyStatement(actions=["s3:ListBucket"], resources=[bucket.bucket_arn]),
            iam.PolicyStatement(
                actions=["s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
                resources=[bucket.arn_for_objects(f"{prefix}/*")],
            ),
            key_statement(business_unit.key, services=["s3"]),
        ],
    )
    glue = iam.ServicePrincipal("glue.amazonaws.com", conditions=source_conditions(scope, "glue.amazonaws.com"))
    assert role.assume_role_policy is not None  # noqa: S101 - a role that is defined here has one
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
    """Some tables of one database, and what must be there before anybody is permitted anything on them."""

    scope: Construct
    database: str
    tables: tuple[str, ...]
    after: Sequence[IDependable] = ()

    def permit(
        self, principal: iam.IPrincipal, permissions: Sequence[str], *, columns: Sequence[str] | None = None
    ) -> None:
        """Permit a role or user something on each table, and to find the database.

        Args:
            principal: Who.
            permissions: What on the tables; with ``columns`` reading alone, which is then what is permitted.
            columns: The only columns. Default: all.

        Raises:
            ValidationError: If the principal is neither a role nor a user.
        """
        identifier = self._identifier(principal)
        catalog = cdk.Stack.of(self.scope).account
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
            # on columns there is no other permission; it shows their names too
            self._define(identifier, ("SELECT",), Permissions.ResourceProperty(table_with_columns=part))

    def _identifier(self, principal: iam.IPrincipal) -> str:
        for attribute in ("role_arn", "user_arn"):
            found = getattr(principal, attribute, None)
            if found is not None:
                return str(found)
        problem = f"Lake Formation permits roles and users, got {type(principal).__name__}; grant to a role"
        raise ValidationError("LostGrant", [problem], self.scope)

    def _define(self, principal: str, permissions: Sequence[str], resource: object) -> None:
        said = cdk.Stack.of(self.scope).resolve([principal, sorted(permissions), resource])
        digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
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
