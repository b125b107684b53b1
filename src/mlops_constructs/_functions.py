"""Functions of a unit, alone or behind a queue with dead letters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import cast

import aws_cdk as cdk
import jsii
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from aws_cdk.interfaces import aws_events as events_interfaces

from constructs import Construct, IConstruct, IValidation
from mlops_constructs._assets import RUNTIME, lambda_code
from mlops_constructs._roles import key_statement, log_statement, service_role
from mlops_constructs._stack_values import stack_of
from mlops_constructs._unit_resources import define_log_group
from mlops_constructs._validation import check_duration, check_range, raise_if_any
from mlops_constructs.compliance import acknowledge, acknowledge_family
from mlops_constructs.unit_interface import IBusinessUnit

ARCHITECTURE = lambda_.Architecture.X86_64
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions
NETWORK_ACTIONS = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
)
TRACING_ACTIONS = ("xray:PutTelemetryRecords", "xray:PutTraceSegments")
_SHORTEST, _LONGEST = cdk.Duration.seconds(1), cdk.Duration.minutes(15)
# for the start of the function's container, and the way of question and answer
_ANSWER_MARGIN = cdk.Duration.minutes(1)
UNRESERVED = (
    "a new account has 10 concurrent executions, all of which must stay unreserved; "
    "set reserved_concurrency where the account's quota allows it"
)

MAXIMUM_RECEIVES = 5
_LAST_STOP = (
    "it is itself where undeliverable messages end, watched by an alarm; a further queue behind it would never be read"
)
_REDRIVE = (
    "Lambda allows a failure destination for streams only; for SQS the queue's own redrive policy keeps what failed"
)


def define_function(
    scope: Construct,
    id: str,
    *,
    business_unit: IBusinessUnit,
    folder: str,
    description: str,
    environment: Mapping[str, str],
    statements: Sequence[iam.PolicyStatement],
    timeout: cdk.Duration,
    memory_size: int = 256,
    layers: Sequence[lambda_.ILayerVersion] = (),
    files: Mapping[str, str] | None = None,
    reserved_concurrency: int | None = None,
    wildcard_reason: str | None = None,
    role_name: str | None = None,
) -> lambda_.Function:
    """Define a function.

    Args:
        scope: Parent.
        id: Construct id; its role is ``<id>Role``, its log group ``<id>Logs``.
        business_unit: The unit; gives network, key, dead-letter queue and boundary.
        folder: Folder of ``lambdas/`` whose ``handler.handler`` is called.
        description: What the function does.
        environment: Environment variables, encrypted with the unit's key.
        statements: What the code may do; logs, tracing, network, key and dead letters are added.
        timeout: Longest run, at most 15 minutes.
        memory_size: MiB. Default: 256.
        layers: Layers with compiled wheels. Default: none.
        files: Texts by name that stand beside the handler. Default: none.
        reserved_concurrency: Concurrent executions kept for it. Default: none are kept, which is acknowledged.
        wildcard_reason: Why resources with ``*`` are needed in ``statements``. Default: a wildcard is a finding.
        role_name: Name of its role, where policies of another account name it. Default: CloudFormation gives one.

    Raises:
        ValidationError: If timeout or memory are outside Lambda's limits.
    """
    raise_if_any(
        scope,
        "InvalidFunction",
        [
            check_duration("timeout", timeout, minimum=_SHORTEST, maximum=_LONGEST),
            check_range("memory_size", memory_size, minimum=128, maximum=10240),
        ],
    )
    log_group = define_log_group(scope, f"{id}Logs", business_unit=business_unit)
    own_statements = [
        log_statement(log_group),
        iam.PolicyStatement(actions=["sqs:SendMessage"], resources=[business_unit.dead_letter_queue.queue_arn]),
        # the queue of dead letters and the environment are encrypted with the unit's key
        key_statement(business_unit.key, services=["lambda", "sqs"]),
    ]
    role = service_role(
        scope,
        f"{id}Role",
        service="lambda.amazonaws.com",
        statements=[*own_statements, *statements],
        business_unit=business_unit,
        description=description,
        managed_policies=[business_unit.function_policy],
        wildcard_reason=wildcard_reason,
        role_name=role_name,
    )
    with role.declared(["sqs:SendMessage", *NETWORK_ACTIONS, *TRACING_ACTIONS]):
        function = lambda_.Function(
            scope,
            id,
            runtime=RUNTIME,
            architecture=ARCHITECTURE,
            handler="handler.handler",
            code=lambda_code(folder, files=files),
            description=description,
            environment=dict(environment),
            environment_encryption=business_unit.key,
            role=role,
            timeout=timeout,
            memory_size=memory_size,
            layers=list(layers),
            reserved_concurrent_executions=reserved_concurrency,
            log_group=log_group,
            tracing=lambda_.Tracing.ACTIVE,
            dead_letter_queue=business_unit.dead_letter_queue,
            vpc=business_unit.vpc,
            vpc_subnets=business_unit.subnets,
            security_groups=[business_unit.security_group],
        )
    if reserved_concurrency is None:
        acknowledge_family(function, "LambdaConcurrency", UNRESERVED)
    return function


def define_custom_resource(
    scope: Construct, id: str, *, function: lambda_.Function, resource_type: str, properties: Mapping[str, str]
) -> cdk.CustomResource:
    """Define a custom resource that a function answers for.

    CloudFormation waits for its answer a minute longer than the function may run, where it would wait an hour by default.

    See: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-cloudformation-customresource.html

    Args:
        scope: Parent.
        id: Construct id.
        function: The function, made by ``define_function``.
        resource_type: Type such as ``Custom::BucketSweep``.
        properties: What the function is given.
    """
    if function.timeout is None:
        raise TypeError("the function of a custom resource must have a timeout, got none")
    return cdk.CustomResource(
        scope,
        id,
        service_token=function.function_arn,
        resource_type=resource_type,
        properties=dict(properties),
        service_timeout=function.timeout.plus(_ANSWER_MARGIN),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueConsumer:
    """A queue, what could not be processed, and the function that consumes it."""

    queue: sqs.Queue
    dead_letter_queue: sqs.Queue
    function: lambda_.Function

    def feed(self, rule: events.Rule) -> None:
        """Let a rule put its events on the queue; what cannot be delivered goes to the dead letters.

        Args:
            rule: The rule.
        """
        deliver(rule, self.queue, dead_letters=self.dead_letter_queue)


def deliver(rule: events.Rule, queue: sqs.IQueue, *, dead_letters: sqs.IQueue) -> None:
    """Let a rule put its events on a queue; what cannot be delivered goes to the dead letters.

    The queue's policy admits this rule alone. CDK's target would admit EventBridge for everybody's rules where the queue is
    encrypted, and let it use the key for more than it needs, as CDK has one grant for both policies.

    See: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html#eb-sqs-permissions

    Args:
        rule: The rule.
        queue: The queue; the policy of its key must admit EventBridge.
        dead_letters: The queue of what cannot be delivered.
    """
    rule.add_target(_Arrival(queue, dead_letters))
    _admit(dead_letters, rule)
    _admit(queue, rule)


def add_target(rule: events.Rule, target: events.IRuleTarget, *, dead_letters: sqs.IQueue) -> None:
    """Give a rule a target; what cannot be delivered goes to the dead letters.

    Their policy has one statement for all rules. CDK's targets add one a rule, each with a condition; a policy may have ten.

    See: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-policies.html

    Args:
        rule: The rule.
        target: The target, without dead letters of its own.
        dead_letters: The queue of what cannot be delivered.
    """
    rule.add_target(_Delivery(target, dead_letters))
    _admit(dead_letters, rule)


def _admit(queue: sqs.IQueue, rule: events.Rule) -> None:
    known = queue.node.try_find_child("Rules")
    admitted = known if isinstance(known, _AdmittedRules) else _AdmittedRules(queue)
    admitted.add(rule.rule_arn)


@jsii.implements(cdk.IStableListProducer)
class _Arns:
    """ARNs that are added until the template is rendered."""

    def __init__(self) -> None:
        self.values: list[str] = []

    def produce(self) -> list[str]:
        return self.values


class _AdmittedRules(Construct):
    """The rules that may put events on a queue, in one statement of its policy."""

    def __init__(self, queue: sqs.IQueue) -> None:
        super().__init__(cast("Construct", queue), "Rules")
        self._arns = _Arns()
        rules = {"ArnEquals": {"aws:SourceArn": cdk.Lazy.list(self._arns)}}
        queue.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["sqs:SendMessage"],
                principals=[iam.ServicePrincipal("events.amazonaws.com", conditions=rules)],
                resources=[queue.queue_arn],
            )
        )

    def add(self, arn: str) -> None:
        """Admit a rule, once."""
        if arn not in self._arns.values:
            self._arns.values.append(arn)


@jsii.implements(events.IRuleTarget)
class _Delivery:
    """A target with dead letters whose policy is not the target's to write."""

    def __init__(self, target: events.IRuleTarget, dead_letters: sqs.IQueue) -> None:
        self._target, self._dead_letters = target, dead_letters

    def bind(self, rule: events_interfaces.IRuleRef, id: str | None = None) -> events.RuleTargetConfig:
        """Return what the target returns, with the dead letters."""
        config = self._target.bind(rule, id)
        letters = events.CfnRule.DeadLetterConfigProperty(arn=self._dead_letters.queue_arn)
        return events.RuleTargetConfig(
            arn=config.arn,
            input=config.input,
            role=config.role,
            retry_policy=config.retry_policy,
            target_resource=config.target_resource,
            dead_letter_config=letters,
        )


@jsii.implements(events.IRuleTarget)
class _Arrival:
    """A queue as target with dead letters, neither of whose policies is the target's to write."""

    def __init__(self, queue: sqs.IQueue, dead_letters: sqs.IQueue) -> None:
        self._queue, self._dead_letters = queue, dead_letters

    def bind(self, rule: events_interfaces.IRuleRef, id: str | None = None) -> events.RuleTargetConfig:  # noqa: ARG002 - what every target takes
        """Return the queue and its dead letters."""
        letters = events.CfnRule.DeadLetterConfigProperty(arn=self._dead_letters.queue_arn)
        return events.RuleTargetConfig(arn=self._queue.queue_arn, dead_letter_config=letters)


def define_dead_letter_queue(
    scope: Construct, id: str, *, business_unit: IBusinessUnit, problem: str | None = None
) -> sqs.Queue:
    """Define a dead-letter queue for messages that could not be processed; the first one notifies the unit's topic.

    Args:
        scope: Parent.
        id: Construct id; the alarm is ``<id>Alarm``.
        business_unit: The unit; gives key and topic.
        problem: What the alarm says. Default: that messages wait there.
    """
    queue = sqs.Queue(
        scope,
        id,
        encryption=sqs.QueueEncryption.KMS,
        encryption_master_key=business_unit.key,
        enforce_ssl=True,
        retention_period=cdk.Duration.days(14),
        removal_policy=cdk.RemovalPolicy.DESTROY,
    )
    acknowledge_family(queue, "SQSRedrivePolicy", _LAST_STOP)
    _use_check(stack_of(scope)).queues.append(queue)
    alarm = queue.metric_approximate_number_of_messages_visible(
        period=cdk.Duration.minutes(5), statistic=cloudwatch.Stats.MAXIMUM
    ).create_alarm(
        scope,
        f"{id}Alarm",
        threshold=1,
        evaluation_periods=1,
        comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        alarm_description=(
            f"unprocessed messages are waiting in {queue.node.path}; read them, fix the cause, redrive them"
            if problem is None
            else problem
        ),
    )
    alarm.add_alarm_action(actions.SnsAction(business_unit.topic))
    return queue


def admit_bus(queue: sqs.Queue, bus: events.EventBus) -> None:
    """Let a bus leave on its dead letters what it could not process; a rule's target admits the rule by itself.

    See: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-event-delivery.html#eb-rule-dlq

    Args:
        queue: The dead letters.
        bus: The bus.
    """
    queue.add_to_resource_policy(
        iam.PolicyStatement(
            sid="Bus",
            actions=["sqs:SendMessage"],
            principals=[
                iam.ServicePrincipal(
                    "events.amazonaws.com", conditions={"ArnEquals": {"aws:SourceArn": bus.event_bus_arn}}
                )
            ],
            resources=[queue.queue_arn],
        )
    )


def define_queue_consumer(
    scope: Construct,
    id: str,
    *,
    business_unit: IBusinessUnit,
    folder: str,
    description: str,
    environment: Mapping[str, str],
    statements: Sequence[iam.PolicyStatement],
    timeout: cdk.Duration,
    memory_size: int = 256,
    layers: Sequence[lambda_.ILayerVersion] = (),
    files: Mapping[str, str] | None = None,
    batch_size: int = 10,
    maximum_concurrency: int | None = None,
    wildcard_reason: str | None = None,
) -> QueueConsumer:
    """Define a function fed from a queue, with partial batch responses and a queue for what fails five times.

    Rules put their events on ``queue`` by ``feed``, which adds to the queue's policy; grant nothing else.

    Args:
        scope: Parent.
        id: Construct id of the function; the queue is ``<id>Queue``, its dead letters ``<id>DeadLetters``.
        business_unit: The unit.
        folder: Folder of ``lambdas/`` whose ``handler.handler`` returns ``{"batchItemFailures": [...]}``.
        description: What the function does.
        environment: Environment variables.
        statements: What the code may do; reading the queue is added.
        timeout: Longest run; a message is hidden six times as long, as AWS advises.
        memory_size: MiB. Default: 256.
        layers: Layers with compiled wheels. Default: none.
        files: Texts by name that stand beside the handler. Default: none.
        batch_size: Messages a call, 1 to 10. Default: 10.
        maximum_concurrency: Calls at the same time, at least 2. Default: as many as Lambda starts.
        wildcard_reason: Why resources with ``*`` are needed in ``statements``. Default: a wildcard is a finding.

    Raises:
        ValidationError: If an argument is outside Lambda's limits.

    See: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    """
    dead_letters = define_dead_letter_queue(scope, f"{id}DeadLetters", business_unit=business_unit)
    queue = sqs.Queue(
        scope,
        f"{id}Queue",
        encryption=sqs.QueueEncryption.KMS,
        encryption_master_key=business_unit.key,
        enforce_ssl=True,
        visibility_timeout=cdk.Duration.seconds(6 * timeout.to_seconds(integral=False)),
        retention_period=cdk.Duration.days(4),
        dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=MAXIMUM_RECEIVES),
        removal_policy=cdk.RemovalPolicy.DESTROY,
    )
    consume = iam.PolicyStatement(
        # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-configure-lambda-function-trigger.html
        actions=["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"],
        resources=[queue.queue_arn],
    )
    function = define_function(
        scope,
        id,
        business_unit=business_unit,
        folder=folder,
        description=description,
        environment=environment,
        statements=[consume, *statements],
        timeout=timeout,
        memory_size=memory_size,
        layers=layers,
        files=files,
        wildcard_reason=wildcard_reason,
    )
    mapping = lambda_.EventSourceMapping(
        scope,
        f"{id}Source",
        target=function,
        event_source_arn=queue.queue_arn,
        batch_size=batch_size,
        max_concurrency=maximum_concurrency,
        report_batch_item_failures=True,
    )
    acknowledge_family(mapping, "LambdaEventSourceMappingDestination", _REDRIVE)
    return QueueConsumer(queue=queue, dead_letter_queue=dead_letters, function=function)


@jsii.implements(IValidation)
class _UseCheck:
    """Rules and buses alone use a queue: cdk-nag's SQS3 knows dead letters of functions and queues only.

    One for all such queues of a stack, so that node lists its constructs once.
    """

    def __init__(self, stack: cdk.Stack) -> None:
        self._stack = stack
        self.queues: list[sqs.Queue] = []

    def validate(self) -> list[str]:
        found = [_dead_letters_of(construct) for construct in self._stack.node.find_all()]
        arns, users = self._stack.resolve(
            [[queue.queue_arn for queue in self.queues], [user for user in found if user]]
        )
        for queue, arn in zip(self.queues, arns, strict=True):
            if not any(arn in user.values() for user in users):
                acknowledge(queue, "AwsSolutions-SQS3", _LAST_STOP)
        return []


@cache
def _use_check(stack: cdk.Stack) -> _UseCheck:
    check = _UseCheck(stack)
    stack.node.add_validation(check)
    return check


def _dead_letters_of(construct: IConstruct) -> object:
    if isinstance(construct, lambda_.CfnFunction):
        return construct.dead_letter_config
    return construct.redrive_policy if isinstance(construct, sqs.CfnQueue) else None
