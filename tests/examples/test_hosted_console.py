"""The hosted console on the embedded cloud with IAM enforced: users sign in, and act only in their group's roles."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import secrets
import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

import aws_cdk as cdk
import boto3
import pyarrow as pa
import pytest
from botocore.exceptions import ClientError
from examples.pages import console as shown
from examples.pages.feature_groups import GROUPS, STOCK
from examples.retail.loop import Loop
from jsonschema import Draft202012Validator
from tests.authenticator import Authenticator
from tests.examples import models
from tests.examples.used_rights import unused_rights
from tests.passed import gate_of

from mlops_constructs import FeatureStore, ModelImage, Profile
from mlops_local import cloud as local_cloud
from mlops_local.stacks import deployer
from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.cloud_connection import CloudConnection, embedded_options
from mlops_runtime.console.api import ConsoleApi
from mlops_runtime.console.http_message import HttpRequest
from mlops_runtime.console.page_files import page_files
from mlops_runtime.console.route import ROOT, Role, Route
from mlops_runtime.console.route_table import ROUTES
from mlops_runtime.console.taken_role import TakenRole, take_role
from mlops_runtime.contracts import canonical_json
from mlops_runtime.features.deployed_store import open_store
from mlops_runtime.registry.package_registry import gate_uri
from mlops_runtime.rollout.rollback import abort_alarm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.cloud

PASSWORD = "Long-enough-1-for-a-pool"
PEOPLE = {"rea": "reader", "ann": "on-call", "ben": "approver", "zoe": ""}
ENDPOINT = "shown-forecast"
FORM = "application/x-www-form-urlencoded"
# further fields of each write: the body is built from the page's content
WRITES = {
    "pauseUnit": ("on-call", "/units/shown/pause"),
    "resumeUnit": ("on-call", "/units/shown/resume"),
    "rollBack": ("on-call", f"/units/shown/endpoints/{ENDPOINT}/rollbacks"),
    "approve": ("approver", "/packages/shown-forecast/{number}/approval"),
    "reject": ("approver", "/packages/shown-forecast/{number}/rejection"),
}
FEATURES = "/units/shown/features"
READS = (
    "/me",
    "/units",
    "/units/shown",
    f"/units/shown/endpoints/{ENDPOINT}",
    "/approvals",
    "/packages/shown-forecast/1",
    "/packages/shown-forecast/1/lineage",
    f"/audit/{ENDPOINT}",
    f"/audit/{ENDPOINT}/verification",
    "/audit/shown",
)
MORE_READS = (
    "/costs",
    f"{FEATURES}?text=shelf",
    f"{FEATURES}/stock_v1/users",
    f"{FEATURES}/stock_v1/users?column=on_hand",
    f"/audit/{ENDPOINT}/records/1",
)
# called where their data exist: an endpoint with a monitor, a pipeline, a rollback and an abort
ELSEWHERE = {
    "readDrift",
    "readFeatureDrift",
    "followRetraining",
    "retrain",
    "followRollback",
    "abortRollout",
    "moveClock",
}


class Answer(NamedTuple):
    """A browser's response; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body or b"{}")


class Hosted:
    """The deployed example, with two versions of a model of which the second serves, and users in its pool.

    Args:
        cloud: The embedded cloud.
        assembly: The deployed assembly with the stack `Shown`.
    """

    def __init__(self, cloud: local_cloud.Cloud, assembly: Path) -> None:
        self.cloud = cloud
        # once per account and Region, by the platform: access logs need it
        role = "arn:aws:iam::000000000000:role/api-gateway-logs"
        operations = [{"op": "replace", "path": "/cloudwatchRoleArn", "value": role}]
        cloud.client("apigateway").update_account(patchOperations=operations)
        self.outputs = deployer.deploy(cloud, assembly)["Shown"]
        self.host = self.outputs["ConsoleUrl"].removeprefix("https://").replace(".net", f".127.0.0.1:{cloud.port}")
        self.loop = Loop(
            client=cloud.client,
            outputs=self.outputs,
            unit="shown",
            now=lambda: datetime.fromisoformat(cloud.clock()["now"]),
        )
        self.approve(models.register(self.loop, 2.0))
        models.ask_for(self.loop, cloud.client("dynamodb"), min_invocations=0)
        self.approve(models.register(self.loop, 3.0))
        self.waiting, self.other = (self.measured(models.register(self.loop, factor)) for factor in (4.0, 5.0))
        self.config = self.get("/config.json").json["signIn"]
        self.tokens: dict[str, dict[str, Any]] = {}
        self.authenticators: dict[str, Authenticator] = {}
        for name, group in PEOPLE.items():
            self.invite(name, group)
            self.sign_in(name)

    def fill_store(self) -> None:
        """Ingest a day's stock into the feature store, and build a training set of it."""
        now = self.loop.now()
        store, _ = open_store(self.cloud.client, self.cloud.environment(), unit="shown", now=now)
        counted = now - timedelta(days=1)
        store.ingest(STOCK, pa.table({"store_id": ["1"], "event_time": [counted], "on_hand": [5]}))
        rows = pa.table({"store_id": ["1"], "event_timestamp": [now]})
        store.training_set(rows, {"stock": ["on_hand"]}, name="shelves")

    def approve(self, package: str) -> None:
        """Approve a package, and wait until it serves."""
        self.loop.wait_idle("DeployMachineArn")
        seen = {each["executionArn"] for each in self.loop.executions("DeployMachineArn")}
        self.loop.approve(package, "a person looked at it")
        self.loop.wait_execution("DeployMachineArn", seen, appear=30, finish=120)

    def measured(self, package: str) -> str:
        """Write the gate's result of a package, as a retraining does, and return its number."""
        described = self.cloud.client("sagemaker").describe_model_package(ModelPackageName=package)
        uri = described["CustomerMetadataProperties"]["evaluation_uri"]
        bucket, key = uri.removeprefix("s3://").split("/", 1)
        content = self.loop.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        gate = canonical_json(replace(gate_of(content, execution="one"), evaluation_uri=uri))
        written = str(gate_uri(uri)).removeprefix(f"s3://{bucket}/")
        self.loop.s3.put_object(Bucket=bucket, Key=written, Body=gate)
        return package.rpartition("/")[2]

    def send(self, method: str, host: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """Send a request as a browser does, over the loopback interface."""
        connection = http.client.HTTPConnection("127.0.0.1", self.cloud.port, timeout=60)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body or None, {"Host": host, "X-Forwarded-Proto": "https", **given})
            found = connection.getresponse()
            return Answer(found.status, {name.lower(): value for name, value in found.getheaders()}, found.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        """Send a request to the distribution."""
        return self.send("GET", self.host, path, **headers)

    def ask(self, who: str, method: str, path: str, body: object = None, key: str = "") -> Answer:
        """Call the API as a user, at the console's own address."""
        more = {"Content-Type": "application/json", "Idempotency-Key": key} if body is not None else {}
        content = b"" if body is None else json.dumps(body).encode()
        token = self.tokens[who]["access_token"]
        return self.send(method, self.host, f"{ROOT}{path}", content, Authorization=f"Bearer {token}", **more)

    def invite(self, name: str, group: str) -> None:
        """Invite a user into a group of the pool, or none."""
        people, pool = self.cloud.client("cognito-idp"), self.outputs["UserPool"]
        address = {"Name": "email", "Value": f"{name}@example.com"}
        people.admin_create_user(
            UserPoolId=pool,
            Username=name,
            UserAttributes=[address],
            MessageAction="SUPPRESS",
        )
        people.admin_set_user_password(UserPoolId=pool, Username=name, Password=PASSWORD, Permanent=True)
        if group:
            people.admin_add_user_to_group(UserPoolId=pool, Username=name, GroupName=group)

    def sign_in(self, name: str) -> None:
        """Sign a user in by the code flow with PKCE, as the pages do; the first time they set up an authenticator."""
        client = self.config["clientId"]
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        back = f"{self.outputs['ConsoleUrl']}/"
        query = {
            "response_type": "code",
            "client_id": client,
            "redirect_uri": back,
            "scope": " ".join(self.config["scopes"]),
            "state": "s",
            "code_challenge_method": "S256",
            "code_challenge": challenge,
        }
        own = f"127.0.0.1:{self.cloud.port}"
        page = self.send("GET", own, f"/oauth2/authorize?{urlencode(query)}").body.decode()
        requested = self.submit(page, username=name, password=PASSWORD)
        if key := re.search(r'<code id="secret">(\w+)</code>', requested.body.decode()):
            self.authenticators[name] = Authenticator(key[1])
        sent = self.submit(requested.body.decode(), code=self.authenticators[name].code())
        assert (requested.status, sent.headers["location"].startswith(back)) == (200, True), sent
        exchange = {
            "grant_type": "authorization_code",
            "client_id": client,
            "redirect_uri": back,
            "code": parse_qs(urlsplit(sent.headers["location"]).query)["code"][0],
            "code_verifier": verifier,
        }
        tokens = self.send("POST", own, "/oauth2/token", urlencode(exchange).encode(), Content_Type=FORM)
        assert tokens.status == 200, tokens
        self.tokens[name] = tokens.json

    def submit(self, page: str, **fields: str) -> Answer:
        """Submit the form of a Cognito page."""
        hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
        content = urlencode({**hidden, **fields}).encode()
        return self.send("POST", f"127.0.0.1:{self.cloud.port}", "/login", content, Content_Type=FORM)

    def body(self, operation: str, reader: Callable[[str], Any]) -> dict[str, Any]:
        """Return a write's body from its page's content."""
        if operation in ("approve", "reject"):
            review = reader(f"/packages/shown-forecast/{self.waiting}")["review"]
            seen = {"approval": review["approval"], "binding": review["binding"]}
        elif operation == "rollBack":
            shown = reader(f"/units/shown/endpoints/{ENDPOINT}")
            seen = {"sequence": shown["sequence"], "package": shown["serves"]["package"]}
        else:
            seen = {"sequence": reader("/units/shown")["sequence"]}
        return {"reason": "a person looked at it", "expect": seen}


def synthesize(folder: Path) -> Path:
    """Synthesize the page's example, with a feature store that readers may describe."""
    app = cdk.App(outdir=str(folder / "cdk.out"))
    image = ModelImage.from_ecr(repository_name="mlops-runtime", digest=models.DIGEST)
    stack = shown.Shown(app, "Shown", profile=Profile.DEVELOPMENT, image=image)
    lock_file = Path(shown.__file__).with_name("features.lock.json")
    store = FeatureStore(stack, "Features", business_unit=stack.unit, groups=GROUPS, lock_file=lock_file)
    store.grant_describe(stack.reader)
    name_parts(stack)
    app.synth()
    return folder / "cdk.out"


def name_parts(stack: shown.Shown) -> None:
    """Define outputs by which `Hosted` finds the parts of the example."""
    outputs = {
        "ReaderRole": stack.reader.role_arn,
        "OnCallRole": stack.on_call.role_arn,
        "ApproverRoleArn": stack.registry.approver_role.role_arn,
        "FunctionRole": stack.console.function_role_arn,
        "EndpointName": stack.endpoint.endpoint_name,
        "RolloutTable": stack.endpoint.rollout.table.table_name,
        "DeployMachineArn": stack.endpoint.rollout.machine.state_machine_arn,
        "ArtifactsBucket": stack.unit.artifacts.bucket_name,
        "AuditBucket": stack.unit.audit_bucket.bucket_name,
    }
    for name, value in outputs.items():
        cdk.CfnOutput(stack, name, value=value)


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosted]:
    """Deploy the example once."""
    folder = tmp_path_factory.mktemp("hosted")
    cloud = local_cloud.up(folder / "cloud", clock_scale=120.0)
    try:
        made = Hosted(cloud, synthesize(folder))
        made.fill_store()
        yield made
    finally:
        local_cloud.connect(cloud.home).down(forget=True)


def test_the_distribution_serves_pages_and_api_at_one_address(hosted: Hosted) -> None:
    """Serves the files of the local console with their policy; the index is not cached, files with a hash in their name are."""
    index = hosted.get("/")
    (script,) = (address for address in page_files() if address.endswith("/app/main.js"))
    kept = hosted.get(script)

    assert (index.status, index.body) == (200, page_files()["/"].content)
    assert index.headers["cache-control"] == "no-store"
    assert (kept.status, kept.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
    assert f"connect-src 'self' {hosted.config['domain']};" in index.headers["content-security-policy"]
    assert "require-trusted-types-for 'script'" in index.headers["content-security-policy"]
    assert hosted.config["domain"] == "https://shown-console-000000000000.auth.us-east-1.amazoncognito.com"
    assert hosted.get("/static/none.js").status == 403


def test_a_person_acts_by_name_in_the_roles_of_their_group(hosted: Hosted) -> None:
    """The request passes distribution, authorizer, function and STS."""
    for who, group in PEOPLE.items():
        answer = hosted.ask(who, "GET", "/me")
        if not group:
            assert (answer.status, "is in none of the console's groups" in answer.json["detail"]) == (403, True)
            continue
        assert answer.status == 200, answer
        assert (answer.json["person"], set(answer.json["roles"])) == (who, {"reader", group})
        assert answer.json["caller"].endswith(f"/{who}")


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer nonsense"}])
def test_the_gateway_refuses_who_has_no_token(hosted: Hosted, header: dict[str, str]) -> None:
    """Returns a problem without invoking the function."""
    answer = hosted.get(f"{ROOT}/me", **header)

    assert (answer.status, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.json["title"] == "not signed in"


def test_an_id_token_is_for_the_page_alone(hosted: Hosted) -> None:
    """The API requires a scope, which ID tokens lack."""
    answer = hosted.get(f"{ROOT}/me", Authorization=f"Bearer {hosted.tokens['ann']['id_token']}")

    assert answer.status == 401


def test_what_is_read_is_read_as_a_reader(hosted: Hosted) -> None:
    """Covers every page of a serving unit, for each group, by the API's own document."""
    document = hosted.ask("rea", "GET", "/openapi.json").json
    for who in ("rea", "ann", "ben"):
        answers = {path: hosted.ask(who, "GET", path) for path in (*READS, *MORE_READS)}
        assert {path: answer.status for path, answer in answers.items()} == dict.fromkeys(answers, 200)
    for path, answer in answers.items():
        (operation,) = (each["get"] for name, each in document["paths"].items() if matches(name, path))
        (media,) = operation["responses"]["200"]["content"].values()
        Draft202012Validator({**media["schema"], "components": document["components"]}).validate(answer.json)


def matches(route: str, path: str) -> bool:
    """Return whether a path matches a route such as ``/units/{unit}``."""
    made = Route(method="GET", path=route, operation="", summary="", act=str)
    return made.match(f"{ROOT}{path.partition('?')[0]}") is not None


def test_every_operation_is_asked_for(hosted: Hosted) -> None:
    """Called here in the permitted role, or by name in another test."""
    reads = (*READS, *MORE_READS)
    read = {each.operation for each in ROUTES if each.method == "GET" and any(matches(each.path, p) for p in reads)}

    assert {each.operation for each in ROUTES} == read | set(WRITES) | ELSEWHERE
    for path in (f"/units/shown/endpoints/{ENDPOINT}/drift", "/units/shown/pipelines/none/retrainings/one"):
        answer = hosted.ask("rea", "GET", path)
        assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json"), answer


def test_feature_pages_are_those_of_the_command(hosted: Hosted) -> None:
    """Hits and readers are equal for a reader by the function and for root locally; missing names are reported."""
    options = embedded_options(hosted.cloud.home)
    assert options is not None
    root = CloudConnection(session=boto3.Session(), options=options)
    own = ConsoleApi(lambda _role: root)

    def ask(path: str) -> tuple[dict[str, Any], dict[str, Any]]:
        answers = (hosted.ask("rea", "GET", path).json, answer_of(own, "GET", path).json)
        found, reported = ({name: value for name, value in each.items() if name != "now"} for each in answers)
        return found, reported

    found, reported = ask(f"{FEATURES}?text=units%20demand")
    used, read = ask(f"{FEATURES}/stock_v1/users?column=on_hand")

    assert (found, used) == (reported, read)
    assert [(hit["name"], hit["matches"]) for hit in found["hits"]] == [("stock_v1", ["owner", "column on_hand"])]
    assert [(use["name"], use["columns"]) for use in used["users"]] == [("shelves", ["on_hand"])]
    assert found["problems"] == []
    for path, message in (
        ("none_v1/users", "database shown_features has no table none_v1; deploy the feature store that declares it"),
        ("stock_v1/users?column=weight", "table stock_v1 has no column 'weight', it has store_id, "),
    ):
        answer = hosted.ask("rea", "GET", f"{FEATURES}/{path}")
        assert (answer.status, answer.json["detail"][: len(message)]) == (404, message)


def test_a_pause_is_recorded_with_the_person(hosted: Hosted) -> None:
    """On-call staff may, readers and approvers are denied, and nothing changes."""
    body = hosted.body("pauseUnit", lambda path: hosted.ask("rea", "GET", path).json)
    for who in ("rea", "ben"):
        assert hosted.ask(who, "POST", "/units/shown/pause", body, f"key-of-{who}").status == 403
    paused = hosted.ask("ann", "POST", "/units/shown/pause", body, "key-of-ann")
    newest = hosted.ask("rea", "GET", "/audit/shown").json["records"][0]

    assert (paused.status, paused.json["paused"]) == (200, True), paused
    assert (newest["who"], newest["record"]["outcome"]) == ("ann", "PAUSED")


PAUSE = "/units/shown/pause"
REASON = b'{"reason": "a feed is late", "expect": {"sequence": 99}}'
JSON, KEY = {"Content_Type": "application/json"}, {"Idempotency_Key": "key-of-hostile"}


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        (PAUSE, REASON, {**JSON, **KEY}, 409),  # from an outdated page
        (PAUSE, REASON, JSON, 400),
        (PAUSE, REASON, {"Content_Type": "text/plain", **KEY}, 415),
        (PAUSE, b"[" * 60_000, {**JSON, **KEY}, 422),
        (PAUSE, b" " * 70_000, {**JSON, **KEY}, 403),
        (PAUSE, b" " * 11_000_000, {**JSON, **KEY}, 403),
        ("/units/%2e%2e/pause", REASON, {**JSON, **KEY}, 404),
        ("/units/other/pause", REASON, {**JSON, **KEY}, 404),
        ("/nothing", REASON, {**JSON, **KEY}, 404),
    ],
)
def test_what_is_hostile_changes_nothing(
    hosted: Hosted, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    """Each is rejected as a problem that describes the request, without internals of the function."""
    before = hosted.ask("rea", "GET", "/units/shown").json["sequence"]
    token = hosted.tokens["ann"]["access_token"]
    answer = hosted.send("POST", hosted.host, f"{ROOT}{path}", body, Authorization=f"Bearer {token}", **headers)

    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json"), answer
    assert answer.json["detail"]
    assert not re.search(rb"Traceback|File \"|s3://", answer.body)
    assert hosted.ask("rea", "GET", "/units/shown").json["sequence"] == before


def test_a_token_of_another_pool_is_refused(hosted: Hosted) -> None:
    """The groups and scope of the token are valid."""
    header, payload, signature = hosted.tokens["ann"]["access_token"].split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["iss"] = claims["iss"].rpartition("/")[0] + "/us-east-1_another00"
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()

    assert hosted.get(f"{ROOT}/me", Authorization=f"Bearer {header}.{forged}.{signature}").status == 401


@pytest.fixture(scope="module")
def api_as(hosted: Hosted) -> Callable[[str], ConsoleApi]:
    """Return the API with every operation in one role, so that only IAM denies."""
    options = embedded_options(hosted.cloud.home)
    assert options is not None
    root = CloudConnection(session=boto3.Session(), options=options)
    arns = {"reader": "ReaderRole", "on-call": "OnCallRole", "approver": "ApproverRoleArn"}
    taken: dict[str, TakenRole] = {
        name: take_role(root, hosted.outputs[output], session="eve") for name, output in arns.items()
    }
    return lambda name: ConsoleApi(lambda role: taken["reader"] if role is Role.READER else taken[name])


def answer_of(api: ConsoleApi, method: str, path: str, body: object = None, key: str = "") -> Answer:
    """Call an API without the gateway."""
    headers = {"content-type": "application/json", "idempotency-key": key}
    content = b"" if body is None else json.dumps(body).encode()
    where, _, query = path.partition("?")
    asks = {name: values[0] for name, values in parse_qs(query).items()}
    found = api.answer(HttpRequest(method=method, path=f"{ROOT}{where}", query=asks, headers=headers, body=content))
    return Answer(found.status, dict(found.headers), found.body)


@pytest.mark.parametrize(
    ("operation", "role"),
    [(name, role) for name, (own, _) in WRITES.items() for role in ("reader", "on-call", "approver") if role != own],
)
def test_iam_refuses_what_is_another_roles(
    hosted: Hosted, api_as: Callable[[str], ConsoleApi], operation: str, role: str
) -> None:
    """IAM denies a write in every role but its own even if the console requested it, and nothing changes."""
    _, path = WRITES[operation]
    body = hosted.body(operation, lambda where: answer_of(api_as("reader"), "GET", where).json)
    answer = answer_of(api_as(role), "POST", path.format(number=hosted.waiting), body, f"{operation}-{role}")

    assert (answer.status, answer.json["title"]) == (403, "not allowed"), answer
    assert body == hosted.body(operation, lambda where: answer_of(api_as("reader"), "GET", where).json)


@pytest.mark.parametrize("action", ["cloudwatch:SetAlarmState", "states:StartExecution", "ssm:GetParametersByPath"])
def test_the_functions_own_role_does_nothing(hosted: Hosted, action: str) -> None:
    """Aborting and starting rollouts needs the on-call role, which the function assumes."""
    arn = "arn:aws:{}:us-east-1:000000000000:{}"
    resources = {
        "cloudwatch:SetAlarmState": arn.format("cloudwatch", f"alarm:{abort_alarm(ENDPOINT, 'approval-1')}"),
        "states:StartExecution": hosted.outputs["DeployMachineArn"],
        "ssm:GetParametersByPath": arn.format("ssm", "parameter/mlops"),
    }

    def may(role: str) -> bool:
        requested = hosted.cloud.client("iam").simulate_principal_policy(
            PolicySourceArn=hosted.outputs[role], ActionNames=[action], ResourceArns=[resources[action]]
        )
        return bool(requested["EvaluationResults"][0]["EvalDecision"] == "allowed")

    found = {role for role in ("FunctionRole", "ReaderRole", "OnCallRole", "ApproverRoleArn") if may(role)}
    assert found == ({"ReaderRole", "OnCallRole"} if action.startswith("ssm") else {"OnCallRole"})


def test_the_console_alone_speaks_for_people(hosted: Hosted) -> None:
    """Command-line users assume a role in their own name: its trust lets only the function set another's."""
    sts = hosted.cloud.client("sts")
    for role in ("ReaderRole", "OnCallRole", "ApproverRoleArn"):
        arn = hosted.outputs[role]
        assert sts.assume_role(RoleArn=arn, RoleSessionName="eve")["AssumedRoleUser"]["Arn"].endswith("/eve")
        with pytest.raises(ClientError, match="sts:SetSourceIdentity"):
            sts.assume_role(RoleArn=arn, RoleSessionName="ann", SourceIdentity="ann")


def test_people_on_call_resume(hosted: Hosted) -> None:
    """They resume the unit that they have paused."""
    body = hosted.body("resumeUnit", lambda path: hosted.ask("rea", "GET", path).json)
    resumed = hosted.ask("ann", "POST", WRITES["resumeUnit"][1], body, "resume-of-ann")

    assert (resumed.status, resumed.json["paused"]) == (200, False), resumed


def test_a_person_on_call_rolls_back_after_a_recent_sign_in(hosted: Hosted) -> None:
    """The previous version serves again, and the record names the user."""
    body = hosted.body("rollBack", lambda path: hosted.ask("rea", "GET", path).json)
    begun = hosted.ask("rea", "POST", WRITES["rollBack"][1], body, "back-of-rea")
    assert begun.status == 403
    hosted.sign_in("ann")
    begun = hosted.ask("ann", "POST", WRITES["rollBack"][1], body, "back-of-ann")
    assert begun.status == 202, begun
    where = f"{WRITES['rollBack'][1]}/{begun.json['execution']}"
    deadline = time.monotonic() + 120
    while not (progress := hosted.ask("ann", "GET", where).json)["is_over"]:
        assert time.monotonic() < deadline, progress
        time.sleep(1)

    assert progress["is_served"] is True, progress
    assert progress["record"]["requested_by"].endswith("/ann")
    assert hosted.ask("rea", "GET", f"/units/shown/endpoints/{ENDPOINT}").json["serves"]["version"] == 1


def test_an_approver_decides_in_the_registrys_own_role(hosted: Hosted) -> None:
    """The unit's boundary limits the role to approvals; SageMaker names the user."""
    decided = {}
    # the rollout that follows is still running when the next test aborts it
    models.ask_for(hosted.loop, hosted.cloud.client("dynamodb"), bake=1800, maximum=28_800)
    hosted.sign_in("ben")
    for operation, number in (("reject", hosted.other), ("approve", hosted.waiting)):
        review = hosted.ask("ben", "GET", f"/packages/shown-forecast/{number}").json["review"]
        seen = {"approval": review["approval"], "binding": review["binding"]}
        body = {"reason": "a person looked at it", "expect": seen}
        path = WRITES[operation][1].format(number=number)
        refused = hosted.ask("ann", "POST", path, body, f"{operation}-of-ann")
        answer = hosted.ask("ben", "POST", path, body, f"{operation}-of-ben")
        assert (refused.status, answer.status) == (403, 200), answer
        decided[answer.json["approval"]] = answer.json["identity"].rpartition("/")[2]

    assert decided == {"Rejected": "ben", "Approved": "ben"}


def test_people_on_call_alone_abort_a_rollout(hosted: Hosted, api_as: Callable[[str], ConsoleApi]) -> None:
    """It aborts the rollout of the approval; IAM denies other roles its alarm."""
    page, where = f"/units/shown/endpoints/{ENDPOINT}", f"/units/shown/endpoints/{ENDPOINT}/abort"
    deadline = time.monotonic() + 120
    while hosted.ask("rea", "GET", page).json["row"].get("rollout") is None:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    body = hosted.body("rollBack", lambda path: hosted.ask("rea", "GET", path).json)
    for role in ("reader", "approver"):
        refused = answer_of(api_as(role), "POST", where, body, f"abort-as-{role}")
        assert (refused.status, refused.json["title"]) == (403, "not allowed"), refused
    while not (begun := hosted.ask("ann", "POST", where, body, "abort-of-ann")).json["is_final"]:
        assert (begun.status, time.monotonic() < deadline) == (202, True), begun
        time.sleep(0.5)
    while not (progress := hosted.ask("ann", "GET", f"{page}/rollbacks/{begun.json['execution']}").json)["is_over"]:
        assert time.monotonic() < deadline, progress
        time.sleep(1)

    assert (progress["is_served"], progress["record"]["outcome"]) == (True, "ROLLED_BACK"), progress
    assert hosted.ask("rea", "GET", page).json["serves"]["package"] == body["expect"]["package"]


def test_the_functions_role_has_no_right_that_no_page_used(hosted: Hosted) -> None:
    """It assumed each of the three roles for users; Lambda uses its log and the key of its environment."""
    unused = unused_rights(hosted.cloud, hosted.outputs["FunctionRole"])

    via = "lambda.us-east-1.amazonaws.com"
    assert unused == {f"kms:Decrypt {via}", "logs:CreateLogStream", "logs:PutLogEvents"}


def test_a_reader_has_no_right_to_features_that_no_page_used(hosted: Hosted) -> None:
    """Covers catalog, metadata files and manifests."""
    store = Entries(ssm=hosted.cloud.client("ssm")).feature_store("shown")
    parts = [":glue:", f"{store.data_bucket}/", store.manifests_bucket]

    assert unused_rights(hosted.cloud, hosted.outputs["ReaderRole"], parts=parts) == set()
    assert unused_rights(hosted.cloud, hosted.outputs["ReaderRole"]) != set()
