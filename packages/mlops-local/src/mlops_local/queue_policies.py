"""Quotas of SQS queue policies, also for policies of templates."""

import json
from collections.abc import Mapping
from typing import Any

from ministack.services import sqs
from ministack.services.cloudformation import provisioners

from mlops_local import compat

compat.expect("ministack.services.sqs", _HANDLERS=dict, _Err=type)
compat.expect("ministack.services.cloudformation.provisioners", _RESOURCE_HANDLERS=dict)

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-policies.html
_QUOTAS = {"bytes": 8192, "conditions": 10, "principals": 50, "statements": 20}
_ACTIONS_OF_A_STATEMENT = 7


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
    handlers = provisioners._RESOURCE_HANDLERS["AWS::SQS::QueuePolicy"]
    create, update = handlers["create"], handlers["update"]

    def checked_create(logical_id: str, props: Mapping[str, Any], stack: str) -> Any:
        _check(props)
        return create(logical_id, props, stack)

    def checked_update(physical_id: str, old: Mapping[str, Any], new: Mapping[str, Any], stack: str) -> Any:
        _check(new)
        return update(physical_id, old, new, stack)

    handlers.update(create=checked_create, update=checked_update)


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
        for name, most in _QUOTAS.items()
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
def _check(properties: Mapping[str, Any]) -> None:
    document = properties.get("PolicyDocument", {})
    problems = beyond_quotas(json.loads(document) if isinstance(document, str) else document)
    if problems:
        raise ValueError(f"OverLimit: {'; '.join(problems)}")
