"""Execution role of the models of an endpoint, its access to online features, and the S3 bucket of an asynchronous endpoint."""

from collections.abc import Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._roles import (
    ROLE_REASON,
    SERVICE,
    ServiceRole,
    allow,
    container_statements,
    key_statement,
    service_role,
)
from mlops_constructs._stack_values import stack_values
from mlops_constructs._unit_resources import announce_objects, define_bucket
from mlops_constructs.model_endpoint.endpoint_capacity import EndpointCapacity
from mlops_constructs.model_registry import ModelImage
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.rollout.execution_names import rehearsal_pattern

REQUESTS_PREFIX = "requests"
ANSWERS_PREFIX = "answers"
FAILURES_PREFIX = "failures"
JOBS_PREFIX = "jobs"

CAPTURE_PREFIX = "capture"
ONLINE_TABLE = "MLOPS_ONLINE_TABLE"


@checked("InvalidOnlineFeatures")
@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineFeatures:
    """The online table of a feature store with permissions to read some feature groups; see ``FeatureStore.online_features()``.

    Args:
        table_name: Name of the DynamoDB table.
        statements: IAM statements that allow reading the groups.

    Example:
        >>> OnlineFeatures(table_name="demand-online", statements=()).table_name
        'demand-online'
    """

    table_name: str
    statements: Sequence[iam.PolicyStatement]


class Exchange(Construct):
    """The bucket of requests, responses and failures of an asynchronous endpoint. Stateful.

    Args:
        scope: Parent construct.
        id: Construct id.
        business_unit: Owning business unit.
        endpoint_name: Name of the endpoint; keys are ``<prefix>/<endpoint>/...``.
        retention: How long objects are kept.
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
        """Bucket of requests, responses and failures."""
        return self._bucket

    def uri(self, prefix: str) -> str:
        """Return the S3 URI prefix of one kind of object.

        Args:
            prefix: ``requests``, ``answers`` or ``failures``.
        """
        return self._bucket.s3_url_for_object(f"{prefix}/{self._endpoint_name}")

    def role_statements(self) -> list[iam.PolicyStatement]:
        """Return the permissions of the endpoint's role: read requests, write responses and failures, also as multipart uploads.

        See: https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-create-endpoint-prerequisites.html
        """
        written = [self.objects(ANSWERS_PREFIX), self.objects(FAILURES_PREFIX)]
        return [
            allow("s3:GetObject", self.objects(REQUESTS_PREFIX)),
            allow(["s3:AbortMultipartUpload", "s3:PutObject"], *written),
        ]

    def announce(self) -> None:
        """Send events of new objects to the default event bus; jobs of an API start and end by them."""
        announce_objects(self._bucket)

    def objects(self, prefix: str, below: str = "") -> str:
        """Return the ARN of the objects of one kind.

        Args:
            prefix: ``requests``, ``answers``, ``failures`` or ``jobs``.
            below: Prefix of their names. Default: any name.
        """
        return self._bucket.arn_for_objects(f"{prefix}/{self._endpoint_name}/{below}*")

    def grant_use(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant writing requests and reading responses and failures.

        Args:
            grantee: Principal to grant access to.
        """
        read = [self.objects(ANSWERS_PREFIX), self.objects(FAILURES_PREFIX)]
        stack = stack_values(self)
        via = {"StringEquals": {"kms:ViaService": f"s3.{stack.region}.{stack.url_suffix}"}}
        put = iam.Grant.add_to_principal(
            grantee=grantee, actions=["s3:PutObject"], resource_arns=[self.objects(REQUESTS_PREFIX)]
        )
        get = iam.Grant.add_to_principal(grantee=grantee, actions=["s3:GetObject"], resource_arns=read)
        key = iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["kms:Decrypt", "kms:GenerateDataKey"],
            resource_arns=[self._unit.key.key_arn],
            conditions=via,
        )
        return put.combine(get).combine(key)


def define_model_role(
    scope: Construct,
    id: str,
    *,
    business_unit: IBusinessUnit,
    endpoint_name: str,
    image: ModelImage,
    capacity: EndpointCapacity,
    rollback_alarms: Sequence[str],
    capture_bucket: s3.IBucket | None,
    exchange: Exchange | None,
    is_rehearsed: bool,
    more: Sequence[iam.PolicyStatement] = (),
) -> ServiceRole:
    """Define the execution role of an endpoint's models.

    Args:
        scope: Parent construct.
        id: Construct id.
        business_unit: Owning business unit.
        image: Image that the role may pull.
        capacity: Capacity of the endpoint.
        rollback_alarms: ARNs of alarms that roll a deployment back.
        capture_bucket: Bucket of captures; ``None`` without data capture.
        exchange: Bucket of requests and responses; ``None`` unless the endpoint is asynchronous.
        is_rehearsed: Whether candidates are tested on temporary endpoints, which have log groups of their own.
        more: Further statements that containers need. Default: none.
    """
    models = business_unit.artifacts.arn_for_objects(f"models/{endpoint_name}/*")
    statements = [
        *image.pull_statements(scope),
        allow("s3:GetObject", models),
        key_statement(business_unit.key, services=["s3"]),
        *container_statements(
            scope,
            log_group=f"/aws/sagemaker/Endpoints/{endpoint_name}",
            namespace="/aws/sagemaker/Endpoints",
            is_networked=not capacity.is_serverless,
            more_logs=[f"/aws/sagemaker/Endpoints/{rehearsal_pattern(endpoint_name)}"] if is_rehearsed else [],
        ),
    ]
    if not capacity.is_serverless:
        # SageMaker reads the alarms that roll a deployment back with the model's role
        # https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
        statements.append(allow("cloudwatch:DescribeAlarms", *rollback_alarms))
    if capture_bucket is not None:
        captures = capture_bucket.arn_for_objects(f"{CAPTURE_PREFIX}/{endpoint_name}/*")
        statements.append(allow("s3:PutObject", captures))
    if exchange is not None:
        statements += [*exchange.role_statements(), *_topic_statements(business_unit, capacity)]
    statements += more
    return service_role(
        scope,
        id,
        service=SERVICE,
        statements=statements,
        business_unit=business_unit,
        description=f"Containers of models behind {endpoint_name}",
        wildcard_reason=ROLE_REASON,
    )


def _topic_statements(business_unit: IBusinessUnit, capacity: EndpointCapacity) -> list[iam.PolicyStatement]:
    config = capacity.asynchronous_config
    topics = [] if config is None else list(dict.fromkeys(topic.topic_arn for topic in config.topics))
    if not topics:
        return []
    # for topics under the unit's key; the policy of any other key must allow the role itself
    key = key_statement(business_unit.key, services=["sns"])
    return [allow("sns:Publish", *topics), key]
