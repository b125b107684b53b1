"""The business unit: network, key, topic, bus, buckets, permissions boundary and tags that its constructs share."""

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
from mlops_constructs._functions import admit_bus, define_dead_letter_queue
from mlops_constructs._platform_rules import stack_problems
from mlops_constructs._shared_values import export_part
from mlops_constructs._stack_values import stack_of
from mlops_constructs._unit_resources import (
    admit_rules,
    define_access_logs_bucket,
    define_bucket,
    define_table,
    define_topic,
    mark_state,
)
from mlops_constructs._validation import check_pattern, check_range, is_known, raise_if_any
from mlops_constructs._warnings import DEVELOPMENT_DESTROYS_DATA, SHARED_KEY, warn
from mlops_constructs.business_unit._records import DefinedRecords
from mlops_constructs.business_unit._sweeper import Sweeper
from mlops_constructs.business_unit.automation_access import (
    AutomationAccess,
    FreezeCalendar,
    automation_environment,
    automation_statements,
    define_entry,
    size_problem,
)
from mlops_constructs.business_unit.imported_unit import ImportedBusinessUnit, publish_unit, tag_stack
from mlops_constructs.business_unit.platform_defaults import UNIT_TAGS, PlatformDefaults, tag_problems
from mlops_constructs.business_unit.platform_estate import Platform
from mlops_constructs.business_unit.unit_network import Network, add_endpoints, define_network, define_security_group
from mlops_constructs.business_unit.unit_permissions import (
    define_boundary,
    define_function_policy,
    define_key,
    printed_statements,
)
from mlops_constructs.unit_interface import IBusinessUnit, Profile
from mlops_runtime.business_unit.platform_limits import frozen_by_both, loose_key, loose_network, loose_tags
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.platform_rules import PlatformRules, rules_digest
from mlops_runtime.contracts.unit_entries import Entry, FreezeSpec, UnitEntry, unit_export

_NAME = r"[a-z][a-z0-9-]{0,18}[a-z0-9]"
_NAME_ALLOWED = "2 to 20 lower-case letters, digits or hyphens, starting with a letter"
# https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html
_TAG_VALUE = r"[\w .:/=+@-]{1,256}"


@checked("InvalidBusinessUnit")
class BusinessUnit(Construct):
    """A business unit: the tenant whose resources all its constructs share. Stateful.

    Defines keys, network, buckets for artifacts, audit records, their published heads and access logs, topic, event bus,
    dead-letter queue, the table that stores whether automation is paused, and the permissions boundary of every role. Constructs
    of a unit depend on each other only through it.

    Args:
        scope: Parent.
        id: Construct id.
        name: Name of the unit, in names of endpoints, namespaces and tags: 2 to 20 lower-case letters, digits, hyphens.
        owner: Owner of the unit; tag ``mlops:owner``. Default: the unit's name.
        cost_center: Cost center; tag ``mlops:cost-center``, also of jobs started at run time. Default: the unit's name.
        profile: ``Profile.DEVELOPMENT`` deletes everything with the stack. Default: ``Profile.PRODUCTION``.
        network: Network of functions, jobs and endpoints. Default: a network is created and its price printed at synthesis.
        encryption_key: Key that encrypts all data. Default: one is defined, with rotation.
        platform: Platform whose Terraform estate provides network and key through SSM parameters, which the module
            ``terraform/platform`` writes and CloudFormation reads at each deployment of the stack. Excludes ``network`` and
            ``encryption_key``. Default: no platform.
        freeze: Times in which no model is retrained, approved or promoted. Default: none.
        tags: Further tags of every resource, and of endpoints and jobs created at run time. Default: the unit's own and its
            platform's.
        defaults: Defaults and limits of the platform team, which the unit and its constructs use and may tighten. Default: no
            limits.

    Raises:
        ValidationError: If a name or tag value is not allowed, or a value is looser than the platform's rules.

    Example:
        >>> unit = BusinessUnit(self, "Unit", name="demand")
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        name: str,
        owner: str | None = None,
        cost_center: str | None = None,
        profile: Profile = Profile.PRODUCTION,
        network: Network | None = None,
        encryption_key: kms.IKey | None = None,
        platform: Platform | None = None,
        freeze: FreezeCalendar | None = None,
        tags: Mapping[str, str] | None = None,
        defaults: PlatformDefaults | None = None,
    ) -> None:
        super().__init__(scope, id)
        self._rules = None if defaults is None else defaults.rules
        given = {} if tags is None else tags
        self._validate(name=name, owner=owner, cost_center=cost_center, tags=given)
        if defaults is not None:
            raise_if_any(
                self,
                "LooserThanPlatform",
                _loosened(
                    self,
                    defaults,
                    profile=profile,
                    network=network,
                    key=encryption_key,
                    platform=platform,
                    tags={**given, **_named(owner, cost_center)},
                ),
            )
            platform = defaults.platform if platform is None else platform
            network = defaults.network if network is None else network
            if encryption_key is None and defaults.encryption_key_arn is not None:
                encryption_key = kms.Key.from_key_arn(scope, f"{id}Key", defaults.encryption_key_arn)
        if platform is not None:
            self._check_platform(network=network, encryption_key=encryption_key)
            network, encryption_key = platform.network(scope), platform.key(scope, f"{id}Key")
        self._sweeper: Sweeper | None = None
        self._name = name
        self._owner = name if owner is None else owner
        self._cost_center = name if cost_center is None else cost_center
        self._further_tags = {**given, **({} if self._rules is None else self._rules.tags or {})}
        self._profile = profile
        self._key: kms.IKey = (
            define_key(self, "Key", unit=name, profile=profile) if encryption_key is None else encryption_key
        )
        self._topic = define_topic(self, "Topic", key=self._key)
        self._boundary = define_boundary(self, "Boundary", unit=name)
        self._function_policy = define_function_policy(self, "FunctionPolicy")
        self._define_network(Network.create() if network is None else network)
        self._dead_letter_queue = define_dead_letter_queue(self, "DeadLetters", business_unit=self)
        self._bus = events.EventBus(self, "Bus", kms_key=self._key, dead_letter_queue=self._dead_letter_queue)
        admit_bus(self._dead_letter_queue, self._bus)
        self._access_logs = define_access_logs_bucket(self, "AccessLogs", business_unit=self)
        self._sweeper = self._define_sweeper()
        self._artifacts = define_bucket(self, "Artifacts", business_unit=self)
        self._records = DefinedRecords(self, business_unit=self)
        self._freeze = self._frozen(freeze)
        self._automation_table = define_table(self, "Automation", business_unit=self, partition_key="endpoint")
        for each in (self._artifacts, self._automation_table):
            mark_state(each, business_unit=self)
        self._automation = AutomationAccess(
            business_unit=self,
            table=self._automation_table,
            records=self._records,
            entry=self.publish_entry(self, "Entry", self._entry()),
        )
        publish_unit(self, "Shared", business_unit=self)
        cdk.CfnOutput(
            self,
            "Name",
            value=name,
            export_name=unit_export(name),
            description="The unit; this stack cannot be deleted while another stack imports it",
        )
        self.tag(self)
        tag_stack(self, self._rules)
        if profile is Profile.DEVELOPMENT:
            warn(self, DEVELOPMENT_DESTROYS_DATA, unit=name)
        if encryption_key is not None:
            warn(self, SHARED_KEY, unit=name, statements=printed_statements(stack_of(self)))

    @classmethod
    def from_name(
        cls,
        scope: Construct,
        id: str,
        *,
        name: str,
        profile: Profile = Profile.PRODUCTION,
        subnet_count: int | None = None,
        defaults: PlatformDefaults | None = None,
    ) -> IBusinessUnit:
        """Import a unit that another stack of this account and Region owns.

        Deploy the owner's stack first. The unit's values are read from its SSM parameters at each deployment of this stack, so
        that a changed value takes effect with this stack's next deployment. Functions and rules of this stack use a dead-letter
        queue of their own.

        Args:
            scope: Parent.
            id: Construct id.
            name: Name of the unit, known at synthesis.
            profile: The unit's profile; with another one the deployment is rejected. Default: ``Profile.PRODUCTION``.
            subnet_count: Number of the unit's subnets to use: the length of a list is only known at deployment.
                Default: the profile's number of zones.
            defaults: The value that the owner's stack passes; with another one, or none, the deployment is rejected.
                Default: the unit has no platform.

        Raises:
            ValidationError: If the name or the number is not allowed, or the stack is looser than the platform's rules.

        Example:
            >>> imported = BusinessUnit.from_name(self, "Imported", name="demand")
            >>> imported.name
            'demand'
        """
        raise_if_any(
            scope,
            "InvalidBusinessUnit",
            [
                check_pattern("name", name, pattern=_NAME, allowed=_NAME_ALLOWED)
                if is_known(name)
                else "name must be known at synthesis, as names of SSM parameters contain it; pass a literal",
                check_range("subnet_count", subnet_count, minimum=1, maximum=16),
            ],
        )
        rules = None if defaults is None else defaults.rules
        raise_if_any(scope, "LooserThanPlatform", stack_problems(rules, scope, profile=profile.value))
        return ImportedBusinessUnit(
            scope, id, name=name, profile=profile, subnet_count=subnet_count, platform_rules=rules
        )

    @property
    def name(self) -> str:
        """Name of the unit."""
        return self._name

    @property
    def owner(self) -> str:
        """Owner of the unit."""
        return self._owner

    @property
    def cost_center(self) -> str:
        """Cost center that pays for the unit."""
        return self._cost_center

    @property
    def profile(self) -> Profile:
        """Whether data are retained when the stack is deleted."""
        return self._profile

    @property
    def key(self) -> kms.IKey:
        """Key that encrypts all data."""
        return self._key

    @property
    def vpc(self) -> ec2.IVpc:
        """VPC of functions, jobs and endpoints."""
        return self._vpc

    @property
    def subnets(self) -> ec2.SubnetSelection:
        """Subnets of functions, jobs and endpoints."""
        return self._subnets

    @property
    def subnet_ids(self) -> list[str]:
        """Ids of the subnets."""
        return self._selected_subnets.subnet_ids

    @property
    def availability_zones(self) -> list[str]:
        """Availability Zones of the subnets, in their order: names or tokens."""
        return self._selected_subnets.availability_zones

    @cached_property
    def _selected_subnets(self) -> ec2.SelectedSubnets:
        return self._vpc.select_subnets(
            subnets=self._subnets.subnets,
            subnet_type=self._subnets.subnet_type,
            subnet_group_name=self._subnets.subnet_group_name,
            subnet_filters=self._subnets.subnet_filters,
            availability_zones=self._subnets.availability_zones,
            one_per_az=self._subnets.one_per_az,
        )

    @property
    def security_group(self) -> ec2.ISecurityGroup:
        """Security group of functions, jobs and endpoints, without ingress rules."""
        return self._security_group

    @property
    def connectivity_established(self) -> IDependable:
        """Routes and VPC endpoints of a created network, including those that ``reach`` adds later; empty for an existing network.

        The unit's security group depends on it; so must any other security group that is used in this network.
        """
        return self._connectivity

    @property
    def topic(self) -> sns.ITopic:
        """Topic of alarms and approval requests."""
        return self._topic

    @property
    def bus(self) -> events.IEventBus:
        """Bus of the unit's own events."""
        return self._bus

    @property
    def dead_letter_queue(self) -> sqs.IQueue:
        """Queue of events and invocations that could not be delivered or processed, with an alarm."""
        return self._dead_letter_queue

    @property
    def artifacts(self) -> s3.IBucket:
        """Bucket of specs, models, evaluations and reports."""
        return self._artifacts

    @property
    def audit_bucket(self) -> s3.IBucket:
        """Bucket of audit records and their seals; in PRODUCTION, Object Lock prevents deletion for at least a year."""
        return self._records.bucket

    @property
    def heads_bucket(self) -> s3.IBucket:
        """Bucket of published heads of the audit chains; its objects are write-once."""
        return self._records.heads

    @property
    def signing_key(self) -> kms.IKey:
        """Key that signs the audit records of endpoints, ECC_NIST_P256; only recorders may use it."""
        return self._records.signing_key

    @property
    def audit_environment(self) -> Mapping[str, str]:
        """Environment of a function that appends to an audit chain (``mlops_runtime.rollout.audit_chain``)."""
        return self._records.environment

    @property
    def access_logs(self) -> s3.IBucket:
        """Bucket that receives the access logs of the other buckets."""
        return self._access_logs

    @property
    def permissions_boundary(self) -> iam.IManagedPolicy:
        """Permissions boundary of every role of the unit."""
        return self._boundary.policy

    @property
    def function_policy(self) -> iam.IManagedPolicy:
        """Policy for network interfaces and traces, for the roles of functions."""
        return self._function_policy

    @property
    def platform_rules(self) -> PlatformRules | None:
        """Rules of the platform for the unit and its constructs; None without a platform."""
        return self._rules

    @property
    def tags(self) -> Mapping[str, str]:
        """Tags of every resource of the unit, and of jobs started at run time (``contracts.JobTags``)."""
        own = {"mlops:unit": self._name, "mlops:owner": self._owner, "mlops:cost-center": self._cost_center}
        return {**own, **self._further_tags}

    @property
    def automation_table(self) -> dynamodb.ITable:
        """Table with the item that stores whether automation is paused, and the head of the unit's own audit chain."""
        return self._automation_table

    @property
    def automation_environment(self) -> Mapping[str, str]:
        """Environment of a function that checks for pauses and freezes (``mlops_runtime.business_unit.automation``)."""
        return automation_environment(
            self._name, table=self._automation_table, freeze=canonical_json(self._freeze).decode()
        )

    def automation_statements(self) -> list[iam.PolicyStatement]:
        """Return the permissions to read whether automation is paused."""
        return automation_statements(self._automation_table, key=self._key)

    def audit_statements(self, name: str) -> list[iam.PolicyStatement]:
        """Return the permissions to write, sign and publish the audit records of one endpoint.

        Args:
            name: Name of the endpoint; the function also needs permission to update the endpoint's item.
        """
        return self._records.statements(name)

    def admit_recorder(self, role: iam.IRole) -> None:
        """Let a role sign audit records, by the tag that the key's policy requires; the role's own policy must allow it too.

        Args:
            role: Role of a function that writes audit records.
        """
        self._records.admit(role)

    def grant_verify(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant verifying the audit chains: reading records, seals, published heads and the public keys.

        Args:
            grantee: Principal, such as the auditors' role. It reads the items with ``rollout.table.grant_read_data``.
        """
        return self._records.grant_verify(grantee)

    def grant_pause(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant pausing and resuming the unit's automation with ``mlops pause`` and ``mlops resume``.

        Args:
            grantee: Principal, such as the role of the on-call team.
        """
        return self._automation.grant_pause(grantee)

    def admit_rules(self) -> None:
        """Let rules publish to the unit's topic; required for ``DriftAlarms`` in another stack of the unit."""
        admit_rules(self._topic)

    def read_from(self, unit: str) -> None:
        """Let roles of this unit read another unit's data, if their policies allow it; the boundary denies all other access to it.

        Args:
            unit: Name of the other unit.
        """
        self._boundary.admit_reads(unit)

    def publish_entry(self, scope: Construct, id: str, entry: Entry) -> ssm.StringParameter:
        """Define the SSM parameter by which the CLI finds a resource of the unit.

        Args:
            scope: Parent.
            id: Construct id.
            entry: Content of the parameter; values may be tokens.
        """
        return define_entry(scope, id, entry=entry)

    def export(self, scope: Construct, part: str) -> str | None:
        """Export a part that another stack of the app defines, so that it cannot be deleted while others import it.

        Args:
            scope: The construct that defines the part.
            part: Name of the part, such as ``features``.

        Returns:
            Name of the export; None in the unit's own stack, which has the unit's export.
        """
        return None if stack_of(scope) is stack_of(self) else export_part(scope, unit=self.name, part=part)

    def tag(self, scope: Construct) -> None:
        """Add the unit's tags to a construct and all its children.

        Args:
            scope: The construct.
        """
        tags = cdk.Tags.of(scope)
        for key, value in self.tags.items():
            tags.add(key, value)

    def reach(self, services: Sequence[str]) -> None:
        """Add interface endpoints to a created network and print their price; an existing network must reach the services already.

        Args:
            services: Short names in AWS PrivateLink, such as ``eks``.
        """
        if self._made is not None:
            add_endpoints(
                self,
                self._vpc,
                business_unit=self,
                network=self._made,
                services=services,
                connectivity=self._connectivity,
            )

    def own_bucket(self, bucket: s3.Bucket) -> None:
        """Add a bucket to the unit: in DEVELOPMENT it is emptied when it leaves the stack."""
        if self._sweeper is not None:
            self._sweeper.sweep_bucket(bucket)

    def revoke_before_sweeps(self, policy: iam.ManagedPolicy, statements: Sequence[Mapping[str, object]]) -> None:
        """Detach a policy from a DEVELOPMENT stack before the resources that it allows writing to are emptied.

        Args:
            policy: Policy that is deleted before objects and packages are.
            statements: Its statements as JSON; the buckets and registries in them must have been added to the unit before.
        """
        if self._sweeper is not None:
            self._sweeper.revoke_before(policy, statements)

    def own_registry(self, registry: Construct, *, group_name: str, group_arn: str, packages_arn: str) -> None:
        """Add a model registry to the unit: in DEVELOPMENT its packages are deleted when it leaves the stack.

        Args:
            registry: Construct below which the deletion of its packages is defined.
            group_name: Name of its model package group, in the deletion's request.
            group_arn: ARN of its model package group, for the deletion's permissions.
            packages_arn: ARN pattern of its packages.
        """
        if self._sweeper is not None:
            self._sweeper.sweep_packages(
                registry, group_name=group_name, group_arn=group_arn, packages_arn=packages_arn
            )

    def _frozen(self, freeze: FreezeCalendar | None) -> FreezeSpec:
        own = FreezeSpec() if freeze is None else freeze.spec
        if self._rules is None:
            return own
        both = frozen_by_both(self._rules, own)
        raise_if_any(self, "InvalidFreezeCalendar", [size_problem(both)])
        return both

    def _validate(self, *, name: str, owner: str | None, cost_center: str | None, tags: Mapping[str, str]) -> None:
        tag_value = "1 to 256 letters, digits, spaces or .:/=+@-_"
        raise_if_any(
            self,
            "InvalidBusinessUnit",
            [
                check_pattern("name", name, pattern=_NAME, allowed=_NAME_ALLOWED),
                check_pattern("owner", owner, pattern=_TAG_VALUE, allowed=tag_value),
                check_pattern("cost_center", cost_center, pattern=_TAG_VALUE, allowed=tag_value),
                *tag_problems("tags", tags),
            ],
        )

    def _check_platform(self, *, network: Network | None, encryption_key: kms.IKey | None) -> None:
        given = [
            name for name, value in (("network", network), ("encryption_key", encryption_key)) if value is not None
        ]
        problems = [f"{name} must not be set together with platform, which provides it; remove it" for name in given]
        raise_if_any(self, "InvalidBusinessUnit", problems)

    def _entry(self) -> UnitEntry:
        return UnitEntry(
            unit=self._name,
            automation_table=self._automation_table.table_name,
            audit_bucket=self._records.bucket.bucket_name,
            artifacts_bucket=self._artifacts.bucket_name,
            bus=self._bus.event_bus_name,
            freeze=self._freeze if self._freeze.windows else None,
            heads_bucket=self._records.heads.bucket_name,
            signing_key=self._records.signing_key.key_arn,
            pause_key=self._records.pause_key.key_arn,
            owner=self._owner,
            cost_center=self._cost_center,
            platform=None if self._rules is None else self._rules.platform,
            platform_rules=None if self._rules is None else rules_digest(self._rules),
        )

    def _define_network(self, network: Network) -> None:
        self._vpc: ec2.IVpc
        self._made: Network | None = None
        self._connectivity = DependencyGroup()
        if network.vpc is not None:
            self._vpc = network.vpc
            self._subnets = ec2.SubnetSelection() if network.subnets is None else network.subnets
        elif network.shared_vpc_id is not None:
            self._vpc = ec2.Vpc.from_vpc_attributes(
                self,
                "Network",
                vpc_id=network.shared_vpc_id,
                availability_zones=list(network.shared_zones),
                isolated_subnet_ids=list(network.shared_subnet_ids),
            )
            self._subnets = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)
        else:
            self._made = network
            self._vpc = define_network(
                self, "Network", business_unit=self, network=network, connectivity=self._connectivity
            )
            self._subnets = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)
        self._security_group: ec2.ISecurityGroup = (
            define_security_group(
                self, "SecurityGroup", vpc=self._vpc, unit=self._name, connectivity=self._connectivity
            )
            if network.security_group is None
            else network.security_group
        )

    def _define_sweeper(self) -> Sweeper | None:
        if self._profile is not Profile.DEVELOPMENT:
            return None
        return Sweeper(self, "Sweeper", business_unit=self, access_logs=self._access_logs)


def _named(owner: str | None, cost_center: str | None) -> dict[str, str]:
    return {key: value for key, value in zip(UNIT_TAGS, (owner, cost_center), strict=True) if value is not None}


def _loosened(
    scope: Construct,
    defaults: PlatformDefaults,
    *,
    profile: Profile,
    network: Network | None,
    key: kms.IKey | None,
    platform: Platform | None,
    tags: Mapping[str, str],
) -> list[str]:
    """Return the platform rules that a unit's arguments violate; omitted arguments use the platform's values."""
    rules = defaults.rules
    # the platform sets its fixed tags: only a different value is a problem
    loose = [*loose_tags(rules, {**(rules.tags or {}), **tags})]
    if network is not None:
        loose += loose_network(rules, network.shared_vpc_id, network.shared_subnet_ids)
    if key is not None:
        loose += loose_key(rules, key.key_arn)
    problems = [*stack_problems(rules, scope, profile=profile.value), *(each.message(rules.platform) for each in loose)]
    if defaults.platform is not None:
        given = {"platform": platform, "network": network, "encryption_key": key}
        problems += [
            f"platform of platform {rules.platform!r}: estate {rules.estate!r}, got another {name}; remove {name}"
            for name, value in given.items()
            if value is not None and value != defaults.platform
        ]
    return problems
