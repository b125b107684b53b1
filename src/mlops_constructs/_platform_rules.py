"""Checks of a construct's arguments against the rules of the unit's platform."""

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
    """A container image."""

    def uri(self, scope: IConstruct) -> str:
        """Return the image's URI."""
        ...


def publication(unit: IBusinessUnit) -> str:
    """Return the name prefix of a unit's published values: its profile, and the digest of its platform's rules.

    A stack that imports the unit with other rules, or without rules, therefore refers to parameters that do not exist, and
    CloudFormation rejects its deployment.
    """
    rules = unit.platform_rules
    return unit.profile.value if rules is None else f"{unit.profile.value}.{rules_digest(rules)}"


def stack_problems(rules: PlatformRules | None, scope: IConstruct, *, profile: str) -> list[str]:
    """Return the platform rules that a stack violates by defining or importing a unit.

    Args:
        rules: Rules of the platform; ``None`` without a platform.
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
    """Return the rules of a unit's platform that images, instance types or a rollout violate.

    Args:
        scope: The construct.
        images: Images by argument name; ``None`` when the argument is not set.
        instance_types: Instance types by argument name; ``None`` or empty without instances.
        rollout: Rollout of new models. Default: not checked.
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
    """Return the platform's default for the time to approve; ``None`` when the platform does not limit it."""
    rules = unit.platform_rules
    return None if rules is None or rules.approval_seconds is None else cdk.Duration.seconds(rules.approval_seconds)


def further_tags(unit: IBusinessUnit) -> dict[str, str]:
    """Return a unit's tags other than ``mlops:*``, for jobs that are started at run time."""
    return {key: value for key, value in unit.tags.items() if not key.startswith("mlops:")}


def approval_problems(unit: IBusinessUnit, *, is_automatic: bool, timeout: cdk.Duration) -> list[str]:
    """Return the rules of a unit's platform that an approval violates.

    Args:
        is_automatic: Whether models are approved without a person.
        timeout: Time that a person has to approve.
    """
    rules = unit.platform_rules
    if rules is None:
        return []
    seconds = None if is_automatic else timeout.to_seconds(integral=False)
    return [loose.message(rules.platform) for loose in loose_approval(rules, seconds)]


def _known(text: str) -> str:
    """Replace tokens by names such as ``<AWS.Region>``: the numbers of tokens differ between syntheses."""
    first, *rest = text.split("${Token[")
    tokens = [each.partition("]}") for each in rest]
    return first + "".join(f"<{name.rstrip('.0123456789')}>{after}" for name, _, after in tokens)
