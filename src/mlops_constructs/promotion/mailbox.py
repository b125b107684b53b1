"""Event exchange of a registry with its source and targets: an inbox (event bus), and the role that sends to other inboxes."""

import jsii
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from aws_cdk.interfaces import aws_events as events_interfaces

from constructs import Construct
from mlops_constructs._functions import add_target, admit_bus, define_dead_letter_queue
from mlops_constructs._roles import ServiceRole, service_role
from mlops_constructs._stack_values import stack_values
from mlops_constructs.compliance import acknowledge
from mlops_constructs.promotion.environment import Environment
from mlops_constructs.promotion.link_statements import PromotionLink
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.promotion.environment_link import LinkedEnvironment, inbox_name, link_role_name

# schedules send the newest state again, so longer retries would only delay the alarm on lost events; see
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-retry-policy.html
_RETRIES = events.CfnRule.RetryPolicyProperty(maximum_event_age_in_seconds=4 * 3600, maximum_retry_attempts=185)
_SENDER = (
    "conditions limit the other account's root to one role by its name, to events of the unit, and to this bus; rejected: that "
    "role as principal, which would have to exist before this stack"
)


class Mailbox(Construct):
    """The inbox of a registry, and the role with which rules of its unit's bus send events to other inboxes. Stateless.

    Events that cannot be delivered to an inbox within 4 hours, or at once if a permission or the inbox is missing, go to the queue
    ``undelivered``, whose alarm notifies the unit's topic.

    Args:
        scope: Construct of the registry.
        id: Construct id.
        business_unit: Owning business unit.
        model: Name of the model, without the unit's.
        dead_letters: Queue of events that the inbox could not process.
    """

    def __init__(
        self, scope: Construct, id: str, *, business_unit: IBusinessUnit, model: str, dead_letters: sqs.Queue
    ) -> None:
        super().__init__(scope, id)
        stack = stack_values(self)
        self._unit, self._model = business_unit, model
        self._here = LinkedEnvironment(account=stack.account, region=stack.region)
        self._bus = events.EventBus(
            self,
            "Bus",
            event_bus_name=inbox_name(unit=business_unit.name, model=model),
            description=f"Events about {business_unit.name}-{model} of neighbouring environments",
            kms_key=business_unit.key,
            dead_letter_queue=dead_letters,
        )
        admit_bus(dead_letters, self._bus)
        self._admitted = Construct(self, "Admitted")
        self._undelivered = define_dead_letter_queue(
            self,
            "Undelivered",
            business_unit=business_unit,
            problem=f"events about {business_unit.name}-{model} did not reach other environments: the messages contain the target "
            "and the error; deploy its stack, and compare both sides with mlops accounts show. The newest state is sent again each "
            "hour; purge the queue then",
        )
        self._sender: ServiceRole | None = None

    @property
    def bus(self) -> events.IEventBus:
        """The inbox."""
        return self._bus

    @property
    def undelivered(self) -> sqs.IQueue:
        """Queue of events that could not be delivered."""
        return self._undelivered

    def admit(self, neighbour: Environment, link: PromotionLink) -> None:
        """Allow the sender role of another environment to put events of the unit on the inbox.

        Args:
            neighbour: The other environment.
            link: Link between both environments.
        """
        place = f"{neighbour.account}{neighbour.region.replace('-', '')}"
        policy = events.CfnEventBusPolicy(
            self._admitted,
            neighbour.name,
            event_bus_name=self._bus.event_bus_name,
            statement_id=f"From{place}",
            statement=link.inbox_statement(sender=neighbour.linked, receiver=self._here),
        )
        acknowledge(policy, f"Mlops-PolicyPrincipal[{neighbour.account}]", _SENDER)

    def send(self, rule: events.Rule, link: PromotionLink, receiver: LinkedEnvironment) -> None:
        """Add the inbox of another environment as target of a rule of the unit's bus.

        Args:
            link: Link between both environments.
            receiver: Environment of the inbox.
        """
        statement = link.send_statement(receiver)
        if self._sender is None:
            self._sender = self._define_sender(statement)
        else:
            policy = self._sender.node.find_child("Policy")
            assert isinstance(policy, iam.ManagedPolicy)  # noqa: S101 - what service_role defines
            policy.add_statements(statement)
        target = _Inbox(link.inbox(receiver), self._sender)
        add_target(rule, target, dead_letters=self._undelivered)

    def _define_sender(self, statement: iam.PolicyStatement) -> ServiceRole:
        name = link_role_name("send", unit=self._unit.name, model=self._model, environment=self._here)
        return service_role(
            self,
            "Sender",
            service="events.amazonaws.com",
            statements=[statement],
            business_unit=self._unit,
            description=f"Tells neighbouring environments of {self._unit.name}-{self._model}",
            role_name=name,
        )


@jsii.implements(events.IRuleTarget)
class _Inbox:
    """The inbox of another environment as a rule's target, to which EventBridge delivers with the sender's role."""

    def __init__(self, arn: str, role: ServiceRole) -> None:
        self._arn, self._role = arn, role

    def bind(self, rule: events_interfaces.IRuleRef, id: str | None = None) -> events.RuleTargetConfig:
        """Return the target: bus, role and retry policy."""
        del rule, id
        return events.RuleTargetConfig(arn=self._arn, role=self._role, retry_policy=_RETRIES)
