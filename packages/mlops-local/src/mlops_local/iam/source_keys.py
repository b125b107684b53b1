"""Condition keys that a service sends when it calls another one, in a table with one ledger claim per row.

A service and action that are not in the table send no keys, so a condition on one denies, as it would if AWS sent none.
`aws:SourceArn` and `aws:SourceAccount` differ by service: https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

ARN = "aws:SourceArn"
ACCOUNT = "aws:SourceAccount"
OWNER = "aws:SourceOwner"
_REGION = re.compile(r"^logs\.[a-z0-9-]+\.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The keys that a service sends with one action."""

    service: str  # the service principal
    action: str  # the IAM action; `kms:*` for the use of the key of an encrypted `target`
    # service of the resource, `sns`; distinguishes the keys of different resources. Default: the action is enough
    target: str = ""
    keys: tuple[str, ...] = ()  # source keys that are documented, or were observed publicly


ROWS = (
    # claim: events-send-no-keys-to-topics
    Row(service="events.amazonaws.com", action="sns:Publish"),
    # claim: events-send-no-keys-for-encrypted-topics
    Row(service="events.amazonaws.com", action="kms:*", target="sns"),
    # claim: events-send-no-keys-for-encrypted-queues
    Row(service="events.amazonaws.com", action="kms:*", target="sqs"),
    # claim: events-send-the-rule-to-queues
    Row(service="events.amazonaws.com", action="sqs:SendMessage", keys=(ARN, ACCOUNT)),
    # claim: events-send-the-rule-to-functions
    Row(service="events.amazonaws.com", action="lambda:InvokeFunction", keys=(ARN,)),
    # claim: events-send-the-rule-to-roles
    Row(service="events.amazonaws.com", action="sts:AssumeRole", keys=(ARN, ACCOUNT)),
    # claim: events-send-the-bus-for-its-key
    Row(service="events.amazonaws.com", action="kms:*", target="events", keys=(ARN, ACCOUNT)),
    # claim: scheduler-sends-the-schedule-group
    Row(service="scheduler.amazonaws.com", action="sts:AssumeRole", keys=(ARN, ACCOUNT)),
    # claim: alarms-send-themselves-to-topics
    Row(service="cloudwatch.amazonaws.com", action="sns:Publish", keys=(ARN, ACCOUNT, OWNER)),
    # claim: alarms-send-themselves-for-encrypted-topics
    Row(service="cloudwatch.amazonaws.com", action="kms:*", target="sns", keys=(ARN, ACCOUNT)),
    # claim: topics-send-themselves
    Row(service="sns.amazonaws.com", action="sqs:SendMessage", keys=(ARN, ACCOUNT)),
    Row(service="sns.amazonaws.com", action="lambda:InvokeFunction", keys=(ARN,)),
    # claim: buckets-send-themselves
    Row(service="s3.amazonaws.com", action="sqs:SendMessage", keys=(ARN, ACCOUNT)),
    Row(service="s3.amazonaws.com", action="sns:Publish", keys=(ARN, ACCOUNT)),
    Row(service="s3.amazonaws.com", action="lambda:InvokeFunction", keys=(ARN, ACCOUNT)),
    # claim: machines-send-themselves-to-roles
    Row(service="states.amazonaws.com", action="sts:AssumeRole", keys=(ARN, ACCOUNT)),
    # claim: jobs-send-themselves-to-roles
    Row(service="sagemaker.amazonaws.com", action="sts:AssumeRole", keys=(ARN, ACCOUNT)),
    # claim: glue-sends-no-keys-to-roles
    Row(service="glue.amazonaws.com", action="sts:AssumeRole"),
    # claim: gateway-sends-no-keys-to-roles
    Row(service="apigateway.amazonaws.com", action="sts:AssumeRole"),
    # claim: gateway-sends-the-method-to-functions
    Row(service="apigateway.amazonaws.com", action="lambda:InvokeFunction", keys=(ARN, ACCOUNT)),
    # claim: lambda-sends-no-keys-to-roles
    Row(service="lambda.amazonaws.com", action="sts:AssumeRole"),
    # claim: lake-formation-sends-itself-to-roles
    Row(service="lakeformation.amazonaws.com", action="sts:AssumeRole", keys=(ARN, ACCOUNT)),
    # claim: flow-logs-send-themselves-to-roles
    Row(service="vpc-flow-logs.amazonaws.com", action="sts:AssumeRole", keys=(ARN, ACCOUNT)),
    # claim: pod-identity-sends-the-cluster-to-roles
    Row(service="pods.eks.amazonaws.com", action="sts:AssumeRole", keys=(ARN, ACCOUNT)),
    Row(service="pods.eks.amazonaws.com", action="sts:TagSession", keys=(ARN, ACCOUNT)),
    # claim: distributions-send-themselves-to-buckets
    Row(service="cloudfront.amazonaws.com", action="s3:GetObject", keys=(ARN,)),
    # claim: access-logs-send-the-source-bucket
    Row(service="logging.s3.amazonaws.com", action="s3:PutObject", keys=(ARN, ACCOUNT)),
    # claim: balancers-send-themselves-with-access-logs
    Row(service="logdelivery.elasticloadbalancing.amazonaws.com", action="s3:PutObject", keys=(ARN,)),
    # claim: logs-send-the-encryption-context-alone
    Row(service="logs.amazonaws.com", action="kms:*"),
    # claim: log-delivery-sends-no-keys
    Row(service="delivery.logs.amazonaws.com", action="kms:*"),
)
_KEYS = {(row.service, row.action, row.target): row.keys for row in ROWS}


def documented(service: str, action: str, target: str = "") -> tuple[str, ...]:
    """Return the keys that a service sends with an action; empty if it is not in the table.

    Args:
        service: The service principal, with or without the Region that CloudWatch Logs has in its name.
        action: The IAM action.
        target: Service of the encrypted resource, for an action of KMS. Default: none.
    """
    name = _REGION.sub("logs.", service)
    if not action.startswith("kms:"):
        return _KEYS.get((name, action, ""), ())
    return _KEYS.get((name, "kms:*", target), ())


def sent(service: str, action: str, target: str = "", *, source_arn: str, account: str) -> Mapping[str, str]:
    """Return the context of a call, with lower-case names as the evaluator requires.

    Args:
        service: The service principal.
        action: The IAM action.
        target: Service of the encrypted resource, for an action of KMS. Default: none.
        source_arn: The resource on whose behalf the service acts.
        account: Account of that resource.
    """
    values = {ARN: source_arn, ACCOUNT: account, OWNER: account}
    return {key.lower(): values[key] for key in documented(service, action, target)}
