"""The rules of a platform as a contract."""

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.platform_rules import PlatformRules, rules_digest
from mlops_runtime.contracts.rollout import RolloutSpec

RULES = PlatformRules(
    platform="retail",
    instance_types=("ml.m5.*",),
    tags={"platform": "retail"},
    rollout=RolloutSpec(kind="CANARY", bake=600, maximum=4800, percent=10),
)


def test_rules_are_read_as_they_were_written() -> None:
    """Unlimited values are omitted."""
    text = canonical_json(RULES).decode()

    assert from_json(PlatformRules, text) == RULES
    assert "organization_id" not in text


def test_the_digest_is_of_every_rule() -> None:
    """The order of tags does not matter."""
    one = PlatformRules(platform="retail", tags={"a": "1", "b": "2"})

    assert rules_digest(one) == rules_digest(PlatformRules(platform="retail", tags={"b": "2", "a": "1"}))
    assert len({rules_digest(each) for each in (one, RULES, PlatformRules(platform="retail"))}) == 3
