"""``Environment``: a named account and Region in which a model is trained or serves."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import aws_cdk as cdk

from mlops_constructs._arguments import checked
from mlops_constructs._validation import ValidationError, check_pattern
from mlops_runtime.promotion.environment_link import LinkedEnvironment, NamedEnvironment


@checked("InvalidEnvironment")
@dataclass(frozen=True, slots=True)
class Environment:
    """A named account and Region.

    Args:
        name: 2 to 20 lower-case letters, digits, hyphens, such as ``"production"``.
        account: Account id, 12 digits.
        region: Region, such as ``"eu-west-1"``.

    Raises:
        ValidationError: If a value is malformed or a token.

    Example:
        >>> Environment("staging", account="222222222222", region="eu-west-1").cdk.account
        '222222222222'
    """

    name: str
    account: str
    region: str

    def __post_init__(self) -> None:
        """Check all three at once."""
        later = "must be known at synthesis, as both accounts' policies name it; write it out"
        found = [
            f"{name} {later}"
            for name, value in (("name", self.name), ("account", self.account), ("region", self.region))
            if cdk.Token.is_unresolved(value)
        ]
        found += [
            problem
            for problem in (
                check_pattern(
                    "name",
                    self.name,
                    pattern=r"[a-z][a-z0-9-]{0,18}[a-z0-9]",
                    allowed="2 to 20 lower-case letters, digits or hyphens, starting with a letter",
                ),
                check_pattern("account", self.account, pattern=r"[0-9]{12}", allowed="12 digits"),
                check_pattern(
                    "region",
                    self.region,
                    pattern=r"[a-z]{2}(-[a-z]+)+-[0-9]",
                    allowed="a Region such as 'eu-west-1'",
                ),
            )
            if problem is not None
        ]
        if found:
            raise ValidationError("InvalidEnvironment", found)

    @property
    def cdk(self) -> cdk.Environment:
        """The environment as ``env`` of a stack."""
        return cdk.Environment(account=self.account, region=self.region)

    @property
    def linked(self) -> LinkedEnvironment:
        """Account and Region only, from which names of roles and buses are derived."""
        return LinkedEnvironment(account=self.account, region=self.region)

    @property
    def named(self) -> NamedEnvironment:
        """Name, account and Region."""
        return NamedEnvironment(name=self.name, account=self.account, region=self.region)


class Images(Enum):
    """ECR registries in which a target finds the image of a release, by its digest.

    Example:
        >>> Images.SHARED.value
        'shared'
    """

    OWN = "own"
    """The registry of its own account."""
    SHARED = "shared"
    """Its own registry, then the source's in the same Region, from which instances then pull at each start."""


def neighbour_problems(stack: cdk.Stack, *, others: Sequence[Environment]) -> list[str]:
    """Return why a stack cannot release to or take from other environments.

    Args:
        others: Sources and targets of its models.
    """
    problems = []
    if cdk.Token.is_unresolved(stack.account) or cdk.Token.is_unresolved(stack.region):
        problems.append(
            f"stack {stack.stack_name!r} must have an explicit account and Region, which the other account's policies name; give "
            "it env=Environment(...).cdk"
        )
    places = [(each.account, each.region) for each in others]
    twice = sorted({each.name for each, place in zip(others, places, strict=True) if places.count(place) > 1})
    if twice:
        problems.append(f"{' and '.join(map(repr, twice))} are the same account and Region; list each once")
    names = [each.name for each in others]
    same = sorted({name for name in names if names.count(name) > 1})
    if same and not twice:
        problems.append(f"{' and '.join(map(repr, same))} is the name of two environments; give them different names")
    problems += [
        f"{each.name!r} is this stack's own account and Region, {each.account} {each.region}; a model is promoted to another one"
        for each in others
        if (each.account, each.region) == (stack.account, stack.region)
    ]
    own = (
        [] if cdk.Token.is_unresolved(stack.region) else [LinkedEnvironment(account=stack.account, region=stack.region)]
    )
    partitions = {each.partition for each in (*own, *(other.linked for other in others))}
    if len(partitions) > 1:
        problems.append(
            f"environments must be in one partition, got {', '.join(sorted(partitions))}; policies and copies cannot cross them"
        )
    return problems
