"""The unit of a verification as a stack: made, refused, broken, deleted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from tests.runtime.verify.answers import NAMES, Answers, Refused, answered

from mlops_runtime.verify.journal import Journal
from mlops_runtime.verify.problems import CheckError, NoEvidenceError
from mlops_runtime.verify.unit import File, Unit

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_runtime.verify.account import Place

PRICE = {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "1"}}
WORKS = {"Resources": {"Price": PRICE}, "Outputs": {"Name": {"Value": {"Ref": "Price"}}}}
BREAKS = {
    "Resources": {
        "Price": PRICE,
        "Flow": {"Type": "AWS::EC2::FlowLog", "Properties": {"ResourceType": "VPC"}, "DependsOn": "Price"},
    }
}


class Made:
    """A unit with uploaded files, and its journal."""

    def __init__(self, place: Place, folder: Path, template: dict[str, Any]) -> None:
        self.place, self.journal, self.beats = place, Journal(folder / "journal.jsonl"), 0
        self.journal.begin("run")
        self.unit = Unit(place, self.journal, self._beat)
        self.unit.upload([File(key="template.json", read=json.dumps(template).encode)])

    def _beat(self) -> None:
        self.beats += 1

    def stacks(self) -> list[str]:
        """Return the status of each stack of the name."""
        try:
            found = self.place.client("cloudformation").describe_stacks(StackName=self.place.names.stack)["Stacks"]
        except ClientError:
            return []
        return [stack["StackStatus"] for stack in found]


def test_a_stack_is_deployed_and_deleted(place: Place, tmp_path: Path) -> None:
    """Its outputs are returned; the journal lists it before its creation, and a second deletion finds nothing."""
    made = Made(place, tmp_path, WORKS)

    made.unit.begin("template.json")
    outputs = made.unit.deployed()
    assert place.client("ssm").get_parameter(Name=outputs["Name"])["Parameter"]["Value"] == "1"
    assert (made.unit.exists(), made.unit.functions()) == (True, [])
    assert set(made.journal.left()) == {("bucket", place.names.bucket), ("stack", place.names.stack)}
    assert made.beats > 0

    assert made.unit.delete() is None
    assert made.unit.delete() is None
    assert not made.unit.exists()


def test_its_files_are_private_and_tagged(place: Place, tmp_path: Path) -> None:
    """A second upload uses the existing bucket."""
    made, s3 = Made(place, tmp_path, WORKS), place.client("s3")
    made.unit.upload([File(key="more", read=lambda: b"x")])

    blocked = s3.get_public_access_block(Bucket=place.names.bucket)["PublicAccessBlockConfiguration"]
    assert all(blocked.values())
    tags = s3.get_bucket_tagging(Bucket=place.names.bucket)["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == place.names.tags
    assert {row["Key"] for row in s3.list_objects_v2(Bucket=place.names.bucket)["Contents"]} == {
        "template.json",
        "more",
    }


def test_a_change_set_leaves_no_stack(place: Place, tmp_path: Path) -> None:
    """The change set is described and deleted, together with its stack."""
    made = Made(place, tmp_path, WORKS)

    assert made.unit.check_change_set("template.json") == "1 resources would be added"
    assert made.stacks() == []
    assert made.journal.left() == [("bucket", place.names.bucket)]


@pytest.mark.parametrize(
    "template",
    [
        {"Resources": {"Price": {"Type": "AWS::Nowhere::Thing"}}},
        {"Parameters": {}},
    ],
)
def test_a_template_that_is_refused_is_evidence(place: Place, tmp_path: Path, template: dict[str, Any]) -> None:
    """No stack remains either."""
    made = Made(place, tmp_path, template)

    with pytest.raises(CheckError, match=r"CloudFormation refuses the template|the change set ended as FAILED"):
        made.unit.check_change_set("template.json")
    assert made.stacks() == []


def test_a_stack_that_breaks_names_the_resource_and_can_be_deleted(place: Place, tmp_path: Path) -> None:
    """The message contains CloudFormation's reason."""
    made = Made(place, tmp_path, BREAKS)

    made.unit.begin("template.json")
    with pytest.raises(CheckError, match=r"the stack ended as ROLLBACK_COMPLETE: Flow: "):
        made.unit.deployed()
    assert made.stacks() == ["ROLLBACK_COMPLETE"]
    assert made.unit.delete() is None
    assert made.stacks() == []


def unit(folder: Path, **table: Any) -> Unit:
    """Return a stack of an account with responses from a table."""
    return Unit(answered(Answers(**table)), Journal(folder / "journal.jsonl"), lambda: None)


def test_a_template_that_comes_back_otherwise_fails(tmp_path: Path) -> None:
    """It differs in order, in a value, or by an additional part."""
    uploaded = json.dumps(WORKS, indent=1).encode()
    for body, words in (
        ({"Outputs": WORKS["Outputs"], "Resources": WORKS["Resources"]}, "another the order of its parts"),
        ({**WORKS, "Outputs": {}}, "another Outputs"),
        ({**WORKS, "Metadata": {}}, "another Metadata"),
    ):
        with pytest.raises(CheckError, match=words):
            unit(tmp_path, GetTemplate={"TemplateBody": json.dumps(body)}).gives_back(uploaded)
    found = unit(tmp_path, GetTemplate={"TemplateBody": json.dumps(WORKS)}).gives_back(uploaded)
    assert found == f"{len(json.dumps(WORKS))} characters of JSON, as uploaded"


@pytest.mark.parametrize(
    ("after", "error", "words"),
    [
        ("CREATE_IN_PROGRESS", CheckError, "a change set is taken for the stack while it is CREATE_IN_PROGRESS"),
        ("CREATE_COMPLETE", NoEvidenceError, "the stack was CREATE_IN_PROGRESS and is CREATE_COMPLETE already"),
    ],
)
def test_a_second_operation_that_is_taken_fails(tmp_path: Path, after: str, error: type[Exception], words: str) -> None:
    """It does not fail if the first operation has ended meanwhile."""
    status = [{"Stacks": [{"StackStatus": s}]} for s in ("REVIEW_IN_PROGRESS", "CREATE_IN_PROGRESS", after)]
    busy = unit(tmp_path, DescribeStacks=status, CreateChangeSet={"Id": "a"})
    with pytest.raises(error, match=words):
        busy.refuses_a_second_operation("template.json")

    refused = Refused(f"Stack:{NAMES.stack} is in CREATE_IN_PROGRESS state and can not be updated.", "ValidationError")
    busy = unit(tmp_path, DescribeStacks=status[1:], CreateChangeSet=refused)
    assert "can not be updated" in busy.refuses_a_second_operation("template.json")


def test_a_bucket_that_takes_the_old_operations_fails(tmp_path: Path) -> None:
    """Its tags have no effect afterwards; in a Region without such buckets the check is inconclusive."""
    answers = Answers(PutBucketAbac={}, PutBucketTagging={}, DeleteBucketTagging={})
    taken = Unit(answered(answers), Journal(tmp_path / "journal.jsonl"), lambda: None)
    with pytest.raises(CheckError, match="PutBucketTagging is taken although"):
        taken.keeps_its_tags()
    assert ["Disabled" in text for text in answers.requests_of("PutBucketAbac")] == [False, True]

    with pytest.raises(CheckError, match="DeleteBucketTagging is taken although"):
        unit(
            tmp_path, PutBucketAbac={}, PutBucketTagging=Refused("no", "InvalidRequest"), DeleteBucketTagging={}
        ).keeps_its_tags()
    with pytest.raises(NoEvidenceError, match="PutBucketAbac is refused as NotImplemented"):
        unit(tmp_path, PutBucketAbac=Refused("no", "NotImplemented")).keeps_its_tags()
