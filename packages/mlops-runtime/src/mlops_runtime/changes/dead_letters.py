"""Dead-letter queues of a template.

A work queue contains messages in flight, which their sender repeats. Messages in a dead-letter queue are not sent again
automatically: they are the only evidence of a failure, and are redriven after the fix.

See: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html
"""

from collections.abc import Iterator
from typing import Any

from mlops_runtime.changes.template import Template, references

_QUEUE = "AWS::SQS::Queue"
# properties of queues, subscriptions, rules, schedules, functions and their invocations
_NAMES = ("deadLetterTargetArn", "DeadLetterConfig", "OnFailure")
_ALLOWS = "RedriveAllowPolicy"


def dead_letter_queues(template: Template) -> frozenset[str]:
    """Return the logical ids of a template's dead-letter queues.

    Args:
        template: A template.

    Example:
        >>> queue, dead = {"Type": "AWS::SQS::Queue"}, {"deadLetterTargetArn": {"Fn::GetAtt": ["Dead", "Arn"]}}
        >>> work = queue | {"Properties": {"RedrivePolicy": dead}}
        >>> sorted(dead_letter_queues(Template(document={"Resources": {"Work": work, "Dead": queue}})))
        ['Dead']
    """
    resources = template.resources()
    queues = {name for name, body in resources.items() if body.get("Type") == _QUEUE}
    named = {name for body in resources.values() for name in _named(template.properties(body))}
    allowing = {name for name in queues if _ALLOWS in template.properties(resources[name])}
    return frozenset(queues & (named | allowing))


def _named(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key in _NAMES:
                yield from (name for name, _ in references(item))
            yield from _named(item)
    elif isinstance(value, list):
        for item in value:
            yield from _named(item)
