"""Iceberg v2 tables, one per feature group, defined by ``IcebergTableInput`` alone, and their optimizers.

The older form (``TableInput`` with ``MetadataOperation: CREATE``) creates a table whose first update removes its Iceberg metadata.

See: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-properties-glue-table-icebergtableinput.html
"""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_glue as glue
from aws_cdk import aws_s3 as s3

from constructs import Construct
from mlops_constructs._roles import ServiceRole, allow, key_statement, service_role
from mlops_constructs._stack_values import stack_values
from mlops_constructs._validation import ValidationError
from mlops_constructs.feature_store.table_grants import access_statement
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.features import LEDGER_DAYS
from mlops_runtime.features.feature_group import EVENT_TIME, WRITE_PROPERTIES, FeatureGroup
from mlops_runtime.features.glue_quality_rules import RulesetError, dqdl
from mlops_runtime.features.lock_file import LockedTable

FORMAT_VERSION = "2"  # Athena does not support v3 tables
ORPHAN_DAYS = 7
COMPACTED_FILES = 16  # files of one partition; Glue's default is 100
SORT_ORDER_ID = 1  # https://iceberg.apache.org/spec/#sorting: 0 is the unsorted order
# https://docs.aws.amazon.com/glue/latest/webapi/API_CreateDataQualityRuleset.html
_LONGEST_DESCRIPTION = 2048
_OPTIMIZER_REASON = (
    "optimizers rewrite and remove data files below the tables' prefix, log to groups that Glue names, and request "
    "Lake Formation's credentials, an action without resources, if it is enabled; "
    "rejected: one role per table, which would repeat the same wildcard for each"
)


def define_table(
    scope: Construct, id: str, *, group: FeatureGroup, locked: LockedTable, database: glue.CfnDatabase, location: str
) -> glue.CfnTable:
    """Define the table of a group.

    Args:
        scope: Parent.
        id: Construct id.
        locked: Field ids of the group.
        location: ``s3://`` prefix of this table only.
    """
    documents = {column.name: column.description for column in group.columns}
    return glue.CfnTable(
        scope,
        id,
        catalog_id=stack_values(scope).account,
        database_name=database.ref,
        name=group.table_name,
        open_table_format_input=glue.CfnTable.OpenTableFormatInputProperty(
            iceberg_input=glue.CfnTable.IcebergInputProperty(
                metadata_operation="CREATE",
                version=FORMAT_VERSION,
                iceberg_table_input=glue.CfnTable.IcebergTableInputProperty(
                    location=location,
                    schema=glue.CfnTable.IcebergSchemaProperty(
                        type="struct",
                        identifier_field_ids=list(locked.identifier_field_ids),
                        fields=[
                            glue.CfnTable.IcebergStructFieldProperty(
                                id=field.id,
                                name=field.name,
                                type=field.iceberg_type,
                                required=field.required,
                                doc=documents[field.name],
                            )
                            for field in locked.fields
                        ],
                    ),
                    partition_spec=glue.CfnTable.IcebergPartitionSpecProperty(
                        fields=[
                            glue.CfnTable.IcebergPartitionFieldProperty(
                                field_id=partition.id,
                                source_id=partition.source_id,
                                name=partition.name,
                                transform=partition.transform,
                            )
                            for partition in locked.partition
                        ]
                    ),
                    write_order=_write_order(locked),
                    properties=group.properties | WRITE_PROPERTIES,
                ),
            )
        ),
    )


def _write_order(locked: LockedTable) -> glue.CfnTable.IcebergSortOrderProperty:
    """Return the sort order: entities, then event time, so that the rows of an entity are stored together; neither has nulls.

    See: https://iceberg.apache.org/spec/#sorting
    """
    ids = {field.name: field.id for field in locked.fields}
    return glue.CfnTable.IcebergSortOrderProperty(
        order_id=SORT_ORDER_ID,
        fields=[
            glue.CfnTable.IcebergSortFieldProperty(
                source_id=ids[name], transform="identity", direction="asc", null_order="nulls-first"
            )
            for name in (*locked.entities, EVENT_TIME)
        ],
    )


def define_ruleset(
    scope: Construct, id: str, *, group: FeatureGroup, table: glue.CfnTable, database_name: str
) -> glue.CfnDataQualityRuleset:
    """Define the data quality ruleset of a group's constraints, for evaluation runs over the whole table.

    See: https://docs.aws.amazon.com/glue/latest/dg/dqdl.html

    Args:
        scope: Parent.
        id: Construct id.
        table: Table of the group.

    Raises:
        ValidationError: If there are more constraints than Glue allows.
    """
    try:
        ruleset = dqdl(group)
    except RulesetError as error:
        raise ValidationError("InvalidFeatureStore", [str(error)], scope) from error
    return glue.CfnDataQualityRuleset(
        scope,
        id,
        # create-only, and evaluation runs refer to it by name
        name=f"{database_name}-{group.table_name}",
        description=group.description[:_LONGEST_DESCRIPTION],
        ruleset=ruleset,
        target_table=glue.CfnDataQualityRuleset.DataQualityTargetTableProperty(
            database_name=table.database_name, table_name=table.ref
        ),
    )


def define_optimizer_role(
    scope: Construct,
    id: str,
    *,
    business_unit: IBusinessUnit,
    bucket: s3.IBucket,
    prefix: str,
    resources: Sequence[str],
    is_vended: bool = False,
) -> ServiceRole:
    """Define the role of the optimizers.

    See: https://docs.aws.amazon.com/glue/latest/dg/optimization-prerequisites.html

    Args:
        scope: Parent.
        id: Construct id.
        bucket: Bucket of the tables.
        prefix: Prefix of the tables.
        resources: ARNs of catalog, database and tables.
        is_vended: Whether Lake Formation vends credentials for the tables' location. Default: access is by IAM only.
    """
    logs = stack_values(scope).format_arn(
        service="logs",
        resource="log-group",
        resource_name="/aws-glue/iceberg-*",
        arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
    )
    return service_role(
        scope,
        id,
        service="glue.amazonaws.com",
        business_unit=business_unit,
        description=f"Compacts the feature tables of unit {business_unit.name} and removes orphan files",
        wildcard_reason=_OPTIMIZER_REASON,
        statements=[
            *([access_statement()] if is_vended else []),
            allow(["glue:GetTable", "glue:UpdateTable"], *resources),
            allow(["s3:GetBucketLocation", "s3:ListBucket"], bucket.bucket_arn),
            allow(["s3:DeleteObject", "s3:GetObject", "s3:PutObject"], bucket.arn_for_objects(f"{prefix}/*")),
            key_statement(business_unit.key, services=["s3"]),
            allow(["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], logs),
        ],
    )


def define_optimizers(
    scope: Construct,
    id: str,
    *,
    table: glue.CfnTable,
    role: ServiceRole,
    location: str,
    maintain: bool,
    snapshot_retention: cdk.Duration | None,
) -> list[glue.CfnTableOptimizer]:
    """Define the optimizers of one table.

    Compaction keeps the table's sort order. Snapshot retention is disabled explicitly unless it is configured: a table without its
    own optimizer uses that of the whole catalog, which by default keeps one snapshot for five days and ignores the idempotency
    keys in the snapshot summaries.

    See: https://docs.aws.amazon.com/glue/latest/dg/catalog-level-optimizers.html and
    https://docs.aws.amazon.com/glue/latest/webapi/API_IcebergCompactionConfiguration.html

    Args:
        scope: Parent.
        id: Prefix of the construct ids.
        role: Role of the optimizers.
        location: Prefix of this table, to which removals are limited.
        maintain: Whether files are compacted and orphan files removed.
        snapshot_retention: Time that Glue keeps snapshots; ``None`` disables its retention.
    """
    types: dict[str, dict[str, object]] = {}
    if maintain:
        # claim: sort-order-steers-compaction
        compaction = glue.CfnTableOptimizer.IcebergCompactionConfigurationProperty(
            strategy="sort", min_input_files=COMPACTED_FILES
        )
        orphans = glue.CfnTableOptimizer.IcebergConfigurationProperty(
            location=location, orphan_file_retention_period_in_days=ORPHAN_DAYS
        )
        types["compaction"] = {
            "compaction_configuration": glue.CfnTableOptimizer.CompactionConfigurationProperty(
                iceberg_configuration=compaction
            )
        }
        types["orphan_file_deletion"] = {
            "orphan_file_deletion_configuration": glue.CfnTableOptimizer.OrphanFileDeletionConfigurationProperty(
                iceberg_configuration=orphans
            )
        }
    # claim: optimizers-of-a-table-come-first
    # claim: disabled-optimizer-counts
    days = LEDGER_DAYS if snapshot_retention is None else snapshot_retention.to_days(integral=False)
    # otherwise Glue would keep one snapshot for five days if a person enables the optimizer
    kept = glue.CfnTableOptimizer.IcebergRetentionConfigurationProperty(
        snapshot_retention_period_in_days=days, number_of_snapshots_to_retain=1, clean_expired_files=True
    )
    types["retention"] = {
        "retention_configuration": glue.CfnTableOptimizer.RetentionConfigurationProperty(iceberg_configuration=kept)
    }
    made = []
    for type_, configuration in types.items():
        optimizer = glue.CfnTableOptimizer(
            scope,
            f"{id}{''.join(word.capitalize() for word in type_.split('_'))}",
            catalog_id=stack_values(scope).account,
            database_name=table.database_name,
            table_name=table.ref,
            type=type_,
            table_optimizer_configuration=glue.CfnTableOptimizer.TableOptimizerConfigurationProperty(
                enabled=type_ != "retention" or snapshot_retention is not None,
                role_arn=role.role_arn,
                **configuration,  # type: ignore[arg-type] # one of the properties above
            ),
        )
        optimizer.node.add_dependency(role)
        made.append(optimizer)
    return made
