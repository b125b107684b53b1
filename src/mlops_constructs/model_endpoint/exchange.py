"""Where an asynchronous endpoint finds requests and leaves answers: one bucket, three prefixes."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from constructs import Construct
from mlops_constructs._bucket import define_bucket
from mlops_constructs.unit_interface import IBusinessUnit

REQUESTS_PREFIX = "requests"
ANSWERS_PREFIX = "answers"
FAILURES_PREFIX = "failures"


class Exchange(Construct):
    """Define the bucket of an asynchronous endpoint. Stateful.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit.
        endpoint_name: The endpoint; keys are ``<prefix>/<endpoint>/...``.
        retention: How long requests, answers and failures are kept.
    """

    def __init__(
        self, scope: Construct, id: str, *, business_unit: IBusinessUnit, endpoint_name: str, retention: cdk.Duration
    ) -> None:
        super().__init__(scope, id)
        self._unit = business_unit
        self._endpoint_name = endpoint_name
        self._bucket = define_bucket(
            self,
            "Bucket",
            business_unit=business_unit,
            lifecycle_rules=[s3.LifecycleRule(expiration=retention)],
            noncurrent_days=7,
        )

    @property
    def bucket(self) -> s3.IBucket:
        """Bucket of requests, answers and failures."""
        return self._bucket

    def uri(self, prefix: str) -> str:
        """Return the S3 URI below which one kind of object lies.

        Args:
            prefix: ``requests``, ``answers`` or ``failures``.
        """
        return self._bucket.s3_url_for_object(f"{prefix}/{self._endpoint_name}")

    def role_statements(self) -> list[iam.PolicyStatement]:
        """Return what the endpoint's role needs: read requests, write answers and failures, in parts where they are large.

        See: https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-create-endpoint-prerequisites.html
        """
        written = [self._objects(ANSWERS_PREFIX), self._objects(FAILURES_PREFIX)]
        return [
            iam.PolicyStatement(actions=["s3:GetObject"], resources=[self._objects(REQUESTS_PREFIX)]),
            iam.PolicyStatement(actions=["s3:AbortMultipartUpload", "s3:PutObject"], resources=written),
        ]

    def grant_use(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let somebody leave requests and fetch answers and failures.

        Args:
            grantee: Who.
        """
        read = [self._objects(ANSWERS_PREFIX), self._objects(FAILURES_PREFIX)]
        stack = cdk.Stack.of(self)
        via = {"StringEquals": {"kms:ViaService": f"s3.{stack.region}.{stack.url_suffix}"}}
        put = iam.Grant.add_to_principal(
            grantee=grantee, actions=["s3:PutObject"], resource_arns=[self._objects(REQUESTS_PREFIX)]
        )
        get = iam.Grant.add_to_principal(grantee=grantee, actions=["s3:GetObject"], resource_arns=read)
        key = iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["kms:Decrypt", "kms:GenerateDataKey"],
            resource_arns=[self._unit.key.key_arn],
            conditions=via,
        )
        return put.combine(get).combine(key)

    def _objects(self, prefix: str) -> str:
        return self._bucket.arn_for_objects(f"{prefix}/{self._endpoint_name}/*")
