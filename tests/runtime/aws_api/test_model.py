"""Names of services and operations."""

import pytest

from mlops_runtime.aws_api import UnknownOperationError, input_shape, operation_name
from mlops_runtime.aws_api.model import service_model


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


def test_fails_on_the_spelling_of_the_api():
    """A state writes actions in camel case; the API's spelling is refused with the right one."""
    with pytest.raises(
        UnknownOperationError, match="sagemaker has no action 'UpdateEndpoint'; did you mean 'updateEndpoint'"
    ):
        operation_name("sagemaker", "UpdateEndpoint")


def test_an_operation_without_input_takes_nothing():
    """The shape of an operation without input has no members."""
    assert input_shape("sagemaker", "EnableSagemakerServicecatalogPortfolio").members == {}
    assert input_shape("iam", "GetAccountSummary").members == {}
