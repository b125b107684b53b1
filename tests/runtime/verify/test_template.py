"""A template before it is deployed: definitions and policies with stand-ins."""

from __future__ import annotations

import json
from typing import Any

from mlops_runtime.verify.template import Template

ARN = {"Fn::GetAtt": ["Store", "Arn"]}
DOCUMENT: dict[str, Any] = {
    "Resources": {
        "Store": {"Type": "AWS::S3::Bucket", "Properties": {}},
        "Ask": {"Type": "AWS::Lambda::Function", "Properties": {}},
        "Topic": {"Type": "AWS::SNS::Topic", "Properties": {}},
        "Machine": {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": {
                "DefinitionString": {
                    "Fn::Join": [
                        "",
                        ['{"StartAt":"A","States":{"A":{"Resource":"', {"Fn::GetAtt": ["Ask", "Arn"]}, '"}}}'],
                    ]
                }
            },
        },
        "Policy": {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": {"Fn::Join": ["", [ARN, "/*"]]}},
                        {
                            "Effect": "Allow",
                            "Action": ["sns:Publish"],
                            "Resource": [{"Ref": "Topic"}],
                            "Condition": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
                        },
                        {"Effect": "Deny", "Action": "*", "Resource": "*"},
                        {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"},
                    ],
                }
            },
        },
        "Sts": {
            "Type": "AWS::EC2::VPCEndpoint",
            "Properties": {"VpcEndpointType": "Interface", "ServiceName": "com.amazonaws.eu-west-1.sts"},
        },
        "S3": {
            "Type": "AWS::EC2::VPCEndpoint",
            "Properties": {
                "VpcEndpointType": "Gateway",
                "ServiceName": {"Fn::Join": ["", ["com.amazonaws.", {"Ref": "AWS::Region"}, ".s3"]]},
            },
        },
    }
}
TEMPLATE = Template(DOCUMENT, account="1" * 12, region="eu-west-1")


def test_definitions_have_arns_of_the_right_form() -> None:
    """The ARNs are of the account under verification."""
    (definition,) = TEMPLATE.machines().values()

    assert json.loads(definition)["States"]["A"]["Resource"] == f"arn:aws:lambda:eu-west-1:{'1' * 12}:function:Ask"


def test_statements_that_allow_something_are_listed() -> None:
    """Statements with Deny or NotAction cannot be simulated as allowed."""
    first, second = TEMPLATE.statements()

    assert (first.actions, first.resources, first.has_conditions) == (
        ("s3:GetObject",),
        ("arn:aws:s3:::store/*",),
        False,
    )
    assert second.resources == (f"arn:aws:sns:eu-west-1:{'1' * 12}:Topic",)
    assert second.has_conditions
    assert json.loads(TEMPLATE.policies()["Policy"])["Statement"][1]["Condition"] == {
        "StringEquals": {"aws:SourceAccount": "1" * 12}
    }


def test_interface_services_are_those_that_cost_money() -> None:
    """Gateway endpoints are free."""
    assert TEMPLATE.interface_services() == ["com.amazonaws.eu-west-1.sts"]
    assert TEMPLATE.count("AWS::EC2::VPCEndpoint") == 2
