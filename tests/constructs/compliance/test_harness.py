"""The compliance harness, and its results for the constructs of this library."""

import json
import os
import subprocess
import sys
from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk import aws_sqs as sqs

from mlops_constructs.compliance import acknowledge
from mlops_constructs.compliance.harness import (
    MAXIMUM_RESOURCES,
    AcknowledgedRule,
    Evidence,
    StackEvidence,
    check,
)

REASON = "it is itself where dead letters end; one more would never be read"
BASE = Path(__file__).with_name("base_app.py")


def test_a_finding_is_a_problem() -> None:
    """Reports an unencrypted queue with its path."""
    app = cdk.App()
    sqs.Queue(cdk.Stack(app, "S"), "Queue")

    evidence = check(app)

    assert (
        "error AwsSolutions-SQS4 at S/Queue/Resource; fix it, or acknowledge it beside its cause" in evidence.problems
    )


def test_an_acknowledged_finding_is_evidence() -> None:
    """Lists it as evidence with its reason and coverage, not as a problem."""
    app = cdk.App()
    acknowledge(sqs.Queue(cdk.Stack(app, "S"), "Queue"), "AwsSolutions-SQS4", REASON)

    stack = check(app).stacks[0]

    assert stack.acknowledgements == (
        AcknowledgedRule(rule="AwsSolutions-SQS4", path="S/Queue", reason=REASON, covers=("S/Queue/Resource",)),
    )
    assert not [f for f in stack.findings if f.rule == "AwsSolutions-SQS4"]


def test_a_stale_acknowledgement_is_a_problem() -> None:
    """Reports an acknowledgement without a finding, as it would hide the next one."""
    app = cdk.App()
    acknowledge(sqs.Queue(cdk.Stack(app, "S"), "Queue", enforce_ssl=True), "AwsSolutions-SQS4", REASON)

    assert (
        "acknowledgement of AwsSolutions-SQS4 at S/Queue no longer covers a finding; remove it" in check(app).problems
    )


def test_a_reason_given_past_the_helper_is_judged() -> None:
    """Validates reasons that CDK itself would accept."""
    app = cdk.App()
    queue = sqs.Queue(cdk.Stack(app, "S"), "Queue")
    cdk.Validations.of(queue).acknowledge(cdk.Acknowledgment(id="AwsSolutions::AwsSolutions-SQS4", reason="ok"))

    assert any("has the reason 'ok'; name the rejected alternative" in problem for problem in check(app).problems)


def test_too_many_resources_are_a_problem() -> None:
    """A stack must leave room for its owner's resources."""
    stack = StackEvidence(stack="S", resources=MAXIMUM_RESOURCES + 1, findings=(), acknowledgements=())

    assert stack.problems == ["stack S has 351 resources, at most 350 are allowed; split it"]


def test_one_decision_in_several_packs_counts_once() -> None:
    """Counts the wildcards of one policy once."""
    rules = tuple(
        AcknowledgedRule(rule=rule, path="S/A", reason=REASON, covers=("S/A/Resource",))
        for rule in (
            "HIPAA.Security-X",
            "PCI.DSS.321-X",
            "AwsSolutions-IAM5[Resource::a*]",
            "AwsSolutions-IAM5[Resource::b*]",
        )
    )

    assert StackEvidence(stack="S", resources=10, findings=(), acknowledgements=rules).decisions == 2


def test_validation_that_did_not_run_is_a_problem() -> None:
    """A checker without output is not a clean result."""
    assert Evidence(stacks=(), validated=False).problems == ["CDK's own validation did not run; unset CDK_VALIDATION"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    """Two syntheses of the base constructs in both profiles, in different processes with different hash seeds, one offline."""
    offline = ["unshare", "--map-root-user", "--net"]
    can_isolate = subprocess.run([*offline, "true"], check=False, capture_output=True).returncode == 0
    runs = {}
    for name, seed, validation, prefix, options in (
        ("first", "1", "true", [], ["--packs"]),
        ("second", "2", "false", offline if can_isolate else [], []),
    ):
        folder = tmp_path_factory.mktemp(name)
        environment = os.environ | {"CDK_VALIDATION": validation, "PYTHONHASHSEED": seed}
        command = [*prefix, sys.executable, str(BASE), str(folder), *options]
        result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert result.returncode == 0, result.stderr[-2000:]
        runs[name] = {str(p.relative_to(folder)): p for p in sorted(folder.rglob("*")) if p.is_file()}
    return runs


def test_the_base_constructs_have_no_open_finding(base: dict[str, dict[str, Path]]) -> None:
    """Six packs and CDK's validation in both profiles report nothing unacknowledged and nothing stale."""
    evidence = json.loads(base["first"]["compliance.json"].read_text())

    assert evidence["cdk_validation"] is True
    assert evidence["problems"] == []
    assert sorted(s["stack"] for s in evidence["stacks"]) == [
        "Base-Development",
        "Base-Production",
        "Lake-Development",
        "Lake-Production",
        "Unit-Development",
        "Unit-Production",
    ]
    for stack in evidence["stacks"]:
        assert stack["findings"] == []
        assert stack["resources"] <= MAXIMUM_RESOURCES
        assert all(a["covers"] and len(a["reason"]) >= 40 for a in stack["acknowledgements"])


def test_acknowledgements_do_not_grow(base: dict[str, dict[str, Path]]) -> None:
    """New acknowledgements must be justified here."""
    evidence = json.loads(base["first"]["compliance.json"].read_text())

    decisions = {stack["stack"]: stack["decisions"] for stack in evidence["stacks"]}
    # the last two: point-in-time recovery of the automation table instead of a backup plan
    assert decisions["Base-Production"] <= 12
    # two more: the sweeper deletes access logs and packages of a group, whose names are known at run time only
    assert decisions["Base-Development"] <= 14


def test_two_synths_are_equal_byte_for_byte_and_need_no_network(base: dict[str, dict[str, Path]]) -> None:
    """Same inputs give same templates, assets and manifests, except jsii's temporary folder in CDK's stack traces."""
    first, second = (
        {n: p for n, p in run.items() if n.startswith("cdk.out") and not n.endswith((".metadata.json", "-report.json"))}
        for run in base.values()
    )

    assert set(first) == set(second)
    assert [name for name in first if first[name].read_bytes() != second[name].read_bytes()] == []


def test_the_packs_fail_synthesis_by_themselves(base: dict[str, dict[str, Path]]) -> None:
    """An app with the packs fails on a finding; the base app passes."""
    evidence = json.loads(base["first"]["compliance.json"].read_text())

    assert evidence["plugins_passed"] is True
