"""Checks that a platform team runs on its own templates."""

import json
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_sns as sns
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk.assertions import Template

from mlops_constructs.testing import (
    Finding,
    MachineFinding,
    Severity,
    check_request,
    machine_definitions,
    machine_findings,
)

DESCRIBE = "arn:aws:states:::aws-sdk:sagemaker:describeEndpoint"


def _definition(**arguments: Any) -> dict[str, Any]:
    state = {"Type": "Task", "Resource": DESCRIBE, "Arguments": arguments, "End": True}
    return {"QueryLanguage": "JSONata", "StartAt": "Look", "States": {"Look": state}}


def _template(**definitions: Any) -> dict[str, Any]:
    stack = cdk.Stack(cdk.App(), "Platform")
    topic = sns.Topic(stack, "Topic")
    for name, definition in definitions.items():
        text = stack.to_json_string(definition(topic) if callable(definition) else definition)
        sfn.StateMachine(stack, name, definition_body=sfn.DefinitionBody.from_string(text))
    template: dict[str, Any] = Template.from_stack(stack).to_json()
    return template


def _named(template: dict[str, Any], part: str) -> str:
    kinds = template["Resources"].items()
    (name,) = (n for n, r in kinds if r["Type"] == "AWS::StepFunctions::StateMachine" and part in n)
    return str(name)


def test_definitions_are_found_by_logical_id() -> None:
    """A definition without tokens is read unchanged."""
    template = _template(One=_definition(EndpointName="a"), Two=_definition(EndpointName="b"))

    assert machine_definitions(template) == {
        _named(template, "One"): _definition(EndpointName="a"),
        _named(template, "Two"): _definition(EndpointName="b"),
    }


def test_what_is_known_at_deployment_stands_as_its_name() -> None:
    """References and attributes appear as logical ids, and match every shape."""
    template = _template(
        One=lambda topic: _definition(EndpointName=topic.topic_name), Two=_definition(EndpointName="b")
    )
    (topic,) = (name for name, r in template["Resources"].items() if r["Type"] == "AWS::SNS::Topic")

    definition = machine_definitions(template)[_named(template, "One")]

    shown = definition["States"]["Look"]["Arguments"]["EndpointName"]
    assert shown.startswith("${")
    assert topic in shown
    assert machine_findings(template) == []


def test_findings_name_the_machine_and_the_fix() -> None:
    """Lists only machines with errors, each error once."""
    template = _template(Good=_definition(EndpointName="a"), Bad=_definition(EndpointNam="a"))
    bad = _named(template, "Bad")

    assert machine_findings(template) == [
        f"{bad}: state 'Look': $.EndpointNam is not a field of DescribeEndpointInput; did you mean 'EndpointName'",
        f"{bad}: state 'Look': $.EndpointName is missing",
    ]


def test_warnings_are_no_findings() -> None:
    """A value unknown to botocore may be valid."""
    variant = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m99.large", "InitialInstanceCount": 1}
    arguments = {"EndpointConfigName": "c", "ProductionVariants": [variant]}
    definition = _definition()
    definition["States"]["Look"] |= {
        "Resource": "arn:aws:states:::aws-sdk:sagemaker:createEndpointConfig",
        "Arguments": arguments,
    }

    assert machine_findings(_template(New=definition)) == []
    assert [f.severity for f in check_request("sagemaker", "CreateEndpointConfig", arguments)] == [Severity.WARNING]


def test_templates_without_machines_have_none() -> None:
    """Covers an empty template, and a machine whose definition is in S3."""
    in_bucket = {"Type": "AWS::StepFunctions::StateMachine", "Properties": {"DefinitionS3Location": {"Bucket": "b"}}}

    assert machine_definitions({}) == {}
    assert machine_findings({"Resources": {"M": in_bucket}}) == []


def test_a_definition_as_plain_text_is_read() -> None:
    """Templates from other tools contain a string."""
    properties = {"DefinitionString": json.dumps(_definition(EndpointName=7))}
    template = {"Resources": {"M": {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}}}

    (finding,) = machine_findings(template)

    assert finding.startswith("M: state 'Look': $.EndpointName must be ")


def test_both_kinds_of_findings_are_public() -> None:
    """Both classes can be compared in a team's own checks."""
    (finding,) = check_request("sagemaker", "DescribeEndpoint", {})

    assert finding == Finding(path="$.EndpointName", message="is missing")
    assert MachineFinding(state="s", path="$.A", message="is missing").severity is Severity.ERROR
