"""Requests that the gateway rejects before the integration."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from tests.local.gateway.conftest import Api, Front, Seen, send
from tests.local.gateway.test_execution import OK

from mlops_local.gateway.request_checks import LIMIT

GOOD, BAD = b'{"rows": [1]}', b'{"row": 1}'
SCHEMA = '{"$schema": "http://json-schema.org/draft-04/schema#", "type": "object", "required": ["rows"]}'


def checking(front: Front, api: Api, models: dict[str, str], **integration: Any) -> Api:
    """Give an API a method whose body is validated."""
    client = front.gateway
    client.create_model(restApiId=api.id, name="Rows", contentType="application/json", schema=SCHEMA)
    validator = client.create_request_validator(
        restApiId=api.id, name="all", validateRequestBody=True, validateRequestParameters=True
    )["id"]
    method = {
        "requestModels": models,
        "requestValidatorId": validator,
        "requestParameters": {"method.request.querystring.needed": True},
    }
    api.method("/x", {"200": {}}, method=method, **{**OK, **integration})
    return api.deploy()


@pytest.mark.parametrize(
    ("models", "kind", "status"),
    [
        ({"application/json": "Rows"}, "application/json", 400),
        ({"application/json": "Rows"}, "", 400),
        ({"application/json": "Rows"}, "Application/JSON; charset=utf-8", 400),
        ({"application/json": "Rows"}, "text/csv", 200),
        ({"$default": "Rows"}, "text/csv", 400),
        ({"$default": "Rows"}, "application/json", 400),
    ],
)
def test_a_body_is_validated_by_the_model_of_its_type(
    front: Front, make_api: Callable[..., Api], models: dict[str, str], kind: str, status: int
) -> None:
    """A type without a model bypasses the schema, unless $default has one."""
    templates = {"application/json": '{"statusCode": 200}', "text/csv": '{"statusCode": 200}'}
    api = checking(front, make_api(), models, requestTemplates=templates)
    assert api.call("/x?needed=1", BAD, content_type=kind).status == status
    assert api.call("/x?needed=1", GOOD, content_type=kind).status == 200


def test_parameters_are_checked_for_presence_alone(front: Front, make_api: Callable[..., Api]) -> None:
    """Any value is accepted."""
    api = checking(front, make_api(), {"application/json": "Rows"})
    found = api.call("/x", GOOD)
    assert (found.status, found.json) == (400, {"message": "Missing required request parameters: [needed]"})
    assert api.call("/x?needed=%20", GOOD).status == 200


def test_a_body_over_10_megabytes_is_refused(front: Front, make_api: Callable[..., Api]) -> None:
    """A body of 10 MB is accepted."""
    api = make_api()
    api.method("/x", {"200": {}}, **OK)
    api.deploy()
    assert [api.call("/x", b" " * size).status for size in (LIMIT, LIMIT + 1)] == [200, 413]


def test_a_caller_signs_for_the_gateway(front: Front, make_api: Callable[..., Api]) -> None:
    """A signature for another service, or none, is rejected."""
    api = make_api()
    api.method("/x", {"200": {}}, method={"authorizationType": "AWS_IAM"}, **OK)
    api.deploy()
    assert [api.call("/x", sign=service).status for service in ("execute-api", "s3", "sagemaker", None)] == [
        200,
        403,
        403,
        403,
    ]
    assert "scoped to correct service" in api.call("/x", sign="s3").json["message"]


def signed(api: Api, kind: type[SigV4Auth], service: str, region: str, *, end: str = "aws4_request") -> Seen:
    """Call a method with a root signature, with another end of the scope if given."""
    keys, address = api.front.cloud.root_keys(), f"{api.front.cloud.endpoint_url}/_aws/execute-api/{api.id}/live/x"
    given = {"host": urlsplit(address).netloc, "content-type": "application/json"}
    request = AWSRequest("POST", address, headers=given)
    kind(Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"]), service, region).add_auth(request)
    return send(request.url, "POST", b"", {n: v.replace("aws4_request", end) for n, v in request.headers.items()})


@pytest.mark.parametrize(
    ("region", "service", "words"),
    [
        ("eu-west-1", "execute-api", "valid region, not 'eu-west-1'. "),
        ("", "execute-api", "valid region, not ''. "),
        (
            "eu-west-1",
            "sagemaker",
            "valid region, not 'eu-west-1'. Credential should be scoped to correct service: 'execute-api'. ",
        ),
    ],
)
def test_a_caller_signs_for_the_region(
    front: Front, make_api: Callable[..., Api], region: str, service: str, words: str
) -> None:
    """In the header and in a presigned URL; each problem is reported."""
    api = make_api()
    api.method("/x", {"200": {}}, method={"authorizationType": "AWS_IAM"}, **OK)
    api.deploy()
    by_header, by_address = (signed(api, kind, service, region) for kind in (SigV4Auth, SigV4QueryAuth))

    assert [each.status for each in (by_header, by_address)] == [403, 403]
    assert [each.json["message"] for each in (by_header, by_address)] == [
        f"Credential should be scoped to a {words}"
    ] * 2


def test_a_scope_ends_as_it_must(front: Front, make_api: Callable[..., Api]) -> None:
    """Even with a valid signature."""
    api = make_api()
    api.method("/x", {"200": {}}, method={"authorizationType": "AWS_IAM"}, **OK)
    api.deploy()
    found = signed(api, SigV4Auth, "execute-api", "us-east-1", end="aws4_requesT")
    assert (found.status, "valid terminator: 'aws4_request', not 'aws4_requesT'" in found.json["message"]) == (
        403,
        True,
    )


def test_an_address_that_was_signed_beforehand_is_answered(front: Front, make_api: Callable[..., Api]) -> None:
    """If its scope is the API's."""
    api = make_api()
    api.method("/x", {"200": {}}, method={"authorizationType": "AWS_IAM"}, **OK)
    api.deploy()
    assert signed(api, SigV4QueryAuth, "execute-api", "us-east-1").status == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"rows": NaN}',
        b'{"rows": -Infinity}',
        b"\xef\xbb\xbf" + GOOD,
        GOOD.decode().encode("utf-16"),
        b'{"rows": "\xff"}x',
    ],
)
def test_what_only_lenient_readers_take_is_no_json(front: Front, make_api: Callable[..., Api], body: bytes) -> None:
    """Neither as a number nor in another encoding: the gateway checks the bytes that the integration reads."""
    api = checking(front, make_api(), {"application/json": "Rows"})
    found = api.call("/x?needed=1", body)
    assert (found.status, found.json) == (400, {"message": "Invalid request body"})


class Person(NamedTuple):
    """A pool and its one user's tokens."""

    pool: str
    tokens: dict[str, Any]


@pytest.fixture(scope="module")
def person(front: Front) -> Iterator[Person]:
    """Sign a user in."""
    client = front.cloud.client("cognito-idp")
    pool = client.create_user_pool(PoolName="people")["UserPool"]
    app = client.create_user_pool_client(
        UserPoolId=pool["Id"], ClientName="app", ExplicitAuthFlows=["ALLOW_ADMIN_USER_PASSWORD_AUTH"]
    )["UserPoolClient"]["ClientId"]
    client.admin_create_user(UserPoolId=pool["Id"], Username="ann")
    for group in ("on-call", "reader"):
        client.create_group(UserPoolId=pool["Id"], GroupName=group)
        client.admin_add_user_to_group(UserPoolId=pool["Id"], Username="ann", GroupName=group)
    client.admin_set_user_password(UserPoolId=pool["Id"], Username="ann", Password="Aa1!aaaaaa", Permanent=True)
    signed = client.admin_initiate_auth(
        UserPoolId=pool["Id"], ClientId=app, AuthFlow="ADMIN_USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": "ann", "PASSWORD": "Aa1!aaaaaa"},
    )  # fmt: skip
    yield Person(pool["Arn"], signed["AuthenticationResult"])
    client.delete_user_pool(UserPoolId=pool["Id"])


@pytest.mark.parametrize(
    ("scopes", "id_token", "access_token"),
    [([], 200, 401), (["aws.cognito.signin.user.admin"], 401, 200), (["orders/read"], 401, 401)],
)
def test_an_access_token_needs_a_scope_of_the_method(
    front: Front, make_api: Callable[..., Api], person: Person, scopes: list[str], id_token: int, access_token: int
) -> None:
    """Without scopes only ID tokens pass, with them only access tokens."""
    api = make_api()
    authorizer = front.gateway.create_authorizer(
        restApiId=api.id, name="people", type="COGNITO_USER_POOLS", providerARNs=[person.pool],
        identitySource="method.request.header.Authorization",
    )["id"]  # fmt: skip
    method = {"authorizationType": "COGNITO_USER_POOLS", "authorizerId": authorizer, "authorizationScopes": scopes}
    api.method("/x", {"200": {}}, method=method, **OK)
    api.deploy()
    given = [person.tokens["IdToken"], person.tokens["AccessToken"], person.tokens["IdToken"][:-6] + "AAAAAA", ""]
    assert [api.call("/x", authorization=token).status for token in given] == [id_token, access_token, 401, 401]


def test_claims_are_handed_over_as_text(front: Front, make_api: Callable[..., Api], person: Person) -> None:
    """Groups with commas, token times as dates."""
    api = make_api()
    authorizer = front.gateway.create_authorizer(
        restApiId=api.id, name="people", type="COGNITO_USER_POOLS", providerARNs=[person.pool],
        identitySource="method.request.header.Authorization",
    )["id"]  # fmt: skip
    method = {"authorizationType": "COGNITO_USER_POOLS", "authorizerId": authorizer}
    names = ("cognito:groups", "auth_time", "exp")
    text = "|".join(f"$context.authorizer.claims['{name}']" for name in names)
    api.method("/x", {"200": {"responseTemplates": {"application/json": text}}}, method=method, **OK)
    api.deploy()

    groups, at, ends = api.call("/x", authorization=person.tokens["IdToken"]).body.decode().split("|")

    assert sorted(groups.split(",")) == ["on-call", "reader"]
    lasts = datetime.strptime(ends, "%a %b %d %H:%M:%S UTC %Y").replace(tzinfo=UTC).timestamp() - int(at)
    assert lasts == 3600


def test_a_plan_throttles_only_where_a_key_is_required(front: Front, make_api: Callable[..., Api]) -> None:
    """A key is ignored if the method does not require one."""
    api, client = make_api(), front.gateway
    api.method("/free", {"200": {}}, **OK)
    api.method("/key", {"200": {}}, method={"apiKeyRequired": True}, **OK)
    api.deploy()
    key = client.create_api_key(name=api.id, enabled=True)
    plan = client.create_usage_plan(
        name=api.id, apiStages=[{"apiId": api.id, "stage": "live"}], throttle={"rateLimit": 0.01, "burstLimit": 2}
    )
    client.create_usage_plan_key(usagePlanId=plan["id"], keyId=key["id"], keyType="API_KEY")
    value = client.get_api_key(apiKey=key["id"], includeValue=True)["value"]
    assert {api.call("/free", x_api_key=value).status for _ in range(5)} == {200}
    assert [api.call("/key", x_api_key=value).status for _ in range(3)] == [200, 200, 429]
    assert [api.call("/key", x_api_key=wrong).status for wrong in ("", "wrong")] == [403, 403]
