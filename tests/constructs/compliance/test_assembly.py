"""Templates as data: references across stacks, values as strings."""

import json
from pathlib import Path

import pytest

from mlops_constructs.compliance.assembly import Assembly, is_expression, is_true

BUCKET = {"Type": "AWS::S3::Bucket", "Metadata": {"aws:cdk:path": "Data/Bucket/Resource"}}
OWNER = {
    "Resources": {"Bucket": BUCKET, "Named": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "models"}}},
    "Outputs": {"Out": {"Value": {"Fn::GetAtt": ["Bucket", "Arn"]}, "Export": {"Name": "Data:Arn"}}},
}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"Ref": "Named"}, "models"),
        ({"Ref": "Bucket"}, "${Data.Bucket}"),
        ({"Fn::GetAtt": ["Bucket", "Arn"]}, "${Data.Bucket.Arn}"),
        ({"Fn::GetAtt": "Bucket.Arn"}, "${Data.Bucket.Arn}"),
        ({"Fn::Join": ["/", ["s3:/", {"Ref": "Named"}, 7]]}, "s3://models/7"),
        ({"Fn::Sub": "arn:${AWS::Partition}:s3:::${Named}"}, "arn:${AWS::Partition}:s3:::models"),
        ({"Fn::Sub": ["${It}/x", {"It": {"Ref": "Named"}}]}, "models/x"),
        ({"Fn::ImportValue": "Data:Arn"}, "${Data.Bucket.Arn}"),
        ({"Fn::ImportValue": "Other"}, "${import Other}"),
        ({"Fn::If": ["C", "a", "b"]}, "${Fn::If : C a b}"),
        (True, "true"),
        (None, ""),
    ],
)
def test_values_as_text(value: object, text: str) -> None:
    """Values known at deployment have one canonical form, which can be compared."""
    assert Assembly({"Data": OWNER}).templates[0].text(value) == text


def test_a_reference_is_followed_into_another_stack() -> None:
    """Follows exports as CDK writes them."""
    user = {"Resources": {"It": {"Type": "AWS::X::Y", "Properties": {"Arn": {"Fn::ImportValue": "Data:Arn"}}}}}
    assembly = Assembly({"Data": OWNER, "User": user})
    (it,) = assembly.of("AWS::X::Y")

    target = it.target(it.get("Arn"))

    assert target is not None
    assert (target.logical_id, target.path) == ("Bucket", "Data/Bucket/Resource")


def test_nested_stacks_and_paths_come_from_the_assembly(tmp_path: Path) -> None:
    """Nested templates have their own logical ids; their parameters resolve to the parent's values."""
    nested = {"Type": "AWS::CloudFormation::Stack", "Properties": {"Parameters": {"P": {"Ref": "Bucket"}}}}
    nested["Metadata"] = {"aws:asset:path": "inner.json"}
    parent = {"Resources": {"Bucket": BUCKET, "Inner": nested}}
    inner = {"Parameters": {"P": {"Type": "String"}}, "Resources": {"Bucket": {"Type": "AWS::X::Y"}}}
    stated = {"/S/Bucket": "Bucket", "/S/In.NestedStack/In.NestedStackResource": "Inner", "/S/In/Bucket": "Bucket"}
    metadata = {path: [{"type": "aws:cdk:logicalId", "data": name}] for path, name in stated.items()}
    artifact = {"properties": {"templateFile": "S.template.json"}, "metadata": metadata}
    for name, body in (
        ("S.template.json", parent),
        ("inner.json", inner),
        ("manifest.json", {"artifacts": {"S": artifact}}),
    ):
        (tmp_path / name).write_text(json.dumps(body))

    assembly = Assembly.load([tmp_path / "S.template.json"])

    (own,), (below,) = assembly.of("AWS::S3::Bucket"), assembly.of("AWS::X::Y")
    assert (own.path, below.path) == ("S/Bucket", "S/In/Bucket")
    assert below.target({"Ref": "P"}) is own
    assert below.text({"Ref": "P"}) == "${S.Bucket}"


def test_what_is_certain() -> None:
    """Values of expressions are unknown before execution."""
    assert is_expression("{% $x %}")
    assert not is_expression("x {% $x %}")
    assert is_true("true")
    assert not is_true("{% $x %}")
