"""Empties buckets and package groups that leave a DEVELOPMENT stack, so that any tool can delete and deploy the stack again.

CDK's ``auto_delete_objects`` would need a function of its own, outside the unit's network, key and permissions boundary.
"""

from collections.abc import Mapping, Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from constructs import Construct
from mlops_constructs._functions import define_custom_resource, define_function, role_of
from mlops_constructs._roles import allow, shared_policy
from mlops_constructs._stack_values import stack_of
from mlops_constructs._validation import raise_if_any
from mlops_constructs.compliance.acknowledgement import as_list
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.business_unit.sweep import MARK

_BUCKET_ACTIONS = ("s3:GetBucketTagging", "s3:ListBucketVersions")
_OBJECT_ACTIONS = ("s3:DeleteObject", "s3:DeleteObjectVersion")
_PACKAGE_ACTIONS = ("sagemaker:DeleteModelPackage", "sagemaker:ListModelPackages", "sagemaker:ListTags")
_FILLS = {"s3:PutObject", "sagemaker:CreateModelPackage"}
# managed policies per role, less two of the function itself
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
MAXIMUM_REGISTRIES = 8
_REASON = (
    "every object of the bucket of access logs is deleted with its stack, and their names are only known then; "
    "rejected: auto_delete_objects, a hidden function outside the unit's network"
)
_PACKAGE_REASON = (
    "packages are numbered at run time, below their own group's name, and each is deleted with the stack; "
    "rejected: all groups of the unit, whose names may start another unit's"
)


class Sweeper(Construct):
    """A function that empties a bucket or a package group when its custom resource is deleted. Stateless; DEVELOPMENT only.

    Permission to delete comes from each bucket's own policy, and from one managed policy per group; they leave the stack together.
    The bucket of access logs is emptied last, after its policy, which allows the deliveries, and the buckets that log to it are
    deleted. If the unit is imported, its owner's stack empties that bucket. A policy of the same stack that allows writing to a
    bucket, or registering packages, is deleted before the sweep, so that a function or job that ends late writes nothing more.

    Args:
        scope: Parent.
        id: Construct id.
        access_logs: Bucket of access logs; ``None`` when another stack owns it.
    """

    def __init__(
        self, scope: Construct, id: str, *, business_unit: IBusinessUnit, access_logs: s3.Bucket | None
    ) -> None:
        super().__init__(scope, id)
        self._function = define_function(
            self,
            "Function",
            business_unit=business_unit,
            folder="sweeper",
            description="Empties buckets and package groups that leave the stack",
            environment={},
            timeout=cdk.Duration.minutes(15),
            statements=[] if access_logs is None else _own_statements(access_logs),
            wildcard_reason=_REASON,
        )
        self._registries = 0
        self._sweeps: dict[str, cdk.CustomResource] = {}  # by ARN of the bucket or ARN pattern of the packages
        self._access_logs = None if access_logs is None else self._sweep_bucket(access_logs)
        if access_logs is not None and access_logs.policy is not None and self._access_logs is not None:
            access_logs.policy.node.add_dependency(self._access_logs)

    def sweep_bucket(self, bucket: s3.Bucket) -> None:
        """Empty a bucket of the unit when it leaves the stack."""
        principal = iam.ArnPrincipal(self._role.role_arn)
        bucket.add_to_resource_policy(
            iam.PolicyStatement(actions=list(_BUCKET_ACTIONS), resources=[bucket.bucket_arn], principals=[principal])
        )
        bucket.add_to_resource_policy(
            iam.PolicyStatement(
                actions=list(_OBJECT_ACTIONS), resources=[bucket.arn_for_objects("*")], principals=[principal]
            )
        )
        sweep = self._sweeps[bucket.bucket_arn] = self._sweep_bucket(bucket)
        if bucket.policy is not None:
            sweep.node.add_dependency(bucket.policy)
        resource = bucket.node.default_child
        if resource is not None and self._access_logs is not None:
            resource.node.add_dependency(self._access_logs)

    def sweep_packages(self, registry: Construct, *, group_name: str, group_arn: str, packages_arn: str) -> None:
        """Delete the packages of a registry when it leaves the stack.

        Args:
            packages_arn: ARN pattern of its packages.

        Raises:
            ValidationError: If the unit has more registries than the function's role can have managed policies.
        """
        self._registries += 1
        raise_if_any(
            registry,
            "TooManyRegistries",
            [
                f"a unit in Profile.DEVELOPMENT may have at most {MAXIMUM_REGISTRIES} registries, as its sweeper needs a managed "
                f"policy for each, got {self._registries}; define a second unit"
                if self._registries > MAXIMUM_REGISTRIES
                else None
            ],
        )
        # a policy of its own: an update that drops the registry would change the role's policy before it deletes the sweep
        policy = shared_policy(
            registry,
            "SweepPolicy",
            statements=[allow(_PACKAGE_ACTIONS, group_arn, packages_arn)],
            # a new description replaces the policy, so that the policy of a renamed registry exists until its group is deleted
            description=f"Deletes the packages of {group_name}",
            wildcard_reason=_PACKAGE_REASON,
        )
        policy.attach_to_role(self._role)
        _mark(registry, "AWS::SageMaker::ModelPackageGroup")
        sweep = define_custom_resource(
            registry,
            "Sweep",
            function=self._function,
            resource_type="Custom::ModelPackageSweep",
            properties={"ModelPackageGroupName": group_name},
        )
        sweep.node.add_dependency(policy)  # which refers to the group, so that the group is deleted last
        self._sweeps[packages_arn] = sweep

    def revoke_before(self, policy: iam.ManagedPolicy, statements: Sequence[Mapping[str, object]]) -> None:
        """Delete a policy before the buckets and packages that it allows writing to are swept, if both are in one stack.

        Args:
            statements: Its statements as JSON: reading a PolicyStatement is a call to Node.js.
        """
        named = [
            str(arn)
            for statement in statements
            if _FILLS & set(as_list(statement.get("Action")))
            for arn in as_list(statement.get("Resource"))
        ]
        emptied = [sweep for arn, sweep in self._sweeps.items() if any(arn in name for name in named)]
        # a sweep depends on the unit's stack already: the opposite dependency would be circular
        sweeps = [sweep for sweep in emptied if stack_of(sweep) is stack_of(policy)]
        if sweeps:
            policy.node.add_dependency(*sweeps)

    @property
    def _role(self) -> iam.IRole:
        return role_of(self._function)

    def _sweep_bucket(self, bucket: s3.Bucket) -> cdk.CustomResource:
        _mark(bucket, "AWS::S3::Bucket")
        return define_custom_resource(
            bucket,
            "Sweep",
            function=self._function,
            resource_type="Custom::BucketSweep",
            properties={"BucketName": bucket.bucket_name},
        )


def _own_statements(bucket: s3.Bucket) -> list[iam.PolicyStatement]:
    return [
        allow(_BUCKET_ACTIONS, bucket.bucket_arn),
        allow(_OBJECT_ACTIONS, bucket.arn_for_objects("*")),
    ]


def _mark(construct: Construct, resource_type: str) -> None:
    """Tag a resource to be swept. An update to PRODUCTION removes the tag before the sweep, which then deletes nothing."""
    cdk.Tags.of(construct).add(MARK, "true", include_resource_types=[resource_type])
