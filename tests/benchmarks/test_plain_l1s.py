"""The app of plain L1s that synthesis is compared with."""

import runpy
from pathlib import Path
from typing import Any

import pytest
from benchmarks.plain_l1s import app_source

KEY = {"Fn::GetAtt": ["Key", "Arn"]}
TEMPLATE: dict[str, Any] = {
    "Resources": {
        "Key": {
            "Type": "AWS::KMS::Key",
            "Properties": {
                "KeyPolicy": {"Statement": [{"Effect": "Allow", "Resource": {"Ref": "AWS::StackId"}}]},
                "Tags": [{"Key": "mlops:unit", "Value": "demand"}],
            },
        },
        "Store": {
            "Type": "AWS::S3::Bucket",
            "Properties": {
                "BucketEncryption": {
                    "ServerSideEncryptionConfiguration": [
                        {"ServerSideEncryptionByDefault": {"KMSMasterKeyID": KEY, "SSEAlgorithm": "aws:kms"}}
                    ]
                },
                "LifecycleConfiguration": {"Rules": [{"ExpirationInDays": 7, "Id": "Week", "Status": "Enabled"}]},
            },
        },
        "Function": {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "Code": {"S3Bucket": {"Ref": "Store"}, "S3Key": "code.zip"},
                "Environment": {"Variables": {"KEY": KEY, "URL": {"Fn::Join": ["", ["s3://", {"Ref": "Store"}]]}}},
                "Layers": [{"Ref": "AWS::NoValue"}, "arn:aws:lambda:eu-west-1:111111111111:layer:numpy:1"],
                "Role": "arn:aws:iam::111111111111:role/run",
            },
        },
        "Sweep": {"Type": "Custom::Sweep", "Properties": {"ServiceToken": {"Fn::GetAtt": ["Function", "Arn"]}}},
    }
}


def test_the_app_declares_the_same_resources(tmp_path: Path) -> None:
    """Ids, types and properties are those of the template, also through references, tags, maps, lists and documents."""
    program = tmp_path / "app.py"
    program.write_text(app_source(TEMPLATE))

    app = runpy.run_path(str(program))["app"]
    resources = app.synth().get_stack_by_name("Plain").template["Resources"]
    assert {
        name: {key: value for key, value in resource.items() if key in ("Type", "Properties")}
        for name, resource in resources.items()
    } == TEMPLATE["Resources"]


def test_it_is_what_an_author_writes() -> None:
    """Resources are objects of their classes, and what they refer to several times is one variable."""
    lines = app_source(TEMPLATE).splitlines()

    assert "from aws_cdk import aws_kms, aws_lambda, aws_s3" in lines
    assert sum(line.endswith(f"cdk.Token.as_string({KEY})") for line in lines) == 1
    assert [line.partition("(")[0] for line in lines if "(stack" in line] == [
        "aws_kms.CfnKey",
        "aws_s3.CfnBucket",
        "aws_lambda.CfnFunction",
        "cdk.CfnResource",
    ]


def test_a_property_that_its_class_lacks_is_an_error() -> None:
    """The comparison never leaves a property out."""
    bucket = {"Type": "AWS::S3::Bucket", "Properties": {"BucketColor": "red"}}

    with pytest.raises(KeyError, match="bucketcolor"):
        app_source({"Resources": {"Store": bucket}})
