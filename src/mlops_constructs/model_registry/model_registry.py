"""The ``ModelRegistry`` construct: the package group of a model, its approvers, and releases to other environments."""

from collections.abc import Mapping, Sequence

import aws_cdk as cdk
import jsii
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sagemaker as sagemaker
from aws_cdk import aws_ssm as ssm

from constructs import Construct, IValidation
from mlops_constructs._arguments import checked
from mlops_constructs._roles import allow, grant_statements, key_statement, rendered_length
from mlops_constructs._stack_values import stack_of, stack_values
from mlops_constructs._unit_resources import resource_of
from mlops_constructs._validation import ValidationError, check_duration, is_known, raise_if_any
from mlops_constructs.model_registry.approval import Approval
from mlops_constructs.model_registry.package_permissions import (
    define_approver,
    mark_approver,
)
from mlops_constructs.model_registry.registry_access import Deferred, ImportedRegistry, Listed, RegistryBase
from mlops_constructs.model_registry.registry_interface import IModelRegistry
from mlops_constructs.promotion.downstream import Downstream
from mlops_constructs.promotion.environment import Environment, Images, neighbour_problems
from mlops_constructs.promotion.offer import Offer, offer_problems
from mlops_constructs.promotion.promotion_inbox import PromotionInbox
from mlops_constructs.promotion.release import Release
from mlops_constructs.promotion.served_models import ServedModels, Upstream
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.model_manifest import TRUSTED, Trust
from mlops_runtime.registry.package_approval import (
    MAX_WAIT_SECONDS,
    ApprovalRule,
    BusRules,
    RegistryEntry,
    RegistryInbox,
    registry_parameter,
)

# of the standard tier: https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html
_MAXIMUM_ENTRY = 4096


@checked("InvalidModelRegistry")
class ModelRegistry(RegistryBase):
    """The model package group of one model, with its approval rule. Stateful.

    Defines the group, the approver role unless one is given, and the parameter from which the ``mlops`` command reads both. In
    PRODUCTION the group is retained when the stack is deleted; ``cdk import`` adopts it again. Its description cannot change:
    CloudFormation would replace the group, which fails while it has packages.

    Args:
        scope: Parent construct.
        id: Construct id.
        business_unit: Owning business unit.
        name: Name of the model: 2 to 20 lower-case letters, digits, hyphens; the group is ``<unit>-<name>``.
        approval: How packages that passed the gate become approved. Default: by a person, notified by the unit's topic, within
            seven days or the limit of the unit's platform.
        trust: What loading a model may involve: ``data`` only, the model's own ``code``, or ``pickle``. Models that need more are
            not registered, approved or deployed. Default: ``("data", "code")``. With ``pickle``, endpoints need network isolation.
        deploy_to: Accounts and Regions that may take releases of this registry, each with a registry of its own; requires the
            stack's ``env``. Default: none, and nothing is released.

    Raises:
        ValidationError: If the name or trust is not allowed, or an environment of ``deploy_to`` cannot be a target.

    Example:
        >>> registry = ModelRegistry(self, "Registry", business_unit=unit, name="forecast", approval=Approval.automatic())
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        business_unit: IBusinessUnit,
        name: str,
        approval: Approval | None = None,
        trust: Sequence[Trust] = TRUSTED,
        deploy_to: Sequence[Environment] = (),
    ) -> None:
        super().__init__(scope, id, business_unit=business_unit, name=name, approval=approval, trust=trust)
        self._machines: list[str] = []
        self._inbox: PromotionInbox | None = None
        self._shares_images_of: Environment | None = None
        group = sagemaker.CfnModelPackageGroup(
            self,
            "Resource",
            model_package_group_name=self._group_name,
            # create-only: a changed description would replace the group
            model_package_group_description=f"Packages of model {name} of business unit {business_unit.name}",
        )
        group.apply_removal_policy(business_unit.profile.removal_policy)
        self._group, self._group_arn = group, group.attr_model_package_group_arn
        self._approver = self._define_approver()
        self._entry_arn = self._define_entry().parameter_arn
        self._offer: Offer | None = None
        self._release: Release | None = None
        self._served: ServedModels | None = None
        self._downstream: Downstream | None = None
        if deploy_to:
            self._offer, self._release = self._define_release(name, group, deploy_to)
        business_unit.own_registry(
            self, group_name=self._group_name, group_arn=self._group_arn, packages_arn=self.packages_arn
        )
        business_unit.tag(self)

    @classmethod
    def from_environment(
        cls,
        scope: Construct,
        id: str,
        *,
        business_unit: IBusinessUnit,
        name: str,
        source: Environment,
        approval: Approval | None = None,
        trust: Sequence[Trust] = TRUSTED,
        deploy_to: Sequence[Environment] = (),
        max_wait: cdk.Duration | None = None,
        images: Images = Images.OWN,
    ) -> "ModelRegistry":
        """Define the package group of a model that another account or Region trains and releases. This is not an import.

        The source offers releases, and the Promote machine of this registry copies them, verifies the release's hashes, encrypts
        the copies with this unit's key, and registers them in this group. Approval, rollout, rollback and audit are the same as
        for any package. The image must be in this account's own ECR registry under the same digest, or see ``images``.

        Args:
            scope: Parent construct.
            id: Construct id.
            business_unit: The unit, defined in this stack, with the same name as in the source.
            name: Name of the model; the group is ``<unit>-<name>`` on both sides.
            source: Environment whose releases are taken.
            approval: How releases become approved here. ``Approval.automatic()`` approves what the source approved, unless the
                unit is paused or frozen, or the model was released here before. Default: by a person of this account.
            trust: What loading a model may involve here; releases that need more are refused. Default: ``("data", "code")``.
            deploy_to: Environments that may take releases of this registry, to form a chain. Default: none.
            max_wait: Longest wait of a release, 1 hour to 14 days: one that is by then neither taken nor permanently refused is
                overdue, and ``inbox.alarm`` notifies the unit's topic. Checked hourly. Default: 6 hours.
            images: Registries that may contain the image of a release. ``Images.SHARED``: this account's registry and, if the
                image is missing there, the source's in the same Region, whose repository policy must allow this account.
                Endpoints then depend on that repository whenever an instance starts, and cannot be serverless. Default: this
                account's own registry only.

        Raises:
            ValidationError: If the stack has no explicit account and Region, is the source itself, or is in another partition; if
                the unit is imported or its name is a token; if ``max_wait`` is out of range; if images are shared across Regions
                or together with ``deploy_to``.

        Example:
            >>> from mlops_constructs import BusinessUnit
            >>> staging = Environment("staging", account="222222222222", region="eu-west-1")
            >>> stack = cdk.Stack(cdk.App(), "Staging", env=staging.cdk)
            >>> released = ModelRegistry.from_environment(stack, "Registry", name="forecast",
            ...                                           business_unit=BusinessUnit(stack, "Unit", name="demand"),
            ...                                           source=Environment("build", account="111111111111", region="eu-west-1"))
            >>> released.group_name
            'demand-forecast'
        """
        max_wait = cdk.Duration.seconds(MAX_WAIT_SECONDS) if max_wait is None else max_wait
        problems = neighbour_problems(stack_of(scope), others=[source, *deploy_to])
        problems += _image_problems(stack_of(scope), source, deploy_to) if images is Images.SHARED else []
        problems += filter(
            None,
            [check_duration("max_wait", max_wait, minimum=cdk.Duration.hours(1), maximum=cdk.Duration.days(14))],
        )
        if not is_known(business_unit.name):
            problems.append("the unit's name must be known at synthesis, as both accounts' policies name roles by it")
        elif not isinstance(business_unit.artifacts, s3.Bucket):
            problems.append(
                f"business unit {business_unit.name!r} is imported, but a lifecycle rule of its bucket must expire unused copies; "
                "define the registry in the stack that defines the unit"
            )
        raise_if_any(scope, "InvalidModelRegistry", problems)
        registry = cls(
            scope, id, business_unit=business_unit, name=name, approval=approval, trust=trust, deploy_to=deploy_to
        )
        registry._shares_images_of = source if images is Images.SHARED else None
        registry._inbox = PromotionInbox(
            registry,
            "Inbox",
            registry=registry,
            group=registry._group,
            model=name,
            source=source,
            served=registry._define_served(name, deploy_to),
            max_wait=max_wait,
            images=images,
        )
        return registry

    @classmethod
    def from_registry_name(
        cls,
        scope: Construct,
        id: str,
        *,
        business_unit: IBusinessUnit,
        name: str,
        approval: Approval | None = None,
        trust: Sequence[Trust] = TRUSTED,
        pipelines: Sequence[str] | None = None,
    ) -> IModelRegistry:
        """Import the registry of another stack of the unit, to serve, read, review, approve and register its packages.

        The owning stack publishes the valid approvers in the registry's parameter. Endpoints of this stack use its value at the
        time of this stack's deployment, so that a new endpoint needs no deployment of the owning stack. Pipelines of this stack
        cannot approve automatically, as the owner's rule does not contain their roles.

        Args:
            scope: Parent construct.
            id: Construct id.
            business_unit: Owning business unit.
            name: Name of the model; the group is ``<unit>-<name>``.
            approval: How packages are approved there; names the approver role where that is needed. Default: by a person, in a
                role that is unknown here.
            trust: What loading a model may involve there; pipelines of this stack register no model that needs more. Default:
                ``("data", "code")``.
            pipelines: Names (the ``name`` of ``RetrainingPipeline``) of the owner's pipelines whose models endpoints of this stack
                may load. Default: one pipeline with the registry's name.

        Raises:
            ValidationError: If the name, trust or a pipeline's name is not allowed.

        Example:
            >>> imported = ModelRegistry.from_registry_name(self, "Imported", business_unit=unit, name="returns")
            >>> imported.group_name
            'demand-returns'
        """
        return ImportedRegistry(
            scope,
            id,
            business_unit=business_unit,
            name=name,
            approval=approval,
            trust=trust,
            pipelines=(name,) if pipelines is None else pipelines,
        )

    @property
    def inbox(self) -> PromotionInbox | None:
        """Inbox of releases; ``None`` unless the registry is defined by ``from_environment``."""
        return self._inbox

    @property
    def shares_images_of(self) -> Environment | None:
        """Environment whose ECR registry endpoints use for images missing in this account's; ``None`` without shared images."""
        return self._shares_images_of

    @property
    def downstream(self) -> Downstream:
        """The model served by the last environment of the chain, as a pipeline's champion: ``RetrainingPipeline(endpoint=)``.

        There is no champion until that environment serves a model. Environments of the chain are discovered by their reports.

        Raises:
            ValidationError: If ``deploy_to`` is empty, or the champion is already that of another environment.
        """
        return self.downstream_in(None)

    def downstream_in(self, environment: str | None) -> Downstream:
        """Return the model served by one environment, as a pipeline's champion, for example where a standby follows production.

        Args:
            environment: Its name in the ``deploy_to`` of the previous stack of the chain; ``None`` for the last environment.

        Raises:
            ValidationError: If ``deploy_to`` is empty, or the champion is already that of another environment.
        """
        served = self._served
        if served is None or not served.targets:
            fix = "give the registry deploy_to, or the pipeline an endpoint of this stack"
            raise ValidationError(
                "InvalidModelRegistry",
                [f"{self._group_name!r} has no target environment whose model could be the champion; {fix}"],
                self,
            )
        if self._downstream is None:
            served.measure_against(environment)
            self._downstream = Downstream(self, "Downstream", business_unit=self._unit, group_name=self._group_name)
        farthest = "the last environment"
        problem = (
            f"the champion of {self._group_name!r} is already the model of {served.champion or farthest}, got "
            f"{environment or farthest}; use the same environment for all pipelines"
        )
        raise_if_any(self, "InvalidModelRegistry", [None if served.champion == environment else problem])
        return self._downstream

    @property
    def upstream(self) -> Upstream:
        """The retraining pipeline of the source or of an environment before it, for ``DriftAlarms(retraining=)``.

        Raises:
            ValidationError: If the registry takes no releases of another environment.
        """
        if self._served is None or self._served.source is None:
            fix = "give the alarms the pipeline of this stack"
            raise ValidationError(
                "InvalidModelRegistry", [f"{self._group_name!r} takes releases of no other environment; {fix}"], self
            )
        return Upstream(self._served, self._group_name)

    def grant_read_promotions(self, grantee: iam.IGrantable, *, below: str = "mlops") -> iam.Grant:
        """Grant ``mlops promotions``: reading offered and released versions, what targets serve, and the state of the rules.

        Args:
            grantee: Principal to grant access to, such as the role of people on call.
            below: Path of the parameters of units that it may read, such as ``mlops/demand``; the command then needs the name of
                the package group. Default: all units.

        Raises:
            ValidationError: If the registry neither takes nor releases versions.
        """
        served = self._served
        if served is None:
            fix = "define it with ModelRegistry.from_environment or with deploy_to"
            raise ValidationError(
                "InvalidModelRegistry", [f"{self._group_name!r} neither takes nor releases versions; {fix}"], self
            )
        parts = [each for each in (self._inbox, self._offer, self._release) if each is not None]
        described = served.describe_rules([rule for each in parts for rule in each.rules])
        grantee.grant_principal.add_to_principal_policy(described)
        entries = stack_values(self).format_arn(service="ssm", resource="parameter", resource_name=below)
        key = key_statement(self._unit.key, services=["dynamodb", "s3"], actions=["kms:Decrypt"])
        undelivered = served.mailbox.undelivered.queue_arn
        statements = [
            allow(["ssm:GetParameter", "ssm:GetParametersByPath"], entries, f"{entries}/*"),
            allow("sqs:GetQueueAttributes", undelivered),
            *([] if self._inbox is None else self._inbox.read_statements()),
            *([] if self._release is None else self._release.read_statements()),
            key,
        ]
        return grant_statements(grantee, statements)

    @property
    def approval_environment(self) -> Mapping[str, str]:
        """Environment variables with the approval rule, for functions (``mlops_runtime.registry.ApprovalRule``)."""
        return {"APPROVAL": stack_of(self).to_json_string(self._render_rule())}

    def approve_by_policy(self, machine_role: iam.IRole) -> None:
        """Add a state machine to the valid approvers; without effect unless the approval is automatic.

        Args:
            machine_role: Role of the state machine that registers packages.
        """
        if self._approval.is_automatic:
            self._machines.append(machine_role.role_arn)
            mark_approver(machine_role)

    def register_from(self, pipeline: str) -> None:
        """Allow the group's endpoints to load, and targets to copy, models that a pipeline registers.

        Args:
            pipeline: Name of the pipeline, ``<unit>-<name>``.
        """
        super().register_from(pipeline)
        if self._offer is not None:
            self._offer.admit(pipeline)
        if self._release is not None:
            self._release.admit(pipeline)

    def retrained_by(self, pipeline: str) -> bool:
        """Forward retraining requests of targets to a pipeline; return whether the registry has targets.

        Args:
            pipeline: Name of the pipeline, ``<unit>-<name>``.
        """
        if self._served is None or not self._served.targets:
            return False
        self._served.retrain(pipeline)
        return True

    def promoted_by(self, endpoint: str, table: dynamodb.ITable) -> None:
        """Release models that an endpoint of this stack deployed and kept through probation, and report them to the source.

        Args:
            endpoint: Name of the endpoint that deployed the models.
            table: Its rollout table.

        Raises:
            ValidationError: If the registry has a source or targets, and another endpoint of this stack already releases for it.
        """
        if self._release is not None:
            self._release.follow(endpoint, table)
        if self._served is not None:
            self._served.watch(endpoint, table)

    def _define_release(
        self, name: str, group: sagemaker.CfnModelPackageGroup, targets: Sequence[Environment]
    ) -> tuple[Offer, Release]:
        raise_if_any(self, "InvalidModelRegistry", offer_problems(self, self._unit, targets))
        served = self._define_served(name, targets)
        offer = Offer(self, "Offer", business_unit=self._unit, model=name, group=group, targets=targets, served=served)
        release = Release(
            self,
            "Release",
            business_unit=self._unit,
            group_name=self._group_name,
            packages_arn=self.packages_arn,
            approval_environment=self.approval_environment,
        )
        return offer, release

    def _define_served(self, name: str, targets: Sequence[Environment]) -> ServedModels:
        if self._served is None:
            self._served = ServedModels(self, "Served", business_unit=self._unit, model=name, targets=targets)
            self._served.check_rules(
                published=cdk.Lazy.any(Deferred(self._published_rules)),
                arns=cdk.Lazy.list(Listed(lambda: [rule.rule_arn for rule in self._rules()])),
            )
        return self._served

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
            business_unit=self._unit,
        )

    def _define_entry(self) -> ssm.IStringParameter:
        export = self._unit.export(self, f"registry:{self._group_name}")
        entry = RegistryEntry(group=self._group_name, unit=self._unit.name, rule=ApprovalRule(), export=export)
        # inbox and release are defined later, and so may be the endpoint whose models are released
        later = {
            "rule": self._render_rule(),
            "inbox": cdk.Lazy.any(Deferred(self._published_inbox)),
            "releases": cdk.Lazy.any(Deferred(lambda: None if self._release is None else self._release.chain)),
            "targets": cdk.Lazy.any(Deferred(self._published_targets)),
            "undelivered": cdk.Lazy.any(Deferred(self._published_undelivered)),
            "rules": cdk.Lazy.any(Deferred(self._published_rules)),
        }
        value = stack_of(self).to_json_string({**to_dict(entry), **later})
        self.node.add_validation(_EntryCheck(self, value))
        return ssm.StringParameter(
            self,
            "Entry",
            parameter_name=registry_parameter(unit=self._unit.name, group=self._group_name),
            simple_name=False,  # the unit's name may be a token
            string_value=value,
            description=f"Registry entry of {self._group_name}, read by the mlops command",
        )

    def _published_undelivered(self) -> str | None:
        return None if self._served is None else self._served.mailbox.undelivered.queue_url

    def _rules(self) -> list[events.Rule]:
        """Return the rules that send and receive releases and serving reports, also those defined later."""
        parts = [each for each in (self._inbox, self._offer, self._release, self._served) if each is not None]
        return [rule for each in parts for rule in each.rules]

    def _published_rules(self) -> object:
        by_bus: dict[str | None, list[str]] = {}
        for rule in self._rules():
            bus = resource_of(rule, events.CfnRule).event_bus_name
            # only the name of rule/[bus/]name: with an ARN per target the parameter could exceed its size limit
            name = cdk.Fn.select(1 if bus is None else 2, cdk.Fn.split("/", rule.rule_arn))
            by_bus.setdefault(bus, []).append(name)
        return [to_dict(BusRules(bus=bus, names=tuple(names))) for bus, names in by_bus.items()] or None

    def _published_inbox(self) -> object:
        if self._inbox is None:
            return None
        inbox = RegistryInbox(
            table=self._inbox.table.table_name,
            source=self._inbox.source.linked,
            source_name=self._inbox.source.name,
            max_wait_seconds=int(self._inbox.max_wait.to_seconds()),
        )
        return to_dict(inbox)

    def _published_targets(self) -> object:
        targets = () if self._served is None else self._served.targets
        return [to_dict(each.named) for each in targets] or None

    def _render_rule(self) -> dict[str, object]:
        rule = ApprovalRule(
            approvers=(self._approver.role_arn,),
            timeout_seconds=self._timeout_seconds,
            trust=None if self.trust == TRUSTED else self.trust,
        )
        # pipelines and endpoints are defined later, so they are resolved at synthesis
        later = {
            "machines": cdk.Lazy.list(Listed(lambda: self._machines)),
            "artifacts": cdk.Lazy.list(Listed(self._locations)),
        }
        return {**to_dict(rule), **later}


def _image_problems(stack: cdk.Stack, source: Environment, targets: Sequence[Environment]) -> list[str]:
    """Return why the registry cannot share images of the source.

    SageMaker pulls only from its own Region: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ContainerDefinition.html
    """
    problems = []
    if source.region != stack.region:
        problems.append(
            f"images=Images.SHARED pulls from the registry of {source.name!r} in {source.region}, but endpoints in {stack.region} "
            "can only pull from their own Region; push the images to this account and use Images.OWN"
        )
    if targets:
        named = ", ".join(repr(each.name) for each in targets)
        problems.append(
            f"images=Images.SHARED may use images of {source.name!r}, but {named} can only copy from this account's registry; "
            "push the images to this account and use Images.OWN, or leave deploy_to out"
        )
    return problems


@jsii.implements(IValidation)
class _EntryCheck:
    """Checks the size of the registry's parameter at the end of synthesis, when targets, pipelines and endpoints are known."""

    def __init__(self, registry: ModelRegistry, value: str) -> None:
        self._registry, self._value = registry, value

    def validate(self) -> list[str]:
        size = rendered_length(stack_of(self._registry).resolve(self._value))
        if size <= _MAXIMUM_ENTRY:
            return []
        return [
            f"the published parameter of {self._registry.group_name} has about {size} characters, at most {_MAXIMUM_ENTRY} "
            "are allowed; list fewer targets in deploy_to and let one of them release to the others, or use the registry with "
            "fewer pipelines and endpoints of this stack"
        ]
