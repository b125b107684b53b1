"""Arguments that make Terraform replace a resource instead of updating it, and which of them a module may set.

They have ``ForceNew`` in the schemas of the provider hashicorp/aws, read from its source at the commits below. Arguments that
name the resource may be among them: another name is another resource. All others are settings, and changing one would delete the
stack and its data.

See: https://developer.hashicorp.com/terraform/plugin/sdkv2/schemas/schema-behaviors#forcenew
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ForcedReplacement:
    """The arguments of one kind of resource that force its replacement."""

    source: str  # the schema's file in hashicorp/terraform-provider-aws
    commit: str  # the commit at which it was read
    identity: tuple[str, ...]  # arguments that name the resource
    settings: tuple[str, ...]  # all others, which a module must not set


# claim: terraform-forces-replacement
FORCED_REPLACEMENTS: Mapping[str, ForcedReplacement] = {
    "aws_cloudformation_stack": ForcedReplacement(
        source="internal/service/cloudformation/stack.go",
        commit="01606926a0c0ab9174aec440f976a48b0baee722",
        identity=("name",),
        settings=("disable_rollback", "on_failure", "timeout_in_minutes"),
    ),
    "aws_s3_object": ForcedReplacement(
        source="internal/service/s3/object.go",
        commit="033c721bf1eda7db79395cd73acb54c7efa57ffc",
        identity=("bucket", "key"),
        settings=(),
    ),
    "aws_ssm_parameter": ForcedReplacement(
        source="internal/service/ssm/parameter.go",
        commit="0073593e7d6993ba482409f4dc35438daaa79bb3",
        identity=("name",),
        # `tier` replaces from Advanced to Standard only (customdiff.ForceNewIfChange)
        settings=("data_type", "tier"),
    ),
}


def replacement_problems(kind: str, arguments: Mapping[str, str]) -> list[str]:
    """Return why a resource could be replaced by a change other than of its name.

    Example:
        >>> replacement_problems("aws_cloudformation_stack", {"name": "var.name", "timeout_in_minutes": "30"})
        ['aws_cloudformation_stack.timeout_in_minutes replaces the resource when it changes; remove it']
    """
    known = FORCED_REPLACEMENTS.get(kind)
    if known is None:
        return [f"{kind} is not among the kinds with known forced replacements; read its schema first"]
    problems = [
        f"{kind}.{name} replaces the resource when it changes; remove it"
        for name in known.settings
        if name in arguments
    ]
    # with `depends_on` on the module, data sources are read late: the name is then unknown in the plan, which also replaces
    return problems + [
        f"{kind}.{name} names the resource with a data source, which a plan may not know; use a variable"
        for name in known.identity
        if "data." in arguments.get(name, "")
    ]
