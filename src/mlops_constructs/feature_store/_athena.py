"""What building training sets by Athena needs beside building them at all."""

from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from constructs import IConstruct
from mlops_constructs._stack_values import stack_values

RESULTS = "staged/athena"
ROWS_TABLE = "mlops_rows_"  # what names of tables of entity rows begin with

# a caller's rights pass through Athena: https://docs.aws.amazon.com/athena/latest/ug/s3-permissions.html
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
    """Return what a caller needs of Athena, of the catalog for the table of its entity rows, and of what is staged.

    Args:
        scope: The store.
        database: Its database.
        workgroup: The workgroup.
        sets: Bucket of training sets.
        results: Bucket of the results of queries. Default: ``sets``.
        results_prefix: Their prefix.
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
