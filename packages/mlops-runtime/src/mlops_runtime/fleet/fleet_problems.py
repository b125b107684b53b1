"""Read and validate ``fleet.json``; every problem is reported at once."""

import re
from collections import Counter
from collections.abc import Iterator

from mlops_runtime.contracts import ContractError, from_json
from mlops_runtime.contracts.fleet import FleetEnvironment, FleetFile

_NAME = re.compile(r"[a-z][a-z0-9-]{0,18}[a-z0-9]")
_ACCOUNT = re.compile(r"[0-9]{12}")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")
_CONSOLE = re.compile(r"https://[a-z0-9.-]+")
_ROLE = re.compile(r"arn:[a-z-]+:iam::([0-9]{12}):role/[\x21-\x7e]+")


class FleetFileError(ValueError):
    """A ``fleet.json`` is invalid; the message has every problem."""


def read_fleet(content: str | bytes, *, name: str) -> FleetFile:
    """Return the environments of a file.

    Args:
        content: Content of the file.
        name: Name of the file in error messages.

    Raises:
        FleetFileError: If it is not ``mlops.fleet/1``, or an environment is invalid.

    Example:
        >>> import json
        >>> here = {"name": "build", "account": "111111111111", "region": "eu-west-1"}
        >>> text = json.dumps({"format": "mlops.fleet/1", "environments": [here]})
        >>> read_fleet(text, name="fleet.json").environments[0].name
        'build'
    """
    try:
        found = from_json(FleetFile, content)
    except ContractError as error:
        raise FleetFileError(f"{name} cannot be read as mlops.fleet/1: {error}") from error
    problems = list(_problems(found))
    if problems:
        raise FleetFileError(f"{name}: {'; '.join(problems)}")
    return found


def _problems(found: FleetFile) -> Iterator[str]:
    if not found.environments:
        yield "environments must not be empty; name at least one account and Region"
    for each in found.environments:
        yield from (f"environment {each.name!r}: {problem}" for problem in _of(each))
    for name, count in Counter(each.name for each in found.environments).items():
        if count > 1:
            yield f"{count} environments are named {name!r}; give each a unique name"
    for (account, region), count in Counter((each.account, each.region) for each in found.environments).items():
        if count > 1:
            yield f"{count} environments are {account} {region}; list it once"


def _of(each: FleetEnvironment) -> Iterator[str]:
    if not _NAME.fullmatch(each.name):
        yield "name must be 2 to 20 lower-case letters, digits or hyphens, starting with a letter"
    if not _ACCOUNT.fullmatch(each.account):
        yield f"account must be 12 digits, got {each.account!r}"
    if not _REGION.fullmatch(each.region):
        yield f"region must be an AWS Region such as 'eu-west-1', got {each.region!r}"
    if each.console is not None and not _CONSOLE.fullmatch(each.console):
        yield f"console must be https:// and a host, such as 'https://console.example.com', got {each.console!r}"
    if each.role is not None and each.profile is not None:
        yield "give role or profile, not both"
    if each.role is not None:
        role = _ROLE.fullmatch(each.role)
        if role is None:
            yield f"role must be the ARN of a role, arn:aws:iam::{each.account}:role/NAME, got {each.role!r}"
        elif role[1] != each.account:
            yield f"role is of account {role[1]}, the environment of {each.account}"
