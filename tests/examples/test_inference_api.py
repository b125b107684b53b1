"""The API of models on the embedded cloud with IAM enforced: responses of a deployed model."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import httpx
import pytest
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_iam as iam
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from examples.pages import inference_caller
from examples.retail.loop import Loop
from tests.examples import models
from tests.examples.api_door import JSON, PATH, ApiDoor
from tests.examples.used_rights import roles_of, unused_rights

from mlops_constructs import (
    Access,
    BusinessUnit,
    DataCapture,
    EndpointCapacity,
    InferenceApi,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Profile,
    RequestSchema,
)
from mlops_local import cloud as local_cloud
from mlops_local.stacks import deployer
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.contracts.rollout import Outcome
from mlops_runtime.inference_api.request_promise import request_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.cloud

# of 64-bit floats, so that the schema allows numbers that this model rejects
SIGNATURE = ModelSignature(inputs=(SignatureColumn(name="x", type="number"),), output="y", passes="values")
SCHEMA = request_schema(SIGNATURE, max_rows=2000)
GOLDEN = [
    b'{"instances": [{"x": 2.0}]}',
    b'{"instances":[{"x":-1e-7},{"x":0},{"x":3.4e37}]}',
    b'{"instances": [[1], [2.5], [1000000]]}',
    b'{"instances": [\n\t{"x": 1.0000000000000002}]}',
    json.dumps({"instances": [[number / 7] for number in range(500)]}).encode(),
]
# responses must not contain account, AWS details or internals of a program
FORBIDDEN = re.compile(rb"arn:|000000000000|[Aa]mazon|AWS|aws-|CloudWatch|SageMaker|Traceback|log group|s3://")


OWN_NAME = "models.example.com"


class Door(ApiDoor):
    """The deployed stack with a serving model."""

    def __init__(
        self,
        cloud: local_cloud.Cloud,
        folder: Path,
        *,
        access: Callable[[cdk.Stack], Access] = lambda _stack: Access.iam(),
        schema: dict[str, Any] = SCHEMA,
    ) -> None:
        self.cloud = cloud
        self.allow_logs()
        self.outputs = deployer.deploy(cloud, synthesize(folder, access, schema))["Door"]
        self.loop = Loop(client=cloud.client, outputs=self.outputs, unit="pilot", now=self.now)
        self.approve(models.register(self.loop, 2.0))


def synthesize(
    folder: Path, access: Callable[[cdk.Stack], Access], schema: dict[str, Any], certificate: str = ""
) -> Path:
    """Synthesize a unit with an endpoint and its API, a permitted caller and another one; with a domain if certified."""
    app = cdk.App(outdir=str(folder / "cdk.out"))
    stack = cdk.Stack(app, "Door")
    unit = BusinessUnit(stack, "Unit", name="pilot", profile=Profile.DEVELOPMENT)
    registry = ModelRegistry(stack, "Registry", business_unit=unit, name="door")
    endpoint = ModelEndpoint(
        stack,
        "Endpoint",
        business_unit=unit,
        registry=registry,
        name="door",
        image=ModelImage.from_ecr(repository_name="mlops-runtime", digest=models.DIGEST),
        capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
        capture=DataCapture(sampling_percent=100),
    )
    (folder / "doubled.schema.json").write_text(json.dumps(schema))
    api = InferenceApi(stack, "Api", business_unit=unit, access=access(stack))
    request = RequestSchema.from_file(folder / "doubled.schema.json")
    api.add_model("doubled", endpoint, request=request, max_rate=1000)
    if certificate:
        api.with_domain(OWN_NAME, acm.Certificate.from_certificate_arn(stack, "Certificate", certificate))
    shop, other = (iam.Role(stack, name, assumed_by=iam.AccountRootPrincipal()) for name in ("Shop", "Other"))
    api.grant_predict(shop, "doubled")
    outputs = {
        "ApiId": api.rest_api.rest_api_id,
        "ShopRole": shop.role_arn,
        "OtherRole": other.role_arn,
        "ApproverRoleArn": registry.approver_role.role_arn,
        "EndpointName": endpoint.endpoint_name,
        "RolloutTable": endpoint.rollout.table.table_name,
        "DeployMachineArn": endpoint.rollout.machine.state_machine_arn,
        "ArtifactsBucket": unit.artifacts.bucket_name,
        "AuditBucket": unit.audit_bucket.bucket_name,
    }
    for name, value in outputs.items():
        cdk.CfnOutput(stack, name, value=value)
    app.synth()
    return folder / "cdk.out"


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """Deploy the stack and its first model; the last test of this file deletes the endpoint."""
    folder = tmp_path_factory.mktemp("door")
    cloud = local_cloud.up(folder / "cloud", clock_scale=120.0)
    try:
        yield Door(cloud, folder)
    finally:
        local_cloud.connect(cloud.home).down(forget=True)


def test_answers_are_those_of_invoke_endpoint(door: Door) -> None:
    """Golden requests get identical bytes, with the id of the call and the model that answered."""
    runtime = door.cloud.client("sagemaker-runtime")
    for body in GOLDEN:
        direct = runtime.invoke_endpoint(EndpointName=door.outputs["EndpointName"], Body=body, ContentType=JSON)
        answer = door.call(body)

        assert (answer.status, answer.body) == (200, direct["Body"].read())
        assert answer.headers["content-type"] == direct["ContentType"]
        assert re.fullmatch(r"[\w-]{15}=", answer.headers["x-inference-id"])
        assert re.match(r"model=[0-9a-f]{12}", answer.headers["x-model-version"])


REFUSED = {
    "no rows": b'{"instances": []}',
    "another key": b'{"rows": [[1]]}',
    "a text": b'{"instances": [{"x": "2"}]}',
    "a missing column": b'{"instances": [{}]}',
    "an unknown column": b'{"instances": [{"x": 1, "y": 2}]}',
    "a longer row": b'{"instances": [[1, 2]]}',
    "no JSON": b"x",
    "nothing": b"",
    "too many rows": json.dumps({"instances": [[1]] * 2001}).encode(),
    # the schema allows it, the server does not
    "a number beyond 32 bits": b'{"instances": [[1e300]]}',
    "a number beyond 64 bits": b'{"instances": [[1e999]]}',
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_row_is_400_and_says_nothing_of_aws(case: str, door: Door) -> None:
    """The response has only the request's problem, in JSON."""
    answer = door.call(REFUSED[case])

    assert answer.status == 400
    assert answer.headers["content-type"] == "application/problem+json"
    result = json.loads(answer.body)
    assert (result["type"], result["status"], bool(result["detail"]), bool(result["problems"])) == (
        "about:blank",
        400,
        True,
        True,
    )
    assert result["request_id"]
    assert not FORBIDDEN.search(answer.body)


def test_no_answer_is_read_as_another_type_or_kept_by_a_cache(door: Door) -> None:
    """Covers predictions, the model's schema, errors of the model's server and of the gateway."""
    answers = [
        door.call(GOLDEN[0]),
        door.call(b"", path="/v1/models/doubled", verb="GET"),
        door.call(REFUSED["a number beyond 32 bits"]),
        door.call(REFUSED["no rows"]),
        door.call(GOLDEN[0], role=None),
        door.call(GOLDEN[0], path="/v1/other"),
        door.call(b"2.0", content_type="text/csv"),
    ]

    assert [answer.status for answer in answers] == [200, 200, 400, 400, 403, 403, 415]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


def test_a_candidate_that_breaks_the_promise_never_gets_traffic(door: Door) -> None:
    """It needs a column that callers do not send; it is refused by name, and the live model's answers stay the same."""
    before, live = door.call(GOLDEN[0]), door.loop.live()
    stock = SignatureColumn(name="stock", type="number")
    door.approve(models.register(door.loop, 3.0, inputs=(*models.INPUTS, stock)), error="REFUSED")

    refusal = door.loop.audit()[-1]
    assert refusal.outcome is Outcome.REFUSED
    assert "doubled.schema.json does not require column 'stock', which the model needs; publish v2" in refusal.reason
    assert "as arrays of 1 values, the model takes 2; publish v2" in refusal.reason
    assert door.loop.live() == live
    after = door.call(GOLDEN[0])
    assert (after.status, after.body) == (200, before.body)
    assert after.headers["x-model-version"] == before.headers["x-model-version"]


def test_only_granted_callers_are_answered(door: Door) -> None:
    """Rejects unsigned requests, requests without a grant, and other paths."""
    answers = [
        door.call(GOLDEN[0], role=None),
        door.call(GOLDEN[0], role="OtherRole"),
        door.call(GOLDEN[0], path="/v1/models/other/predictions"),
    ]

    assert [answer.status for answer in answers] == [403, 403, 403]
    for answer in answers:
        assert json.loads(answer.body).get("title") == "not_allowed", answer
        assert not FORBIDDEN.search(answer.body)


def test_a_caller_cannot_choose_the_id_by_which_labels_are_joined(door: Door, wait_for: Callable[..., Any]) -> None:
    """Callers choose the request's id for the access log; the gateway sets the prediction's id."""
    chosen = "01234567-89ab-cdef-0123-456789abcdef"
    answers = [door.call(GOLDEN[0], x_amzn_requestid=chosen) for _ in range(2)]

    assert [answer.headers["x-amzn-requestid"] for answer in answers] == [chosen, chosen]
    ids = {answer.headers["x-inference-id"] for answer in answers}
    assert len(ids) == 2
    assert chosen not in ids
    logs, stack = door.cloud.client("logs"), door.cloud.client("cloudformation")
    found = stack.describe_stack_resources(StackName="Door")["StackResources"]
    (group,) = [each["PhysicalResourceId"] for each in found if each["LogicalResourceId"].startswith("ApiAccessLog")]

    def logged() -> list[str]:
        lines = [json.loads(each["message"]) for each in logs.filter_log_events(logGroupName=group)["events"]]
        return [line["id"] for line in lines if line["request"] == chosen]

    assert set(wait_for(lambda: found if len(found := logged()) == 2 else [])) == ids


def test_an_undeclared_type_never_reaches_the_model(door: Door) -> None:
    """Other content types would bypass the schema."""
    answer = door.call(b"2.0\n", content_type="text/csv")

    assert answer.status == 415
    assert json.loads(answer.body)["title"] == "wrong_type"


def test_the_firewall_refuses_larger_bodies_than_it_reads(door: Door) -> None:
    """Our own limit applies; golden requests show that bodies above AWS's 8 KB pass."""
    answer = door.call(b'{"instances": [[1]]}' + b" " * 64 * 1024)

    assert len(GOLDEN[-1]) > 8 * 1024
    assert answer.status == 403
    assert not FORBIDDEN.search(answer.body)


def test_a_model_says_what_it_takes(door: Door) -> None:
    """Returns the request schema."""
    answer = door.call(b"", path="/v1/models/doubled", verb="GET")

    assert answer.status == 200
    assert json.loads(answer.body) == {"model": "doubled", "content_types": [JSON], "request": SCHEMA}


PAGE = Path(__file__).resolve().parents[2] / "docs" / "capabilities" / "inference_api.md"


def code(language: str) -> str:
    """Return the page's only code block in a language, adapted to this model."""
    (found,) = re.findall(rf"^```{language}\n(curl.*?|import.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return str(found).replace('"price": 2.0', '"x": 2.0').replace("/v1/models/forecast/", "/v1/models/doubled/")


@pytest.fixture
def caller(door: Door) -> dict[str, str]:
    """The environment of a client program: the shell of ``mlops local env`` and the page's variables."""
    keys = door.keys("ShopRole")
    shell = door.cloud.environment()
    return shell | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "API_URL": f"https://{door.outputs['ApiId']}.execute-api.us-east-1.amazonaws.com/live",
        "AWS_ACCESS_KEY_ID": str(keys.access_key),
        "AWS_SECRET_ACCESS_KEY": str(keys.secret_key),
        "AWS_SESSION_TOKEN": str(keys.token),
        "NODE_USE_ENV_PROXY": "1",
    }


def test_curl_of_the_page_is_answered(caller: dict[str, str]) -> None:
    """The command signs by itself."""
    requested = code("sh").replace("curl ", 'curl --cacert "$AWS_CA_BUNDLE" ', 1)
    run = subprocess.run(["sh", "-c", requested], env=caller, capture_output=True, text=True, check=False, timeout=60)

    assert (run.returncode, run.stderr) == (0, "")
    assert json.loads(run.stdout) == {"predictions": [4.0]}


def test_python_of_the_page_is_answered(caller: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The response has the id for labels."""
    for name, value in caller.items():
        monkeypatch.setenv(name, value)

    found = inference_caller.predict(f"{caller['API_URL']}{PATH}", [{"x": 2.0}])

    assert found.values == [4.0]
    assert re.fullmatch(r"[\w-]{15}=", found.inference_id)


def test_typescript_of_the_page_is_answered(caller: dict[str, str], tmp_path: Path) -> None:
    """Node.js runs it by removing types without checking them."""
    call = f'console.log(JSON.stringify(await ask(process.env.API_URL + "{PATH}", [{{ x: 2.0 }}])));\n'
    (tmp_path / "ask.mts").write_text(code("typescript") + call)

    run = subprocess.run(
        ["node", "--experimental-strip-types", "--no-warnings", str(tmp_path / "ask.mts")],
        env=caller, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert (run.returncode, run.stderr) == (0, "")
    assert json.loads(run.stdout)["values"] == [4.0]


def test_a_model_that_is_gone_is_503(door: Door) -> None:
    """The response hides account and endpoint name, which SageMaker's message contains."""
    sagemaker = door.cloud.client("sagemaker")
    sagemaker.delete_endpoint(EndpointName=door.outputs["EndpointName"])
    sagemaker.get_waiter("endpoint_deleted").wait(
        EndpointName=door.outputs["EndpointName"], WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )

    answer = door.call(GOLDEN[0])

    assert answer.status == 503
    assert json.loads(answer.body)["title"] == "not_served"
    assert not FORBIDDEN.search(answer.body)


def test_the_role_of_the_api_has_no_right_that_no_call_used(door: Door) -> None:
    """It invokes the named endpoints and does nothing else."""
    (role,) = roles_of(door.cloud, "-ApiRole")

    assert unused_rights(door.cloud, role) == set()


def test_a_name_of_ones_own_is_the_only_way(door: Door, tmp_path: Path) -> None:
    """Requests are signed for the domain, without a stage, over verified TLS; API Gateway's own address is disabled."""
    certificate = door.cloud.client("acm").request_certificate(DomainName="*.example.com")["CertificateArn"]
    deployer.deploy(door.cloud, synthesize(tmp_path, lambda _stack: Access.iam(), SCHEMA, certificate))
    address = f"https://{OWN_NAME}/v1/models/doubled"
    signed = AWSRequest("GET", address)
    SigV4Auth(door.keys("ShopRole"), "execute-api", "us-east-1").add_auth(signed)
    environment = door.cloud.environment()
    context = ssl.create_default_context(cafile=environment["AWS_CA_BUNDLE"])
    with httpx.Client(proxy=environment["HTTPS_PROXY"], verify=context, trust_env=False, timeout=60) as client:
        found = client.get(address, headers=dict(signed.headers))
        unsigned = client.get(address)
    closed = door.call(b"", verb="GET", path="/v1/models/doubled")

    assert (found.status_code, found.json()["request"]) == (200, SCHEMA), found.text
    assert (unsigned.status_code, closed.status, closed.body) == (403, 403, b'{"message":"Forbidden"}')
