"""Jobs of an asynchronous endpoint in a template: keys, permissions, events, limits."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from tests.constructs.inference_api.conftest import Door

from mlops_constructs import EndpointCapacity, Profile, RequestSchema, ValidationError
from mlops_constructs.compliance.harness import check

ASYNCHRONOUS = EndpointCapacity.asynchronous("ml.m5.large", instance_count=1)
NAME = "demand-night"


def door_with_jobs(made: Door) -> Door:
    """Add an asynchronous model to a stack, and an API with it."""
    endpoint = made.model("Night", name="night", capacity=ASYNCHRONOUS)
    api = made.api()
    api.add_model("night", endpoint, request=made.request, max_rate=20)
    api.grant_predict(iam.User(made.stack, "Caller"), "night")
    return made


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Door:
    """A PRODUCTION unit whose API has jobs."""
    return door_with_jobs(Door(tmp_path_factory.mktemp("jobs")))


def method(jobs: Door, part: str) -> dict[str, Any]:
    """Return the properties of the only method whose logical id contains ``part``."""
    found: dict[str, Any]
    (found,) = (each for name, each in jobs.resources("AWS::ApiGateway::Method").items() if part in name)
    return found


def statements(jobs: Door, part: str) -> list[dict[str, Any]]:
    """Return the statements of policies whose logical id contains ``part``."""
    found = jobs.resources("AWS::IAM::ManagedPolicy").items()
    return [each for name, policy in found if part in name for each in policy["PolicyDocument"]["Statement"]]


def test_a_job_is_an_object_that_the_gateway_names(jobs: Door) -> None:
    """The key is below the API's own prefix, the body matches the schema; there is no predictions path."""
    found = method(jobs, "nightjobsPOST")
    integration = found["Integration"]

    assert (found["AuthorizationType"], integration["IntegrationHttpMethod"]) == ("AWS_IAM", "PUT")
    assert f"/requests/{NAME}/api/{{id}}" in json.dumps(integration["Uri"])
    (template,) = integration["RequestTemplates"].values()
    assert template.startswith("#set($context.requestOverride.path.id = $context.extendedRequestId")
    assert found["RequestModels"]
    assert not [name for name in jobs.resources("AWS::ApiGateway::Method") if "predictions" in name]


def test_an_id_is_compared_before_it_is_part_of_a_key(jobs: Door) -> None:
    """Other ids map to a key that no job has."""
    integration = method(jobs, "nightjobsidGET")["Integration"]

    assert integration["RequestParameters"]["integration.request.path.id"] == "'-'"
    (template,) = integration["RequestTemplates"].values()
    assert "#if($id.matches('^[A-Za-z0-9_-]{8,64}$'))#set($context.requestOverride.path.id = $id)#end" in template
    answers = {each.get("SelectionPattern", ""): each["StatusCode"] for each in integration["IntegrationResponses"]}
    assert answers == {"206": "200", "404": "202", "416": "502", "": "503"}


def test_each_role_has_its_own_prefixes_alone(jobs: Door) -> None:
    """The API writes requests and reads results; the function invokes the endpoint, reads answers and writes results."""
    keys = (f"/requests/{NAME}/api/*", f"/jobs/{NAME}/*", f"/answers/{NAME}/api-*", f"endpoint/{NAME}")

    def allowed(part: str) -> set[tuple[str, str]]:
        rights = set()
        for each in statements(jobs, part):
            actions = each["Action"] if isinstance(each["Action"], list) else [each["Action"]]
            resources = each["Resource"] if isinstance(each["Resource"], list) else [each["Resource"]]
            rights |= {(action, json.dumps(resource)) for action in actions for resource in resources}
        return {
            (action, next((p for p in keys if p in text), "")) for action, text in rights if action[:2] in ("s3", "sa")
        }

    assert allowed("JobsdemandnightRole") == {
        ("s3:PutObject", keys[0]),
        ("s3:GetObject", keys[1]),
        ("s3:ListBucket", ""),
    }
    assert allowed("JobsdemandnightFunctionRole") == {
        ("sagemaker:InvokeEndpointAsync", keys[3]), ("s3:GetObject", keys[2]), ("s3:PutObject", keys[1]),
    }  # fmt: skip
    (granted,) = (each for name, each in jobs.resources("AWS::IAM::Policy").items() if "Caller" in name)
    text = json.dumps(granted["PolicyDocument"])
    assert [path in text for path in ("POST/v1/models/night/jobs", "GET/v1/models/night/jobs/*", "predictions")] == [
        True, True, False,
    ]  # fmt: skip


def test_objects_of_clients_of_their_own_start_nothing(jobs: Door) -> None:
    """Such clients write elsewhere and invoke the endpoint themselves."""
    (pattern,) = (
        each["EventPattern"]["detail"]["object"]["key"]
        for name, each in jobs.resources("AWS::Events::Rule").items()
        if "Jobs" in name
    )
    assert [each["prefix"] for each in pattern] == [
        f"requests/{NAME}/api/", f"answers/{NAME}/api-", f"failures/{NAME}/api-",
    ]  # fmt: skip


def test_jobs_are_larger_than_what_the_firewall_reads(door: Door, tmp_path: Path) -> None:
    """Jobs are limited by API Gateway's payload size, and ignore timeouts."""
    endpoint = door.model("Night", name="night", capacity=ASYNCHRONOUS)
    api = door.api()
    for rows, problems in (
        (5_000, []),
        (1_000_000, ["and max_body_size is 10485760", "timeout is not supported for jobs"]),
    ):
        file = tmp_path / "forecast.schema.json"
        file.write_text(door.file.read_text().replace('"maxItems": 50', f'"maxItems": {rows}'))
        request = RequestSchema.from_file(file)
        if not problems:
            api.add_model("night", endpoint, request=request, max_rate=20)
            continue
        with pytest.raises(ValidationError) as refused:
            api.add_model("other", endpoint, request=request, timeout=cdk.Duration.seconds(5))
        assert [part in each for part, each in zip(problems, refused.value.problems, strict=True)] == [True, True]


def test_two_models_of_one_endpoint_begin_a_job_once(door: Door) -> None:
    """Two functions would invoke the endpoint twice."""
    endpoint = door.model("Night", name="night", capacity=ASYNCHRONOUS)
    api = door.api()
    for name in ("night", "night-v2"):
        api.add_model(name, endpoint, request=door.request, max_rate=20)

    assert len([name for name in door.resources("AWS::Events::Rule") if "Jobs" in name]) == 1
    assert len([name for name in door.resources("AWS::ApiGateway::Method") if "jobsPOST" in name]) == 2


@pytest.mark.parametrize("profile", list(Profile))
def test_no_finding(make_door: Callable[..., Door], profile: Profile) -> None:
    """Has no open finding in any pack and profile."""
    made = door_with_jobs(make_door(profile.value, profile=profile))

    assert [problem for problem in check(made.app).problems if "/Api" in problem] == []
