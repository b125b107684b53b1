"""The registry of one model: its packages, who approves them, and how people hear that one waits."""

from collections.abc import Mapping
from functools import reduce

import aws_cdk as cdk
import jsii
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sagemaker as sagemaker
from aws_cdk import aws_sns as sns
from aws_cdk import aws_ssm as ssm

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._roles import key_statement
from mlops_constructs._validation import check_pattern, raise_if_any
from mlops_constructs.model_registry.approval import DEFAULT_TIMEOUT, Approval, waiting_message
from mlops_constructs.model_registry.package_permissions import (
    READ,
    UPDATE,
    define_approver,
    mark_approver,
    status_conditions,
)
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts import to_dict
from mlops_runtime.registry.package_approval import ApprovalRule, RegistryEntry, registry_parameter

# "<unit>-<name>" is also the endpoint's name, of at most 63 characters, and the start of job names
_NAME = r"[a-z][a-z0-9-]{0,18}[a-z0-9]"


@checked("InvalidModelRegistry")
class ModelRegistry(Construct):
    """Define the package group of one model. Stateful.

    Defines the group, the role in which people approve its packages where none is given, and the parameter by which the command
    finds both. In PRODUCTION the group stays when the stack goes; ``cdk import`` takes it back. Its description cannot be edited:
    CloudFormation would replace the group, which fails while it has packages.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit.
        name: Name of the model: 2 to 20 lower-case letters, digits, hyphens; the group is ``<unit>-<name>``.
        approval: How a package that passed the gate becomes approved. Default: by a person, who hears of it on the unit's topic.

    Raises:
        ValidationError: If the name is not allowed.

    Example:
        >>> registry = ModelRegistry(self, "Registry", business_unit=unit, name="forecast", approval=Approval.automatic())
    """

    def __init__(
        self, scope: Construct, id: str, *, business_unit: IBusinessUnit, name: str, approval: Approval | None = None
    ) -> None:
        super().__init__(scope, id)
        allowed = "2 to 20 lower-case letters, digits or hyphens, starting with a letter"
        raise_if_any(self, "InvalidModelRegistry", [check_pattern("name", name, pattern=_NAME, allowed=allowed)])
        self._unit = business_unit
        self._group_name = f"{business_unit.name}-{name}"
        self._approval = Approval.manual() if approval is None else approval
        self._machines, self._locations = _Listed(), _Listed()
        group = sagemaker.CfnModelPackageGroup(
            self,
            "Resource",
            model_package_group_name=self._group_name,
            # create-only: another text would replace the group
            model_package_group_description=f"Packages of model {name} of business unit {business_unit.name}",
        )
        group.apply_removal_policy(business_unit.profile.removal_policy)
        self._group_arn = group.attr_model_package_group_arn
        self._approver = self._define_approver()
        self._entry = self._define_entry()
        business_unit.own_registry(
            self, group_name=self._group_name, group_arn=self._group_arn, packages_arn=self.packages_arn
        )
        business_unit.tag(self)

    @property
    def business_unit(self) -> IBusinessUnit:
        """The unit that owns it."""
        return self._unit

    @property
    def group_name(self) -> str:
        """Name of the package group, ``<unit>-<name>``."""
        return self._group_name

    @property
    def group_arn(self) -> str:
        """ARN of the package group."""
        return self._group_arn

    @property
    def packages_arn(self) -> str:
        """ARN pattern of the packages in the group."""
        return cdk.Stack.of(self).format_arn(
            service="sagemaker", resource="model-package", resource_name=f"{self._group_name}/*"
        )

    @property
    def approval(self) -> Approval:
        """How a package becomes approved."""
        return self._approval

    @property
    def approver_role(self) -> iam.IRole:
        """Role in which people approve: the one given, or the registry's own."""
        return self._approver

    @property
    def topic(self) -> sns.ITopic:
        """Topic that tells people which package waits."""
        return self._unit.topic if self._approval.topic is None else self._approval.topic

    @property
    def approval_environment(self) -> Mapping[str, str]:
        """Environment by which a function knows whose approvals count (``mlops_runtime.registry.ApprovalRule``)."""
        return {"APPROVAL": cdk.Stack.of(self).to_json_string(self._render_rule())}

    def approve_statements(self) -> list[iam.PolicyStatement]:
        """Return what a machine needs to approve by policy; it may set nothing else. Empty where a person approves."""
        if not self._approval.is_automatic:
            return []
        return [
            iam.PolicyStatement(
                actions=[UPDATE], resources=[self.packages_arn], conditions=status_conditions("Approved")
            )
        ]

    def approve_by_policy(self, machine_role: iam.IRole) -> None:
        """Let a machine's approvals count, where the approval is automatic; without effect where a person approves.

        Args:
            machine_role: Role of the machine that registers packages.
        """
        if self._approval.is_automatic:
            self._machines.values.append(machine_role.role_arn)
            mark_approver(machine_role)

    def serve_from(self, location: str) -> None:
        """Let packages be approved whose artefact lies below a location; one that no endpoint may read is refused at approval.

        Args:
            location: Where the role of an endpoint of the group may read models: ``s3://<bucket>/models/<endpoint>/``.
        """
        self._locations.values.append(location)

    def waiting_message(self, variables: Mapping[str, str]) -> dict[str, object]:
        """Return the arguments of ``sns:publish`` that tell people that a package waits.

        Args:
            variables: Expressions, as ``mlops_constructs.model_registry.approval.waiting_message`` wants them.
        """
        return waiting_message(
            topic_arn=self.topic.topic_arn,
            group_name=self._group_name,
            days=self._timeout_seconds / 86400,
            approver_arn=self._approver.role_arn,
            variables=variables,
        )

    def notify_statements(self) -> list[iam.PolicyStatement]:
        """Return what a machine needs to publish that message."""
        topic = self.topic
        key = self._unit.key if self._approval.topic is None else topic.master_key
        publish = iam.PolicyStatement(actions=["sns:Publish"], resources=[topic.topic_arn])
        return [publish] if key is None else [publish, key_statement(key, services=["sns"])]

    def grant_read(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let somebody list and read the packages.

        Args:
            grantee: Who.
        """
        return iam.Grant.add_to_principal(
            grantee=grantee, actions=list(READ), resource_arns=[self._group_arn, self.packages_arn]
        )

    def grant_approve(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let somebody set a package to approved or rejected, and change nothing else without that. Never grant it to what trains.

        An approval counts only in ``approver_role``: rollouts refuse any other.

        Args:
            grantee: Who.
        """
        return iam.Grant.add_to_principal(
            grantee=grantee,
            actions=[UPDATE],
            resource_arns=[self.packages_arn],
            conditions=status_conditions("Approved", "Rejected"),
        ).combine(self.grant_read(grantee))

    def grant_review(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let somebody use ``mlops models show``, and ``approve`` and ``reject`` where the registry's own role approves.

        That is: read the packages, their evaluations and the gate's results, the rule, and take the approvers' role.

        Args:
            grantee: Who, such as the role of the unit's lead.
        """
        artifacts = self._unit.artifacts
        key = key_statement(self._unit.key, services=["s3"], actions=["kms:Decrypt"])
        grants = [
            self.grant_read(grantee),
            iam.Grant.add_to_principal(
                grantee=grantee,
                actions=["s3:GetObject"],
                resource_arns=[artifacts.arn_for_objects(f"{folder}/*") for folder in ("evaluations", "gates")],
            ),
            iam.Grant.add_to_principal(
                grantee=grantee,
                actions=key.actions,
                resource_arns=key.resources,
                conditions=key.conditions,
            ),
            iam.Grant.add_to_principal(
                grantee=grantee, actions=["ssm:GetParameter"], resource_arns=[self._entry.parameter_arn]
            ),
        ]
        if self._approval.approver is None:
            grants.append(self._approver.grant_assume_role(grantee.grant_principal))
        return reduce(iam.Grant.combine, grants)

    @property
    def _timeout_seconds(self) -> int:
        timeout = DEFAULT_TIMEOUT if self._approval.timeout is None else self._approval.timeout
        return int(timeout.to_seconds(integral=False))

    def _define_approver(self) -> iam.IRole:
        if self._approval.approver is not None:
            self.grant_approve(self._approval.approver)
            return self._approval.approver
        return define_approver(
            self,
            "Approver",
            group_name=self._group_name,
            group_arn=self._group_arn,
            packages_arn=self.packages_arn,
            boundary=self._unit.permissions_boundary,
        )

    def _define_entry(self) -> ssm.IStringParameter:
        entry = RegistryEntry(group=self._group_name, unit=self._unit.name, rule=ApprovalRule())
        return ssm.StringParameter(
            self,
            "Entry",
            parameter_name=registry_parameter(unit=self._unit.name, group=self._group_name),
            simple_name=False,  # a unit's name may be known at deployment only
            string_value=cdk.Stack.of(self).to_json_string({**to_dict(entry), "rule": self._render_rule()}),
            description=f"What the command mlops knows of {self._group_name}",
        )

    def _render_rule(self) -> dict[str, object]:
        rule = ApprovalRule(approvers=(self._approver.role_arn,), timeout_seconds=self._timeout_seconds)
        # pipelines and endpoints are defined later: they are known when the template is written
        later = {"machines": cdk.Lazy.list(self._machines), "artifacts": cdk.Lazy.list(self._locations)}
        return {**to_dict(rule), **later}


@jsii.implements(cdk.IStableListProducer)
class _Listed:
    """What is added to a rule after it was rendered."""

    def __init__(self) -> None:
        self.values: list[str] = []

    def produce(self) -> list[str]:
        return self.values
