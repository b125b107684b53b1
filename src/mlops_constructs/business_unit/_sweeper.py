"""Empty the buckets of a DEVELOPMENT stack when they leave it, so that deploy, destroy, deploy works with any tool.

CDK's ``auto_delete_objects`` does the same through a function of its own, outside the unit's network, key and boundary.
"""

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from constructs import Construct
from mlops_constructs._function import define_function

if TYPE_CHECKING:
    from mlops_constructs.business_unit import BusinessUnit

_BUCKET_ACTIONS = ("s3:ListBucketVersions",)
_OBJECT_ACTIONS = ("s3:DeleteObject", "s3:DeleteObjectVersion")
_REASON = (
    "every object of the bucket of access logs is deleted with its stack, and their names are only known then; "
    "rejected: auto_delete_objects, a hidden function outside the unit's network"
)


class BucketSweeper(Construct):
    """A function that empties a bucket when its custom resource is deleted. Stateless; DEVELOPMENT only.

    The right to delete comes from each bucket's own policy. The bucket of access logs is emptied last: its policy, which admits
    the deliveries, goes first, and the buckets that log into it wait for it.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit.
        access_logs: The bucket of access logs.
    """

    def __init__(self, scope: Construct, id: str, *, business_unit: "BusinessUnit", access_logs: s3.Bucket) -> None:
        super().__init__(scope, id)
        self._function = define_function(
            self,
            "Function",
            business_unit=business_unit,
            folder="bucket_sweeper",
            description="Empties buckets that leave the stack",
            environment={},
            timeout=cdk.Duration.minutes(15),
            statements=[
                iam.PolicyStatement(actions=list(_BUCKET_ACTIONS), resources=[access_logs.bucket_arn]),
                iam.PolicyStatement(actions=list(_OBJECT_ACTIONS), resources=[access_logs.arn_for_objects("*")]),
            ],
            wildcard_reason=_REASON,
        )
        self._access_logs = self._sweep(access_logs)
        if access_logs.policy is not None:
            access_logs.policy.node.add_dependency(self._access_logs)

    def sweep(self, bucket: s3.Bucket) -> None:
        """Empty a bucket of the unit when it leaves the stack.

        Args:
            bucket: The bucket.
        """
        role = self._function.role
        if role is None:
            raise TypeError("the function has a role, got none")
        principal = iam.ArnPrincipal(role.role_arn)
        bucket.add_to_resource_policy(
            iam.PolicyStatement(actions=list(_BUCKET_ACTIONS), resources=[bucket.bucket_arn], principals=[principal])
        )
        bucket.add_to_resource_policy(
            iam.PolicyStatement(
                actions=list(_OBJECT_ACTIONS), resources=[bucket.arn_for_objects("*")], principals=[principal]
            )
        )
        sweep = self._sweep(bucket)
        if bucket.policy is not None:
            sweep.node.add_dependency(bucket.policy)
        resource = bucket.node.default_child
        if resource is not None:
            resource.node.add_dependency(self._access_logs)

    def _sweep(self, bucket: s3.Bucket) -> cdk.CustomResource:
        return cdk.CustomResource(
            bucket,
            "Sweep",
            service_token=self._function.function_arn,
            resource_type="Custom::BucketSweep",
            properties={"BucketName": bucket.bucket_name},
        )
