"""Environments of a project: parsing of options, their order, and validation of the list."""

import pytest

from mlops_cli.project_environments import (
    ProjectEnvironment,
    environment_problems,
    read_environments,
    rendered_environments,
)

BUILD = "build=111111111111/eu-west-1"
STAGING = "staging=222222222222/eu-west-1"
PRODUCTION = "production=333333333333/eu-west-1"


def test_the_last_one_waits_for_a_person_where_no_option_says_otherwise() -> None:
    """Each environment may have its own option."""
    plain, _ = read_environments([BUILD, STAGING, PRODUCTION])
    reported, _ = read_environments([BUILD, f"{STAGING}/manual", f"{PRODUCTION}/automatic"])

    assert [each.is_manual for each in plain] == [False, False, True]
    assert [each.is_manual for each in reported] == [False, True, False]
    assert plain[1] == ProjectEnvironment(name="staging", account="222222222222", region="eu-west-1")


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        ([BUILD, STAGING], []),
        ([BUILD, BUILD, STAGING], ["the environment 'build' is named twice"]),
        ([BUILD, "build=222222222222/eu-west-1"], ["the environment 'build' is named twice"]),
        (
            [BUILD, STAGING.replace("222222222222", "111111111111")],
            ["'build' and 'staging' have the same account and Region, 111111111111 eu-west-1"],
        ),
        ([BUILD, STAGING.replace("222222222222", "111111111111").replace("eu-west-1", "eu-central-1")], []),
        ([BUILD, "staging=22222/eu-west-1"], ["the account of environment 'staging' must be 12 digits, got '22222'"]),
        (
            [BUILD, "staging=222222222222/eu-west-9"],
            [
                "the Region of environment 'staging' must be an AWS Region, such as 'eu-west-1', got 'eu-west-9'; for a newer "
                "Region, update botocore"
            ],
        ),
        (
            [BUILD, "staging=222222222222/cn-north-1"],
            ["the Regions belong to different partitions, aws, aws-cn, between which models cannot be promoted"],
        ),
        (
            [BUILD, "Pro:d=222222222222/eu-west-1"],
            [
                "the name of an environment must be 2 to 20 lower-case letters, digits or hyphens, starting with a letter and not "
                "ending with a hyphen, such as 'staging', got 'Pro:d'"
            ],
        ),
        (
            [BUILD, "ci-tests=222222222222/eu-west-1"],
            [
                "the environment 'ci-tests' would need variables that start with CI_TESTS_, which GitLab reserves; choose another "
                "name"
            ],
        ),
        (
            ["a-1=111111111111/eu-west-1", "a1=222222222222/eu-west-1"],
            ["'a-1' and 'a1' both result in stack names that end with 'A1'; rename one"],
        ),
        (
            [BUILD],
            [
                f"--environment names only one environment, '{BUILD}'; models are promoted from one to another: name at least "
                "two, or none for a development and a production account that both train"
            ],
        ),
        *(
            (
                [BUILD, option],
                [
                    "an environment must be NAME=ACCOUNT/REGION or NAME=ACCOUNT/REGION/manual, such as "
                    f"staging=222222222222/eu-west-1 (or /automatic), got {option!r}"
                ],
            )
            for option in (
                "staging",
                "=222222222222/eu-west-1",
                "staging=222222222222",
                "staging=/eu-west-1",
                "staging=222222222222/eu-west-1/later",
                "staging=222222222222/eu-west-1/",
                "staging=222222222222/eu-west-1/manual/manual",
            )
        ),
    ],
)
def test_a_list_that_is_no_chain_is_refused(given: list[str], problems: list[str]) -> None:
    """The error has the allowed values."""
    assert read_environments(given)[1] == problems


def test_every_problem_of_a_list_is_named_at_once() -> None:
    """Covers the list's form, each environment, and their combination."""
    _, problems = read_environments(["staging", "X=1/eu-west-1", "y1=222222222222/eu", "y1=222222222222/eu"])

    assert len(problems) == 6, problems


def test_from_the_first_that_waits_for_a_person_on_all_are_production() -> None:
    """The training environment is development; without manual ones the last is production."""

    def tiers(*manual: bool) -> list[str]:
        found = [
            ProjectEnvironment(name=f"e{place}", account=str(place) * 12, region="eu-west-1", is_manual=waits)
            for place, waits in enumerate(manual)
        ]
        assert environment_problems(found) == []
        return [each["tier"] for each in rendered_environments(found)]

    assert tiers(False, False, True) == ["development", "staging", "production"]
    assert tiers(True, False, True, False) == ["development", "staging", "production", "production"]
    assert tiers(False, False, False) == ["development", "staging", "production"]
    assert tiers(False, True) == ["development", "production"]


def test_each_knows_its_neighbours() -> None:
    """Neighbors are the source of releases and the next target."""
    found, _ = read_environments([BUILD, "pre-prod=222222222222/eu-west-1", PRODUCTION])

    rows = rendered_environments(found)

    assert [(row["source"], row["constant"], row["target"], row["before"]) for row in rows] == [
        ("", "BUILD", "PRE_PROD", ""),
        ("BUILD", "PRE_PROD", "PRODUCTION", "build"),
        ("PRE_PROD", "PRODUCTION", "", "pre-prod"),
    ]
    assert rows[1]["suffix"] == "PreProd"
