"""The list of accepted findings: exact, with reasons, and nothing stale."""

from pathlib import Path

import pytest
from tools.checkers import run_cfn_guard
from tools.template_checks import CHECKERS, AcceptedFinding, CheckerFinding, problems, read_accepted

REASON = "it is the bucket of access logs itself, which cannot log to itself"
LOGS = AcceptedFinding(checker="checkov", rule="CKV_AWS_18", resources=("UnitAccessLogs", "*Logs2"), reason=REASON)


def _finding(**given: str) -> CheckerFinding:
    return CheckerFinding(
        **({"checker": "checkov", "rule": "CKV_AWS_18", "resource": "UnitAccessLogs", "template": "a/S"} | given)
    )


def test_a_listed_finding_stands() -> None:
    """For every template, and by a pattern."""
    assert problems([_finding(), _finding(template="b/S"), _finding(resource="MyLogs2")], [LOGS]) == []


@pytest.mark.parametrize("other", [{"checker": "cfn_guard"}, {"rule": "CKV_AWS_19"}, {"resource": "Other"}])
def test_any_other_is_a_problem(other: dict[str, str]) -> None:
    """The same rule elsewhere, another rule there, another checker: each report has the fix."""
    (problem,) = problems([_finding(**other)], [LOGS], is_complete=False)

    assert problem.endswith("fix it, or list it in accepted.yaml with a reason")


def test_an_entry_without_a_finding_is_a_problem() -> None:
    """Each pattern of an entry; a sample of templates cannot decide it."""
    assert problems([_finding()], [LOGS]) == [
        "accepted.yaml: checkov CKV_AWS_18 at '*Logs2' meets no finding any more; remove it"
    ]
    assert problems([_finding()], [LOGS], is_complete=False) == []


def test_the_list_can_be_read() -> None:
    """Every entry has a reason that a reviewer can check, and each rule has one entry."""
    accepted = read_accepted()

    assert {entry.checker for entry in accepted} <= set(CHECKERS)
    assert len({(entry.checker, entry.rule) for entry in accepted}) == len(accepted)


@pytest.mark.parametrize("wrong", [{"reason": "ok"}, {"checker": "cfn_nag"}, {"resources": []}])
def test_a_bad_entry_is_refused(wrong: dict[str, object], tmp_path: Path) -> None:
    """A short reason, an unknown checker, no resource."""
    import yaml

    entry = {"checker": "checkov", "rule": "CKV_AWS_18", "resources": ["A"], "reason": REASON} | wrong
    path = tmp_path / "accepted.yaml"
    path.write_text(yaml.safe_dump([entry]))

    with pytest.raises(ValueError, match=r"accepted.yaml: checker must be one of cfn_guard, cfn_lint"):
        read_accepted(path)


def test_cfn_guard_gets_what_a_resource_refers_to() -> None:
    """By each intrinsic function that refers to another resource."""
    properties = {
        "Key": {"Ref": "Key"},
        "Role": [{"Fn::GetAtt": ["Role", "Arn"]}],
        "Text": {"Fn::Sub": ["arn:${AWS::Partition}:s3:::${Bucket}/${Given}", {"Given": {"Ref": "Folder"}}]},
        "Other": {"Fn::Sub": "${Topic.TopicName}"},
    }
    assert {"Key", "Role", "Bucket", "Folder", "Topic"} <= set(run_cfn_guard._referred({"Properties": properties}))
