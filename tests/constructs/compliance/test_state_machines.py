"""State machines of templates, and the resources that they create."""

import json
from typing import Any

from mlops_constructs.compliance.assembly import Assembly
from mlops_constructs.compliance.state_machines import SPEC_TYPE, machines, made, serving_specs
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.rollout import RolloutSpec, ServingSpec

ARN = {"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, ":states:::sagemaker:createTrainingJob.sync"]]}


def _assembly(kind: str, **properties: Any) -> Assembly:
    return Assembly({"S": {"Resources": {"It": {"Type": kind, "Properties": properties}}}})


def _text(parts: dict[str, Any], definition: dict[str, Any]) -> dict[str, Any]:
    """Return a definition as CDK renders it: strings joined with functions."""
    pieces: list[Any] = [json.dumps(definition)]
    for name, value in parts.items():
        pieces = [x for piece in pieces for x in (_split(piece, name, value) if isinstance(piece, str) else [piece])]
    return {"Fn::Join": ["", pieces]}


def _split(text: str, name: str, value: object) -> list[Any]:
    before, found, after = text.partition(name)
    return [before, value, after] if found else [text]


def test_a_joined_definition_in_a_map_in_jsonpath() -> None:
    """Functions become text; a path becomes an expression."""
    train = {"Type": "Task", "Resource": "RESOURCE", "Parameters": {"TrainingJobName.$": "$.n", "RoleArn": "ROLE"}}
    inner = {"StartAt": "Train", "States": {"Train": train | {"End": True}}}
    definition = {"StartAt": "Each", "States": {"Each": {"Type": "Map", "Iterator": inner, "End": True}}}
    text = _text({"RESOURCE": ARN, "ROLE": {"Fn::GetAtt": ["Role", "Arn"]}}, definition)

    (job,) = made(_assembly("AWS::StepFunctions::StateMachine", DefinitionString=text), "AWS::SageMaker::TrainingJob")

    assert job.state == "Train"
    assert job.properties == {"TrainingJobName": "{% $.n %}", "RoleArn": "${S.Role.Arn}"}


def test_each_job_of_a_tuning_is_made() -> None:
    """Reads tunings with one or several definitions."""
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sagemaker:createHyperParameterTuningJob.sync",
        "Parameters": {"TrainingJobDefinitions": [{"RoleArn": "a"}, {"RoleArn": "b"}]},
        "End": True,
    }
    assembly = _assembly("AWS::StepFunctions::StateMachine", Definition={"StartAt": "T", "States": {"T": state}})

    assert [job.get("RoleArn") for job in made(assembly, "AWS::SageMaker::TrainingJob")] == ["a", "b"]


def test_substitutions_are_filled_in() -> None:
    """Replaces ``${name}`` by the template's value."""
    text = json.dumps({"States": {"T": {"Type": "Task", "Resource": "${where}"}}})
    names = {"where": "arn:aws:states:::sqs:sendMessage"}
    (machine,) = machines(
        _assembly("AWS::StepFunctions::StateMachine", DefinitionString=text, DefinitionSubstitutions=names)
    )

    assert [state.call for state in machine.tasks()] == [("sqs", "sendMessage", "")]


def test_an_unreadable_definition_is_none() -> None:
    """Ignores definitions in S3 and invalid JSON."""
    for properties in ({"DefinitionS3Location": {"Bucket": "b"}}, {"DefinitionString": "{"}):
        (machine,) = machines(_assembly("AWS::StepFunctions::StateMachine", **properties))
        assert machine.definition is None
        assert list(machine.states()) == []


def test_a_serving_spec_is_expanded_as_the_deploy_machine_renders_it() -> None:
    """Renders model, config and endpoint with the deployed functions."""
    spec = ServingSpec(
        endpoint="demand-forecast",
        variant="AllTraffic",
        instance_type="ml.m5.large",
        instance_count=1,
        execution_role="role",
        subnets=("subnet-1",),
        security_groups=("sg-1",),
        rollout=RolloutSpec(kind="ALL_AT_ONCE", bake=60, maximum=1800),
    )
    assembly = _assembly(SPEC_TYPE, Spec=canonical_json(spec).decode())

    (model,), (endpoint,) = (made(assembly, f"AWS::SageMaker::{kind}") for kind in ("Model", "Endpoint"))

    assert model.get("VpcConfig.Subnets") == ["subnet-1"]
    assert (endpoint.state, endpoint.name) == ("Endpoint", "demand-forecast")


def test_a_spec_that_cannot_be_read_is_said() -> None:
    """Expands nothing; the rule about arguments reports it."""
    ((_, spec),) = serving_specs(_assembly(SPEC_TYPE, Spec="{}"))

    assert spec is None
