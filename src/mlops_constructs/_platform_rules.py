"""What a unit's platform says of what a construct is given: problems of the construct's one error."""

from collections.abc import Mapping
from typing import Protocol

import aws_cdk as cdk

from constructs import IConstruct
from mlops_constructs._stack_values import stack_values
from mlops_constructs._validation import is_known
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.business_unit.platform_limits import (
    Loosening,
    loose_approval,
    loose_images,
    loose_instance_types,
    loose_profile,
    loose_region,
    loose_rollout,
)
from mlops_runtime.contracts.platform_rules import PlatformRules, rules_digest
from mlops_runtime.contracts.rollout import RolloutSpec


class Image(Protocol):
    """An image as containers name it."""

    def uri(self, scope: IConstruct) -> str:
        """Return its name."""
        ...


def publication(unit: IBusinessUnit) -> str:
    """Return below which part of a name a unit's values are published: its profile, and the digest of its platform's rules.

    A stack that imports the unit with other rules, or with none, reads names that do not exist: CloudFormation refuses it before it
    starts.

    Args:
        unit: The unit.
    """
    rules = unit.platform_rules
    return unit.profile.value if rules is None else f"{unit.profile.value}.{rules_digest(rules)}"


def stack_problems(rules: PlatformRules | None, scope: IConstruct, *, profile: str) -> list[str]:
    """Return what the platform says of a stack that defines or imports a unit.

    Args:
        rules: The platform's; None where there is no platform.
        scope: A construct of the stack.
        profile: Value of the unit's profile.
    """
    if rules is None:
        return []
    region = stack_values(scope).region
    found = [*loose_region(rules, region if is_known(region) else None), *loose_profile(rules, profile)]
    return [loose.message(rules.platform) for loose in found]


def rule_problems(
    unit: IBusinessUnit,
    scope: IConstruct,
    *,
    images: Mapping[str, Image | None] | None = None,
    instance_types: Mapping[str, str | None] | None = None,
    rollout: RolloutSpec | None = None,
) -> list[str]:
    """Return what the platform of a unit says of images, instance types and a rollout.

    Args:
        unit: The unit.
        scope: The construct.
        images: Images by the names of their arguments; what is None is not given.
        instance_types: Instance types by the names of their arguments; what is empty runs on none.
        rollout: How a new model takes over. Default: none does.
    """
    rules = unit.platform_rules
    if rules is None:
        return []
    found: list[Loosening] = []
    if rules.images is not None:
        uris = {name: _known(image.uri(scope)) for name, image in (images or {}).items() if image}
        found += loose_images(rules, uris)
    types = {name: _known(kind) for name, kind in (instance_types or {}).items() if kind}
    found += loose_instance_types(rules, types)
    found += [] if rollout is None else loose_rollout(rules, rollout)
    return [loose.message(rules.platform) for loose in found]


def longest_approval(unit: IBusinessUnit) -> cdk.Duration | None:
    """Return how long a person may approve where nothing else is said: the platform's time; None where it has none.

    Args:
        unit: The unit.
    """
    rules = unit.platform_rules
    return None if rules is None or rules.approval_seconds is None else cdk.Duration.seconds(rules.approval_seconds)


def further_tags(unit: IBusinessUnit) -> dict[str, str]:
    """Return a unit's tags beside its own, for jobs that are started at run time.

    Args:
        unit: The unit.
    """
    return {key: value for key, value in unit.tags.items() if not key.startswith("mlops:")}


def approval_problems(unit: IBusinessUnit, *, is_automatic: bool, timeout: cdk.Duration) -> list[str]:
    """Return what the platform of a unit says of an approval.

    Args:
        unit: The unit.
        is_automatic: Whether no person has to approve.
        timeout: How long a person may.
    """
    rules = unit.platform_rules
    if rules is None:
        return []
    seconds = None if is_automatic else timeout.to_seconds(integral=False)
    return [loose.message(rules.platform) for loose in loose_approval(rules, seconds)]


def _known(text: str) -> str:
    """Return a text with names for tokens, such as ``<AWS.Region>``, whose numbers would differ between syntheses."""
    first, *rest = text.split("${Token[")
    tokens = [each.partition("]}") for each in rest]
    return first + "".join(f"<{name.rstrip('.0123456789')}>{after}" for name, _, after in tokens)
