"""IAM statements between source and target of a promotion; each identity-based statement has a resource-based counterpart.

Resource policies name the other account's root as principal and limit ``aws:PrincipalArn`` to one role by its fixed name. S3 and
KMS refuse a role that does not exist as principal, whereas a condition's value is not checked and stays valid for a role that is
deleted and created again.

See: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic-cross-account.html and
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-principalarn
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aws_cdk import aws_iam as iam

from mlops_constructs._roles import allow
from mlops_runtime.contracts.events import event_source
from mlops_runtime.promotion.environment_link import LinkedEnvironment, LinkRole, inbox_arn, link_role_arn

# objects of a release in the artifacts bucket: ``<folder>/<name>/...``
_OBJECTS = ("models", "evaluations", "gates")
FOLDERS = (*_OBJECTS, "releases")


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionLink:
    """Link over which ``source`` releases a model to ``target``; ``unit`` and ``model`` must not be tokens.

    With an ``organization``, resource policies require it too, so that an account that leaves it loses access.
    """

    unit: str
    model: str
    source: LinkedEnvironment
    target: LinkedEnvironment
    organization: str | None = None

    @property
    def group(self) -> str:
        """Name of the package group on both sides."""
        return f"{self.unit}-{self.model}"

    def role_arn(self, purpose: LinkRole, environment: LinkedEnvironment) -> str:
        """Return the ARN of a role of one side."""
        return link_role_arn(purpose, unit=self.unit, model=self.model, environment=environment)

    # resource policies of the source

    def group_statement(self) -> dict[str, Any]:
        """Return the statement of the package group's policy that lets the target describe packages, but not change or use them.

        See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-deploy.html
        """
        return {
            "Sid": f"ReadFrom{self.target.account}{self.target.region.replace('-', '')}",
            "Effect": "Allow",
            "Principal": {"AWS": _root(self.target)},
            "Action": ["sagemaker:DescribeModelPackage"],
            "Resource": self.source.arn("sagemaker", f"model-package/{self.group}/*"),
            "Condition": self._only("recheck", self.target),
        }

    def bucket_statement(self, bucket_arn: str) -> iam.PolicyStatement:
        """Return the statement of the artifacts bucket's policy that lets the target copy releases; see ``pipeline_objects``."""
        return iam.PolicyStatement(
            principals=[iam.ArnPrincipal(_root(self.target))],
            actions=["s3:GetObject"],
            resources=[f"{bucket_arn}/{folder}/{self.group}/*" for folder in FOLDERS],
            conditions=self._only("promote", self.target),
        )

    def key_statement(self) -> iam.PolicyStatement:
        """Return the statement of the key's policy that lets the target decrypt through S3.

        A condition on the bucket's encryption context would be a circular reference, as the bucket refers to the key. The bucket's
        policy limits the objects.
        """
        return iam.PolicyStatement(
            principals=[iam.ArnPrincipal(_root(self.target))],
            actions=["kms:Decrypt"],
            resources=["*"],
            conditions=self._only("promote", self.target, {"kms:ViaService": self.source.endpoint("s3")}),
        )

    # identity policies of the target's roles

    def promote_statements(self) -> list[iam.PolicyStatement]:
        """Return the statements that let the target's promote role copy and decrypt released objects of the source.

        The source's bucket and key are unknown in the target; account, folders and service limit both, and the source's policies
        name the role.
        """
        of_source = {"StringEquals": {"aws:ResourceAccount": self.source.account}}
        via = {"StringEquals": {"kms:ViaService": self.source.endpoint("s3")}}
        return [
            allow(
                "s3:GetObject",
                # pipelines with other names register in the group too, and are unknown here
                *(f"arn:{self.source.partition}:s3:::*/{folder}/{self.unit}-*" for folder in FOLDERS),
                conditions=of_source,
            ),
            allow("kms:Decrypt", self.source.arn("kms", "key/*"), conditions=via),
        ]

    def image_statement(self) -> iam.PolicyStatement:
        """Return the statement that lets the target's promote role find an image in the source's registry, to register a package.

        The repository is known only from the release; its own policy names the role.
        """
        actions = ["ecr:BatchGetImage", "ecr:DescribeImages"]
        return allow(actions, self.source.arn("ecr", "repository/*"))

    def recheck_statement(self) -> iam.PolicyStatement:
        """Return the statement that lets a role of the target check whether a package is still approved in the source."""
        packages = self.source.arn("sagemaker", f"model-package/{self.group}/*")
        return allow("sagemaker:DescribeModelPackage", packages)

    # events in either direction: the sender role's policy, and the policy of the other side's inbox

    def send_statement(self, receiver: LinkedEnvironment) -> iam.PolicyStatement:
        """Return the statement of the sender role that lets a rule put events on the receiver's inbox.

        See: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cross-account.html
        """
        return allow("events:PutEvents", self.inbox(receiver))

    def inbox_statement(self, *, sender: LinkedEnvironment, receiver: LinkedEnvironment) -> Mapping[str, Any]:
        """Return the statement of the inbox's policy that lets the sender role put events of the unit on it."""
        return {
            "Effect": "Allow",
            "Principal": {"AWS": _root(sender)},
            "Action": "events:PutEvents",
            "Resource": self.inbox(receiver),
            "Condition": self._only("send", sender, {"events:source": event_source(self.unit)}),
        }

    def inbox(self, environment: LinkedEnvironment) -> str:
        """Return the ARN of an environment's inbox."""
        return inbox_arn(unit=self.unit, model=self.model, environment=environment)

    def _only(
        self, purpose: LinkRole, environment: LinkedEnvironment, equal: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        member = {} if self.organization is None else {"aws:PrincipalOrgID": self.organization}
        equal = {**(equal or {}), **member}
        only = {"ArnEquals": {"aws:PrincipalArn": self.role_arn(purpose, environment)}}
        return {**only, "StringEquals": equal} if equal else only


def pipeline_objects(bucket_arn: str, pipeline: str) -> list[str]:
    """Return the ARNs of objects of a pipeline that registers in a group with another name."""
    return [f"{bucket_arn}/{folder}/{pipeline}/*" for folder in _OBJECTS]


def _root(environment: LinkedEnvironment) -> str:
    return f"arn:{environment.partition}:iam::{environment.account}:root"
