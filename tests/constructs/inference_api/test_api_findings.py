"""Findings of an API, each acknowledged at its own resource only."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.constructs.inference_api.test_inference_api import pool

from mlops_constructs import Access, Profile
from mlops_constructs.compliance.harness import check


@pytest.mark.parametrize("profile", Profile)
def test_checkers_find_nothing(profile: Profile, make_door: Callable[..., Any]) -> None:
    """Has no open finding with any kind of caller that the profile allows."""
    door = make_door("checked", profile=profile)
    made = door.api_with_model(access=Access.both(pool(door), scope="models/predict"))
    made.add_plan("partners", rate=20, burst=40)
    if profile is Profile.DEVELOPMENT:
        keyed = door.api("Keyed", access=Access.keys())
        keyed.add_model("forecast", door.endpoint, request=door.request, max_rate=1)
        keyed.add_plan("trials", rate=1, burst=1)

    evidence = check(door.app)

    assert [problem for problem in evidence.problems if "/Api" in problem or "/Keyed" in problem] == []


def test_only_keys_leave_a_method_without_authorization(make_door: Callable[..., Any]) -> None:
    """A method with IAM authorization acknowledges only the missing user pool."""
    door = make_door("keyed", profile=Profile.DEVELOPMENT)
    door.api_with_model()
    keyed = door.api("Keyed", access=Access.keys())
    keyed.add_model("forecast", door.endpoint, request=door.request, max_rate=1)
    keyed.add_plan("trials", rate=1, burst=1)

    (stack,) = check(door.app).stacks
    found = {
        (rule.path.split("/")[1], rule.rule.rpartition("-")[2])
        for rule in stack.acknowledgements
        if rule.path.endswith("predictions/POST/Resource") or rule.path.endswith("predictions/POST")
    }
    assert found == {("Api", "COG4"), ("Keyed", "APIG4"), ("Keyed", "COG4")}
