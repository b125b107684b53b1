"""A unit in the stacks that import it: SSM parameters that its owner publishes, and the unit that is constructed from them."""

from collections.abc import Mapping, Sequence
from functools import cached_property

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

from constructs import Construct, DependencyGroup, IDependable
from mlops_constructs._arguments import checked
from mlops_constructs._functions import define_dead_letter_queue
from mlops_constructs._platform_rules import publication
from mlops_constructs._shared_values import export_part, publish_values, read_list, read_value
from mlops_constructs._stack_values import stack_of
from mlops_constructs._warnings import DEVELOPMENT_DESTROYS_DATA, IMPORTED_UNIT, warn
from mlops_constructs.business_unit._records import AuditRecords
from mlops_constructs.business_unit._sweeper import Sweeper
from mlops_constructs.business_unit.automation_access import (
    automation_environment,
    automation_statements,
    define_entry,
)
from mlops_constructs.business_unit.platform_defaults import UNIT_TAGS
from mlops_constructs.business_unit.unit_network import INTERFACE_ENDPOINTS
from mlops_constructs.unit_interface import IBusinessUnit, Profile
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.platform_rules import PlatformRules
from mlops_runtime.contracts.unit_entries import RULE_PARAMETERS, UNIT_PARAMETERS, Entry, unit_export


def publish_unit(scope: Construct, id: str, *, business_unit: IBusinessUnit) -> None:
    """Define the SSM parameters by which other stacks import a unit, one per value."""
    unit = business_unit
    values: dict[str, str | list[str]] = {
        "owner": unit.owner,
        "cost_center": unit.cost_center,
        "key_arn": unit.key.key_arn,
        "topic_arn": unit.topic.topic_arn,
        "bus": unit.bus.event_bus_name,
        "artifacts_bucket": unit.artifacts.bucket_name,
        "audit_bucket": unit.audit_bucket.bucket_name,
        "heads_bucket": unit.heads_bucket.bucket_name,
        "access_logs_bucket": unit.access_logs.bucket_name,
        "signing_key_arn": unit.signing_key.key_arn,
        "boundary_arn": unit.permissions_boundary.managed_policy_arn,
        "function_policy_arn": unit.function_policy.managed_policy_arn,
        "automation_table": unit.automation_table.table_name,
        "freeze": unit.automation_environment["FREEZE"],
        "vpc_id": unit.vpc.vpc_id,
        "subnet_ids": unit.subnet_ids,
        "availability_zones": unit.availability_zones,
        "security_group_id": unit.security_group.security_group_id,
    }
    publish_values(scope, id, unit=unit.name, profile=publication(unit), parameters=UNIT_PARAMETERS, values=values)
    rules = unit.platform_rules
    if rules is not None:
        requested: dict[str, str | list[str]] = {"platform_rules": canonical_json(rules).decode()}
        if further_keys(rules):
            requested["required_tags"] = [unit.tags[key] for key in further_keys(rules)]
        published = [parameter for parameter in RULE_PARAMETERS if parameter.field in requested]
        publish_values(
            scope, f"{id}Rules", unit=unit.name, profile=publication(unit), parameters=published, values=requested
        )


def further_keys(rules: PlatformRules) -> list[str]:
    """Return the required tags whose values an importing stack must read: all but those of owner and cost center."""
    return [key for key in rules.required_tags or () if key not in UNIT_TAGS]


def tag_stack(scope: Construct, rules: PlatformRules | None) -> None:
    """Add the platform's tags to all resources of a stack, including those outside the unit's constructs.

    Args:
        scope: A construct of the stack.
        rules: Rules of the platform; ``None`` without a platform.
    """
    for key, value in ({} if rules is None else rules.tags or {}).items():
        cdk.Tags.of(stack_of(scope)).add(key, value)


@checked("InvalidBusinessUnit")
class ImportedBusinessUnit(Construct):
    """A unit that another stack owns; see ``BusinessUnit.from_name``.

    Values are read on first use, so that a template has only the parameters that it needs. Resources that would need changes to the
    owner's policies are defined here on first use: the dead-letter queue of this stack's functions and rules, and in DEVELOPMENT
    the function that empties this stack's buckets.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        name: str,
        profile: Profile,
        subnet_count: int | None,
        platform_rules: PlatformRules | None,
    ) -> None:
        super().__init__(scope, id)
        self._name, self._profile, self._rules = name, profile, platform_rules
        self._subnet_count = profile.zones if subnet_count is None else subnet_count
        self._warned_calls: set[str] = set()
        self._connectivity = DependencyGroup()
        self._sweeper: Sweeper | None = None
        # CloudFormation rejects the deletion of the owner's stack, before deleting any resource, while this import exists
        cdk.CfnOutput(
            self, "Name", value=cdk.Fn.import_value(unit_export(name)), description="The unit, which another stack owns"
        )
        self.tag(self)
        tag_stack(self, platform_rules)
        if profile is Profile.DEVELOPMENT:
            warn(self, DEVELOPMENT_DESTROYS_DATA, unit=name)

    @property
    def name(self) -> str:
        """Name of the unit."""
        return self._name

    @property
    def owner(self) -> str:
        """Owner of the unit."""
        return self._read("owner")

    @property
    def cost_center(self) -> str:
        """Cost center that pays for the unit."""
        return self._read("cost_center")

    @property
    def profile(self) -> Profile:
        """Whether data are retained when the stack is deleted."""
        return self._profile

    @property
    def platform_rules(self) -> PlatformRules | None:
        """Rules of the platform for the unit and its constructs; None without a platform."""
        return self._rules

    @cached_property
    def tags(self) -> Mapping[str, str]:
        """Tags of every resource of the unit: its own, those that its platform sets, and those that the platform requires."""
        own = {"mlops:unit": self._name, "mlops:owner": self.owner, "mlops:cost-center": self.cost_center}
        if self._rules is None:
            return own
        keys = further_keys(self._rules)
        values = self._read_list("required_tags", len(keys)) if keys else []
        return {**own, **dict(zip(keys, values, strict=True)), **(self._rules.tags or {})}

    @cached_property
    def key(self) -> kms.IKey:
        """Key that encrypts all data."""
        return kms.Key.from_key_arn(self, "Key", self._read("key_arn"))

    @cached_property
    def vpc(self) -> ec2.IVpc:
        """VPC of functions, jobs and endpoints."""
        return ec2.Vpc.from_vpc_attributes(
            self,
            "Network",
            vpc_id=self._read("vpc_id"),
            availability_zones=self.availability_zones,
            isolated_subnet_ids=self.subnet_ids,
        )

    @property
    def subnets(self) -> ec2.SubnetSelection:
        """Subnets of functions, jobs and endpoints."""
        return ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)

    @property
    def subnet_ids(self) -> list[str]:
        """Ids of the first ``subnet_count`` subnets."""
        return self._read_list("subnet_ids", self._subnet_count)

    @property
    def availability_zones(self) -> list[str]:
        """Availability Zones of the subnets, in their order."""
        return self._read_list("availability_zones", self._subnet_count)

    @cached_property
    def security_group(self) -> ec2.ISecurityGroup:
        """Security group of functions, jobs and endpoints; this stack adds no rules to it."""
        return ec2.SecurityGroup.from_security_group_id(
            self, "SecurityGroup", self._read("security_group_id"), mutable=False
        )

    @property
    def connectivity_established(self) -> IDependable:
        """Empty: the owner's network exists before this stack."""
        return self._connectivity

    @cached_property
    def topic(self) -> sns.ITopic:
        """Topic of alarms and approval requests; its policy allows alarms of the account."""
        return sns.Topic.from_topic_arn(self, "Topic", self._read("topic_arn"))

    @cached_property
    def bus(self) -> events.IEventBus:
        """Bus of the unit's own events."""
        return events.EventBus.from_event_bus_name(self, "Bus", self._read("bus"))

    @cached_property
    def dead_letter_queue(self) -> sqs.IQueue:
        """Queue of undeliverable events and failed invocations of this stack: the owner's queue allows rules by ARN."""
        return define_dead_letter_queue(self, "DeadLetters", business_unit=self)

    @cached_property
    def artifacts(self) -> s3.IBucket:
        """Bucket of specs, models, evaluations and reports."""
        return self._bucket("Artifacts", "artifacts_bucket")

    @property
    def audit_bucket(self) -> s3.IBucket:
        """Bucket of audit records and their seals."""
        return self._records.bucket

    @property
    def heads_bucket(self) -> s3.IBucket:
        """Bucket of published heads of the audit chains."""
        return self._records.heads

    @property
    def signing_key(self) -> kms.IKey:
        """Key that signs the audit records of endpoints."""
        return self._records.signing_key

    @cached_property
    def access_logs(self) -> s3.IBucket:
        """Bucket that receives the access logs of the other buckets; its policy allows all buckets of the account."""
        return s3.Bucket.from_bucket_name(self, "AccessLogs", self._read("access_logs_bucket"))

    @cached_property
    def permissions_boundary(self) -> iam.IManagedPolicy:
        """Permissions boundary of every role of the unit."""
        return iam.ManagedPolicy.from_managed_policy_arn(self, "Boundary", self._read("boundary_arn"))

    @cached_property
    def function_policy(self) -> iam.IManagedPolicy:
        """Policy for network interfaces and traces, for the roles of functions."""
        return iam.ManagedPolicy.from_managed_policy_arn(self, "FunctionPolicy", self._read("function_policy_arn"))

    @cached_property
    def automation_table(self) -> dynamodb.ITable:
        """Table with the item that stores whether automation is paused."""
        return dynamodb.Table.from_table_name(self, "Automation", self._read("automation_table"))

    @property
    def automation_environment(self) -> Mapping[str, str]:
        """Environment to check whether automation is paused; the freeze calendar is that of this stack's last deployment."""
        return automation_environment(self._name, table=self.automation_table, freeze=self._read("freeze"))

    @property
    def audit_environment(self) -> Mapping[str, str]:
        """Environment of a function that appends to an audit chain (``mlops_runtime.rollout.audit_chain``)."""
        return self._records.environment

    def automation_statements(self) -> list[iam.PolicyStatement]:
        """Return the permissions to read whether automation is paused."""
        return automation_statements(self.automation_table, key=self.key)

    def audit_statements(self, name: str) -> list[iam.PolicyStatement]:
        """Return the permissions to write, sign and publish the audit records of one endpoint."""
        return self._records.statements(name)

    def admit_recorder(self, role: iam.IRole) -> None:
        """Let a role sign audit records: adds the tag that the key's policy requires."""
        self._records.admit(role)

    def admit_rules(self) -> None:
        """Warn that the owner's stack must let rules publish to the topic."""
        self._warn_once("admit_rules()")

    def read_from(self, unit: str) -> None:
        """Warn that the owner's stack must allow reads of another unit's data in the permissions boundary."""
        self._warn_once(f"read_from({unit!r})")

    def publish_entry(self, scope: Construct, id: str, entry: Entry) -> ssm.StringParameter:
        """Define the SSM parameter by which the CLI finds a resource of the unit."""
        return define_entry(scope, id, entry=entry)

    def export(self, scope: Construct, part: str) -> str:
        """Export a part that this stack defines, so that it cannot be deleted while others import it; return the export's name."""
        return export_part(scope, unit=self._name, part=part)

    def tag(self, scope: Construct) -> None:
        """Add the unit's tags to a construct and all its children."""
        for key, value in self.tags.items():
            cdk.Tags.of(scope).add(key, value)

    def reach(self, services: Sequence[str]) -> None:
        """Warn of services for which a network that the owner's stack created may have no endpoint."""
        missing = sorted(set(services) - set(INTERFACE_ENDPOINTS))
        if missing:
            self._warn_once(f"reach({missing!r})")

    def own_bucket(self, bucket: s3.Bucket) -> None:
        """Add a bucket to the unit: in DEVELOPMENT it is emptied when it leaves the stack."""
        if not self._profile.keeps_data:
            self._needed_sweeper().sweep_bucket(bucket)

    def revoke_before_sweeps(self, policy: iam.ManagedPolicy, statements: Sequence[Mapping[str, object]]) -> None:
        """Detach a policy from a DEVELOPMENT stack before the stack's resources that it allows writing to are emptied."""
        if self._sweeper is not None:
            self._sweeper.revoke_before(policy, statements)

    def own_registry(self, registry: Construct, *, group_name: str, group_arn: str, packages_arn: str) -> None:
        """Add a model registry to the unit: in DEVELOPMENT its packages are deleted when it leaves the stack."""
        if not self._profile.keeps_data:
            self._needed_sweeper().sweep_packages(
                registry, group_name=group_name, group_arn=group_arn, packages_arn=packages_arn
            )

    def _needed_sweeper(self) -> Sweeper:
        if self._sweeper is None:
            self._sweeper = Sweeper(self, "Sweeper", business_unit=self, access_logs=None)
        return self._sweeper

    @cached_property
    def _records(self) -> AuditRecords:
        return AuditRecords(
            business_unit=self,
            bucket=self._bucket("Audit", "audit_bucket"),
            heads=self._bucket("Heads", "heads_bucket"),
            signing_key=kms.Key.from_key_arn(self, "SigningKey", self._read("signing_key_arn")),
        )

    def _bucket(self, id: str, field: str) -> s3.IBucket:
        return s3.Bucket.from_bucket_attributes(self, id, bucket_name=self._read(field), encryption_key=self.key)

    def _warn_once(self, call: str) -> None:
        if call not in self._warned_calls:
            self._warned_calls.add(call)
            warn(self, IMPORTED_UNIT, unit=self._name, call=call)

    def _read(self, field: str) -> str:
        return read_value(self, unit=self._name, profile=publication(self), field=field)

    def _read_list(self, field: str, count: int) -> list[str]:
        return read_list(self, unit=self._name, profile=publication(self), field=field, count=count)
