"""What every construct needs of a business unit, defined in its stack or imported, and what a unit is for."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Protocol

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

from constructs import Construct, IDependable
from mlops_runtime.contracts.platform_rules import PlatformRules
from mlops_runtime.contracts.unit_entries import Entry


class Profile(Enum):
    """Whether data stay when the stack goes, and over how many zones it spreads.

    ``DEVELOPMENT``: everything is deleted with the stack, no Object Lock, one zone.
    ``PRODUCTION``: data, keys and logs stay, the audit bucket is locked, two zones. What a failed creation made does not stay.
    """

    DEVELOPMENT = "development"
    PRODUCTION = "production"

    @property
    def keeps_data(self) -> bool:
        """Whether stateful resources stay when they leave the stack."""
        return self is Profile.PRODUCTION

    @property
    def removal_policy(self) -> cdk.RemovalPolicy:
        """What becomes of stateful resources when they leave the stack.

        In PRODUCTION they stay when an update or a deletion takes them from it, and go when the operation that created them is
        rolled back: what stayed would keep its fixed names, and the next creation would fail by them.
        See: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-attribute-deletionpolicy.html
        """
        return cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE if self.keeps_data else cdk.RemovalPolicy.DESTROY

    @property
    def zones(self) -> int:
        """Availability zones of a made network, and instances at least of an endpoint."""
        return 2 if self is Profile.PRODUCTION else 1


class IBusinessUnit(Protocol):
    """A business unit: network, key, topic, bus, buckets, boundary and tags that its constructs share."""

    @property
    def name(self) -> str:
        """Name of the unit."""
        ...

    @property
    def owner(self) -> str:
        """Who answers for the unit."""
        ...

    @property
    def cost_center(self) -> str:
        """Who pays for it."""
        ...

    @property
    def profile(self) -> Profile:
        """Whether data stay when the stack goes."""
        ...

    @property
    def platform_rules(self) -> PlatformRules | None:
        """What the platform of the unit asks of it and of its constructs; None where it has none."""
        ...

    @property
    def tags(self) -> Mapping[str, str]:
        """Tags of every resource of the unit."""
        ...

    @property
    def key(self) -> kms.IKey:
        """Key of all data."""
        ...

    @property
    def vpc(self) -> ec2.IVpc:
        """Network of all that runs."""
        ...

    @property
    def subnets(self) -> ec2.SubnetSelection:
        """Subnets of all that runs."""
        ...

    @property
    def subnet_ids(self) -> list[str]:
        """Ids of the subnets."""
        ...

    @property
    def availability_zones(self) -> list[str]:
        """Zones of the subnets, in their order: names, or tokens that CloudFormation replaces by names."""
        ...

    @property
    def security_group(self) -> ec2.ISecurityGroup:
        """Security group of all that runs: no ingress."""
        ...

    @property
    def connectivity_established(self) -> IDependable:
        """What leads to the services out of a made network; empty of any other."""
        ...

    @property
    def topic(self) -> sns.ITopic:
        """Topic of alarms and requests for approval."""
        ...

    @property
    def bus(self) -> events.IEventBus:
        """Bus of the unit's own events."""
        ...

    @property
    def dead_letter_queue(self) -> sqs.IQueue:
        """Queue of what functions and rules could not deliver."""
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
        """Bucket that receives the access logs of the others."""
        ...

    @property
    def permissions_boundary(self) -> iam.IManagedPolicy:
        """Upper limit of every role of the unit."""
        ...

    @property
    def function_policy(self) -> iam.IManagedPolicy:
        """Network interfaces and traces, for the roles of functions."""
        ...

    @property
    def automation_table(self) -> dynamodb.ITable:
        """Table with the unit's row: whether automation is paused."""
        ...

    @property
    def automation_environment(self) -> Mapping[str, str]:
        """Environment by which a function knows whether automation is paused (``mlops_runtime.business_unit.automation``)."""
        ...

    @property
    def audit_environment(self) -> Mapping[str, str]:
        """Environment of a function that appends to an audit chain (``mlops_runtime.rollout.audit_chain``)."""
        ...

    def automation_statements(self) -> list[iam.PolicyStatement]:
        """Return what a function needs to read whether automation is paused."""
        ...

    def audit_statements(self, name: str) -> list[iam.PolicyStatement]:
        """Return what a function needs to write, sign and publish the records of one endpoint."""
        ...

    def admit_recorder(self, role: iam.IRole) -> None:
        """Let a role sign audit records, where its policy allows it too."""
        ...

    def admit_rules(self) -> None:
        """Let rules publish to the unit's topic."""
        ...

    def read_from(self, unit: str) -> None:
        """Let roles of this unit read another unit's data where their policies allow it."""
        ...

    def publish_entry(self, scope: Construct, id: str, entry: Entry) -> ssm.StringParameter:
        """Define the parameter by which the command finds what the unit has deployed."""
        ...

    def export(self, scope: Construct, part: str) -> str | None:
        """Export a part that another stack than the unit's defines, so that it stays while others import it; return the name."""
        ...

    def tag(self, scope: Construct) -> None:
        """Put the unit's tags on everything below a construct."""
        ...

    def reach(self, services: Sequence[str]) -> None:
        """Let what runs in a made network call further services; any other network reaches them itself."""
        ...

    def own_bucket(self, bucket: s3.Bucket) -> None:
        """Take a bucket into the unit: in DEVELOPMENT it is emptied when it leaves the stack."""
        ...

    def revoke_before_sweeps(self, policy: iam.ManagedPolicy, statements: Sequence[Mapping[str, object]]) -> None:
        """Let a policy leave a DEVELOPMENT stack before what it may write to is emptied, so that nothing is written later."""
        ...

    def own_registry(self, registry: Construct, *, group_name: str, group_arn: str, packages_arn: str) -> None:
        """Take a model registry into the unit: in DEVELOPMENT its packages are deleted when it leaves the stack."""
        ...
