"""Profile and interface of a business unit, which is defined in the same stack or imported."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Protocol, Self

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_ssm as ssm

from constructs import Construct, IConstruct, IDependable
from mlops_constructs._validation import ValidationError
from mlops_runtime.contracts.platform_rules import PlatformRules
from mlops_runtime.contracts.unit_entries import Entry


class Profile(Enum):
    """Whether data are retained when the stack is deleted, and the number of Availability Zones.

    ``DEVELOPMENT``: everything is deleted with the stack, no Object Lock, one zone.
    ``PRODUCTION``: data, keys and logs are retained, the audit bucket is locked, two zones. A failed creation retains nothing.
    """

    DEVELOPMENT = "development"
    PRODUCTION = "production"

    @classmethod
    def from_context(cls, scope: IConstruct) -> Self:
        """Return the profile that context ``profile`` names.

        Args:
            scope: The app, or a construct of it.

        Raises:
            ValidationError: If the context names no profile.

        Example:
            >>> Profile.from_context(cdk.App(context={"profile": "production"}))
            <Profile.PRODUCTION: 'production'>
        """
        name = scope.node.try_get_context("profile")
        allowed = [profile.value for profile in cls]
        if name not in allowed:
            problem = (
                f"context profile must be {' or '.join(map(repr, allowed))}, got {name!r}; run `cdk synth`, which reads cdk.json, "
                "or set -c profile=development"
            )
            raise ValidationError("InvalidProfile", [problem])
        return cls(name)

    @property
    def keeps_data(self) -> bool:
        """Whether stateful resources are retained when they leave the stack."""
        return self is Profile.PRODUCTION

    @property
    def removal_policy(self) -> cdk.RemovalPolicy:
        """Removal policy of stateful resources.

        In PRODUCTION they are retained when an update or a deletion removes them from the stack, and deleted when the operation
        that created them is rolled back: a retained resource would keep its fixed name, and the next creation would fail.
        See: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-attribute-deletionpolicy.html
        """
        return cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE if self.keeps_data else cdk.RemovalPolicy.DESTROY

    @property
    def zones(self) -> int:
        """Number of Availability Zones of a created network, and minimum number of instances of an endpoint."""
        return 2 if self is Profile.PRODUCTION else 1


class IBusinessUnit(Protocol):
    """A business unit: network, key, topic, bus, buckets, boundary and tags that its constructs share."""

    @property
    def name(self) -> str:
        """Name of the unit."""
        ...

    @property
    def owner(self) -> str:
        """Owner of the unit."""
        ...

    @property
    def cost_center(self) -> str:
        """Cost center that pays for the unit."""
        ...

    @property
    def profile(self) -> Profile:
        """Whether data are retained when the stack is deleted."""
        ...

    @property
    def platform_rules(self) -> PlatformRules | None:
        """Rules of the unit's platform for the unit and its constructs; None without a platform."""
        ...

    @property
    def tags(self) -> Mapping[str, str]:
        """Tags of every resource of the unit."""
        ...

    @property
    def key(self) -> kms.IKey:
        """Key that encrypts all data."""
        ...

    @property
    def vpc(self) -> ec2.IVpc:
        """VPC of functions, jobs and endpoints."""
        ...

    @property
    def subnets(self) -> ec2.SubnetSelection:
        """Subnets of functions, jobs and endpoints."""
        ...

    @property
    def subnet_ids(self) -> list[str]:
        """Ids of the subnets."""
        ...

    @property
    def availability_zones(self) -> list[str]:
        """Availability Zones of the subnets, in their order: names or tokens."""
        ...

    @property
    def security_group(self) -> ec2.ISecurityGroup:
        """Security group of functions, jobs and endpoints, without ingress rules."""
        ...

    @property
    def connectivity_established(self) -> IDependable:
        """Routes and VPC endpoints of a created network, to depend on; empty for an existing network."""
        ...

    @property
    def topic(self) -> sns.ITopic:
        """Topic of alarms and approval requests."""
        ...

    @property
    def bus(self) -> events.IEventBus:
        """Bus of the unit's own events."""
        ...

    @property
    def dead_letter_queue(self) -> sqs.IQueue:
        """Queue of events and invocations that could not be delivered or processed."""
        ...

    @property
    def artifacts(self) -> s3.IBucket:
        """Bucket of specs, models, evaluations and reports."""
        ...

    @property
    def audit_bucket(self) -> s3.IBucket:
        """Bucket of audit records and their seals."""
        ...

    @property
    def heads_bucket(self) -> s3.IBucket:
        """Bucket of published heads of the audit chains."""
        ...

    @property
    def signing_key(self) -> kms.IKey:
        """Key that signs the audit records of endpoints."""
        ...

    @property
    def access_logs(self) -> s3.IBucket:
        """Bucket that receives the access logs of the other buckets."""
        ...

    @property
    def permissions_boundary(self) -> iam.IManagedPolicy:
        """Permissions boundary of every role of the unit."""
        ...

    @property
    def function_policy(self) -> iam.IManagedPolicy:
        """Policy for network interfaces and traces, for the roles of functions."""
        ...

    @property
    def automation_table(self) -> dynamodb.ITable:
        """Table with the item that stores whether automation is paused."""
        ...

    @property
    def automation_environment(self) -> Mapping[str, str]:
        """Environment of a function that checks whether automation is paused (``mlops_runtime.business_unit.automation``)."""
        ...

    @property
    def audit_environment(self) -> Mapping[str, str]:
        """Environment of a function that appends to an audit chain (``mlops_runtime.rollout.audit_chain``)."""
        ...

    def automation_statements(self) -> list[iam.PolicyStatement]:
        """Return the permissions to read whether automation is paused."""
        ...

    def audit_statements(self, name: str) -> list[iam.PolicyStatement]:
        """Return the permissions to write, sign and publish the audit records of one endpoint."""
        ...

    def admit_recorder(self, role: iam.IRole) -> None:
        """Let the signing key's policy allow a role to sign audit records; the role needs its own permission too."""
        ...

    def admit_rules(self) -> None:
        """Let rules publish to the unit's topic."""
        ...

    def read_from(self, unit: str) -> None:
        """Let roles of this unit read another unit's data, if their policies allow it."""
        ...

    def publish_entry(self, scope: Construct, id: str, entry: Entry) -> ssm.StringParameter:
        """Define the SSM parameter by which the CLI finds a resource of the unit."""
        ...

    def export(self, scope: Construct, part: str) -> str | None:
        """Export a part that another stack defines, so that it cannot be deleted while imported; return the export's name."""
        ...

    def tag(self, scope: Construct) -> None:
        """Add the unit's tags to a construct and all its children."""
        ...

    def reach(self, services: Sequence[str]) -> None:
        """Add VPC endpoints for further services to a created network; an existing network must reach them already."""
        ...

    def own_bucket(self, bucket: s3.Bucket) -> None:
        """Add a bucket to the unit: in DEVELOPMENT it is emptied when it leaves the stack."""
        ...

    def revoke_before_sweeps(self, policy: iam.ManagedPolicy, statements: Sequence[Mapping[str, object]]) -> None:
        """Detach a policy from a DEVELOPMENT stack before the resources that it may write to are emptied."""
        ...

    def own_registry(self, registry: Construct, *, group_name: str, group_arn: str, packages_arn: str) -> None:
        """Add a model registry to the unit: in DEVELOPMENT its packages are deleted when it leaves the stack."""
        ...
