"""The one hardened bucket: the unit's key, TLS only, no public access, versions, access logs."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from constructs import Construct
from mlops_constructs.compliance import acknowledge_family
from mlops_constructs.unit_interface import IBusinessUnit

_REPLICATION = (
    "versions protect against mistakes; a second region doubles the cost and is the recovery plan's choice, "
    "rejected as a default that every unit would pay"
)
_NO_LOCK = (
    "DEVELOPMENT deletes every version with the stack, which a lock could forbid; "
    "PRODUCTION has Object Lock, so that a version can be put under legal hold"
)
_LOG_LOCK = "S3 does not deliver access logs into a bucket with a default retention; versions and the policy protect them instead"
_LOG_ENCRYPTION = (
    "S3 delivers access logs only into buckets with SSE-S3 as default encryption; a KMS key would silence the log"
)


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
        id: Construct id; access logs of the bucket stand below its path in the stack.
        business_unit: The unit; gives key, log bucket and removal policy.
        lifecycle_rules: Further rules. Default: none; old versions and broken uploads are always removed.
        noncurrent_days: Days that an overwritten or deleted version is kept. Default: 90.
        object_lock: How long no version can be deleted, in governance mode. Default: versions can be deleted; in PRODUCTION
            one can still be put under legal hold.
        event_bridge: Whether S3 tells the default bus of new objects. Default: it does not.
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
    resource = _resource(bucket)
    resource.logging_configuration = s3.CfnBucket.LoggingConfigurationProperty(
        destination_bucket_name=business_unit.access_logs.bucket_name, log_file_prefix=f"{_path_in_stack(bucket)}/"
    )
    if event_bridge:
        # the property, not the L2's flag, which would add a hidden function to write it
        resource.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
            event_bridge_configuration=s3.CfnBucket.EventBridgeConfigurationProperty(event_bridge_enabled=True)
        )
    if object_lock is None and kept:
        resource.object_lock_enabled = True
        resource.object_lock_configuration = s3.CfnBucket.ObjectLockConfigurationProperty(object_lock_enabled="Enabled")
    elif object_lock is None:
        acknowledge_family(bucket, "S3BucketDefaultLockEnabled", _NO_LOCK)
    business_unit.own_bucket(bucket)
    return bucket


def define_access_logs_bucket(scope: Construct, id: str, *, business_unit: IBusinessUnit) -> s3.Bucket:
    """Define the bucket that receives the access logs of the unit's other buckets.

    See: https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit.
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
            conditions={"StringEquals": {"aws:SourceAccount": cdk.Stack.of(bucket).account}},
        )
    )
    acknowledge_family(bucket, "S3BucketDefaultLockEnabled", _LOG_LOCK)
    acknowledge_family(bucket, "S3DefaultEncryptionKMS", _LOG_ENCRYPTION)
    return bucket


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
                abort_incomplete_multipart_upload_after=cdk.Duration.days(7),
            ),
            *lifecycle_rules,
        ],
        removal_policy=business_unit.profile.removal_policy,
    )
    acknowledge_family(bucket, "S3BucketReplicationEnabled", _REPLICATION)
    return bucket


def _resource(bucket: s3.Bucket) -> s3.CfnBucket:
    resource = bucket.node.default_child
    if not isinstance(resource, s3.CfnBucket):
        raise TypeError(f"the default child of a bucket is a CfnBucket, got {type(resource).__name__}")
    return resource


def _path_in_stack(bucket: s3.Bucket) -> str:
    stack = cdk.Stack.of(bucket)
    return bucket.node.path.removeprefix(f"{stack.node.path}/")
