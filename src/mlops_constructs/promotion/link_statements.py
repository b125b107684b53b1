"""What a source and a target of a promotion allow each other, one beside the other: each statement of one side has its other half.

Statements of resource policies name the other account's root and hold ``aws:PrincipalArn`` to one role by its fixed name. A role as
principal would have to exist first, and S3 and KMS refuse one that does not; a condition's value is not checked, and stays right
for a role that is made again.

See: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic-cross-account.html and
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-principalarn
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aws_cdk import aws_iam as iam

from mlops_runtime.contracts.events import event_source
from mlops_runtime.promotion.environment_link import LinkedEnvironment, LinkRole, inbox_arn, link_role_arn

# what a release consists of, below the artifacts bucket: ``<folder>/<name>/...``
_OBJECTS = ("models", "evaluations", "gates")
FOLDERS = (*_OBJECTS, "releases")


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionLink:
    """A model that ``source`` releases to ``target``. ``unit`` and ``model`` are known at synthesis.

    Where a platform names an ``organization``, policies of resources ask for it too: an account that leaves it is cut off.
    """

    unit: str
    model: str
    source: LinkedEnvironment
    target: LinkedEnvironment
    organization: str | None = None

    @property
    def group(self) -> str:
        """The package group on both sides."""
        return f"{self.unit}-{self.model}"

    def role_arn(self, purpose: LinkRole, environment: LinkedEnvironment) -> str:
        """Return the ARN of a role of either side."""
        return link_role_arn(purpose, unit=self.unit, model=self.model, environment=environment)

    # what the source's stack has: policies of its resources

    def group_statement(self) -> dict[str, Any]:
        """Let the target read the packages, as a statement of the group's resource policy; it may change and serve nothing.

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
        """Let the target copy releases of the group, and their objects, out of the artifacts bucket; see ``pipeline_objects``."""
        return iam.PolicyStatement(
            principals=[iam.ArnPrincipal(_root(self.target))],
            actions=["s3:GetObject"],
            resources=[f"{bucket_arn}/{folder}/{self.group}/*" for folder in FOLDERS],
            conditions=self._only("promote", self.target),
        )

    def key_statement(self) -> iam.PolicyStatement:
        """Let the target decrypt what it may copy, through S3 alone, as a statement of the key's policy.

        It does not name the bucket by its encryption context: the bucket names the key, and CloudFormation refuses a circle. The
        bucket's policy says which objects the role may ask for.
        """
        return iam.PolicyStatement(
            principals=[iam.ArnPrincipal(_root(self.target))],
            actions=["kms:Decrypt"],
            resources=["*"],
            conditions=self._only("promote", self.target, {"kms:ViaService": self.source.endpoint("s3")}),
        )

    # what the target's stack has: the identity policy of its promote role

    def promote_statements(self) -> list[iam.PolicyStatement]:
        """Return what the target's promote role may do in the source: copy released objects and decrypt them.

        The source's bucket and key are not known here; account, folders and service narrow both, and the source's policies name
        the role.
        """
        of_source = {"StringEquals": {"aws:ResourceAccount": self.source.account}}
        via = {"StringEquals": {"kms:ViaService": self.source.endpoint("s3")}}
        return [
            iam.PolicyStatement(
                actions=["s3:GetObject"],
                # pipelines of other names register into the group too, and are not known here
                resources=[f"arn:{self.source.partition}:s3:::*/{folder}/{self.unit}-*" for folder in FOLDERS],
                conditions=of_source,
            ),
            iam.PolicyStatement(actions=["kms:Decrypt"], resources=[self.source.arn("kms", "key/*")], conditions=via),
        ]

    def image_statement(self) -> iam.PolicyStatement:
        """Let the target's promote role find an image in the source's registry, and register a package that names it.

        Which repository the image of a release is in is known with the release; the repository's own policy names the role.
        """
        actions = ["ecr:BatchGetImage", "ecr:DescribeImages"]
        return iam.PolicyStatement(actions=actions, resources=[self.source.arn("ecr", "repository/*")])

    def recheck_statement(self) -> iam.PolicyStatement:
        """Let a role of the target ask whether a released package is still approved in the source."""
        packages = self.source.arn("sagemaker", f"model-package/{self.group}/*")
        return iam.PolicyStatement(actions=["sagemaker:DescribeModelPackage"], resources=[packages])

    # events in either direction: the sender's role, and the policy of the other side's inbox

    def send_statement(self, receiver: LinkedEnvironment) -> iam.PolicyStatement:
        """Let the sender's role put events on the receiver's inbox, which a rule's target with a role does.

        See: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cross-account.html
        """
        return iam.PolicyStatement(actions=["events:PutEvents"], resources=[self.inbox(receiver)])

    def inbox_statement(self, *, sender: LinkedEnvironment, receiver: LinkedEnvironment) -> Mapping[str, Any]:
        """Let the sender's role put events of the unit on the receiver's inbox, as a statement of the bus's policy."""
        return {
            "Effect": "Allow",
            "Principal": {"AWS": _root(sender)},
            "Action": "events:PutEvents",
            "Resource": self.inbox(receiver),
            "Condition": self._only("send", sender, {"events:source": event_source(self.unit)}),
        }

    def inbox(self, environment: LinkedEnvironment) -> str:
        """Return the ARN of the bus on which an environment receives events of the other one."""
        return inbox_arn(unit=self.unit, model=self.model, environment=environment)

    def _only(
        self, purpose: LinkRole, environment: LinkedEnvironment, equal: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        member = {} if self.organization is None else {"aws:PrincipalOrgID": self.organization}
        equal = {**(equal or {}), **member}
        only = {"ArnEquals": {"aws:PrincipalArn": self.role_arn(purpose, environment)}}
        return {**only, "StringEquals": equal} if equal else only


def pipeline_objects(bucket_arn: str, pipeline: str) -> list[str]:
    """Return the ARNs of what a pipeline registers into a group of another name."""
    return [f"{bucket_arn}/{folder}/{pipeline}/*" for folder in _OBJECTS]


def _root(environment: LinkedEnvironment) -> str:
    return f"arn:{environment.partition}:iam::{environment.account}:root"
