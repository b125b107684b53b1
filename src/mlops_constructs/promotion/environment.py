"""An account and Region in which a model is trained or serves, by the name that people use."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import aws_cdk as cdk

from mlops_constructs._arguments import checked
from mlops_constructs._errors import ValidationError
from mlops_constructs._validation import check_pattern
from mlops_runtime.promotion.environment_link import LinkedEnvironment, NamedEnvironment


@checked("InvalidEnvironment")
@dataclass(frozen=True, slots=True)
class Environment:
    """Where a stack lives: an account and a Region, under the name by which people know it.

    Args:
        name: 2 to 20 lower-case letters, digits, hyphens, such as ``"production"``.
        account: Account id, 12 digits.
        region: Region, such as ``"eu-west-1"``.

    Raises:
        ValidationError: If a value is not of this form, or is known only at deployment.

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
        """What a stack takes as its ``env``."""
        return cdk.Environment(account=self.account, region=self.region)

    @property
    def linked(self) -> LinkedEnvironment:
        """The same, from which names of roles and buses follow."""
        return LinkedEnvironment(account=self.account, region=self.region)

    @property
    def named(self) -> NamedEnvironment:
        """The same with its name."""
        return NamedEnvironment(name=self.name, account=self.account, region=self.region)


class Images(Enum):
    """In which registries a target looks for the image of a release, by its digest.

    Example:
        >>> Images.SHARED.value
        'shared'
    """

    OWN = "own"
    """In its own account's."""
    SHARED = "shared"
    """In its own, then in the source's, of the same Region: instances pull from there whenever one starts."""


def neighbour_problems(stack: cdk.Stack, *, others: Sequence[Environment]) -> list[str]:
    """Return why a stack can not release to, or take from, other environments.

    Args:
        stack: The stack.
        others: Its neighbours.
    """
    problems = []
    if cdk.Token.is_unresolved(stack.account) or cdk.Token.is_unresolved(stack.region):
        problems.append(
            f"stack {stack.stack_name!r} must know its account and Region, which the other account's policies name; give it "
            "env=Environment(...).cdk"
        )
    places = [(each.account, each.region) for each in others]
    twice = sorted({each.name for each, place in zip(others, places, strict=True) if places.count(place) > 1})
    if twice:
        problems.append(f"{' and '.join(map(repr, twice))} are one account and Region; name each once")
    names = [each.name for each in others]
    same = sorted({name for name in names if names.count(name) > 1})
    if same and not twice:
        problems.append(f"{' and '.join(map(repr, same))} names two environments; give each a name of its own")
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
            f"environments must be of one partition, got {', '.join(sorted(partitions))}; policies and copies reach no other"
        )
    return problems
