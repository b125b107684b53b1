"""Parameters of optimized Step Functions integrations, by the table and its evidence."""

import json
from importlib import resources
from typing import Any

import pytest

from mlops_runtime.aws_api import check_machine, input_shape, operation_name, optimized_fields, unsupported_fields

TRAIN = "arn:aws:states:::sagemaker:createTrainingJob.sync"
TABLE = json.loads(resources.files("mlops_runtime.aws_api").joinpath("optimized_tasks.json").read_text())


def machine(resource: str, arguments: object, *, language: str = "JSONata") -> dict[str, Any]:
    """A machine of one task."""
    key = "Arguments" if language == "JSONata" else "Parameters"
    task = {"Type": "Task", "Resource": resource, key: arguments, "End": True}
    return {"QueryLanguage": language, "StartAt": "Train", "States": {"Train": task}}


def test_an_entry_point_of_a_training_job_is_not_supported() -> None:
    """The API has the field, no published definition of a state machine does."""
    arguments = {"AlgorithmSpecification": {"TrainingImage": "i", "ContainerEntrypoint": ["train"]}}
    (found,) = unsupported_fields(machine(TRAIN, arguments))
    assert found.path == "AlgorithmSpecification.ContainerEntrypoint"
    assert found.location == "/States/Train/Arguments"
    assert found.refusal == 'The field "ContainerEntrypoint" is not supported by Step Functions'
    assert found.allowed == ("AlgorithmName", "MetricDefinitions", "TrainingImage", "TrainingInputMode")


def test_the_finding_names_state_field_allowed_fields_and_the_way_out() -> None:
    """The check at synth reports the same field as an error."""
    arguments = {"ExperimentConfig": {"ExperimentName": "e"}}
    findings = [str(finding) for finding in check_machine(machine(TRAIN, arguments))]
    assert findings[0].startswith(
        "state 'Train': $.ExperimentConfig is not a field that Step Functions is known to support in "
        "sagemaker:createTrainingJob (allowed there: AlgorithmSpecification, CheckpointConfig, "
    )
    assert findings[0].endswith("or call aws-sdk:sagemaker:createTrainingJob, which supports every field of the API")


@pytest.mark.parametrize(
    ("resource", "arguments"),
    [
        (TRAIN, {"Tags": [{"Key": "a", "Value": "b"}], "HyperParameters": {"anything": "1"}}),
        (TRAIN, "{% $plan.training %}"),
        ("arn:aws:states:::aws-sdk:sagemaker:createTrainingJob", {"ExperimentConfig": {}}),
        ("arn:${AWS::Partition}:states:::lambda:invoke", {"FunctionName": "f", "Payload": {"any": [{"thing": 1}]}}),
        ("arn:aws:states:::events:putEvents", {"Entries": [{"Detail": {"any": 1}, "Source": "s"}]}),
        ("arn:aws:lambda:us-east-1:000000000000:function:f", {"any": 1}),
    ],
)
def test_what_is_listed_or_not_optimized_has_no_findings(resource: str, arguments: object) -> None:
    """Maps and payloads hold anything; expressions are known only at run time."""
    assert list(unsupported_fields(machine(resource, arguments))) == []


def test_fields_of_items_and_references_are_found() -> None:
    """A tag's `key` is what failed in the field; JSONPath references are named without their `.$`."""
    parameters = {"Tags": [{"Key": "a", "Value": "b"}, {"key.$": "$.k"}]}
    (found,) = unsupported_fields(machine(TRAIN, parameters, language="JSONPath"))
    assert (found.path, found.location) == ("Tags.key", "/States/Train/Parameters")


def test_states_inside_map_and_parallel_are_found() -> None:
    """The location says where the state stands."""
    inner = machine(TRAIN, {"RetryStrategy": {}})
    definition = {
        "QueryLanguage": "JSONata",
        "States": {"Each": {"Type": "Map", "ItemProcessor": inner}, "Both": {"Type": "Parallel", "Branches": [inner]}},
    }
    assert [found.location for found in unsupported_fields(definition)] == [
        "/States/Each/ItemProcessor/States/Train/Arguments",
        "/States/Both/Branches[0]/States/Train/Arguments",
    ]


@pytest.mark.parametrize(
    "state", [{"Branches": [1]}, {"Branches": 7}, {"ItemProcessor": 3}, {"Iterator": [3]}, {"Type": ["Task"]}, 4]
)
def test_what_is_not_a_machine_has_no_tasks(state: object) -> None:
    """Step Functions refuses it for other reasons."""
    assert list(unsupported_fields({"States": {"A": state}})) == []


def test_every_field_of_the_table_is_one_of_the_api() -> None:
    """A path that botocore does not know would be a slip of the table."""
    unknown = [
        f"{action}: {path}"
        for action, fields in optimized_fields().items()
        for path in fields
        if not _is_known(action, path.removesuffix(".*"))
    ]
    assert unknown == []


def test_every_field_has_evidence_with_source_and_date() -> None:
    """Each names a source; sources say where they are and when they were published."""
    cited = {evidence for fields in TABLE["tasks"].values() for evidence in fields.values()}
    assert cited <= set(TABLE["sources"])
    assert [
        name for name, row in TABLE["sources"].items() if not all(row[k] for k in ("says", "source", "published"))
    ] == []
    assert TABLE["read"] == "2026-11-28"


def _is_known(action: str, path: str) -> bool:
    service, _, call = action.partition(":")
    model = {"states": "stepfunctions"}.get(service, service)
    shape = input_shape(model, operation_name(model, call))
    for name in path.split("."):
        while shape.type_name == "list":
            shape = shape.inner(shape.traits["member"])
        if shape.type_name != "structure":
            return action == "events:putEvents"  # Detail is JSON here and text in the API
        members = {member[:1].upper() + member[1:]: value for member, value in shape.members.items()}
        if name not in members:
            return False
        shape = members[name]
    return True
