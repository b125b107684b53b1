"""How packages of a registry are approved: by people, within a time limit, and the notifications they get."""

from collections.abc import Mapping
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns

from mlops_constructs._arguments import checked
from mlops_constructs._errors import ValidationError
from mlops_constructs._validation import check_duration
from mlops_runtime.registry.package_approval import BY_POLICY, MAXIMUM_REASON

# a package's ARN ends in "model-package/<group>/<version>", which is how the command names it
_NAME = "$substringAfter($package, ':model-package/')"
# what a chat reads as markup; an @ calls no person with a character of no width behind it
# https://docs.slack.dev/messaging/formatting-message-text/#escaping
_MARKUP = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("@", "@\u200b"))
_SUBJECT = 100  # https://docs.aws.amazon.com/sns/latest/api/API_Publish.html

DEFAULT_TIMEOUT = cdk.Duration.days(7)


def policy_description(*, reason: str, binding: str) -> str:
    """Return the ApprovalDescription of an approval by policy, as an expression.

    Args:
        reason: Variable with the gate's reason, such as ``$reason``.
        binding: Variable with the package's binding, such as ``$gate.binding``.

    Example:
        >>> policy_description(reason="$reason", binding="$gate.binding")
        "{% 'approved by policy: ' & $substring($reason, 0, 880) & ' [binding ' & $gate.binding & ']' %}"
    """
    room = MAXIMUM_REASON - 20
    return f"{{% '{BY_POLICY}: ' & $substring({reason}, 0, {room}) & ' [binding ' & {binding} & ']' %}}"


def waiting_message(
    *, topic_arn: str, group_name: str, days: float, approver_arn: str, variables: Mapping[str, str]
) -> dict[str, object]:
    """Return the arguments of ``sns:publish`` that tell people which package waits, with which metrics, and what to type.

    Args:
        topic_arn: The topic; may be a token.
        group_name: Name of the package group.
        days: How many days people have.
        approver_arn: Role that they approve in; may be a token.
        variables: Expressions of ``package`` (ARN), ``reason`` (the gate's), ``execution``, ``training_set_id``, ``model_sha256``,
            ``evaluation_uri``.
    """
    v, newline = variables, "'\\n'"
    name = _NAME.replace("$package", v["package"])
    lines = [
        f"'Model package ' & {name} & ' passed the gate and waits for approval.'",
        "''",
        f"'Gate: ' & $substring({v['reason']}, 0, 2000)",
        f"'Trained by: ' & {v['execution']}",
        f"'Training set: ' & {v['training_set_id']}",
        f"'Model (SHA-256): ' & {v['model_sha256']}",
        f"'Evaluation: ' & {v['evaluation_uri']}",
        "''",
        f"'Show it:     mlops models show ' & {name}",
        f"'Approve it:  mlops models approve ' & {name} & ' --reason \"why\"'",
        f"'Reject it:   mlops models reject ' & {name} & ' --reason \"why\"'",
        "''",
        f"'It may be approved for {days:g} days, in role {approver_arn}.'",
    ]
    return {
        "TopicArn": topic_arn,
        "Subject": f"{group_name}: a model waits for approval"[:_SUBJECT],
        "Message": "{% " + f" & {newline} & ".join(lines) + " %}",
    }


def waiting_notification(
    *, topic_arn: str, group_name: str, days: float, approver_arn: str, variables: Mapping[str, str]
) -> dict[str, object]:
    """Return the arguments of ``sns:publish`` that show in a chat which package waits: a ``ChatNotification`` as JSON.

    See: https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html

    Args:
        topic_arn: The topic that Amazon Q Developer in chat applications reads; may be a token.
        group_name: Name of the package group: the messages of one are one thread.
        days: As `waiting_message`.
        approver_arn: As `waiting_message`.
        variables: As `waiting_message`.
    """
    v = variables
    name = _NAME.replace("$package", v["package"])
    reason = f"$substring({v['reason']}, 0, 2000)"
    for markup, text in _MARKUP:
        reason = f"$replace({reason}, '{markup}', '{text}')"
    until = f"'It may be approved for {days:g} days, in role {approver_arn}.'"
    steps = [
        f"'`mlops models {verb} ' & {name} & '{rest}`'"
        for verb, rest in (("show", ""), ("approve", ' --reason "why"'), ("reject", ' --reason "why"'))
    ]
    content = [
        "'textType': 'client-markdown'",
        f"'title': '{group_name}: a model waits for approval'",
        f"'description': 'Model package ' & {name} & ' passed the gate and waits for approval. ' & {reason}",
        f"'nextSteps': [{', '.join(steps)}, {until}]",
        f"'keywords': ['{group_name}', 'PendingManualApproval']",
    ]
    context = [
        f"'trained by': {v['execution']}",
        f"'training set': {v['training_set_id']}",
        f"'model (SHA-256)': {v['model_sha256']}",
    ]
    metadata = [
        f"'threadId': '{group_name}'",
        f"'summary': {name} & ' waits for approval'",
        "'eventType': 'MLOps Approval Waits'",
        f"'relatedResources': [{v['package']}, {v['evaluation_uri']}]",
        f"'additionalContext': {{{', '.join(context)}}}",
    ]
    parts = [
        "'version': '1.0'",
        "'source': 'custom'",
        f"'id': {v['package']}",
        f"'content': {{{', '.join(content)}}}",
        f"'metadata': {{{', '.join(metadata)}}}",
    ]
    return {"TopicArn": topic_arn, "Message": f"{{% $string({{{', '.join(parts)}}}) %}}"}


@checked("InvalidApproval")
@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """How a registered package becomes approved: by the gate's verdict, or by a person. Use one of the two factories.

    Example:
        >>> Approval.automatic().is_automatic
        True
    """

    is_automatic: bool
    topic: sns.ITopic | None = None
    timeout: cdk.Duration | None = None
    approver: iam.IRole | None = None
    chat_topic: sns.ITopic | None = None

    @classmethod
    def automatic(cls, *, approver: iam.IRole | None = None, chat_topic: sns.ITopic | None = None) -> "Approval":
        """Approve every package that passed the gate, unless automatic work is stopped; then a person approves.

        Args:
            approver: Role that people approve in where the machine left a package. Default: the registry defines one.
            chat_topic: As ``manual``, for packages that the machine left.
        """
        return cls(is_automatic=True, approver=approver, chat_topic=chat_topic)

    @classmethod
    def manual(
        cls,
        *,
        topic: sns.ITopic | None = None,
        timeout: cdk.Duration | None = None,
        approver: iam.IRole | None = None,
        chat_topic: sns.ITopic | None = None,
    ) -> "Approval":
        """Wait for a person to approve the package, with ``mlops models approve``.

        Args:
            topic: Who hears that a package waits. Default: the unit's topic.
            timeout: How long after its registration a package may be approved: its training set grows stale. Default: 7 days.
            approver: Role that people approve in. Default: the registry defines one, which people of the account may take
                whose own policies name it; no role of the unit may.
            chat_topic: Topic that Amazon Q Developer in chat applications reads, for Slack and Microsoft Teams: each package that
                waits is a notification there, in a thread a registry. It must be another topic than that of people, whose mail
                would show JSON. Default: chats hear nothing.

        Raises:
            ValidationError: If the timeout is shorter than an hour or longer than a year.
        """
        hour, year = cdk.Duration.hours(1), cdk.Duration.days(365)
        problem = check_duration("timeout", timeout, minimum=hour, maximum=year)
        if problem is not None:
            raise ValidationError("InvalidApproval", [problem])
        return cls(is_automatic=False, topic=topic, timeout=timeout, approver=approver, chat_topic=chat_topic)
