# /// script
# requires-python = ">=3.11"
# dependencies = ["cloudsplaining==0.9.1"]
# ///
"""Check the policies in templates with cloudsplaining: escalation, exposure, exfiltration, wildcards, change of infrastructure.

``uv run --script tools/checkers/run_cloudsplaining.py TEMPLATE...`` prints the findings as JSON.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cloudsplaining.scan.policy_document import PolicyDocument
from cloudsplaining.shared.exclusions import Exclusions

_POLICIES = ("AWS::IAM::ManagedPolicy", "AWS::IAM::Policy")
# no exclusions: the default ones exclude AWS managed policies and some actions by name
_NOTHING = Exclusions(
    {key: [""] for key in ("policies", "roles", "users", "groups", "include-actions", "exclude-actions")}
)


def main(templates: list[str]) -> None:
    """Check each policy separately, like cloudsplaining's scan of a policy file."""
    print(json.dumps([found for template in templates for found in _findings(Path(template))]))


def _findings(template: Path) -> Iterator[dict[str, str]]:
    for name, resource in json.loads(template.read_text())["Resources"].items():
        if resource["Type"] not in _POLICIES:
            continue
        document = PolicyDocument(_text(resource["Properties"]["PolicyDocument"]), exclusions=_NOTHING)
        for rule, found in (
            ("PrivilegeEscalation", document.allows_privilege_escalation),
            ("ResourceExposure", document.permissions_management_without_constraints),
            ("DataExfiltration", document.allows_data_exfiltration_actions),
            ("CredentialsExposure", document.credentials_exposure),
            ("ServiceWildcard", document.service_wildcard),
            ("InfrastructureModification", document.infrastructure_modification),
        ):
            if found:
                yield {"rule": rule, "template": str(template), "resource": name, "message": json.dumps(found)}


def _text(value: Any) -> Any:
    """A document with CloudFormation's functions as text, since their values are never wildcards."""
    if isinstance(value, list):
        return [_text(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and (next(iter(value)) == "Ref" or next(iter(value)).startswith("Fn::")):
        (function, given), *_ = value.items()
        if function == "Fn::Join":
            return str(given[0]).join(str(_text(part)) for part in given[1])
        return given if function == "Fn::Sub" and isinstance(given, str) else f"${{{function}}}"
    return {key: _text(item) for key, item in value.items()}


if __name__ == "__main__":
    main(sys.argv[1:])
