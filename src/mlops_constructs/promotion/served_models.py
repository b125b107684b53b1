"""Reports on served models between environments, and retrainings that a target requests from its source."""

from collections.abc import Mapping, Sequence
from typing import NoReturn

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs

from constructs import Construct
from mlops_constructs._functions import QueueConsumer, define_queue_consumer, role_of
from mlops_constructs._roles import (
    allow,
    allow_listing,
    describe_alarms_statement,
    key_statement,
    put_events_statement,
    shared_policy,
)
from mlops_constructs._stack_values import stack_of, stack_values
from mlops_constructs._validation import ValidationError, raise_if_any
from mlops_constructs.promotion.environment import Environment
from mlops_constructs.promotion.link_statements import PromotionLink
from mlops_constructs.promotion.mailbox import Mailbox
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.events import DetailType, event_source
from mlops_runtime.contracts.monitor import metric_namespace
from mlops_runtime.contracts.served_model import WANTED
from mlops_runtime.promotion.environment_link import LinkedEnvironment, downstream_chain
from mlops_runtime.promotion.promotion_guard import GROUP_DIMENSION
from mlops_runtime.promotion.stopped_rules import STOPPED_METRIC
from mlops_runtime.promotion.target_environment import ServedSettings

_RECHECK = cdk.Duration.hours(1)
_REPORTED = (DetailType.MODEL_SERVED.value, DetailType.RETRAINING_REQUESTED.value)
# other outcomes, such as requests to this unit's pipelines, are not sent to other environments
_OUTCOMES = ("PROMOTED", "ROLLED_BACK", "DELETED", WANTED)
_WILDCARD_REASON = (
    "releases and audit records are named by the hashes of their content; rejected: single objects, whose keys are unknown at "
    "deployment"
)


class ServedModels(Construct):
    """Stores reports of a registry's targets in the unit's automation table, and reports to its source. Stateless.

    Args:
        scope: Construct of the registry.
        id: Construct id.
        business_unit: Owning business unit.
        model: Name of the model, without the unit's.
        targets: Environments whose reports are stored.
    """

    def __init__(
        self, scope: Construct, id: str, *, business_unit: IBusinessUnit, model: str, targets: Sequence[Environment]
    ) -> None:
        super().__init__(scope, id)
        stack = stack_values(self)
        self._unit, self._model, self._group_name = business_unit, model, f"{business_unit.name}-{model}"
        self._here = LinkedEnvironment(account=stack.account, region=stack.region)
        self._targets = tuple(targets)
        self._source: Environment | None = None
        self._offers: dynamodb.ITable | None = None
        self._endpoint: str | None = None
        self._pipelines: list[str] = []
        self._alarms: tuple[str, ...] = ()
        self._champion: str | None = None
        self._has_events = False
        self._rules: list[events.Rule] = []
        self._described: list[iam.PolicyStatement] = []
        self._recheck = events.Rule(
            self,
            "Recheck",
            description=f"Reports again which versions of {self._group_name} serve",
            schedule=events.Schedule.rate(_RECHECK),
        )
        self._consumer = self._define_consumer()
        self._feed(self._recheck)
        self._mailbox = Mailbox(
            self, "Mailbox", business_unit=business_unit, model=model, dead_letters=self._consumer.dead_letter_queue
        )
        for target in self._targets:
            self._mailbox.admit(target, self.link(target=target.linked))
        if self._targets:
            self._receive_reports()
        business_unit.tag(self)

    @property
    def mailbox(self) -> Mailbox:
        """Inbox and sender, also used by offers and releases."""
        return self._mailbox

    @property
    def targets(self) -> tuple[Environment, ...]:
        """Environments whose reports are stored."""
        return self._targets

    @property
    def champion(self) -> str | None:
        """Name of the environment whose model is the champion; ``None`` for the last one of the chain."""
        return self._champion

    @property
    def source(self) -> Environment | None:
        """Environment that gets reports; ``None`` without a source."""
        return self._source

    @property
    def endpoint(self) -> str | None:
        """Name of the endpoint whose models are reported; ``None`` without one."""
        return self._endpoint

    @property
    def queue(self) -> sqs.IQueue:
        """Queue of targets' reports, and of events that cause a report to the source."""
        return self._consumer.queue

    @property
    def rules(self) -> list[events.Rule]:
        """Rules that receive and send reports."""
        return self._rules

    def describe_rules(self, others: Sequence[events.IRule]) -> iam.PolicyStatement:
        """Return the permission to describe the rules that receive and send reports, also those defined later, and others.

        Args:
            others: Rules of the registry's other constructs.
        """
        rules = [*others, *self._rules]
        statement = allow("events:DescribeRule", *(rule.rule_arn for rule in rules))
        self._described.append(statement)
        return statement

    def link(
        self, *, target: LinkedEnvironment | None = None, source: LinkedEnvironment | None = None
    ) -> PromotionLink:
        """Return the link between this environment and a target or source.

        Args:
            target: Target of the link. Default: this environment.
            source: Source of the link. Default: this environment.
        """
        rules = self._unit.platform_rules
        return PromotionLink(
            unit=self._unit.name,
            model=self._model,
            source=self._here if source is None else source,
            target=self._here if target is None else target,
            organization=None if rules is None else rules.organization_id,
        )

    def report_to(self, source: Environment, offers: dynamodb.ITable) -> None:
        """Report the models served in this environment and downstream to a source.

        Args:
            source: Environment whose releases are taken.
            offers: Table of its offers, with the release of each package.
        """
        self._source, self._offers = source, offers
        link = self.link(source=source.linked)
        self._mailbox.admit(source, link)
        rule = events.Rule(
            self,
            "Told",
            event_bus=self._unit.bus,
            description=f"Served versions of {self._group_name}, for {source.name}",
            event_pattern=events.EventPattern(
                source=[event_source(self._unit.name)],
                detail_type=list(_REPORTED),
                detail={"subject": [self._group_name], "outcome": list(_OUTCOMES)},
            ),
        )
        self._mailbox.send(rule, link, source.linked)
        self._rules.append(rule)
        self._allow_events()
        self._renew()

    def watch(self, endpoint: str, table: dynamodb.ITable) -> None:
        """Report the models of an endpoint of this stack to the source; without effect if there is no source.

        Args:
            table: Its rollout table.

        Raises:
            ValidationError: If another endpoint is already reported.
        """
        if self._source is None or self._offers is None:
            return
        problem = (
            f"{endpoint!r} and {self._endpoint!r} serve the packages of {self._group_name!r}, but {self._source.name} can get "
            "reports on only one endpoint; define the other one in a separate stack, with ModelRegistry.from_registry_name"
        )
        raise_if_any(self, "InvalidModelRegistry", [None if self._endpoint is None else problem])
        self._endpoint = endpoint
        unit, function = self._unit, self._consumer.function
        variables = {
            "AUDIT_BUCKET": unit.audit_bucket.bucket_name,
            "ENDPOINT": endpoint,
            "PROMOTIONS_TABLE": self._offers.table_name,
            "ROLLOUT_TABLE": table.table_name,
        }
        for name, value in variables.items():
            function.add_environment(name, value)
        records = f"audit/{endpoint}/*"
        self._allow(
            "Serves",
            [
                allow("dynamodb:GetItem", table.table_arn),
                allow("dynamodb:Scan", self._offers.table_arn),
                allow("s3:GetObject", unit.audit_bucket.arn_for_objects(records)),
                # without it S3 returns 403 for a missing object
                allow_listing(unit.audit_bucket.bucket_arn, records),
            ],
            f"Reads what {endpoint} serves and has rolled back",
        )
        ended = events.Rule(
            self,
            "Rollouts",
            event_bus=unit.bus,
            description=f"Rollouts of {endpoint}, to report to {self._source.name}",
            event_pattern=events.EventPattern(
                source=[event_source(unit.name)],
                detail_type=[DetailType.ROLLOUT_FINISHED.value],
                detail={"subject": [endpoint]},
            ),
        )
        self._feed(ended)

    def check_rules(self, *, published: cdk.IResolvable, arns: Sequence[str]) -> None:
        """Publish hourly how many of the registry's rules are disabled or deleted, with an alarm.

        Args:
            published: The rules, as in the registry's parameter.
            arns: ARNs of the rules.
        """
        self._consumer.function.add_environment("RULES", stack_of(self).to_json_string(published))
        statement = allow("events:DescribeRule", *arns)
        self._allow("Rules", [statement], f"Reads whether rules of {self._group_name} are enabled")
        hourly_alarm(
            self,
            "StoppedRules",
            business_unit=self._unit,
            group_name=self._group_name,
            metric_name=STOPPED_METRIC,
            description=f"a rule that sends or receives releases or serving reports of {self._group_name} is disabled or deleted, "
            "or (insufficient data) the rules are not checked any more, as the rule Recheck of the served models is stopped or "
            "its function fails: mlops promotions lists the rules with the commands that start them; else read the log and "
            "the dead letters of function Models",
        )

    def measure_against(self, environment: str | None) -> None:
        """Use the model that an environment serves as the champion.

        Args:
            environment: Name of the environment; ``None`` for the last one of the chain.
        """
        self._champion = environment
        self._renew()

    def retrain(self, pipeline: str) -> None:
        """Forward retraining requests of targets to a pipeline of this stack, by events on the unit's bus.

        Args:
            pipeline: Name of the pipeline, ``<unit>-<name>``.
        """
        self._pipelines.append(pipeline)
        self._allow_events()
        self._renew()

    def add_alarms(self, alarms: Mapping[str, cloudwatch.IAlarm]) -> events.Rule:
        """Add alarms that request a retraining from the source; the newest monitor report must confirm an alarm.

        Args:
            alarms: Alarms by a name for error messages.

        Returns:
            The rule on the default bus.

        Raises:
            ValidationError: If no alarm is given, or alarms were added before.
        """
        problems = [
            None if alarms else "alarms must not be empty",
            None if not self._alarms else "alarms were added before; add all of them in one call",
        ]
        raise_if_any(self, "InvalidAlarms", problems)
        self._alarms = tuple(alarm.alarm_name for alarm in alarms.values())
        self._renew()
        reports = f"monitor/{self._endpoint}/reports/*"
        statements = [
            describe_alarms_statement(),
            # the newest report confirms an alarm
            allow("s3:GetObject", self._unit.artifacts.arn_for_objects(reports)),
            allow_listing(self._unit.artifacts.bucket_arn, reports),
        ]
        self._allow("Asks", statements, f"Confirms alarms that ask to retrain {self._group_name}")
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
        pattern = events.EventPattern(
            source=["aws.cloudwatch"],
            detail_type=["CloudWatch Alarm State Change"],
            detail={"alarmName": list(self._alarms), "state": {"value": ["ALARM"]}},
        )
        rule = events.Rule(
            self, "Alarms", description=f"Alarms that request retrainings of {self._group_name}", event_pattern=pattern
        )
        self._feed(rule)
        return rule

    def _allow_events(self) -> None:
        if not self._has_events:
            self._has_events = True
            self._allow(
                "Speaks", [put_events_statement(self._unit)], f"Puts events about {self._group_name} on the bus"
            )

    def _renew(self) -> None:
        self._consumer.function.add_environment("SERVED_MODELS", self._settings())

    def _allow(self, id: str, statements: Sequence[iam.PolicyStatement], description: str) -> None:
        policy = shared_policy(
            self, id, statements=statements, description=description, wildcard_reason=_WILDCARD_REASON
        )
        role_of(self._consumer.function).add_managed_policy(policy)

    def _receive_reports(self) -> None:
        pattern = events.EventPattern(
            account=sorted({each.account for each in self._targets}),
            region=sorted({each.region for each in self._targets}),
            source=[event_source(self._unit.name)],
            detail_type=list(_REPORTED),
            detail={"subject": [self._group_name], "outcome": list(_OUTCOMES)},
        )
        description = f"Reports and requests of targets about {self._group_name}"
        self._feed(
            events.Rule(self, "Heard", event_bus=self._mailbox.bus, description=description, event_pattern=pattern)
        )

    def _feed(self, rule: events.Rule) -> None:
        self._consumer.feed(rule)
        self._rules.append(rule)
        for statement in self._described:
            statement.add_resources(rule.rule_arn)

    def _environment(self) -> Mapping[str, str]:
        return {
            "ACCOUNT": self._here.account,
            "ARTIFACTS_BUCKET": self._unit.artifacts.bucket_name,
            "BUS": self._unit.bus.event_bus_name,
            "RECHECK_RULE": self._recheck.rule_arn,
            "SERVED_MODELS": self._settings(),
            # without the freeze calendar: a report is sent at any time, and Lambda allows 4 KB for all variables
            **{name: self._unit.automation_environment[name] for name in ("AUTOMATION_TABLE", "UNIT")},
        }

    def _settings(self) -> str:
        settings = ServedSettings(
            group=self._group_name,
            targets=tuple(each.named for each in self._targets),
            has_source=self._source is not None,
            champion=self._champion,
            pipelines=tuple(self._pipelines),
            alarms=self._alarms,
        )
        # names of alarms may be tokens
        return stack_of(self).to_json_string(to_dict(settings))

    def _define_consumer(self) -> QueueConsumer:
        unit = self._unit
        row = {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [downstream_chain(self._group_name)]}}
        releases = f"releases/{self._group_name}/*"
        kept = [
            allow("s3:GetObject", unit.artifacts.arn_for_objects(releases)),
            # without it S3 returns 403 for a missing object
            allow_listing(unit.artifacts.bucket_arn, releases),
        ]
        return define_queue_consumer(
            self,
            "Models",
            business_unit=unit,
            folder="served_models",
            description=f"Keeps what targets serve of {self._group_name}, and tells the source",
            environment=self._environment(),
            statements=[
                allow(["dynamodb:GetItem", "dynamodb:UpdateItem"], unit.automation_table.table_arn, conditions=row),
                key_statement(unit.key, services=["dynamodb", "s3"]),
                *(kept if self._targets else []),
            ],
            timeout=cdk.Duration.seconds(60),
            wildcard_reason=_WILDCARD_REASON,
        )


def hourly_alarm(
    scope: Construct, id: str, *, business_unit: IBusinessUnit, group_name: str, metric_name: str, description: str
) -> cloudwatch.Alarm:
    """Define the alarm on a number that a function publishes with each hourly check, also if it is 0.

    If the function stops, the data of three checks is missing and the alarm changes to INSUFFICIENT_DATA, which notifies too;
    before the first check it is in that state without a notification.

    Args:
        scope: Parent construct.
        id: Construct id.
        business_unit: Owning business unit, whose topic is notified.
        group_name: Name of the package group.
        description: The finding and what to do.
    """
    alarm = cloudwatch.Metric(
        namespace=metric_namespace(business_unit.name),
        metric_name=metric_name,
        dimensions_map={GROUP_DIMENSION: group_name},
        statistic=cloudwatch.Stats.MAXIMUM,
        period=_RECHECK,
    ).create_alarm(
        scope,
        id,
        threshold=1,
        comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        evaluation_periods=3,
        datapoints_to_alarm=1,
        treat_missing_data=cloudwatch.TreatMissingData.MISSING,
        alarm_description=description,
    )
    alarm.add_alarm_action(actions.SnsAction(business_unit.topic))
    alarm.add_insufficient_data_action(actions.SnsAction(business_unit.topic))
    return alarm


class Upstream:
    """The remote retraining of a model whose releases are taken, for ``DriftAlarms(retraining=)``.

    An alarm that the newest report of the monitor confirms sends a request to the source, which forwards it to its pipelines or to
    its own source. Cooldown, budget, pause and freeze are those of the pipeline that trains.

    Args:
        served: Sender of requests to the source.
        group_name: Name of the package group.
    """

    def __init__(self, served: ServedModels, group_name: str) -> None:
        self._served, self._group_name = served, group_name

    @property
    def pipeline_name(self) -> str:
        """Name of the package group, as the names of the source's pipelines are unknown."""
        return self._group_name

    @property
    def endpoint_name(self) -> str:
        """Name of this stack's endpoint, whose monitor reports confirm alarms.

        Raises:
            ValidationError: If the stack does not yet define an endpoint of the registry.
        """
        if self._served.endpoint is None:
            self._refuse(f"no endpoint of this stack serves {self._group_name!r} yet; define it before its alarms")
        return self._served.endpoint

    def add_alarms(self, alarms: Mapping[str, cloudwatch.IAlarm]) -> events.Rule:
        """Add alarms that request a retraining from the source.

        Args:
            alarms: Alarms by a name for error messages.
        """
        return self._served.add_alarms(alarms)

    def grant_request(self, grantee: iam.IGrantable) -> iam.Grant:
        """Fail, as people request retrainings in the account that trains.

        Args:
            grantee: Principal to grant access to.

        Raises:
            ValidationError: Always.
        """
        del grantee
        source = self._served.source
        where = "its source" if source is None else f"{source.name} ({source.account} {source.region})"
        self._refuse(
            f"{self._group_name!r} is trained in {where} or before it; grant requests there, with "
            "RetrainingPipeline.grant_request"
        )

    def _refuse(self, problem: str) -> NoReturn:
        raise ValidationError("InvalidUpstream", [problem], self._served)
