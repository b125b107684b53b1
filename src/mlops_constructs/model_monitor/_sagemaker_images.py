"""AWS's images of Model Monitor and Clarify: an account a region, and no image at all in some."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import aws_cdk as cdk

from constructs import IConstruct
from mlops_constructs._errors import ValidationError
from mlops_constructs._validation import is_known

Image = Literal["analyzer", "clarify"]
_TABLE = Path(__file__).parent / "sagemaker_images.json"
_REPOSITORIES: Mapping[Image, tuple[str, str]] = {
    "analyzer": ("sagemaker-model-monitor-analyzer", ""),
    "clarify": ("sagemaker-clarify-processing", ":1.0"),
}
# joins captures and labels before the analyzer runs, from the same account
MERGER = "sagemaker-model-monitor-groundtruth-merger"


def image_uri(scope: IConstruct, image: Image) -> str:
    """Return the URI of an image in the stack's region.

    Args:
        scope: Any construct of the stack.
        image: Which one.

    Raises:
        ValidationError: If the region has no such image; it names those that have.
    """
    stack = cdk.Stack.of(scope)
    repository, tag = _REPOSITORIES[image]
    host = f"{_account(scope, image)}.dkr.ecr.{stack.region}.{stack.url_suffix}"
    return f"{host}/{repository}{tag}"


def repository_arns(scope: IConstruct, image: Image) -> list[str]:
    """Return the ARNs of what a job's role pulls.

    Args:
        scope: Any construct of the stack.
        image: Which image the job runs.
    """
    names = [_REPOSITORIES[image][0], *([MERGER] if image == "analyzer" else [])]
    account = _account(scope, image)
    return [
        cdk.Stack.of(scope).format_arn(service="ecr", resource="repository", resource_name=name, account=account)
        for name in names
    ]


@cache
def _table() -> Mapping[str, Mapping[str, str]]:
    found: Mapping[str, Mapping[str, str]] = json.loads(_TABLE.read_text())
    return found


def _account(scope: IConstruct, image: Image) -> str:
    stack, accounts = cdk.Stack.of(scope), _table()[image]
    if not is_known(stack.region):
        return _mapping(stack, image, accounts).find_in_map(stack.region, "account")
    if stack.region not in accounts:
        where = ", ".join(accounts)
        problem = f"{_REPOSITORIES[image][0]} is in {where}, got region {stack.region!r}; use another engine"
        raise ValidationError("NoImageInRegion", [problem], scope)
    return accounts[stack.region]


def _mapping(stack: cdk.Stack, image: Image, accounts: Mapping[str, str]) -> cdk.CfnMapping:
    """Return the stack's table of accounts; a region that it lacks fails when the change set is made."""
    name = f"{image.capitalize()}Accounts"
    known = stack.node.try_find_child(name)
    if isinstance(known, cdk.CfnMapping):
        return known
    return cdk.CfnMapping(stack, name, mapping={region: {"account": account} for region, account in accounts.items()})
