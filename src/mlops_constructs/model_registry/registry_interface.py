"""What rollouts and pipelines need of a model registry, defined in their stack or imported."""

from collections.abc import Callable, Mapping
from typing import Protocol

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam

from mlops_constructs.model_registry.approval import Approval
from mlops_constructs.promotion.environment import Environment
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.model_manifest import Trust


class IModelRegistry(Protocol):
    """The package group of one model, with the rule of who approves its packages."""

    @property
    def business_unit(self) -> IBusinessUnit:
        """The unit that owns it."""
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
        """How a package becomes approved."""
        ...

    @property
    def trust(self) -> tuple[Trust, ...]:
        """What loading a model may do."""
        ...

    @property
    def trust_environment(self) -> Mapping[str, str]:
        """Environment by which a job or function knows what loading a model may do; empty for what it takes without a word."""
        ...

    @property
    def approver_role(self) -> iam.IRole:
        """Role in which people approve."""
        ...

    @property
    def approval_environment(self) -> Mapping[str, str]:
        """Environment by which a function knows whose approvals count (``mlops_runtime.registry.ApprovalRule``)."""
        ...

    @property
    def shares_images_of(self) -> Environment | None:
        """Environment from whose registry endpoints pull images that this account's lacks; None where they pull none there."""
        ...

    def approve_statements(self) -> list[iam.PolicyStatement]:
        """Return what a machine needs to approve by policy; empty where a person approves."""
        ...

    def approve_by_policy(self, machine_role: iam.IRole) -> None:
        """Let a machine's approvals count, where the approval is automatic."""
        ...

    def serve(self, endpoint: str, read_models_of: Callable[[str], None]) -> None:
        """Let packages be approved that an endpoint can load: of its own name, and of each pipeline that registers them."""
        ...

    def promoted_by(self, endpoint: str, table: dynamodb.ITable) -> None:
        """Release to other accounts what an endpoint promoted, where the registry releases anything."""
        ...

    def retrained_by(self, pipeline: str) -> bool:
        """Hand a pipeline what targets ask for, where the registry has targets; return whether it has."""
        ...

    def register_from(self, pipeline: str) -> None:
        """Let the endpoints of the group load what a pipeline registers."""
        ...

    def waiting_message(self, variables: Mapping[str, str]) -> dict[str, object]:
        """Return the arguments of ``sns:publish`` that tell people that a package waits."""
        ...

    def waiting_notification(self, variables: Mapping[str, str]) -> dict[str, object] | None:
        """Return the arguments of ``sns:publish`` that show in a chat that a package waits; None without a chat."""
        ...

    def notify_statements(self) -> list[iam.PolicyStatement]:
        """Return what a machine needs to publish these messages."""
        ...

    def grant_read(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant listing and reading the packages."""
        ...

    def grant_approve(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant setting a package to approved or rejected."""
        ...

    def grant_review(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant ``mlops models show``, and approve and reject if the registry's own role approves."""
        ...
