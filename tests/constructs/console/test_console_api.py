"""The REST API in front of the console's function."""

import json
from typing import Any


def test_a_token_of_the_console_opens_it_alone(shown: Any) -> None:
    """Requires the scope below /api: without a scope API Gateway accepts ID tokens and rejects access tokens."""
    method = shown.resource("AWS::ApiGateway::Method")

    assert (method["HttpMethod"], method["AuthorizationType"]) == ("ANY", "COGNITO_USER_POOLS")
    (scope,) = method["AuthorizationScopes"]
    (server,) = shown.resources("AWS::Cognito::UserPoolResourceServer")
    assert scope == {"Fn::Join": ["", [{"Ref": server}, "/use"]]}
    authorizer = shown.resource("AWS::ApiGateway::Authorizer")
    (pool,) = shown.resources("AWS::Cognito::UserPool")
    assert authorizer["ProviderARNs"] == [{"Fn::GetAtt": [pool, "Arn"]}]
    assert method["Integration"]["Type"] == "AWS_PROXY"
    assert method["Integration"]["TimeoutInMillis"] == 29_000


def test_it_is_limited_logged_and_watched(shown: Any) -> None:
    """Access logs contain the user and no body."""
    stage = shown.resource("AWS::ApiGateway::Stage")

    (settings,) = stage["MethodSettings"]
    assert (settings["ThrottlingRateLimit"], settings["ThrottlingBurstLimit"]) == (50, 100)
    assert settings["DataTraceEnabled"] is False
    assert "$context.authorizer.claims.username" in stage["AccessLogSetting"]["Format"]
    alarm = shown.resource("AWS::CloudWatch::Alarm")
    assert (alarm["MetricName"], alarm["Threshold"], alarm["DatapointsToAlarm"]) == ("5XXError", 3, 2)
    dimensions = {each["Name"]: each["Value"] for each in alarm["Dimensions"]}
    assert dimensions == {"ApiName": "demand-console", "Stage": "live"}
    assert len(alarm["AlarmActions"]) == 1
    (association,) = shown.resources("AWS::WAFv2::WebACLAssociation").values()
    assert "/stages/" in json.dumps(association["ResourceArn"])


def test_what_the_gateway_itself_answers_is_a_problem(shown: Any) -> None:
    """Gateway responses have the problem format of the pages, without AWS details."""
    answers = shown.resources("AWS::ApiGateway::GatewayResponse").values()
    by_type = {each["ResponseType"]: each for each in answers}

    assert {"UNAUTHORIZED", "THROTTLED", "WAF_FILTERED", "DEFAULT_4XX", "DEFAULT_5XX"} <= set(by_type)
    for each in by_type.values():
        body = json.loads(each["ResponseTemplates"]["application/json"])
        assert {"type", "title", "detail"} <= set(body)
        assert each["ResponseParameters"] == {"gatewayresponse.header.Content-Type": "'application/problem+json'"}
    unauthorized = json.loads(by_type["UNAUTHORIZED"]["ResponseTemplates"]["application/json"])
    assert (by_type["UNAUTHORIZED"]["StatusCode"], unauthorized["status"]) == ("401", 401)
