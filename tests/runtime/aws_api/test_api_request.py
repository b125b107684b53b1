"""Names of operations.

Requests against botocore's model.
"""

import pytest
from botocore.session import get_session
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.aws_api import (
    InvalidRequestError,
    Severity,
    UnknownOperationError,
    UnknownServiceError,
    check_request,
    input_shape,
    operation_name,
    require_valid_request,
)

VARIANT = {"VariantName": "AllTraffic", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 2}


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


def problems(arguments: dict[str, object], operation: str = "CreateEndpointConfig") -> list[str]:
    """Findings of a request, as text."""
    return [str(finding) for finding in check_request("sagemaker", operation, arguments)]


def test_accepts_a_valid_request():
    """A request that AWS takes has no findings."""
    assert problems({"EndpointConfigName": "a", "ProductionVariants": [VARIANT]}) == []


def test_fails_with_every_problem_of_a_request():
    """Unknown, missing, mistyped, out of range and pattern problems are all named at once."""
    found = problems(
        {
            "EndpointConfigName": "-a",
            "ProductionVariant": [],
            "DataCaptureConfig": {
                "InitialSamplingPercentage": 101,
                "DestinationS3Uri": 7,
                "CaptureOptions": [],
            },
        }
    )
    assert found == [
        "$.EndpointConfigName must match [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}, got '-a'",
        "$.ProductionVariant is not a field of CreateEndpointConfigInput; did you mean 'ProductionVariants'",
        "$.DataCaptureConfig.InitialSamplingPercentage must be at most 100, got 101",
        "$.DataCaptureConfig.DestinationS3Uri must be a string, got 7",
        "$.DataCaptureConfig.CaptureOptions must be at least 1 entries, got 0",
        "$.ProductionVariants is missing",
    ]


def test_warns_of_an_unknown_enum_value():
    """An instance type that botocore does not know yet is a warning, not an error."""
    arguments = {"EndpointConfigName": "a", "ProductionVariants": [{**VARIANT, "InstanceType": "ml.m5.lrge"}]}
    (finding,) = check_request("sagemaker", "CreateEndpointConfig", arguments)
    assert finding.severity is Severity.WARNING
    assert "ml.m5.large" in finding.message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"EndpointName": True}, "$.EndpointName must be a string, got True"),
        ({"EndpointName": "a" * 64}, "$.EndpointName must be at most 63 characters, got 64"),
    ],
)
def test_fails_on_scalars(arguments: dict[str, object], message: str):
    """Types and lengths of scalars are checked; a boolean is no number and no text."""
    assert message in problems(arguments, "DescribeEndpoint")


def test_fails_when_a_union_has_two_arms():
    """A tagged union takes exactly one of its members."""
    message = "$.AdapterSource must have exactly one of ModelPackageArns, S3Uris, got 2 fields"
    both = {"ModelPackageArns": ["a"], "S3Uris": ["s3://a/b"]}
    assert message in problems({"AdapterSource": both}, "CreateAIRecommendationJob")


def test_reports_unknown_names():
    """An unknown service or operation is refused by name, with the nearest one."""
    with pytest.raises(UnknownServiceError, match="unknown service 'sagemakr'"):
        check_request("sagemakr", "X", {})
    with pytest.raises(UnknownOperationError, match="did you mean 'UpdateEndpoint'"):
        check_request("sagemaker", "UpdateEndpont", {})


def test_require_valid_request_ignores_warnings_and_raises_errors():
    """Only what AWS would surely refuse stops a caller."""
    require_valid_request(
        "sagemaker",
        "CreateEndpointConfig",
        {"EndpointConfigName": "a", "ProductionVariants": [{**VARIANT, "InstanceType": "ml.new.large"}]},
    )
    with pytest.raises(
        InvalidRequestError, match=r"not a valid sagemaker DescribeEndpoint: \$.EndpointName is missing"
    ):
        require_valid_request("sagemaker", "DescribeEndpoint", {})


_JSON = st.recursive(
    st.one_of(st.booleans(), st.integers(-5, 200), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(
            st.sampled_from(["VariantName", "ModelName", "InitialInstanceCount", "InstanceType", "Nope"]), inner
        ),
    ),
    max_leaves=8,
)


# read once: the service's model is the largest that botocore has
_INPUT = get_session().get_service_model("sagemaker").operation_model("CreateEndpointConfig").input_shape


@given(
    st.dictionaries(
        st.sampled_from(["EndpointConfigName", "ProductionVariants", "Tags", "KmsKeyId", "EnableNetworkIsolation"]),
        _JSON,
        max_size=5,
    )
)
def test_is_at_least_as_strict_as_botocore(arguments: dict[str, object]):
    """Whatever botocore's own validator refuses before sending is refused here too."""
    if ParamValidator().validate(arguments, _INPUT).has_errors():
        assert [
            f for f in check_request("sagemaker", "CreateEndpointConfig", arguments) if f.severity is Severity.ERROR
        ]
