"""Interface of a model registry, defined in the stack or imported."""

from collections.abc import Callable, Mapping
from typing import Protocol

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam

from mlops_constructs.model_registry.approval import Approval
from mlops_constructs.promotion.environment import Environment
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.model_manifest import Trust


class IModelRegistry(Protocol):
    """The package group of one model, with its approval rule."""

    @property
    def business_unit(self) -> IBusinessUnit:
        """Owning business unit."""
        ...

    @property
    def group_name(self) -> str:
        """Name of the package group, ``<unit>-<name>``."""
        ...

    @property
    def group_arn(self) -> str:
        """ARN of the package group."""
        ...

    @property
    def packages_arn(self) -> str:
        """ARN pattern of the packages in the group."""
        ...

    @property
    def approval(self) -> Approval:
        """How packages become approved."""
        ...

    @property
    def trust(self) -> tuple[Trust, ...]:
        """What loading a model may involve."""
        ...

    @property
    def trust_environment(self) -> Mapping[str, str]:
        """Environment variables with the trust, for jobs and functions; empty for the default trust."""
        ...

    @property
    def approver_role(self) -> iam.IRole:
        """Role in which people approve."""
        ...

    @property
    def approval_environment(self) -> Mapping[str, str]:
        """Environment variables with the approval rule, for functions (``mlops_runtime.registry.ApprovalRule``)."""
        ...

    @property
    def shares_images_of(self) -> Environment | None:
        """Environment whose ECR registry endpoints use for images missing in this account's; ``None`` without shared images."""
        ...

    def approve_statements(self) -> list[iam.PolicyStatement]:
        """Return the permission to set packages to approved, for a state machine; empty unless the approval is automatic."""
        ...

    def approve_by_policy(self, machine_role: iam.IRole) -> None:
        """Add a state machine to the valid approvers, if the approval is automatic."""
        ...

    def serve(self, endpoint: str, read_models_of: Callable[[str], None]) -> None:
        """Add an endpoint: packages can be approved whose models it can load, which are its own and those of each pipeline."""
        ...

    def promoted_by(self, endpoint: str, table: dynamodb.ITable) -> None:
        """Release models that an endpoint deployed to other environments, if the registry has any."""
        ...

    def retrained_by(self, pipeline: str) -> bool:
        """Forward retraining requests of targets to a pipeline; return whether the registry has targets."""
        ...

    def register_from(self, pipeline: str) -> None:
        """Allow the group's endpoints to load models that a pipeline registers."""
        ...

    def waiting_message(self, variables: Mapping[str, str]) -> dict[str, object]:
        """Return the arguments of ``sns:publish`` for the message that a package awaits approval."""
        ...

    def waiting_notification(self, variables: Mapping[str, str]) -> dict[str, object] | None:
        """Return the arguments of ``sns:publish`` for the chat notification; ``None`` without a chat topic."""
        ...

    def notify_statements(self) -> list[iam.PolicyStatement]:
        """Return the permissions to publish these messages, for a state machine."""
        ...

    def grant_read(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant listing and reading the packages."""
        ...

    def grant_approve(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant setting a package to approved or rejected."""
        ...

    def grant_review(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant ``mlops models show`` and, if the registry defines the approver role, ``approve`` and ``reject``."""
        ...
