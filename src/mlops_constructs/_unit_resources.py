"""Buckets, log groups, tables and topics of a unit: encrypted, tagged, with the profile's removal policy."""

from collections.abc import Sequence
from typing import TypeVar

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns

from constructs import Construct, IConstruct
from mlops_constructs._roles import alarm_arn, source_conditions
from mlops_constructs._stack_values import stack_of, stack_values
from mlops_constructs.compliance import acknowledge_family
from mlops_constructs.unit_interface import IBusinessUnit

_REPLICATION = (
    "versioning protects against mistakes; a second Region doubles the cost and is a choice of the recovery plan, "
    "rejected as a default that every unit would pay for"
)
_NO_LOCK = (
    "DEVELOPMENT deletes every version with the stack, which a lock could prevent; "
    "PRODUCTION has Object Lock, so that a version can be put under legal hold"
)
_LOG_LOCK = (
    "S3 does not deliver access logs to a bucket with a default retention; versions and the policy protect them instead"
)
_LOG_ENCRYPTION = (
    "S3 delivers access logs only to buckets with SSE-S3 as default encryption; with a KMS key it would deliver none"
)
_PAGE_LOCK = (
    "each deployment writes the same files again, and they are not evidence; rejected: a lock on files that "
    "a wheel of the release contains too"
)
_PAGE_ENCRYPTION = (
    "the files are public and the same in every console; rejected: the unit's key, whose policy would have to "
    "allow CloudFront"
)

# Control Tower's CT.CLOUDWATCH.PR.3 requires at least a year
RETENTION = logs.RetentionDays.ONE_YEAR
# longer retentions of CloudWatch: https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
RETENTIONS = {
    365: RETENTION,
    400: logs.RetentionDays.THIRTEEN_MONTHS,
    545: logs.RetentionDays.EIGHTEEN_MONTHS,
    731: logs.RetentionDays.TWO_YEARS,
    1096: logs.RetentionDays.THREE_YEARS,
    1827: logs.RetentionDays.FIVE_YEARS,
    2192: logs.RetentionDays.SIX_YEARS,
    2557: logs.RetentionDays.SEVEN_YEARS,
    2922: logs.RetentionDays.EIGHT_YEARS,
    3288: logs.RetentionDays.NINE_YEARS,
    3653: logs.RetentionDays.TEN_YEARS,
}
_LONGEST_PATH = 256  # of a name's 512 characters

_BACKUP = "it can be restored to any second of the last 35 days; rejected: a nightly backup plan, which only restores older states"

# tag of the tables and buckets with the state of models, by which one role of an account may read all of them
STATE_TAG, STATE = "mlops:data", "state"

Resource = TypeVar("Resource", bound=cdk.CfnResource)
ALARMS = "cloudwatch.amazonaws.com"
RULES = "events.amazonaws.com"


def define_bucket(
    scope: Construct,
    id: str,
    *,
    business_unit: IBusinessUnit,
    lifecycle_rules: Sequence[s3.LifecycleRule] = (),
    noncurrent_days: int = 90,
    object_lock: cdk.Duration | None = None,
    event_bridge: bool = False,
) -> s3.Bucket:
    """Define a bucket.

    Args:
        scope: Parent.
        id: Construct id; the prefix of the bucket's access logs is its path in the stack.
        business_unit: The unit; provides key, log bucket and removal policy.
        lifecycle_rules: Further rules. Default: none; noncurrent versions and incomplete uploads always expire.
        noncurrent_days: Days after which a noncurrent version expires. Default: 90.
        object_lock: Default retention in governance mode. Default: none; in PRODUCTION a legal hold is still possible.
        event_bridge: Whether S3 sends events of new objects to the default bus. Default: it does not.
    """
    bucket = _bucket(
        scope,
        id,
        business_unit=business_unit,
        lifecycle_rules=lifecycle_rules,
        noncurrent_days=noncurrent_days,
        encryption=s3.BucketEncryption.KMS,
        object_lock=object_lock,
    )
    kept = business_unit.profile.keeps_data
    resource = resource_of(bucket, s3.CfnBucket)
    _log_access(bucket, business_unit)
    if event_bridge:
        announce_objects(bucket)
    if object_lock is None and kept:
        resource.object_lock_enabled = True
        resource.object_lock_configuration = s3.CfnBucket.ObjectLockConfigurationProperty(object_lock_enabled="Enabled")
    elif object_lock is None:
        acknowledge_family(bucket, "S3BucketDefaultLockEnabled", _NO_LOCK)
    business_unit.own_bucket(bucket)
    return bucket


def mark_state(resource: s3.Bucket | dynamodb.Table, *, business_unit: IBusinessUnit) -> None:
    """Tag a bucket or table that contains the state of models, so that ``FleetReader`` may read it; not for features or requests.

    Without a platform that requires it the resource is not changed. A bucket's tags count in access control only after ABAC is
    enabled:
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/buckets-tagging-enable-abac.html
    """
    rules = business_unit.platform_rules
    if rules is None or not rules.fleet:
        return
    cdk.Tags.of(resource).add(STATE_TAG, STATE)
    if isinstance(resource, s3.Bucket):
        resource_of(resource, s3.CfnBucket).abac_status = "Enabled"


def announce_objects(bucket: s3.Bucket) -> None:
    """Let S3 send events of a bucket's new objects to the default bus."""
    # the L1 property: the L2's flag would add a function that sets it
    resource_of(bucket, s3.CfnBucket).notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
        event_bridge_configuration=s3.CfnBucket.EventBridgeConfigurationProperty(event_bridge_enabled=True)
    )


def define_access_logs_bucket(scope: Construct, id: str, *, business_unit: IBusinessUnit) -> s3.Bucket:
    """Define the bucket that receives the access logs of the unit's other buckets.

    See: https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html
    """
    bucket = _bucket(
        scope,
        id,
        business_unit=business_unit,
        lifecycle_rules=[s3.LifecycleRule(expiration=cdk.Duration.days(400))],
        noncurrent_days=30,
        encryption=s3.BucketEncryption.S3_MANAGED,
        object_lock=None,
    )
    bucket.add_to_resource_policy(
        iam.PolicyStatement(
            actions=["s3:PutObject"],
            resources=[bucket.arn_for_objects("*")],
            principals=[iam.ServicePrincipal("logging.s3.amazonaws.com")],
            conditions={"StringEquals": {"aws:SourceAccount": stack_values(bucket).account}},
        )
    )
    acknowledge_family(bucket, "S3BucketDefaultLockEnabled", _LOG_LOCK)
    acknowledge_family(bucket, "S3DefaultEncryptionKMS", _LOG_ENCRYPTION)
    return bucket


def define_page_bucket(scope: Construct, id: str, *, business_unit: IBusinessUnit) -> s3.Bucket:
    """Define the bucket of pages that a CloudFront distribution serves."""
    bucket = _bucket(
        scope,
        id,
        business_unit=business_unit,
        lifecycle_rules=[],
        noncurrent_days=30,
        encryption=s3.BucketEncryption.S3_MANAGED,
        object_lock=None,
    )
    _log_access(bucket, business_unit)
    acknowledge_family(bucket, "S3BucketDefaultLockEnabled", _PAGE_LOCK)
    acknowledge_family(bucket, "S3DefaultEncryptionKMS", _PAGE_ENCRYPTION)
    business_unit.own_bucket(bucket)
    return bucket


def _log_access(bucket: s3.Bucket, business_unit: IBusinessUnit) -> None:
    resource_of(bucket, s3.CfnBucket).logging_configuration = s3.CfnBucket.LoggingConfigurationProperty(
        destination_bucket_name=business_unit.access_logs.bucket_name, log_file_prefix=f"{_path_in_stack(bucket)}/"
    )


def _bucket(
    scope: Construct,
    id: str,
    *,
    business_unit: IBusinessUnit,
    lifecycle_rules: Sequence[s3.LifecycleRule],
    noncurrent_days: int,
    encryption: s3.BucketEncryption,
    object_lock: cdk.Duration | None,
) -> s3.Bucket:
    ours = encryption is s3.BucketEncryption.KMS
    bucket = s3.Bucket(
        scope,
        id,
        encryption=encryption,
        encryption_key=business_unit.key if ours else None,
        bucket_key_enabled=True if ours else None,
        enforce_ssl=True,
        minimum_tls_version=1.2,
        versioned=True,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        object_lock_default_retention=None if object_lock is None else s3.ObjectLockRetention.governance(object_lock),
        lifecycle_rules=[
            s3.LifecycleRule(
                noncurrent_version_expiration=cdk.Duration.days(noncurrent_days),
                # parts of an upload are in no listing of objects, and may contain rows that were erased
                abort_incomplete_multipart_upload_after=cdk.Duration.days(1),
            ),
            *lifecycle_rules,
        ],
        removal_policy=business_unit.profile.removal_policy,
    )
    acknowledge_family(bucket, "S3BucketReplicationEnabled", _REPLICATION)
    return bucket


def resource_of(construct: IConstruct, kind: type[Resource]) -> Resource:
    """Return the resource that a construct of CDK defines.

    Args:
        kind: Class of the resource.
    """
    resource = construct.node.default_child
    if not isinstance(resource, kind):
        raise TypeError(f"the default child of the construct must be a {kind.__name__}, got {type(resource).__name__}")
    return resource


def _path_in_stack(bucket: s3.Bucket) -> str:
    stack = stack_of(bucket)
    return bucket.node.path.removeprefix(f"{stack.node.path}/")


def define_log_group(
    scope: Construct, id: str, *, business_unit: IBusinessUnit, vended_by: str | None = None
) -> logs.LogGroup:
    """Define a log group.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit; provides key, removal policy and the platform's log retention, at least a year.
        vended_by: Service that delivers the logs, such as ``states``. The name then starts with ``/aws/vendedlogs/<vended_by>/``,
            so that the delivery adds nothing to the account's resource policy of 5,120 characters
            (https://docs.aws.amazon.com/step-functions/latest/dg/bp-cwl.html), and ends with the UUID of the stack, so that a
            retained group does not block the next deployment. Default: CloudFormation generates a name.
    """
    name = None if vended_by is None else _vended_name(scope, id, vended_by)
    rules = business_unit.platform_rules
    return logs.LogGroup(
        scope,
        id,
        log_group_name=name,
        encryption_key=business_unit.key,
        retention=RETENTION if rules is None or rules.log_days is None else RETENTIONS[rules.log_days],
        removal_policy=business_unit.profile.removal_policy,
    )


def _vended_name(scope: Construct, id: str, service: str) -> str:
    """Return a name that is unique in the account: path and UUID of the stack's ARN."""
    stack = stack_of(scope)
    path = "-".join([*(part for part in scope.node.path.split("/") if part), id])
    uuid = cdk.Fn.select(2, cdk.Fn.split("/", stack.stack_id))
    return f"/aws/vendedlogs/{service}/{path[-_LONGEST_PATH:]}-{uuid}"


def define_table(
    scope: Construct,
    id: str,
    *,
    business_unit: IBusinessUnit,
    partition_key: str,
    sort_key: str | None = None,
    ttl: str | None = None,
) -> dynamodb.Table:
    """Define a table with string keys.

    Deletion protection is off: a protected table would stay when a failed creation is rolled back. In PRODUCTION the stack retains
    the table, no role of the library may delete it, and DynamoDB keeps a backup of a deleted table with point-in-time recovery for
    35 days. See: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/PointInTimeRecovery_Howitworks.html

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit; provides key and removal policy.
        partition_key: Attribute of the partition key.
        sort_key: Attribute of the sort key. Default: no sort key.
        ttl: Attribute with the epoch second after which an item expires. Default: items do not expire.
    """
    table = dynamodb.Table(
        scope,
        id,
        partition_key=dynamodb.Attribute(name=partition_key, type=dynamodb.AttributeType.STRING),
        sort_key=None if sort_key is None else dynamodb.Attribute(name=sort_key, type=dynamodb.AttributeType.STRING),
        billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
        encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED,
        encryption_key=business_unit.key,
        point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
            point_in_time_recovery_enabled=True
        ),
        time_to_live_attribute=ttl,
        removal_policy=business_unit.profile.removal_policy,
    )
    acknowledge_family(table, "DynamoDBInBackupPlan", _BACKUP)
    return table


def define_topic(scope: Construct, id: str, *, key: kms.IKey) -> sns.Topic:
    """Define a topic to which alarms of the account may publish; its policy replaces the default one that allows this.

    See: https://docs.aws.amazon.com/sns/latest/dg/sns-access-policy-use-cases.html

    Args:
        scope: Parent.
        id: Construct id.
        key: Key of its messages; its policy must allow CloudWatch.
    """
    topic = sns.Topic(scope, id, master_key=key, enforce_ssl=True)
    admit(topic, scope, sid="Alarms", service=ALARMS, source_arn=alarm_arn(scope, "*"))
    return topic


def admit(topic: sns.ITopic, scope: Construct, *, sid: str, service: str, source_arn: str) -> None:
    """Let a service publish to a topic for one source; without effect for an imported topic, whose owner must add the statement.

    Args:
        scope: Any construct of the stack.
        sid: Statement id: letters and digits, unique per source.
        service: Service principal.
        source_arn: ARN (``*`` allowed) of the resource that the service publishes for.
    """
    conditions = source_conditions(scope, service, source_arn)
    topic.add_to_resource_policy(_publish(topic, sid, iam.ServicePrincipal(service, conditions=conditions)))


def admit_rules(topic: sns.ITopic) -> None:
    """Let rules publish to a topic; without effect for an imported topic, whose owner must add the statement.

    The statement has no condition: EventBridge sends no context that a condition could use, and its guide allows none in a topic's
    policy (``docs/adr/0020-conditions-that-services-meet.md``). Repeated calls add one statement.

    See: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html#eb-sns-permissions
    """
    topic.add_to_resource_policy(_publish(topic, "Rules", iam.ServicePrincipal(RULES)))


def _publish(topic: sns.ITopic, sid: str, principal: iam.IPrincipal) -> iam.PolicyStatement:
    return iam.PolicyStatement(sid=sid, actions=["sns:Publish"], principals=[principal], resources=[topic.topic_arn])
