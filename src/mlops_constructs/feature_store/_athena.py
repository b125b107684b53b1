"""Additional permissions to build training sets by Athena."""

from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from constructs import IConstruct
from mlops_constructs._stack_values import stack_values

RESULTS = "staged/athena"
ROWS_TABLE = "mlops_rows_"  # prefix of the tables of entity rows

# Athena uses the caller's permissions: https://docs.aws.amazon.com/athena/latest/ug/s3-permissions.html
_RUN = ("athena:GetQueryExecution", "athena:GetWorkGroup", "athena:StartQueryExecution", "athena:StopQueryExecution")
# https://docs.aws.amazon.com/athena/latest/ug/fine-grained-access-to-glue-resources.html
_CATALOG = ("glue:CreateTable", "glue:DeleteTable", "glue:GetDatabase", "glue:GetPartitions", "glue:GetTable")
# claim: athena-writes-in-parts
_WRITE = ("s3:AbortMultipartUpload", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject")
_BUCKET = ("s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads")


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
        workgroup: The workgroup.
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
        iam.PolicyStatement(
            actions=list(_RUN),
            resources=[stack.format_arn(service="athena", resource="workgroup", resource_name=workgroup)],
        ),
        iam.PolicyStatement(actions=list(_CATALOG), resources=catalog),
        iam.PolicyStatement(
            actions=[*_WRITE, "s3:DeleteObject", "s3:DeleteObjectVersion"], resources=[sets.arn_for_objects("staged/*")]
        ),
        iam.PolicyStatement(actions=[*_BUCKET, "s3:ListBucketVersions"], resources=[sets.bucket_arn]),
    ]
    if results is not None:
        statements += [
            iam.PolicyStatement(actions=list(_WRITE), resources=[results.arn_for_objects(f"{results_prefix}/*")]),
            iam.PolicyStatement(actions=list(_BUCKET), resources=[results.bucket_arn]),
        ]
        if results.encryption_key is not None:
            keys = ["kms:Decrypt", "kms:GenerateDataKey"]
            statements.append(iam.PolicyStatement(actions=keys, resources=[results.encryption_key.key_arn]))
    return statements
