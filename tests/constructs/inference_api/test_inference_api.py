"""The API in a template: paths, callers, validation, limits; ineffective settings are rejected at synthesis."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_apigateway as gateway
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_cognito as cognito
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Annotations, Match

from mlops_constructs import (
    Access,
    DataCapture,
    IModelEndpoint,
    InferenceApi,
    ModelEndpoint,
    PersonalData,
    Profile,
    Quota,
    RequestSchema,
    ValidationError,
)
from mlops_constructs._warnings import NO_API_THROTTLE, UNCHECKED_PROMISE

METHOD = "AWS::ApiGateway::Method"
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"


def pool(door: Any, construct_id: str = "Pool") -> cognito.IUserPool:
    """A user pool of another stack."""
    return cognito.UserPool.from_user_pool_id(door.stack, construct_id, "us-east-1_abcdefghi")


def method(door: Any, part: str) -> dict[str, Any]:
    """Return the properties of the only method whose logical id ends with ``part`` and a hash."""
    found: dict[str, Any]
    (found,) = (each for name, each in door.resources(METHOD).items() if name[:-8].endswith(part))
    return found


def deployment(door: Any) -> str:
    """Return the logical id of the deployment."""
    (name,) = door.resources("AWS::ApiGateway::Deployment")
    return str(name)


def test_a_prediction_goes_straight_to_sagemaker(signed: Any) -> None:
    """Uses its own role, validates by the schema, sends the gateway's request id, and forwards nothing undeclared."""
    found = method(signed, "forecastpredictionsPOST")
    integration = found["Integration"]

    assert found["AuthorizationType"] == "AWS_IAM"
    assert integration["Type"] == "AWS"
    assert "runtime.sagemaker:path/endpoints/demand-forecast/invocations" in json.dumps(integration["Uri"])
    assert integration["PassthroughBehavior"] == "NEVER"
    assert integration["RequestTemplates"] == {"application/json": "$input.body"}
    header = "integration.request.header.X-Amzn-SageMaker-Inference-Id"
    assert integration["RequestParameters"][header] == "context.extendedRequestId"
    assert integration["TimeoutInMillis"] == 29_000
    (validator,) = signed.resources("AWS::ApiGateway::RequestValidator")
    assert found["RequestValidatorId"] == {"Ref": validator}
    (model,) = signed.resources("AWS::ApiGateway::Model").items()
    assert found["RequestModels"] == {"application/json": {"Ref": model[0]}}
    assert model[1]["Schema"] == json.loads(signed.file.read_text())


def test_the_role_asks_the_named_endpoints_alone(door: Any) -> None:
    """One statement without wildcards."""
    api = door.api_with_model()
    api.add_model("second", door.model("Second", name="second"), request=door.request, max_rate=1)

    (policy,) = (each for name, each in door.resources("AWS::IAM::ManagedPolicy").items() if "ApiRole" in name)
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Action"] == "sagemaker:InvokeEndpoint"
    assert [json.dumps(each).rpartition(":endpoint/")[2].split('"')[0] for each in statement["Resource"]] == [
        "demand-forecast",
        "demand-second",
    ]
    assert "*" not in json.dumps(policy)


def test_only_a_right_answer_is_200(signed: Any) -> None:
    """Unmatched responses are 502: API Gateway's default would return SageMaker's error with 200."""
    answers = {
        each["StatusCode"]: each
        for each in method(signed, "forecastpredictionsPOST")["Integration"]["IntegrationResponses"]
    }

    assert {status: each.get("SelectionPattern") for status, each in answers.items()} == {
        "200": "200",
        "429": "429",
        "503": r"400|5\d{2}",
        "502": None,
    }
    parameters = answers["200"]["ResponseParameters"]
    assert parameters["method.response.header.X-Inference-Id"] == "context.extendedRequestId"
    assert (
        parameters["method.response.header.X-Model-Version"]
        == "integration.response.header.X-Amzn-SageMaker-Custom-Attributes"
    )
    assert "ResponseTemplates" not in answers["200"]


def test_a_model_is_described_without_asking_it(signed: Any) -> None:
    """The response template is JSON without VTL references."""
    (answer,) = method(signed, "modelsforecastGET")["Integration"]["IntegrationResponses"]
    template = answer["ResponseTemplates"]["application/json"]

    assert "$" not in template
    assert "#" not in template
    assert json.loads(template) == {
        "model": "forecast",
        "content_types": ["application/json"],
        "request": json.loads(signed.file.read_text()),
    }


def test_refusals_of_the_gateway_say_nothing_of_aws(signed: Any) -> None:
    """Each response type is defined; none quotes API Gateway's message, which may contain ARNs, except schema violations."""
    answers = signed.resources("AWS::ApiGateway::GatewayResponse").values()

    assert {"DEFAULT_4XX", "DEFAULT_5XX", "ACCESS_DENIED", "INTEGRATION_TIMEOUT"} <= {
        a["ResponseType"] for a in answers
    }
    for answer in answers:
        body = answer["ResponseTemplates"]["application/json"]
        assert json.loads(body)["request_id"] == "$context.requestId"
        assert "messageString" not in body
        assert "context.error.message" not in body
        assert answer["ResponseParameters"]["gatewayresponse.header.Content-Type"] == "'application/problem+json'"


def test_limits_and_logs_of_the_stage(signed: Any) -> None:
    """Throttles at the model's measured rate; no bodies in logs, no cache, no canary."""
    (stage,) = signed.resources("AWS::ApiGateway::Stage").values()

    settings = {each["ResourcePath"]: each for each in stage["MethodSettings"]}
    limited = settings["/~1v1~1models~1forecast~1predictions"]
    assert (limited["ThrottlingRateLimit"], limited["ThrottlingBurstLimit"]) == (20, 20)
    assert all(each["DataTraceEnabled"] is False for each in stage["MethodSettings"])
    assert not {"CanarySetting", "CacheClusterEnabled"} & stage.keys()
    (group,) = (name for name in signed.resources("AWS::Logs::LogGroup") if "ApiAccessLog" in name)
    assert stage["AccessLogSetting"]["DestinationArn"] == {"Fn::GetAtt": [group, "Arn"]}
    assert signed.resources("AWS::ApiGateway::Account") == {}


CHANGES: dict[str, Callable[[Any, InferenceApi], object]] = {
    "a model": lambda door, api: api.add_model("other", door.endpoint, request=door.request),
    "a plan": lambda _, api: api.add_plan("partners", rate=1, burst=1),
    "a domain": lambda door, api: api.with_domain(
        "models.example.com", acm.Certificate.from_certificate_arn(door.stack, "Certificate", CERTIFICATE)
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_deployed(change: str, make_door: Callable[..., Any]) -> None:
    """Without a new deployment id AWS would keep serving the old API."""
    before, after = make_door("before"), make_door("after")
    before.api_with_model()
    CHANGES[change](after, after.api_with_model())

    assert deployment(before) != deployment(after)


def test_another_schema_or_endpoint_is_deployed(make_door: Callable[..., Any]) -> None:
    """Equal inputs give the same deployment."""
    doors = [make_door(name) for name in ("one", "same", "schema", "timeout", "server")]
    doors[2].file.write_text(doors[2].file.read_text().replace('"maxItems": 50', '"maxItems": 49'))
    doors[2].request = type(doors[2].request).from_file(doors[2].file)
    changes: list[dict[str, Any]] = [{}, {}, {}, {"timeout": cdk.Duration.seconds(5)}, {"own_server": False}]
    for door, more in zip(doors, changes, strict=True):
        door.api().add_model("forecast", door.endpoint, request=door.request, max_rate=20, **more)

    found = [deployment(door) for door in doors]
    assert found[0] == found[1]
    assert len(set(found)) == 4


def test_cognito_takes_access_tokens_with_a_scope(door: Any) -> None:
    """Without scopes API Gateway would accept ID tokens only."""
    door.api_with_model(access=Access.cognito(pool(door), scope="models/predict"))

    for found in door.resources(METHOD).values():
        assert found["AuthorizationType"] == "COGNITO_USER_POOLS"
        assert found["AuthorizationScopes"] == ["models/predict"]


def test_both_kinds_of_callers_have_paths_of_their_own(door: Any) -> None:
    """A method has one authorization type; a grant still covers only the signed path."""
    api = door.api_with_model(access=Access.both(pool(door), scope="models/predict"))
    user = iam.User(door.stack, "Caller")
    api.grant_predict(user, "forecast")

    kinds = {name[:-8]: each["AuthorizationType"] for name, each in door.resources(METHOD).items()}
    assert kinds == {
        "Apiv1modelsforecastpredictionsPOST": "AWS_IAM",
        "Apiv1modelsforecastGET": "AWS_IAM",
        "Apiv1tokenmodelsforecastpredictionsPOST": "COGNITO_USER_POOLS",
        "Apiv1tokenmodelsforecastGET": "COGNITO_USER_POOLS",
    }
    (policy,) = door.resources("AWS::IAM::Policy").values()
    assert "/live/POST/v1/models/forecast/predictions" in json.dumps(policy)
    assert "token" not in json.dumps(policy)


def test_a_plan_asks_every_call_for_a_key(door: Any) -> None:
    """Covers models added later: usage plans throttle only methods that require a key."""
    api = door.api_with_model()
    plan = api.add_plan("partners", rate=20, burst=40, quota=Quota.per_day(50_000))
    api.add_model("later", door.endpoint, request=door.request, max_rate=5)

    assert isinstance(plan, gateway.UsagePlan)
    assert all(found["ApiKeyRequired"] is True for found in door.resources(METHOD).values())
    (made,) = door.resources("AWS::ApiGateway::UsagePlan").values()
    assert made["Quota"] == {"Limit": 50_000, "Period": "DAY"}
    assert made["Throttle"] == {"RateLimit": 20, "BurstLimit": 40}


def test_a_domain_closes_the_address_of_the_gateway(door: Any) -> None:
    """The default address would bypass the domain."""
    api = door.api_with_model()
    api.with_domain("models.example.com", acm.Certificate.from_certificate_arn(door.stack, "Certificate", CERTIFICATE))

    (found,) = door.resources("AWS::ApiGateway::RestApi").values()
    assert found["DisableExecuteApiEndpoint"] is True
    assert api.url == "https://models.example.com"
    (domain,) = door.resources("AWS::ApiGateway::DomainName").values()
    assert domain["SecurityPolicy"] == "TLS_1_2"


def test_a_model_without_a_measured_rate_is_warned_of(door: Any) -> None:
    """The warning names the model."""
    door.api().add_model("forecast", door.endpoint, request=door.request)

    pattern = Match.string_like_regexp(f".*'forecast'.*{NO_API_THROTTLE.id}.*")
    assert Annotations.from_stack(door.stack).find_warning("/Demand/Api", pattern)


def test_the_rollouts_of_its_endpoint_keep_the_promise(door: Any) -> None:
    """The schema reaches the endpoint's rollouts without another call."""
    door.api_with_model()

    (spec,) = (each["Spec"] for each in door.resources("Custom::MLOpsServingSpec").values())
    assert '"promises":[' in json.dumps(spec).replace('\\"', '"').replace(" ", "")
    assert not Annotations.from_stack(door.stack).find_warning("*", Match.string_like_regexp(UNCHECKED_PROMISE.id))


def test_a_promise_that_no_rollout_compares_is_warned_of(door: Any) -> None:
    """The warning names endpoint and file for the other app."""
    endpoint = ModelEndpoint.from_endpoint_name(door.stack, "Other", endpoint_name="other-prices")
    door.api().add_model("prices", endpoint, request=door.request, max_rate=20)

    pattern = Match.string_like_regexp(f".*'other-prices'.*forecast.schema.json.*'prices'.*{UNCHECKED_PROMISE.id}.*")
    assert Annotations.from_stack(door.stack).find_warning("/Demand/Api", pattern)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "keys": ({"access": Access.keys()}, "access by keys alone is not allowed in PRODUCTION"),
    "size": ({"max_body_size": cdk.Size.kibibytes(65)}, "max_body_size must be whole KiB from 1 to 64"),
    "bytes": ({"max_body_size": cdk.Size.bytes(1500)}, "got 1500 bytes"),
    "type": ({"access": "iam"}, "access must be an Access such as Access.iam(...)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_api_that_cannot_be(case: str, refusing: Any) -> None:
    """The error has the fix."""
    changes, problem = REFUSED[case]

    with pytest.raises(ValidationError) as refused:
        refusing.api(f"Refused{case.title()}", **changes)

    assert problem in str(refused.value)


def test_every_problem_of_a_model_at_once(refusing: Any, tmp_path: Path) -> None:
    """Reports name, timeout, rate, and rows too large for the firewall."""
    api = refusing.api("Small", max_body_size=cdk.Size.kibibytes(1))
    file = tmp_path / "forecast.schema.json"
    file.write_text(refusing.file.read_text().replace('"maxItems": 50', '"maxItems": 500'))
    request = RequestSchema.from_file(file)

    with pytest.raises(ValidationError) as refused:
        api.add_model("Ping!", refusing.endpoint, request=request, timeout=cdk.Duration.seconds(30), max_rate=0.5)

    assert [problem.split(",")[0].split(" rows")[0] for problem in refused.value.problems] == [
        "name must be 1 to 32 lower-case letters",
        "timeout must be from 1 second to 29 seconds",
        "max_rate must be from 1 to 10000",
        "forecast.schema.json allows 500",
    ]


def test_endpoints_that_the_api_cannot_ask(refusing: Any) -> None:
    """Rejects endpoints with client-side hashing and other objects, by name."""
    api = refusing.api("Endpoints")
    capture = DataCapture(sampling_percent=100, personal_data=PersonalData(hashed=("store",)))
    foreign = type("Foreign", (), dict.fromkeys(name for name in dir(IModelEndpoint) if name[0] != "_"))()
    cases = {
        "clients must hash": refusing.model("Hashed", name="hashed", capture=capture),
        "ModelEndpoint(...) or an eks_inference_service.EksInferenceService, got 'forecast'": "forecast",
        "endpoint must be a ModelEndpoint or an EksInferenceService, got a test_inference_api.Foreign": foreign,
    }
    for problem, endpoint in cases.items():
        with pytest.raises(ValidationError) as refused:
            api.add_model("forecast", endpoint, request=refusing.request)
        assert problem in str(refused.value)


def test_an_endpoint_of_another_stack_is_taken(door: Any) -> None:
    """Refers to the endpoint by name."""
    other = ModelEndpoint.from_endpoint_name(door.stack, "Other", endpoint_name="pricing-shelf")
    door.api().add_model("shelf", other, request=door.request, max_rate=5)

    assert "endpoints/pricing-shelf/invocations" in json.dumps(method(door, "shelfpredictionsPOST"))


def test_names_and_numbers_of_plans_models_and_grants(refusing: Any) -> None:
    """Rejects duplicates, values out of range and unknown names."""
    api = refusing.api("Names")
    api.add_model("forecast", refusing.endpoint, request=refusing.request, max_rate=20)
    api.add_plan("partners", rate=1, burst=1)
    caller = iam.User(refusing.stack, "NamesCaller")
    certificate = acm.Certificate.from_certificate_arn(refusing.stack, "NamesCertificate", CERTIFICATE)
    for call, problem in (
        (lambda: api.add_model("forecast", refusing.endpoint, request=refusing.request), "got 'forecast' twice"),
        (lambda: api.add_plan("partners", rate=0, burst=0), "got 'partners' twice"),
        (lambda: api.add_plan("more", rate=1, burst=0), "burst must be a whole number from 1 to 5000, got 0"),
        (lambda: api.grant_predict(caller, "shelf"), "model must be one of forecast, got 'shelf'"),
        (lambda: api.with_domain("no name", certificate), "name must be a DNS name"),
        (lambda: Quota.per_day(0), "calls must be a whole number from 1"),
        (
            lambda: Access.cognito(pool(refusing, "NamesPool"), scope="predict"),
            "scope must be '<resource server>/<scope>'",
        ),
    ):
        with pytest.raises(ValidationError) as refused:
            call()
        assert problem in str(refused.value)


def test_a_grant_needs_callers_that_sign(door: Any) -> None:
    """Cognito tokens are not IAM identities."""
    api = door.api_with_model(access=Access.cognito(pool(door), scope="models/predict"))

    with pytest.raises(ValidationError, match=r"use Access.iam\(\) or Access.both"):
        api.grant_predict(iam.User(door.stack, "Caller"), "forecast")


@pytest.mark.parametrize(
    ("access", "problem"),
    [(Access.iam(), "the API has no model"), (Access.keys(), "access by keys needs a plan")],
)
def test_what_would_deploy_and_do_nothing(access: Access, problem: str, make_door: Callable[..., Any]) -> None:
    """Rejects settings without an effect at synthesis."""
    door = make_door("idle", profile=Profile.DEVELOPMENT)
    api = door.api(access=access)
    if access.is_by_key:
        api.add_model("forecast", door.endpoint, request=door.request, max_rate=1)

    with pytest.raises(RuntimeError, match=problem):
        door.app.synth()
