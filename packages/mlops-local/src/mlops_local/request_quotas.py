"""Quotas that a service checks in each request, also for templates: of SQS queue policies, and of values in Parameter Store."""

import json
from collections.abc import Mapping
from typing import Any

from ministack.services import sqs, ssm

from mlops_local.stacks import handler_steps

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-policies.html
_POLICY_QUOTAS = {"bytes": 8192, "conditions": 10, "principals": 50, "statements": 20}
_ACTIONS_OF_A_STATEMENT = 7

_STANDARD_CHARACTERS = 4096


def install() -> None:
    """Check each policy before a queue gets it."""
    setting = sqs._HANDLERS["SetQueueAttributes"]

    # claim: queue-policies-have-quotas
    def set_attributes(data: dict[str, Any], url: str) -> dict[str, Any]:
        policy = (data.get("Attributes") or {}).get("Policy")
        problems = beyond_quotas(json.loads(policy)) if policy else []
        if problems:
            raise sqs._Err("OverLimit", "; ".join(problems), 403)
        result: dict[str, Any] = setting(data, url)
        return result

    sqs._HANDLERS["SetQueueAttributes"] = set_attributes
    handler_steps.check("AWS::SQS::QueuePolicy", _check_policy)
    _check_parameters()


def beyond_quotas(policy: Mapping[str, Any]) -> list[str]:
    """Return the quotas that a policy exceeds; each key of an operator counts as one condition.

    Example:
        >>> statement = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}
        >>> beyond_quotas({"Statement": [statement] * 21})
        ['the policy of a queue may have 20 statements, got 21']
    """
    statements = policy.get("Statement", [])
    statements = statements if isinstance(statements, list) else [statements]
    found = {
        "bytes": len(json.dumps(policy, separators=(",", ":")).encode()),
        "conditions": sum(len(keys) for s in statements for keys in s.get("Condition", {}).values()),
        "principals": sum(_principals(s.get("Principal", {})) for s in statements),
        "statements": len(statements),
    }
    problems = [
        f"the policy of a queue may have {most} {name}, got {found[name]}"
        for name, most in _POLICY_QUOTAS.items()
        if found[name] > most
    ]
    for statement in statements:
        actions = statement.get("Action", [])
        count = 1 if isinstance(actions, str) else len(actions)
        if count > _ACTIONS_OF_A_STATEMENT:
            problems.append(f"a statement of it may have {_ACTIONS_OF_A_STATEMENT} actions, got {count}")
    return problems


def _principals(principal: object) -> int:
    if not isinstance(principal, Mapping):
        return 1
    return sum(1 if isinstance(named, str) else len(named) for named in principal.values())


# claim: queue-policies-have-quotas
def _check_policy(properties: Mapping[str, Any]) -> None:
    document = properties.get("PolicyDocument", {})
    problems = beyond_quotas(json.loads(document) if isinstance(document, str) else document)
    if problems:
        raise ValueError(f"OverLimit: {'; '.join(problems)}")


def _check_parameters() -> None:
    """Check the size of each value before it is stored."""
    putting = ssm._put_parameter

    # claim: parameters-have-4096-characters
    def put(data: dict[str, Any]) -> Any:
        value = str(data.get("Value", ""))
        tier = data.get("Tier") or ssm._default_tier(data, value, ssm._parameters.get(data.get("Name")))
        if tier == "Standard" and len(value) > _STANDARD_CHARACTERS:
            return ssm.error_response_json(
                "ValidationException",
                f"Standard tier parameters support a maximum parameter value of {_STANDARD_CHARACTERS} characters. To create a "
                "larger parameter value, upgrade the parameter to use the advanced-parameter tier.",
                400,
            )
        return putting(data)

    ssm._put_parameter = put
