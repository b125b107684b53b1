"""Releases and offers of accounts, listed with the command."""

import json
import subprocess
from collections.abc import Callable

from tests import reported
from tests.cli.linked_units import PROFILES, SOURCE, LinkedUnits

from mlops_runtime.contracts import content_hash
from mlops_runtime.contracts.served_model import RequestedRetraining

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_a_target_lists_what_it_was_offered(on_cloud: Run, linked: LinkedUnits) -> None:
    """Newest first: state, versions, times, reason and source; JSON has the same."""
    for version in (1, 2):
        linked.take(version, content_hash(linked.release(version)))

    shown = on_cloud("promotions", linked.group, "--profile", PROFILES["target"])
    document = json.loads(on_cloud("promotions", linked.group, "--json", "--profile", PROFILES["target"]).stdout)
    last = on_cloud("promotions", linked.group, "--last", 1, "--json", "--profile", PROFILES["target"])

    assert f"{linked.group} receives the releases of build ({SOURCE.account} {SOURCE.region})" in shown.stdout
    for part in (
        "REFUSED",
        "2017-08-01 02:05",
        f"{linked.group}/2",
        "the image is missing; retried within an hour",
    ):
        assert part in shown.stdout
    assert [each["source_version"] for each in document["offers"]] == [f"{linked.group}/2", f"{linked.group}/1"]
    assert [each["is_asked_again"] for each in document["offers"]] == [True, True]
    assert (document["inbox"]["source_name"], document["releases"]) == ("build", [])
    assert [each["source_version"] for each in json.loads(last.stdout)["offers"]] == [f"{linked.group}/2"]


def test_a_source_lists_what_it_released(on_cloud: Run, linked: LinkedUnits) -> None:
    """Newest first, with approver and audit record."""
    for version in (1, 2):
        linked.release(version)

    shown = on_cloud("promotions", linked.group, "--profile", PROFILES["source"])
    document = json.loads(on_cloud("promotions", linked.group, "--json", "--profile", PROFILES["source"]).stdout)

    assert f"{linked.group} has released" in shown.stdout
    for part in (f"{linked.group}/2", "│ ann ", "b" * 12, f"{linked.group} 2"):
        assert part in shown.stdout
    assert [(each["version"], each["sequence"]) for each in document["releases"]] == [
        (f"{linked.group}/2", 2),
        (f"{linked.group}/1", 1),
    ]
    assert document["offers"] == []


def test_a_version_that_a_policy_approved_is_said_to_be(on_cloud: Run, linked: LinkedUnits) -> None:
    """The approver is a machine, whose session name is the hash of an execution; the ARN is in the JSON."""
    machine = "arn:aws:sts::111111111111:assumed-role/mlops-promote-1a2b/xK2ab81c"
    linked.release(1, approved_by=machine, approval="approved by policy: released by shop [binding x]")

    shown = on_cloud("promotions", linked.group, "--profile", PROFILES["source"]).stdout
    document = json.loads(on_cloud("promotions", linked.group, "--json", "--profile", PROFILES["source"]).stdout)

    assert ("│ policy " in shown, "xK2ab81c" in shown) == (True, False), shown
    assert document["releases"][0]["approved_by"] == machine


def test_nothing_yet_is_said_of_both_sides(on_cloud: Run, linked: LinkedUnits) -> None:
    """An empty table would be ambiguous."""
    offered = on_cloud("promotions", linked.group, "--profile", PROFILES["target"]).stdout
    released = on_cloud("promotions", linked.group, "--profile", PROFILES["source"]).stdout

    assert offered == f"build ({SOURCE.account} {SOURCE.region}) has offered no version to {linked.group} yet\n"
    assert released == (f"{linked.group} has released nothing yet\nstaging has not reported yet what it serves\n")


def test_rules_by_which_nothing_comes_are_named(on_cloud: Run, linked: LinkedUnits) -> None:
    """Prints their purpose, and the command that enables a disabled rule."""
    bus = linked.stop()

    shown = on_cloud("promotions", linked.group, "--profile", PROFILES["target"]).stdout
    document = json.loads(on_cloud("promotions", linked.group, "--json", "--profile", PROFILES["target"]).stdout)

    assert shown.splitlines()[1:] == [
        "rule offers is disabled, so its events are lost (What build offers): aws events enable-rule --name offers "
        f"--event-bus-name {bus}",
        "rule gone was deleted, so its events are lost; create it again with that name and its targets, as in the stack's template "
        "(aws events put-rule --name gone, aws events put-targets): CloudFormation does not recreate resources deleted "
        "outside of it while the template is unchanged",
    ]
    assert [each["state"] for each in document["stopped"]] == ["DISABLED", "DELETED"]


def test_a_source_shows_what_its_targets_serve(on_cloud: Run, linked: LinkedUnits) -> None:
    """Prints versions of both sides, and rollbacks of a target; JSON has the same."""
    back = reported.version(number=4, minute=20, released_as=f"{linked.group}/8")
    serves = reported.version(released_as=f"{linked.group}/7")
    requested = RequestedRetraining(
        id="a" * 64,
        at=reported.at(30),
        alarm="features",
        reason="in ALARM: features",
        answer=f"handed to {linked.group}",
    )
    linked.report(
        reported.state(name="staging", via="staging", serves=serves, rolled_back=(back,), requested=requested)
    )

    shown = on_cloud("promotions", linked.group, "--profile", PROFILES["source"]).stdout
    document = json.loads(on_cloud("promotions", linked.group, "--json", "--profile", PROFILES["source"]).stdout)

    for part in (
        f"targets serve these versions of {linked.group}",
        f"{linked.group}/7",
        "demand-forecast/3",
        f"{linked.group}/8 (target version demand-forecast/4) at 2017-08-01 08:20",
        f"staging requested a retraining at 2017-08-01 08:30, in ALARM: features: handed to {linked.group}",
    ):
        assert part in shown
    assert "has not reported yet" not in shown
    (target,) = document["targets"]
    assert (target["name"], target["serves"]["released_as"]) == ("staging", f"{linked.group}/7")
    assert [each["released_as"] for each in target["rolled_back"]] == [f"{linked.group}/8"]


def test_a_group_that_is_not_there_is_refused(on_cloud: Run, linked: LinkedUnits) -> None:
    """The error has the name."""
    result = on_cloud("promotions", "linked-none", "--profile", PROFILES["target"])

    assert (result.returncode, "no registry of group 'linked-none' is deployed" in result.stderr) == (1, True)
