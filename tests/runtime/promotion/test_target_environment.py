"""The functions read the variables that the construct sets."""

from dataclasses import replace
from datetime import timedelta

from mlops_runtime.contracts import canonical_json
from mlops_runtime.promotion.environment_link import LinkedEnvironment
from mlops_runtime.promotion.target_environment import PromotionSettings, max_wait_of, target_of


def test_the_target_is_read_from_its_variables() -> None:
    """Account and Region are its own, the source's come from the settings."""
    source = LinkedEnvironment(account="111111111111", region="eu-west-1")
    settings = PromotionSettings(
        group="demand-forecast", source=source, source_name="build", trust=("data",), max_wait_seconds=21600
    )
    target = target_of(
        {
            "ACCOUNT": "222222222222",
            "AWS_REGION": "eu-central-1",
            "ARTIFACTS_BUCKET": "here",
            "PROMOTION": canonical_json(settings).decode(),
            "SIGNING_KEY": "key",
            "UNIT": "demand",
        }
    )
    assert (target.here.region, target.source, target.trust) == ("eu-central-1", source, ("data",))
    assert not target.is_source_readable
    assert not target.shares_images


def test_images_are_shared_where_the_registry_says_so() -> None:
    """Without sharing the setting is absent, so templates do not change."""
    source = LinkedEnvironment(account="111111111111", region="eu-west-1")
    own = PromotionSettings(group="demand-forecast", source=source, source_name="build", max_wait_seconds=21600)
    shared = canonical_json(replace(own, shares_images=True)).decode()
    rest = {
        "ACCOUNT": "222222222222",
        "AWS_REGION": "eu-west-1",
        "ARTIFACTS_BUCKET": "b",
        "SIGNING_KEY": "k",
        "UNIT": "u",
    }

    assert b"shares_images" not in canonical_json(own)
    assert target_of({**rest, "PROMOTION": shared}).shares_images


def test_a_release_may_wait_as_long_as_the_registry_says() -> None:
    """In seconds of the settings."""
    source = LinkedEnvironment(account="111111111111", region="eu-west-1")
    settings = PromotionSettings(group="demand-forecast", source=source, source_name="build", max_wait_seconds=7200)

    assert max_wait_of({"PROMOTION": canonical_json(settings).decode()}) == timedelta(hours=2)
