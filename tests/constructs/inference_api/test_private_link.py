"""The path from an API to services on EKS: VPC link, security groups, integration, schema and validation."""

import json
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from tests.constructs.eks_inference.conftest import Place, make_place
from tests.constructs.inference_api.conftest import SIGNATURE

from mlops_constructs import (
    BusinessUnit,
    DataCapture,
    EksInferenceService,
    EksTenant,
    InferenceApi,
    Network,
    PersonalData,
    Profile,
    RequestSchema,
    ValidationError,
)
from mlops_constructs.compliance.harness import check
from mlops_runtime.inference_api.request_promise import request_schema

NAME = "models.example.com"


def schema(folder: Path) -> RequestSchema:
    """The model's request schema."""
    file = folder / "forecast.schema.json"
    file.write_text(json.dumps(request_schema(SIGNATURE, max_rows=50)))
    return RequestSchema.from_file(file)


def place_with_api(folder: Path, profile: Profile = Profile.PRODUCTION) -> Place:
    """A unit with a service on a cluster, and an API in front of it."""
    made = make_place(profile=profile)
    secure = profile is Profile.PRODUCTION
    service = made.serve() if secure else made.serve(certificate=None)
    api = InferenceApi(made.stack, "Api", business_unit=made.unit)
    name = NAME if secure else None
    api.add_model("forecast", service, request=schema(folder), max_rate=20, server_name=name)
    return made


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A PRODUCTION unit whose service has a certificate."""
    return place_with_api(tmp_path_factory.mktemp("placed"))


@pytest.fixture(scope="module")
def refusing() -> Place:
    """A shared unit for invalid arguments."""
    return make_place()


def integration(place: Place) -> dict[str, Any]:
    """Return the integration of the predictions path."""
    found: dict[str, Any] = place.one("AWS::ApiGateway::Method", "predictionsPOST")["Integration"]
    return found


def named(place: Place, kind: str, part: str) -> str:
    """Return the logical id of the only resource of a type whose logical id contains ``part``."""
    (found,) = (name for name in place.resources(kind) if part in name)
    return str(found)


def test_a_prediction_goes_through_the_link(placed: Place) -> None:
    """Targets the load balancer by its certificate's name; no caller header passes."""
    found = integration(placed)

    assert (found["Type"], found["ConnectionType"], found["IntegrationHttpMethod"]) == ("HTTP", "VPC_LINK", "POST")
    assert found["ConnectionId"] == {"Ref": named(placed, "AWS::ApiGatewayV2::VpcLink", "ApiLink")}
    balancer = named(placed, "AWS::ElasticLoadBalancingV2::LoadBalancer", "LoadBalancer")
    assert found["IntegrationTarget"] == {"Ref": balancer}
    assert found["Uri"] == f"https://{NAME}:443/invocations"
    assert found["PassthroughBehavior"] == "NEVER"
    assert found["RequestParameters"] == {
        "integration.request.header.X-Amzn-SageMaker-Inference-Id": "context.extendedRequestId",
        "integration.request.header.Content-Type": "'application/json'",
        "integration.request.header.Accept": "'application/json'",
    }
    assert "Credentials" not in found
    assert not [name for name in placed.resources("AWS::IAM::Role") if name.startswith("ApiRole")]


def test_errors_are_mapped_as_for_sagemaker(placed: Place) -> None:
    """Maps by the server's status, without an AWS error around it."""
    answers = {
        each.get("SelectionPattern", ""): each["StatusCode"] for each in integration(placed)["IntegrationResponses"]
    }

    assert answers == {
        "200": "200", "400": "400", "413": "413", "415": "415", "429": "429", "404|503": "503", "": "502",
    }  # fmt: skip
    (predicted,) = (each for each in integration(placed)["IntegrationResponses"] if each["StatusCode"] == "200")
    version = predicted["ResponseParameters"]["method.response.header.X-Model-Version"]
    assert version == "integration.response.header.X-Model-Version"


def test_link_and_load_balancer_let_each_other_through_alone(placed: Place) -> None:
    """Opens the listener's port only; the link has no ingress."""
    group = named(placed, "AWS::EC2::SecurityGroup", "ApiLinkSecurityGroup")
    balancer = named(placed, "AWS::EC2::SecurityGroup", "LoadBalancerSecurityGroup")
    own, other = ({"Fn::GetAtt": [each, "GroupId"]} for each in (group, balancer))

    assert "SecurityGroupIngress" not in placed.resources("AWS::EC2::SecurityGroup")[group]["Properties"]
    out = placed.one("AWS::EC2::SecurityGroupEgress", "ApiLinkTo")
    admitted = placed.one("AWS::EC2::SecurityGroupIngress", "ApiLinkFrom")
    assert (out["GroupId"], out["DestinationSecurityGroupId"]) == (own, other)
    assert (admitted["GroupId"], admitted["SourceSecurityGroupId"]) == (other, own)
    assert {each["FromPort"] for each in (out, admitted)} == {each["ToPort"] for each in (out, admitted)} == {443}
    link = placed.one("AWS::ApiGatewayV2::VpcLink")
    assert link["SecurityGroupIds"] == [own]
    assert len(link["SubnetIds"]) == 2


def test_the_load_balancer_takes_the_stage_out_of_the_path(placed: Place) -> None:
    """A rule takes five path patterns; the Deploy machine's rule has the stage too, as weights are reset with it."""
    rule = placed.one("AWS::ElasticLoadBalancingV2::ListenerRule")

    paths = rule["Conditions"][0]["PathPatternConfig"]["Values"]
    assert paths == ["/ping", "/invocations", "/v2", "/v2/*", "/live/invocations"]
    (rewritten,) = rule["Transforms"]
    assert rewritten == {
        "Type": "url-rewrite",
        "UrlRewriteConfig": {"Rewrites": [{"Regex": "^/live/invocations$", "Replace": "/invocations"}]},
    }
    other = make_place()
    other.serve()
    of_rule = [each.one("Custom::MLOpsServingSpec")["Rule"] for each in (placed, other)]
    assert of_rule[0] != of_rule[1]


def test_each_candidate_is_held_to_the_promise(placed: Place) -> None:
    """The serving spec contains the schema, as for an endpoint."""
    assert "forecast.schema.json" in json.dumps(placed.one("Custom::MLOpsServingSpec")["Spec"])


def test_another_load_balancer_is_a_new_deployment(tmp_path: Path) -> None:
    """CDK's hash of an API excludes the target of private integrations, so AWS would keep calling the previous service."""

    def deployment(name: str) -> str:
        made = make_place()
        services = {each: made.serve(each.title(), name=each) for each in ("first", "second")}
        api = InferenceApi(made.stack, "Api", business_unit=made.unit)
        api.add_model("forecast", services[name], request=schema(tmp_path), max_rate=20, server_name=NAME)
        return named(made, "AWS::ApiGateway::Deployment", "Api")

    assert deployment("first") == deployment("first") != deployment("second")


@pytest.mark.parametrize("profile", list(Profile))
def test_no_finding(profile: Profile, tmp_path: Path) -> None:
    """Has no open finding in any pack and profile."""
    made = place_with_api(tmp_path, profile)
    app = made.stack.node.root
    assert isinstance(app, cdk.App)

    assert [problem for problem in check(app).problems if "/Api" in problem] == []


def test_services_that_the_api_cannot_reach(refusing: Place, tmp_path: Path) -> None:
    """Rejects names outside the certificate, client-side hashing and other networks, all at once and by name."""
    api = InferenceApi(refusing.stack, "Api", business_unit=refusing.unit)
    capture = DataCapture(sampling_percent=100, personal_data=PersonalData(hashed=("store",)))
    service = refusing.serve("Hashed", name="hashed", capture=capture)
    unit = BusinessUnit(
        refusing.stack,
        "OtherUnit",
        name="pricing",
        profile=Profile.DEVELOPMENT,
        network=Network.create(availability_zones=2),
    )
    tenant = EksTenant(refusing.stack, "OtherTenant", business_unit=unit, cluster=refusing.cluster)
    plain = EksInferenceService(refusing.stack, "Plain", tenant=tenant, registry=refusing.registry, name="plain")

    for endpoint, name, problems in (
        (service, None, ["clients must hash", "server_name must be given for demand-hashed"]),
        (service, "No name", ["clients must hash", "server_name must be a DNS name"]),
        (
            plain,
            NAME,
            ["belongs to unit pricing, the API to demand", "server_name must not be given for pricing-plain"],
        ),
    ):
        with pytest.raises(ValidationError) as refused:
            api.add_model("forecast", endpoint, request=schema(tmp_path), max_rate=1, server_name=name)
        assert len(refused.value.problems) == len(problems)
        for problem, part in zip(refused.value.problems, problems, strict=True):
            assert part in problem
