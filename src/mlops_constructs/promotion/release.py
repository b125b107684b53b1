"""Releases of a registry: guard, state machine, functions, and the rules that trigger the guard."""

from collections.abc import Callable, Mapping

import aws_cdk as cdk
import jsii
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn

from constructs import Construct
from mlops_constructs._functions import QueueConsumer, define_function, define_queue_consumer, role_of
from mlops_constructs._roles import WRITES_ONCE, allow, allow_listing, key_statement, put_events_statement
from mlops_constructs._state_machine import define_machine
from mlops_constructs._unit_resources import resource_of
from mlops_constructs._validation import raise_if_any
from mlops_constructs.promotion.release_machine import FUNCTION_SECONDS, release_machine
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.events import DetailType, event_source
from mlops_runtime.contracts.rollout import Outcome
from mlops_runtime.promotion.environment_link import downstream_chain, release_chain
from mlops_runtime.rollout.deploy_guard import APPROVAL

# interval of checks for lost events and completed probations
RECHECK = cdk.Duration.hours(1)
_OBJECTS = ("models", "evaluations")
_WILDCARD_REASON = (
    "packages, evaluations, audit records and releases get their names at run time, below the names of group and pipelines; "
    "rejected: single objects, whose keys are unknown at deployment"
)


class Release(Construct):
    """Release of packages of one group. Stateful.

    Triggers of the guard are approvals of the group, or promotions of an endpoint of the stack after ``follow``; and a schedule
    that finds lost events and completed probations. Releases are recorded in the endpoint's audit chain, or in the group's own,
    ``<group>.releases``, whose head is in the unit's automation table.

    Args:
        scope: Construct of the registry.
        id: Construct id.
        business_unit: Owning business unit.
        group_name: Name of the package group.
        packages_arn: ARN pattern of its packages.
        approval_environment: Environment variables with the approval rule.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        business_unit: IBusinessUnit,
        group_name: str,
        packages_arn: str,
        approval_environment: Mapping[str, str],
    ) -> None:
        super().__init__(scope, id)
        self._unit, self._group_name, self._packages_arn = business_unit, group_name, packages_arn
        self._names = [group_name]
        self._endpoint: str | None = None
        self._table: dynamodb.ITable = business_unit.automation_table
        self._objects = allow("s3:GetObject", *self._below(group_name))
        record = self._define_record(approval_environment)
        self._machine = self._define_machine(record)
        self._functions = [record]
        self._guard = self._define_guard()
        self._functions.append(self._guard.function)
        self._rule, self._recheck = self._define_rules(self._guard)

    @property
    def machine(self) -> sfn.IStateMachine:
        """The Release state machine."""
        return self._machine

    @property
    def chain(self) -> str:
        """Name of the audit chain of releases; final once the stack is completely defined."""
        return release_chain(self._group_name) if self._endpoint is None else self._endpoint

    @property
    def queue(self) -> sqs.IQueue:
        """Queue of events that may start a release."""
        return self._guard.queue

    @property
    def rules(self) -> list[events.Rule]:
        """Rules that trigger releases, and the schedule of rechecks."""
        return [self._rule, self._recheck]

    def read_statements(self) -> list[iam.PolicyStatement]:
        """Return the permissions to read the releases and the row of the models that targets serve, without the key."""
        unit, releases = self._unit, f"releases/{self._group_name}/*"
        return [
            allow("s3:GetObject", unit.artifacts.arn_for_objects(releases)),
            allow_listing(unit.artifacts.bucket_arn, releases),
            allow(
                "dynamodb:GetItem", unit.automation_table.table_arn, conditions=_row(downstream_chain(self._group_name))
            ),
        ]

    def admit(self, pipeline: str) -> None:
        """Allow releases of models that a pipeline with another name registers in the group.

        Args:
            pipeline: Name of the pipeline, ``<unit>-<name>``.
        """
        if pipeline not in self._names:
            self._names.append(pipeline)
            self._objects.add_resources(*self._below(pipeline))

    def follow(self, endpoint: str, table: dynamodb.ITable) -> None:
        """Release models that an endpoint of this stack promoted, after their probation, instead of all approved ones.

        Args:
            table: Its rollout table.

        Raises:
            ValidationError: If releases already follow another endpoint.
        """
        problem = (
            f"{endpoint!r} and {self._endpoint!r} serve the packages of {self._group_name!r}, but releases can follow only one "
            "endpoint; define the other one in a separate stack, with ModelRegistry.from_registry_name"
        )
        raise_if_any(self, "InvalidModelRegistry", [None if self._endpoint is None else problem])
        self._endpoint, self._table = endpoint, table
        for function in self._functions:
            function.add_environment("SERVED", "true")
        rule = resource_of(self._rule, events.CfnRule)
        rule.event_bus_name = self._unit.bus.event_bus_name
        rule.description = f"Rollouts of {endpoint} that promoted"
        rule.event_pattern = {
            "source": [event_source(self._unit.name)],
            "detail-type": [DetailType.ROLLOUT_FINISHED.value],
            "detail": {"subject": [endpoint], "outcome": [Outcome.PROMOTED.value]},
        }

    def _below(self, name: str) -> list[str]:
        objects = self._unit.artifacts.arn_for_objects
        return [*(objects(f"{folder}/{name}/*") for folder in _OBJECTS), objects(f"gates/{name}/*")]

    def _define_record(self, approval_environment: Mapping[str, str]) -> lambda_.Function:
        unit, chain = self._unit, _later(lambda: self.chain)
        function = define_function(
            self,
            "Record",
            business_unit=unit,
            folder="release_record",
            description=f"Releases packages of {self._group_name}",
            environment={
                "ARTIFACTS_BUCKET": unit.artifacts.bucket_name,
                "ENDPOINT": chain,
                "MODEL_PACKAGE_GROUP": self._group_name,
                "NAMES": _later(lambda: ",".join(self._names)),
                "ROLLOUT_TABLE": _later(lambda: self._table.table_name),
                **unit.audit_environment,
                **unit.automation_environment,
                **approval_environment,
            },
            statements=self._record_statements(chain),
            timeout=cdk.Duration.seconds(FUNCTION_SECONDS),
            memory_size=512,  # reads evaluation and baseline into memory
            wildcard_reason=_WILDCARD_REASON,
        )
        unit.admit_recorder(role_of(function))
        return function

    def _record_statements(self, chain: str) -> list[iam.PolicyStatement]:
        """Return the permissions to read package and objects, append to the audit chain, and write each release once."""
        unit = self._unit
        releases = unit.artifacts.arn_for_objects(f"releases/{self._group_name}/*")
        return [
            allow("sagemaker:DescribeModelPackage", self._packages_arn),
            self._objects,
            allow("s3:GetObject", releases),
            allow("s3:PutObject", releases, conditions=WRITES_ONCE),
            # without it S3 returns 403 for a missing object
            allow_listing(unit.artifacts.bucket_arn, [f"releases/{self._group_name}/*", "gates/*"]),
            allow_listing(unit.audit_bucket.bucket_arn, f"audit/{chain}/*"),
            allow(
                ["dynamodb:GetItem", "dynamodb:UpdateItem"],
                _later(lambda: self._table.table_arn),
                conditions=_row(chain),
            ),
            *unit.automation_statements(),
            key_statement(unit.key, services=["dynamodb"], actions=["kms:GenerateDataKey"]),
            *unit.audit_statements(chain),
        ]

    def _define_machine(self, record: lambda_.IFunction) -> sfn.StateMachine:
        unit = self._unit
        return define_machine(
            self,
            "Machine",
            business_unit=unit,
            definition=release_machine(
                group_name=self._group_name,
                unit_name=unit.name,
                record_arn=record.function_arn,
                bus_name=unit.bus.event_bus_name,
                topic_arn=unit.topic.topic_arn,
                partition=cdk.Aws.PARTITION,
            ),
            statements=[
                allow("lambda:InvokeFunction", record.function_arn),
                put_events_statement(unit),
                allow("sns:Publish", unit.topic.topic_arn),
                key_statement(unit.key, services=["sns"]),
            ],
            description=f"Releases packages of {self._group_name} to other accounts",
            wildcard_reason="nothing else is",
        )

    def _define_guard(self) -> QueueConsumer:
        unit = self._unit
        return define_queue_consumer(
            self,
            "Guard",
            business_unit=unit,
            folder="release_guard",
            description=f"Starts a release of {self._group_name} once an approval or promotion",
            environment={
                "ENDPOINT": _later(lambda: self.chain),
                "MODEL_PACKAGE_GROUP": self._group_name,
                "RELEASE_MACHINE_ARN": self._machine.state_machine_arn,
                "ROLLOUT_TABLE": _later(lambda: self._table.table_name),
                **unit.automation_environment,
            },
            statements=[
                allow("states:StartExecution", self._machine.state_machine_arn),
                allow(["sagemaker:DescribeModelPackage", "sagemaker:ListModelPackages"], self._packages_arn),
                allow(
                    "dynamodb:GetItem",
                    _later(lambda: self._table.table_arn),
                    conditions=_row(_later(lambda: self.chain)),
                ),
                *unit.automation_statements(),
            ],
            timeout=cdk.Duration.seconds(30),
            wildcard_reason=_WILDCARD_REASON,
        )

    def _define_rules(self, guard: QueueConsumer) -> tuple[events.Rule, events.Rule]:
        ready = events.Rule(
            self,
            "Ready",
            description=f"Approved packages of {self._group_name}, to be released",
            event_pattern=events.EventPattern(
                source=[APPROVAL[0]],
                detail_type=[APPROVAL[1]],
                detail={
                    "ModelPackageGroupName": [self._group_name],
                    "ModelApprovalStatus": ["Approved"],
                    "UpdatedModelPackageFields": ["ModelApprovalStatus"],
                },
            ),
        )
        guard.feed(ready)
        recheck = events.Rule(
            self,
            "Recheck",
            description=f"Rechecks releases of {self._group_name}, for lost events and completed probations",
            schedule=events.Schedule.rate(RECHECK),
        )
        guard.feed(recheck)
        guard.function.add_environment("RECHECK_RULE", recheck.rule_arn)
        return ready, recheck


def _row(chain: str) -> dict[str, Mapping[str, object]]:
    return {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [chain]}}


def _later(value: Callable[[], str]) -> str:
    """Return a lazy value, as endpoints and pipelines are defined after their registry."""
    return cdk.Lazy.uncached_string(_Later(value))


@jsii.implements(cdk.IStringProducer)
class _Later:
    """A string that is computed at synthesis."""

    def __init__(self, value: Callable[[], str]) -> None:
        self._value = value

    def produce(self, context: cdk.IResolveContext) -> str:
        """Return the string."""
        del context
        return self._value()
