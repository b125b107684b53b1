"""Account, Region and ARNs of a stack, cached: each read is a call to Node.js, and policy statements need them hundreds of times.

The cache extends no lifetime: jsii keeps every object until its process ends.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import aws_cdk as cdk

from constructs import IConstruct


@dataclass(frozen=True, slots=True, kw_only=True)
class StackValues:
    """Account, Region, partition and URL suffix of a stack: strings, or tokens that CloudFormation resolves."""

    account: str
    region: str
    partition: str
    url_suffix: str

    def format_arn(
        self,
        *,
        service: str,
        resource: str,
        resource_name: str | None = None,
        account: str | None = None,
        region: str | None = None,
        arn_format: cdk.ArnFormat = cdk.ArnFormat.SLASH_RESOURCE_NAME,
    ) -> str:
        """Return the ARN that ``cdk.Stack.format_arn`` returns."""
        home = f"{self.region if region is None else region}:{self.account if account is None else account}"
        separator = ":" if arn_format is cdk.ArnFormat.COLON_RESOURCE_NAME else "/"
        name = "" if resource_name is None else f"{separator}{resource_name}"
        return f"arn:{self.partition}:{service}:{home}:{resource}{name}"


_STACKS: dict[IConstruct, cdk.Stack] = {}


def stack_of(scope: IConstruct) -> cdk.Stack:
    """Return the stack of a construct."""
    found = _STACKS.get(scope)
    if found is None:
        found = _STACKS[scope] = cdk.Stack.of(scope)
    return found


def stack_values(scope: IConstruct) -> StackValues:
    """Return account and Region of the stack of a construct."""
    return _values(stack_of(scope))


def mapped_account(stack: cdk.Stack, name: str, accounts: Mapping[str, str]) -> str:
    """Return the account of the stack's Region by a mapping of the stack; a change set fails in Regions that it lacks.

    Args:
        name: Construct id of the mapping.
        accounts: Accounts by Region.
    """
    known = stack.node.try_find_child(name)
    if not isinstance(known, cdk.CfnMapping):
        known = cdk.CfnMapping(stack, name, mapping={region: {"account": each} for region, each in accounts.items()})
    return known.find_in_map(stack_values(stack).region, "account")


@cache
def _values(stack: cdk.Stack) -> StackValues:
    return StackValues(
        account=stack.account, region=stack.region, partition=stack.partition, url_suffix=stack.url_suffix
    )
