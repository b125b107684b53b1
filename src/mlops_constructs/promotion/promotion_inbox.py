"""``PromotionInbox``: the target side of a promotion, which receives, verifies and registers releases of its source."""

from collections.abc import Mapping
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sagemaker as sagemaker
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn

from constructs import Construct
from mlops_constructs._functions import QueueConsumer, define_function, define_queue_consumer, role_of
from mlops_constructs._roles import WRITES_ONCE, allow, key_statement, put_events_statement
from mlops_constructs._stack_values import stack_values
from mlops_constructs._state_machine import define_machine
from mlops_constructs._unit_resources import define_table
from mlops_constructs.model_registry.approval import policy_description
from mlops_constructs.model_registry.registry_interface import IModelRegistry
from mlops_constructs.promotion.environment import Environment, Images
from mlops_constructs.promotion.link_statements import PromotionLink
from mlops_constructs.promotion.promote_machine import MESSAGE_VARIABLES, PromotePlan, promote_machine
from mlops_constructs.promotion.served_models import ServedModels, hourly_alarm
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.events import DetailType, event_source
from mlops_runtime.contracts.model_manifest import TRUSTED
from mlops_runtime.promotion.environment_link import (
    LinkRole,
    link_role_name,
    promotions_chain,
)
from mlops_runtime.promotion.promotion_guard import OVERDUE_METRIC
from mlops_runtime.promotion.release_reader import RECORD_FILE
from mlops_runtime.promotion.target_environment import PromotionSettings
from mlops_runtime.rollout.archive_signatures import ARCHIVE_FILE, SIGNATURE_FILE

_RECHECK = cdk.Duration.hours(1)
_IN_SOURCE = (
    "the source's bucket, its key and the numbers of its packages are unknown here: account, folders of the unit and the service "
    "that uses the key limit each, and the source's own policies name this role and its permissions; rejected: names of buckets "
    "and keys as arguments, as each change of the source would need a deployment here"
)
_HERE = (
    "copies are stored by execution and content, packages and executions have numbers, and the repository of a release's image is "
    "known only from the release; rejected: one fixed name, which could be used once"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionAccess:
    """Permissions of one target's functions and state machine."""

    unit: IBusinessUnit
    registry: IModelRegistry
    link: PromotionLink
    table: dynamodb.ITable
    shares_images: bool

    def guard(self, machine: sfn.StateMachine) -> list[iam.PolicyStatement]:
        """Return the guard's permissions: store offers, start one execution for each, and describe executions."""
        executions = stack_values(machine).format_arn(
            service="states",
            resource="execution",
            resource_name=f"{machine.state_machine_name}:*",
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )
        return [
            allow(
                ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Scan", "dynamodb:UpdateItem"], self.table.table_arn
            ),
            key_statement(self.unit.key, services=["dynamodb"]),
            allow("states:StartExecution", machine.state_machine_arn),
            allow("states:DescribeExecution", executions),
        ]

    def reader(self) -> list[iam.PolicyStatement]:
        """Return the reader's permissions: read the copied record, the newest release and, in its Region, the source's packages."""
        is_same_region = self.link.source.region == self.link.target.region
        return [
            *([self.link.recheck_statement()] if is_same_region else []),
            allow("s3:GetObject", self._incoming(RECORD_FILE)),
            allow("dynamodb:GetItem", self.table.table_arn),
            key_statement(self.unit.key, services=["dynamodb", "s3"], actions=["kms:Decrypt"]),
        ]

    def keeper(self) -> list[iam.PolicyStatement]:
        """Return the keeper's permissions: store copies once, sign archives, read packages, and append to the audit chain."""
        kept = [*self._kept(), self._objects("models", SIGNATURE_FILE)]
        return [
            allow("s3:GetObject", self._incoming("*"), *kept),
            allow("s3:PutObject", *kept, conditions=WRITES_ONCE),
            allow(["dynamodb:GetItem", "dynamodb:UpdateItem"], self.table.table_arn),
            key_statement(self.unit.key, services=["dynamodb", "s3"]),
            allow(["sagemaker:DescribeModelPackage", "sagemaker:ListModelPackages"], self.registry.packages_arn),
            allow("kms:GetPublicKey", self.unit.signing_key.key_arn),
            *self.unit.automation_statements(),
            *self.unit.audit_statements(promotions_chain(self.link.group)),
        ]

    def machine(self, functions: list[str]) -> list[iam.PolicyStatement]:
        """Return the machine's permissions: copy from the source, find the image, register, approve automatically, and notify."""
        unit, registry, here = self.unit, self.registry, self.link.target
        return [
            *self.link.promote_statements(),
            *([self.link.image_statement()] if self.shares_images else []),
            allow("s3:PutObject", self._incoming("*")),
            # registering reads the image and the artifact with the machine's permissions
            allow("s3:GetObject", self._objects("models", ARCHIVE_FILE)),
            key_statement(unit.key, services=["s3"]),
            allow(["ecr:BatchGetImage", "ecr:DescribeImages"], here.arn("ecr", "repository/*")),
            allow("sagemaker:CreateModelPackage", registry.group_arn, registry.packages_arn),
            allow("lambda:InvokeFunction", *functions),
            put_events_statement(unit),
            allow("sns:Publish", unit.topic.topic_arn),
            key_statement(unit.key, services=["sns"]),
            *registry.approve_statements(),
            *registry.notify_statements(),
        ]

    def _incoming(self, name: str) -> str:
        pattern = f"incoming/{self.link.group}/*" if name == "*" else f"incoming/{self.link.group}/*/{name}"
        return self.unit.artifacts.arn_for_objects(pattern)

    def _objects(self, folder: str, name: str) -> str:
        return self.unit.artifacts.arn_for_objects(f"{folder}/{self.link.group}/*/{name}")

    def _kept(self) -> list[str]:
        return [
            self._objects("models", ARCHIVE_FILE),
            self._objects("evaluations", "evaluation.json"),
            self._objects("evaluations", "baseline.json"),
            self.unit.artifacts.arn_for_objects(f"gates/{self.link.group}/*.json"),
        ]


class PromotionInbox(Construct):
    """Inbox, guard and Promote state machine of a registry of ``ModelRegistry.from_environment``.

    Args:
        scope: Construct of the registry.
        id: Construct id.
        group: Package group of the registry.
        model: Name of the model, without the unit's.
        source: Environment whose releases are taken.
        served: Construct with the mailbox that receives releases, which also reports served models to the source.
        max_wait: Longest wait of a release before an alarm.
        images: Registries that may contain the image of a release.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        registry: IModelRegistry,
        group: sagemaker.CfnModelPackageGroup,
        model: str,
        source: Environment,
        served: ServedModels,
        max_wait: cdk.Duration,
        images: Images,
    ) -> None:
        super().__init__(scope, id)
        unit = registry.business_unit
        self._unit, self._registry, self._model, self._source = unit, registry, model, source
        self._link = served.link(source=source.linked)
        self._max_wait, self._shares_images = max_wait, images is Images.SHARED
        self._table = define_table(self, "Table", business_unit=unit, partition_key="endpoint")
        self._access = PromotionAccess(
            unit=unit, registry=registry, link=self._link, table=self._table, shares_images=self._shares_images
        )
        self._reader = self._define_reader()
        self._keeper = self._define_keeper()
        self._machine = self._define_machine()
        # the machine is deleted before the group, so that no release registers a package in a group that is being emptied
        self._machine.node.add_dependency(group)
        registry.approve_by_policy(self._machine.role)
        registry.register_from(registry.group_name)
        self._guard = self._define_guard()
        self._bus = served.mailbox.bus
        self._offers = self._feed_offers()
        served.report_to(source, self._table)
        self._alarm = self._define_alarm()
        if isinstance(unit.artifacts, s3.Bucket):
            unit.artifacts.add_lifecycle_rule(
                prefix=f"incoming/{registry.group_name}/",
                expiration=cdk.Duration.days(1),
                noncurrent_version_expiration=cdk.Duration.days(1),
            )
        unit.tag(self)

    @property
    def source(self) -> Environment:
        """Environment whose releases are taken."""
        return self._source

    @property
    def table(self) -> dynamodb.ITable:
        """Table of offers and their outcomes, with the head of the audit chain of promotions."""
        return self._table

    @property
    def machine(self) -> sfn.IStateMachine:
        """The Promote state machine."""
        return self._machine

    @property
    def bus(self) -> events.IEventBus:
        """The inbox."""
        return self._bus

    @property
    def queue(self) -> sqs.IQueue:
        """Queue of offers, which the guard reads."""
        return self._guard.queue

    @property
    def max_wait(self) -> cdk.Duration:
        """Longest wait of a release before it is overdue."""
        return self._max_wait

    @property
    def alarm(self) -> cloudwatch.IAlarm:
        """Alarm on overdue releases."""
        return self._alarm

    @property
    def rules(self) -> list[events.Rule]:
        """Rules that receive and recheck offers."""
        return [self._offers, self._recheck]

    @property
    def recheck_rule_arn(self) -> str:
        """ARN of the rule by which the guard rechecks undecided offers."""
        return self._recheck.rule_arn

    def read_statements(self) -> list[iam.PolicyStatement]:
        """Return the permissions to read the offers and their packages, without the key."""
        return [
            allow("dynamodb:Scan", self._table.table_arn),
            allow("sagemaker:DescribeModelPackage", self._registry.packages_arn),
        ]

    def _role_name(self, purpose: LinkRole) -> str:
        return link_role_name(purpose, unit=self._unit.name, model=self._model, environment=self._link.target)

    def _environment(self) -> Mapping[str, str]:
        trust = self._registry.trust
        settings = PromotionSettings(
            group=self._registry.group_name,
            source=self._source.linked,
            source_name=self._source.name,
            trust=None if trust == TRUSTED else trust,
            max_wait_seconds=int(self._max_wait.to_seconds()),
            shares_images=True if self._shares_images else None,
        )
        return {
            "ACCOUNT": self._link.target.account,
            "ARTIFACTS_BUCKET": self._unit.artifacts.bucket_name,
            "PROMOTION": canonical_json(settings).decode(),
            "PROMOTIONS_TABLE": self._table.table_name,
            "SIGNING_KEY": self._unit.signing_key.key_arn,
            "UNIT": self._unit.name,
        }

    def _define_reader(self) -> lambda_.Function:
        return define_function(
            self,
            "Plan",
            business_unit=self._unit,
            folder="promotion_plan",
            description=f"Checks releases of {self._source.name} before anything of them is copied",
            environment=self._environment(),
            statements=self._access.reader(),
            timeout=cdk.Duration.seconds(60),
            wildcard_reason=f"{_IN_SOURCE}; {_HERE}",
            role_name=self._role_name("recheck"),
        )

    def _define_keeper(self) -> lambda_.Function:
        function = define_function(
            self,
            "Keep",
            business_unit=self._unit,
            folder="promotion_keep",
            description=f"Keeps, signs and records releases of {self._source.name}",
            environment={
                **self._environment(),
                **self._unit.automation_environment,
                **self._unit.audit_environment,
            },
            statements=self._access.keeper(),
            timeout=cdk.Duration.minutes(14),
            memory_size=512,
            wildcard_reason=_HERE,
        )
        self._unit.admit_recorder(role_of(function))
        return function

    def _define_machine(self) -> sfn.StateMachine:
        registry, unit = self._registry, self._unit
        plan = PromotePlan(
            unit_name=unit.name,
            group_name=registry.group_name,
            here=self._link.target,
            source=self._source.linked,
            source_name=self._source.name,
            artifacts_bucket=unit.artifacts.bucket_name,
            plan_arn=self._reader.function_arn,
            keeper_arn=self._keeper.function_arn,
            bus_name=unit.bus.event_bus_name,
            topic_arn=unit.topic.topic_arn,
            is_automatic=registry.approval.is_automatic,
            approval_description=policy_description(reason="$reason", binding="$binding"),
            waiting_message=registry.waiting_message(MESSAGE_VARIABLES),
            waiting_notification=registry.waiting_notification(MESSAGE_VARIABLES),
            shares_images=self._shares_images,
        )
        return define_machine(
            self,
            "Promote",
            business_unit=unit,
            definition=promote_machine(plan, partition=stack_values(self).partition),
            statements=self._access.machine([self._reader.function_arn, self._keeper.function_arn]),
            description=f"Takes releases of {registry.group_name} from {self._source.name}",
            wildcard_reason=f"{_IN_SOURCE}; {_HERE}",
            role_name=self._role_name("promote"),
        )

    def _define_guard(self) -> QueueConsumer:
        self._recheck = events.Rule(
            self,
            "Recheck",
            description=f"Rechecks undecided release offers of {self._registry.group_name}",
            schedule=events.Schedule.rate(_RECHECK),
        )
        guard = define_queue_consumer(
            self,
            "Guard",
            business_unit=self._unit,
            folder="promotion_guard",
            description=f"Starts the promotion of each release of {self._source.name} once",
            environment={
                **self._environment(),
                "PROMOTE_MACHINE_ARN": self._machine.state_machine_arn,
                "RECHECK_RULE": self._recheck.rule_arn,
            },
            statements=self._access.guard(self._machine),
            timeout=cdk.Duration.seconds(60),
            wildcard_reason=_HERE,
        )
        guard.feed(self._recheck)
        return guard

    def _define_alarm(self) -> cloudwatch.Alarm:
        return hourly_alarm(
            self,
            "Overdue",
            business_unit=self._unit,
            group_name=self._registry.group_name,
            metric_name=OVERDUE_METRIC,
            description=f"releases of {self._source.name} are neither taken by {self._registry.group_name} nor permanently "
            f"refused {self._max_wait.to_human_string()} after their offer, or (insufficient data) they are not checked any more: "
            "mlops promotions lists them with reasons; else read the log and the dead letters of function Guard",
        )

    def _feed_offers(self) -> events.Rule:
        source = self._source
        offered = events.EventPattern(
            account=[source.account],
            region=[source.region],
            source=[event_source(self._unit.name)],
            detail_type=[DetailType.MODEL_RELEASED.value],
            detail={"subject": [self._registry.group_name]},
        )
        description = f"Releases of {self._registry.group_name} that {source.name} offers"
        rule = events.Rule(self, "Offers", event_bus=self._bus, description=description, event_pattern=offered)
        self._guard.feed(rule)
        return rule
