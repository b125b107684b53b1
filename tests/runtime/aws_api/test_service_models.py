"""Models of services: names, the table of known operations, and botocore for all others."""

import json
import subprocess
import sys

import pytest
from tools.input_shape_table import TABLE, rendered

from mlops_runtime.aws_api import UnknownServiceError, check_request
from mlops_runtime.aws_api.service_models import ServiceModel, candidates, known_models, service_model


@pytest.mark.parametrize(
    ("sdk", "botocore"),
    [
        ("sfn", "stepfunctions"),
        ("eventbridge", "events"),
        ("cloudwatchlogs", "logs"),
        ("elasticloadbalancingv2", "elbv2"),
        ("applicationautoscaling", "application-autoscaling"),
    ],
)
def test_knows_the_names_of_sdk_integrations(sdk: str, botocore: str):
    """Step Functions' own service names lead to botocore's models."""
    assert service_model(sdk).service_name == botocore


def test_the_table_equals_botocores_models():
    """`python -m tools.input_shape_table` writes it again for another version of botocore."""
    assert TABLE.read_text() == rendered()


def test_a_service_comes_from_the_table_first_and_then_from_botocore():
    """An operation that the table lacks is in botocore's model."""
    known, full = candidates("eventbridge")

    assert known is known_models()["events"]
    assert full is service_model("eventbridge")
    assert "ListRules" not in known.inputs
    assert "ListRules" in full.inputs


def test_an_unknown_service_is_refused():
    """The message names it."""
    with pytest.raises(UnknownServiceError, match="unknown service 'sagemakr'"):
        list(candidates("sagemakr"))


def test_a_finding_is_botocores(monkeypatch: pytest.MonkeyPatch):
    """A field that the table does not have yet is accepted if the installed botocore has it."""
    known = known_models()["sagemaker"]
    older = {**known.shapes, "DeleteModelInput": {"type": "structure", "members": {}}}
    monkeypatch.setattr(
        "mlops_runtime.aws_api.service_models.known_models",
        lambda: {"sagemaker": ServiceModel("sagemaker", known.inputs, older)},
    )

    assert check_request("sagemaker", "DeleteModel", {"ModelName": "m"}) == []
    assert [finding.path for finding in check_request("sagemaker", "DeleteModel", {"Name": "m"})] == [
        "$.Name",
        "$.ModelName",
    ]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"ModelName": "m"}, ["", "False"]),
        (
            {"Name": "m"},
            [
                "state 'Drop': $.Name is not a field of DeleteModelInput; did you mean 'ModelName' "
                "state 'Drop': $.ModelName is missing",
                "True",
            ],
        ),
    ],
)
def test_a_valid_machine_of_known_operations_loads_no_botocore(arguments: dict[str, str], names: list[str]):
    """Importing botocore and reading its models takes time at each synthesis."""
    machine = {
        "QueryLanguage": "JSONata",
        "StartAt": "Drop",
        "States": {
            "Drop": {
                "Type": "Task",
                "Resource": "arn:aws:states:::aws-sdk:sagemaker:deleteModel",
                "Arguments": arguments,
                "End": True,
            }
        },
    }
    program = (
        "import json, sys; from mlops_runtime.aws_api import check_machine; "
        "print(*check_machine(json.loads(sys.argv[1]))); print('botocore' in sys.modules)"
    )

    result = subprocess.run(
        [sys.executable, "-c", program, json.dumps(machine)], check=True, capture_output=True, text=True
    )

    assert result.stdout.splitlines() == names
