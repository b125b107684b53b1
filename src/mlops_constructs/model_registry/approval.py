"""``Approval``: how packages of a registry are approved, and the notifications of packages that await approval."""

from collections.abc import Mapping
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns

from mlops_constructs._arguments import checked
from mlops_constructs._validation import ValidationError, check_duration
from mlops_runtime.registry.package_approval import BY_POLICY, MAXIMUM_REASON

# a package's ARN ends in "model-package/<group>/<version>", which is how the command names it
_NAME = "$substringAfter($package, ':model-package/')"
# markup of chats, escaped; a zero-width space after @ prevents mentions
# https://docs.slack.dev/messaging/formatting-message-text/#escaping
_MARKUP = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("@", "@\u200b"))
_SUBJECT = 100  # https://docs.aws.amazon.com/sns/latest/api/API_Publish.html

DEFAULT_TIMEOUT = cdk.Duration.days(7)


def policy_description(*, reason: str, binding: str) -> str:
    """Return the ApprovalDescription of an approval by policy, as a JSONata expression.

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
    """Return the arguments of ``sns:publish`` for the message that a package awaits approval, with the commands to decide it.

    Args:
        topic_arn: ARN of the topic; may be a token.
        group_name: Name of the package group.
        days: Number of days within which the package may be approved.
        approver_arn: ARN of the approver role; may be a token.
        variables: JSONata expressions of ``package`` (ARN), ``reason`` (the gate's), ``execution``, ``training_set_id``,
            ``model_sha256``, ``evaluation_uri``.
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
    """Return the arguments of ``sns:publish`` for the chat notification that a package awaits approval, in JSON.

    See: https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html

    Args:
        topic_arn: ARN of the topic that Amazon Q Developer in chat applications reads; may be a token.
        group_name: Name of the package group, whose messages form one thread.
        days: See `waiting_message`.
        approver_arn: See `waiting_message`.
        variables: See `waiting_message`.
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
    """How registered packages become approved: automatically after the gate, or by a person. Use ``automatic`` or ``manual``.

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
        """Approve every package that passes the gate. While the unit is paused or frozen, packages await a person's approval.

        Args:
            approver: Role in which people approve such packages. Default: the registry defines one.
            chat_topic: As for ``manual``, for such packages. Default: no chat notifications.
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
        """Approval by a person, with ``mlops models approve``.

        Args:
            topic: Topic notified when a package awaits approval. Default: the unit's topic.
            timeout: Time after registration within which a package may be approved, as its training data ages. Default: 7 days.
            approver: Role in which people approve. Default: the registry defines one, which principals of the account may assume
                if their own policies allow it; roles of the unit may not.
            chat_topic: Topic that Amazon Q Developer in chat applications reads, for Slack and Microsoft Teams: each package that
                awaits approval is a notification there, in one thread per registry. It must differ from ``topic``, whose email
                subscribers would get JSON. Default: no chat notifications.

        Raises:
            ValidationError: If the timeout is shorter than an hour or longer than a year.
        """
        hour, year = cdk.Duration.hours(1), cdk.Duration.days(365)
        problem = check_duration("timeout", timeout, minimum=hour, maximum=year)
        if problem is not None:
            raise ValidationError("InvalidApproval", [problem])
        return cls(is_automatic=False, topic=topic, timeout=timeout, approver=approver, chat_topic=chat_topic)
