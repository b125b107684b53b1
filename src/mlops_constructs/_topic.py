"""Topics with the unit's key, and which services may publish to them."""

from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns

from constructs import Construct
from mlops_constructs._iam import source_conditions
from mlops_constructs._sagemaker import alarm_arn

ALARMS = "cloudwatch.amazonaws.com"
RULES = "events.amazonaws.com"


def define_topic(scope: Construct, id: str, *, key: kms.IKey) -> sns.Topic:
    """Define a topic that the account's alarms may tell: a policy of its own takes the place of the one that lets them by default.

    See: https://docs.aws.amazon.com/sns/latest/dg/sns-access-policy-use-cases.html

    Args:
        scope: Parent.
        id: Construct id.
        key: Key of its messages; its policy must admit CloudWatch.
    """
    topic = sns.Topic(scope, id, master_key=key, enforce_ssl=True)
    admit(topic, scope, sid="Alarms", service=ALARMS, source_arn=alarm_arn(scope, "*"))
    return topic


def admit(topic: sns.ITopic, scope: Construct, *, sid: str, service: str, source_arn: str) -> None:
    """Let a service publish for one source; the policy of a topic that is defined elsewhere has to say so itself.

    Args:
        topic: The topic.
        scope: Any construct of the stack.
        sid: Id of the statement: letters and digits, one for each source.
        service: The service's principal.
        source_arn: ARN (``*`` allowed) of what it publishes for.
    """
    conditions = source_conditions(scope, service, source_arn)
    topic.add_to_resource_policy(_publish(topic, sid, iam.ServicePrincipal(service, conditions=conditions)))


def admit_rules(topic: sns.ITopic) -> None:
    """Let rules publish to this topic; the policy of a topic that is defined elsewhere has to say so itself.

    The statement has no condition: EventBridge sends nothing that one could hold, and its guide allows none in a topic's policy
    (``docs/adr/0020-conditions-that-services-meet.md``). The same statement of a second rule is left out.

    See: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html#eb-sns-permissions

    Args:
        topic: The topic.
    """
    topic.add_to_resource_policy(_publish(topic, "Rules", iam.ServicePrincipal(RULES)))


def _publish(topic: sns.ITopic, sid: str, principal: iam.IPrincipal) -> iam.PolicyStatement:
    return iam.PolicyStatement(sid=sid, actions=["sns:Publish"], principals=[principal], resources=[topic.topic_arn])
