"""Verifying a chain of promotions together with the chain of the releasing account."""

import json
import subprocess
from collections.abc import Callable

import pytest
from tests.cli.linked_units import PROFILES, SOURCE, LinkedUnits

from mlops_runtime.contracts import content_hash

Run = Callable[..., subprocess.CompletedProcess[str]]
Verify = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def verify(on_cloud: Run, linked: LinkedUnits) -> Verify:
    """Verify the target's chain."""

    def run(*more: object) -> subprocess.CompletedProcess[str]:
        return on_cloud("audit", "verify", f"{linked.group}.promotions", "--profile", PROFILES["target"], *more)

    return run


def test_what_was_taken_is_found_in_the_chain_of_the_source(verify: Verify, on_cloud: Run, linked: LinkedUnits) -> None:
    """Both chains are valid; a chain of promotions is printed like others."""
    linked.take(1, content_hash(linked.release(1)))

    alone, both = verify(), verify("--follow", "--source-profile", PROFILES["source"], "--json")
    shown = on_cloud("audit", "show", f"{linked.group}.promotions", "--profile", PROFILES["target"])

    assert (alone.returncode, "intact up to record 1" in alone.stdout) == (0, True)
    assert both.returncode == 0, both.stderr
    document = json.loads(both.stdout)
    assert (document["is_whole"], document["records"]) == (True, 1)
    assert document["sources"] == [
        {
            "name": "build",
            "account": SOURCE.account,
            "region": SOURCE.region,
            "chain": linked.group,
            "records": 1,
            "findings": [],
            "unread": None,
        }
    ]
    assert "REGISTERED" in shown.stdout


def test_what_the_source_did_not_release_is_a_finding(verify: Verify, linked: LinkedUnits) -> None:
    """The target's own chain is valid, but contradicts the source's."""
    linked.release(1)
    linked.take(1, "f" * 64)

    result = verify("--follow", "--source-profile", PROFILES["source"])

    assert (verify().returncode, result.returncode) == (0, 3)
    assert (
        f"build: record 1 was taken by a release whose record, {'f' * 16}, the source's chain does not have"
        in result.stdout
    )


def test_a_source_whose_chain_was_changed_is_a_finding(verify: Verify, linked: LinkedUnits) -> None:
    """The finding names its environment."""
    linked.take(1, content_hash(linked.release(1)))
    linked.source.serve(2)
    (key, content), *_ = sorted(linked.source.objects().items())
    linked.source.s3.put_object(Bucket=linked.source.bucket, Key=key, Body=content.replace(b"as asked", b"not asked"))

    result = verify("--follow", "--source-profile", PROFILES["source"])

    assert (verify().returncode, result.returncode) == (0, 3)
    assert "build: " in result.stdout


def test_a_source_that_cannot_be_read_is_named(verify: Verify, linked: LinkedUnits) -> None:
    """The request failed: exits with 1, with the results of this side."""
    linked.take(1, content_hash(linked.release(1)))

    result = verify("--follow", "--json")

    document = json.loads(result.stdout)
    assert (result.returncode, document["is_whole"]) == (1, True)
    assert f"name a profile of {SOURCE.account} with --source-profile" in document["sources"][0]["unread"]
    assert "was not read" in result.stderr


def test_each_account_is_read_in_the_profile_that_is_of_it(verify: Verify, linked: LinkedUnits) -> None:
    """Profiles may be named in any order."""
    linked.take(1, content_hash(linked.release(1)))

    result = verify("--follow", "--source-profile", PROFILES["target"], "--source-profile", PROFILES["source"])

    assert (result.returncode, "of build (111111111111 us-east-1) is intact" in result.stdout) == (0, True)


def test_a_source_that_did_not_take_the_model_itself_is_a_finding(verify: Verify, linked: LinkedUnits) -> None:
    """The source received its versions from this account: verification ends there and reports it."""
    linked.take(1, content_hash(linked.release(1)))
    linked.take_from_each_other()
    profiles = [option for each in PROFILES.values() for option in ("--source-profile", each)]

    result = verify("--follow", "--json", *profiles)

    assert result.returncode == 3
    source, back, again = json.loads(result.stdout)["sources"]
    assert source["findings"] == [
        f"build: record 1 is about model {1:064x}, but the source, which takes its models from another environment, "
        "has no record of taking it"
    ]
    assert (back["name"], back["findings"], back["unread"]) == ("staging", [], None)
    assert again["findings"] == ["build: the accounts take their versions from each other in a cycle"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--follow", "--folder", "x"), "cannot be used with --folder"),
        (("--source-profile", "x"), "--source-profile requires --follow"),
    ],
)
def test_options_that_do_not_go_together_are_refused(verify: Verify, options: tuple[str, ...], problem: str) -> None:
    """Fails before reading."""
    result = verify(*options)

    assert (result.returncode, problem in result.stderr) == (1, True)


def test_a_chain_that_names_no_other_account_is_not_followed(on_cloud: Run, linked: LinkedUnits) -> None:
    """An endpoint's chain has no source."""
    linked.target.serve(1)

    result = on_cloud("audit", "verify", linked.group, "--follow", "--profile", PROFILES["target"])

    assert (result.returncode, "requires a chain of promotions" in result.stderr) == (1, True)
