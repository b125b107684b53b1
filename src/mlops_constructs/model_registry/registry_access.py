"""Base of defined and imported model registries: grants on packages, approval, and notifications."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, get_args

import aws_cdk as cdk
import jsii
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_ssm as ssm

from constructs import Construct
from mlops_constructs._platform_rules import approval_problems, longest_approval
from mlops_constructs._roles import allow, key_statement
from mlops_constructs._shared_values import import_part
from mlops_constructs._stack_values import stack_of, stack_values
from mlops_constructs._validation import ValidationError, check_pattern, is_known, raise_if_any
from mlops_constructs.model_registry.approval import DEFAULT_TIMEOUT, Approval, waiting_message, waiting_notification
from mlops_constructs.model_registry.package_permissions import READ, UPDATE, status_conditions
from mlops_constructs.promotion.environment import Environment
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.model_manifest import TRUSTED, Trust
from mlops_runtime.registry.model_package import MLOPS_TRUST
from mlops_runtime.registry.package_approval import registry_parameter

PIPELINE_NAME = r"[A-Za-z0-9-]+"
PIPELINE_NAME_ALLOWED = "letters, digits and hyphens"
# "<unit>-<name>" is also the endpoint's name, of at most 63 characters, and the start of job names
_NAME = r"[a-z][a-z0-9-]{0,18}[a-z0-9]"


_TRUSTS = get_args(Trust)


def _trust_problem(trust: Sequence[str]) -> str | None:
    if "data" in trust and len(set(trust)) == len(trust) and set(trust) <= set(_TRUSTS):
        return None
    allowed = ", ".join(map(repr, _TRUSTS))
    return f"trust must contain 'data', which every ONNX model is, and may contain the others of {allowed} once, got {trust!r}"


class RegistryBase(Construct):
    """A model package group identified by name, with its approval rule."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        business_unit: IBusinessUnit,
        name: str,
        approval: Approval | None,
        trust: Sequence[Trust],
    ) -> None:
        super().__init__(scope, id)
        allowed = "2 to 20 lower-case letters, digits or hyphens, starting with a letter"
        problems = [check_pattern("name", name, pattern=_NAME, allowed=allowed), _trust_problem(trust)]
        approval = Approval.manual(timeout=longest_approval(business_unit)) if approval is None else approval
        timeout = DEFAULT_TIMEOUT if approval.timeout is None else approval.timeout
        problems += approval_problems(business_unit, is_automatic=approval.is_automatic, timeout=timeout)
        raise_if_any(self, "InvalidModelRegistry", problems)
        self._trust = tuple(sorted(trust, key=_TRUSTS.index))
        self._unit = business_unit
        self._group_name = f"{business_unit.name}-{name}"
        self._approval = approval
        raise_if_any(self, "InvalidModelRegistry", [self._chat_problem()])
        self._group_arn: str
        self._entry_arn: str
        self._approver: iam.IRole
        self._pipelines: list[str] = []
        self._readers: list[tuple[str, Callable[[str], None]]] = []

    @property
    def business_unit(self) -> IBusinessUnit:
        """Owning business unit."""
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
        return stack_values(self).format_arn(
            service="sagemaker", resource="model-package", resource_name=f"{self._group_name}/*"
        )

    @property
    def approval(self) -> Approval:
        """How packages become approved."""
        return self._approval

    @property
    def trust(self) -> tuple[Trust, ...]:
        """What loading a model may involve."""
        return self._trust

    @property
    def shares_images_of(self) -> Environment | None:
        """Environment whose ECR registry endpoints use for images missing in this account's; ``None`` without shared images."""
        return None

    @property
    def trust_environment(self) -> Mapping[str, str]:
        """Environment variables with the trust, for jobs and functions; empty for the default trust."""
        return {} if self._trust == TRUSTED else {MLOPS_TRUST: ",".join(self._trust)}

    @property
    def approver_role(self) -> iam.IRole:
        """Role in which people approve: the given role, or the registry's own."""
        return self._approver

    @property
    def topic(self) -> sns.ITopic:
        """Topic notified when a package awaits approval."""
        return self._unit.topic if self._approval.topic is None else self._approval.topic

    def serve(self, endpoint: str, read_models_of: Callable[[str], None]) -> None:
        """Add an endpoint: packages can be approved whose models it can load, which are its own and those of each pipeline.

        Args:
            endpoint: Name of the endpoint, whose role reads the unit's ``models/<endpoint>/``.
            read_models_of: Grants that role read access to the models of a pipeline with another name.
        """
        for pipeline in self._pipelines:
            if pipeline != endpoint:
                read_models_of(pipeline)
        self._readers.append((endpoint, read_models_of))

    def promoted_by(self, endpoint: str, table: dynamodb.ITable) -> None:
        """Do nothing: an imported registry is released by the stack that owns it.

        Args:
            endpoint: Name of the endpoint that deployed the models.
            table: Its rollout table.
        """

    def retrained_by(self, pipeline: str) -> bool:
        """Return false: targets of an imported registry send retraining requests to pipelines of the stack that owns it."""
        del pipeline
        return False

    def register_from(self, pipeline: str) -> None:
        """Allow the group's endpoints to load models that a pipeline registers.

        Args:
            pipeline: Name of the pipeline, ``<unit>-<name>``.
        """
        self._pipelines.append(pipeline)
        for endpoint, read_models_of in self._readers:
            if pipeline != endpoint:
                read_models_of(pipeline)

    def approve_statements(self) -> list[iam.PolicyStatement]:
        """Return the permission to set packages to approved, for a state machine; empty unless the approval is automatic."""
        if not self._approval.is_automatic:
            return []
        return [allow(UPDATE, self.packages_arn, conditions=status_conditions("Approved"))]

    def waiting_message(self, variables: Mapping[str, str]) -> dict[str, object]:
        """Return the arguments of ``sns:publish`` for the message that a package awaits approval.

        Args:
            variables: Expressions; see ``mlops_constructs.model_registry.approval.waiting_message``.
        """
        return waiting_message(topic_arn=self.topic.topic_arn, **self._waiting(variables))

    def waiting_notification(self, variables: Mapping[str, str]) -> dict[str, object] | None:
        """Return the arguments of ``sns:publish`` for the chat notification; ``None`` without a chat topic.

        Args:
            variables: Expressions; see ``waiting_message``.
        """
        topic = self._approval.chat_topic
        return None if topic is None else waiting_notification(topic_arn=topic.topic_arn, **self._waiting(variables))

    def _waiting(self, variables: Mapping[str, str]) -> dict[str, Any]:
        return {
            "group_name": self._group_name,
            "days": self._timeout_seconds / 86400,
            "approver_arn": self.approver_role.role_arn,
            "variables": variables,
        }

    def notify_statements(self) -> list[iam.PolicyStatement]:
        """Return the permissions to publish these messages, for a state machine."""
        topics = [topic for topic in (self.topic, self._approval.chat_topic) if topic is not None]
        keys = [self._unit.key if topic is self._unit.topic else topic.master_key for topic in topics]
        publish = allow("sns:Publish", *(topic.topic_arn for topic in topics))
        # one statement per key, as topics may share a key
        used = {key.key_arn: key for key in keys if key is not None}
        return [publish, *(key_statement(key, services=["sns"]) for key in used.values())]

    def _chat_problem(self) -> str | None:
        if self._approval.chat_topic is None or self._approval.chat_topic not in (self._unit.topic, self.topic):
            return None
        return "chat_topic must differ from the unit's topic and the approval's topic, whose email subscribers would get JSON"

    def grant_read(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant listing and reading the packages.

        Args:
            grantee: Principal to grant access to.
        """
        return iam.Grant.add_to_principal(
            grantee=grantee, actions=list(READ), resource_arns=[self._group_arn, self.packages_arn]
        )

    def grant_approve(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant setting packages to approved or rejected, and no other change. Do not grant it to a role that trains models.

        Rollouts accept only approvals by ``approver_role`` or by machines of an automatic approval.

        Args:
            grantee: Principal to grant access to.
        """
        return iam.Grant.add_to_principal(
            grantee=grantee,
            actions=[UPDATE],
            resource_arns=[self.packages_arn],
            conditions=status_conditions("Approved", "Rejected"),
        ).combine(self.grant_read(grantee))

    def grant_review(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant ``mlops models show`` and, if the registry defines the approver role, ``approve`` and ``reject``.

        The grantee may read packages, evaluations, gate results and the approval rule, and assume the registry's approver role.

        Args:
            grantee: Principal to grant access to, such as the role of the unit's lead.
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
            iam.Grant.add_to_principal(grantee=grantee, actions=["ssm:GetParameter"], resource_arns=[self._entry_arn]),
        ]
        if self._approval.approver is None:
            grants.append(self.approver_role.grant_assume_role(grantee.grant_principal))
        return reduce(iam.Grant.combine, grants)

    def _locations(self) -> list[str]:
        """Return the S3 prefixes that model artifacts must have for endpoints of this stack; empty without endpoints."""
        names = dict.fromkeys([*(endpoint for endpoint, _ in self._readers), *self._pipelines])
        models = f"s3://{self._unit.artifacts.bucket_name}/models"
        return [f"{models}/{name}/" for name in names] if self._readers else []

    @property
    def _timeout_seconds(self) -> int:
        timeout = DEFAULT_TIMEOUT if self._approval.timeout is None else self._approval.timeout
        return int(timeout.to_seconds(integral=False))


class ImportedRegistry(RegistryBase):
    """A registry that another stack of the unit defines; see ``ModelRegistry.from_registry_name``."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        business_unit: IBusinessUnit,
        name: str,
        approval: Approval | None,
        trust: Sequence[Trust],
        pipelines: Sequence[str],
    ) -> None:
        super().__init__(scope, id, business_unit=business_unit, name=name, approval=approval, trust=trust)
        names = {"name": name, "business_unit.name": business_unit.name}
        raise_if_any(
            self,
            "InvalidModelRegistry",
            [
                *(
                    f"{each} must be known at synthesis, as the name of an SSM parameter contains it; pass a literal"
                    for each, value in names.items()
                    if not is_known(value)
                ),
                *(
                    check_pattern("pipelines", each, pattern=PIPELINE_NAME, allowed=PIPELINE_NAME_ALLOWED)
                    for each in pipelines
                ),
            ],
        )
        self._pipelines = [f"{business_unit.name}-{each}" for each in pipelines]
        stack, entry = stack_values(self), registry_parameter(unit=business_unit.name, group=self._group_name)
        self._entry_name = entry
        import_part(self, unit=business_unit.name, entry=entry)
        self._group_arn = stack.format_arn(
            service="sagemaker", resource="model-package-group", resource_name=self._group_name
        )
        self._entry_arn = stack.format_arn(service="ssm", resource="parameter", resource_name=entry.lstrip("/"))

    @property
    def approver_role(self) -> iam.IRole:
        """Role in which people approve.

        Raises:
            ValidationError: If the import did not name it.
        """
        if self._approval.approver is None:
            fix = "import the registry with approval=Approval.manual(approver=...)"
            raise ValidationError(
                "UnknownApprover", [f"the approver role of {self._group_name!r} is unknown; {fix}"], self
            )
        return self._approval.approver

    @property
    def approval_environment(self) -> Mapping[str, str]:
        """Environment variables with the owner's approval rule, as of this stack's deployment, for functions."""
        return {
            "REGISTRY": ssm.StringParameter.value_for_string_parameter(self, self._entry_name),
            "MODELS": stack_of(self).to_json_string(cdk.Lazy.list(Listed(self._locations))),
        }

    def approve_by_policy(self, machine_role: iam.IRole) -> None:
        """Do nothing, or fail if the approval is automatic.

        Args:
            machine_role: Role of the state machine that registers packages.

        Raises:
            ValidationError: If the approval is automatic.
        """
        del machine_role
        if self._approval.is_automatic:
            fix = (
                "define the pipeline in the registry's own stack, a ModelRegistry(...) in this one, or let people approve with "
                "approval=Approval.manual(...)"
            )
            raise ValidationError(
                "RegistryOfAnotherStack",
                [
                    f"registry {self._group_name!r} is imported, so pipelines of this stack cannot approve its packages: the "
                    f"owning stack sets the valid approvers; {fix}"
                ],
                self,
            )


@jsii.implements(cdk.IStableAnyProducer)
class Deferred:
    """A lazy value, left out of the template if it is ``None``.

    Args:
        value: Returns the value at synthesis.
    """

    def __init__(self, value: Callable[[], object]) -> None:
        self._value = value

    def produce(self) -> object:
        """Return the value."""
        return self._value()


@jsii.implements(cdk.IStableListProducer)
class Listed:
    """A lazy list, as pipelines and endpoints are defined after their registry.

    Args:
        values: Returns the list at synthesis.
    """

    def __init__(self, values: Callable[[], list[str]]) -> None:
        self._values = values

    def produce(self) -> list[str]:
        """Return the list."""
        return self._values()
