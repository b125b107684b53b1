"""What the Retrain machine writes about a package it registered, in JSONata: the policy's approval, and a message to people.

The machine publishes the message itself, rather than a rule for SageMaker's event: it has the gate's reason and the digests at
hand, which the event does not carry, and its call is retried and logged like every other.
"""

from collections.abc import Mapping

from mlops_runtime.registry.package_approval import BY_POLICY, MAXIMUM_REASON

# a package's ARN ends in "model-package/<group>/<version>", which is how the command names it
_NAME = "$substringAfter($package, ':model-package/')"
_SUBJECT = 100  # https://docs.aws.amazon.com/sns/latest/api/API_Publish.html


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
        f"'Look at it:  mlops models show ' & {name}",
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
