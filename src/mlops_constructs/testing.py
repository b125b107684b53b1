"""Checks for the tests of a platform team: state machines and requests against the API models of AWS, without calls to AWS.

Example:
    >>> from aws_cdk.assertions import Template
    >>> template = Template.from_stack(stack).to_json()
    >>> assert machine_findings(template) == []
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from mlops_runtime.aws_api import Finding, MachineFinding, Severity, check_machine, check_request

__all__ = [
    "Finding",
    "MachineFinding",
    "Severity",
    "check_machine",
    "check_request",
    "machine_definitions",
    "machine_findings",
]


def machine_definitions(template: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the definition of every state machine of a synthesized template, by logical id.

    References that are resolved at deployment are rendered as ``${LogicalId}``.

    Args:
        template: The parsed template.
    """
    resources: Mapping[str, Any] = template.get("Resources", {})
    return {
        name: json.loads(_text(resource["Properties"]["DefinitionString"]))
        for name, resource in resources.items()
        if resource["Type"] == "AWS::StepFunctions::StateMachine" and "DefinitionString" in resource["Properties"]
    }


def machine_findings(template: Mapping[str, Any]) -> list[str]:
    """Return every error in the AWS calls of a template's state machines, with the machine's logical id.

    Args:
        template: The parsed template.
    """
    return [
        f"{name}: {finding}"
        for name, definition in machine_definitions(template).items()
        for finding in check_machine(definition)
        if finding.severity is Severity.ERROR
    ]


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and set(value) == {"Fn::Join"}:
        separator, parts = value["Fn::Join"]
        return str(separator).join(_text(part) for part in parts)
    names = re.findall(r"[A-Za-z0-9:]+", json.dumps(value))
    return f"${{{'.'.join(names)}}}"
