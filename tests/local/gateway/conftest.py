"""Fixtures: an embedded cloud with a tiny model, REST APIs with one resource per method, and callers without an SDK."""

import http.client
import io
import itertools
import json
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from mlops_local import cloud

SERVER = Path(__file__).parents[1] / "sagemaker/scripts/server.py"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/tiny@sha256:" + "0" * 64
ENDPOINT = "tiny"
RUNNERS = json.dumps({"tiny": {"serve": [str(SERVER)], "train": [str(SERVER)]}})
PREDICTIONS = f"arn:aws:apigateway:us-east-1:runtime.sagemaker:path/endpoints/{ENDPOINT}/invocations"
TRUST = {"Effect": "Allow", "Principal": {"Service": "apigateway.amazonaws.com"}, "Action": "sts:AssumeRole"}
_number = itertools.count(1)


class Seen(NamedTuple):
    """A response to a caller, with header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body's JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Front:
    """The cloud and shared helpers."""

    cloud: cloud.Cloud
    gateway: Any

    def role(self, *statements: dict[str, Any], trust: dict[str, Any] | None = None) -> str:
        """Make a role that API Gateway may assume; return its ARN."""
        client, name = self.cloud.client("iam"), f"gateway-{next(_number)}"
        document = json.dumps({"Version": "2012-10-17", "Statement": [{**TRUST, **(trust or {})}]})
        arn = client.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
        if statements:
            policy = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
            client.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=policy)
        return str(arn)

    def may_predict(self) -> str:
        """Make a role that may invoke the tiny model."""
        arn = f"arn:aws:sagemaker:us-east-1:000000000000:endpoint/{ENDPOINT}"
        return self.role({"Effect": "Allow", "Action": "sagemaker:InvokeEndpoint", "Resource": arn})

    def api(self, **options: Any) -> "Api":
        """Make an API without methods."""
        name = f"api{next(_number)}"
        identifier = self.gateway.create_rest_api(name=name, **options)["id"]
        root = self.gateway.get_resources(restApiId=identifier)["items"][0]["id"]
        return Api(self, identifier, root)


@dataclass(frozen=True)
class Api:
    """A REST API whose methods are added one by one and served by the stage ``live``."""

    front: Front
    id: str
    root: str

    def method(
        self,
        path: str,
        responses: dict[str, dict[str, Any]],
        *,
        verb: str = "POST",
        method: dict[str, Any] | None = None,
        **integration: Any,
    ) -> str:
        """Make a resource with one method; ``responses`` has the integration's responses by status."""
        client, where, parent = self.front.gateway, {"restApiId": self.id}, self.root
        known = {each["path"]: each["id"] for each in client.get_resources(**where, limit=500)["items"]}
        so_far = ""
        for part in path.strip("/").split("/"):
            so_far = f"{so_far}/{part}"
            if so_far not in known:
                known[so_far] = client.create_resource(**where, parentId=parent, pathPart=part)["id"]
            parent = known[so_far]
        where = {**where, "resourceId": parent, "httpMethod": verb}
        client.put_method(**where, **{"authorizationType": "NONE", **(method or {})})
        client.put_integration(**where, **{"integrationHttpMethod": "POST", **integration})
        for status, response in responses.items():
            declared = dict.fromkeys(response.get("responseParameters") or {}, False)
            client.put_method_response(**where, statusCode=status, responseParameters=declared)
            client.put_integration_response(**where, statusCode=status, **response)
        return parent

    def deploy(self) -> "Api":
        """Deploy the current methods to the stage."""
        self.front.gateway.create_deployment(restApiId=self.id, stageName="live")
        return self

    def call(
        self,
        path: str,
        body: bytes = b"{}",
        *,
        verb: str = "POST",
        sign: str | None = None,
        credentials: Credentials | None = None,
        **headers: str,
    ) -> Seen:
        """Call a path below the stage; ``sign`` is the service of the signature, headers have ``_`` for ``-``."""
        given = {
            "content-type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        given = {name: value for name, value in given.items() if value}
        address = f"{self.front.cloud.endpoint_url}/_aws/execute-api/{self.id}/live{path}"
        if sign:
            keys = self.front.cloud.root_keys()
            root = Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"])
            request = AWSRequest(verb, address, data=body, headers=given)
            SigV4Auth(credentials or root, sign, "us-east-1").add_auth(request)
            given = dict(request.headers)
        return send(address, verb, body, given)


def send(address: str, verb: str, body: bytes, headers: dict[str, str]) -> Seen:
    """Send a request without an SDK."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        connection.request(verb, parts.path + (f"?{parts.query}" if parts.query else ""), body or None, headers)
        response = connection.getresponse()
        return Seen(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()


@pytest.fixture(scope="session")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """Start a cloud with a tiny model in service."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLOPS_LOCAL_RUNNERS", RUNNERS)
        running = cloud.up(tmp_path_factory.mktemp("gateway"))
    try:
        made = Front(running, running.client("apigateway"))
        serve_tiny(made)
        yield made
    finally:
        running.down(forget=True)


@pytest.fixture
def make_api(front: Front) -> Callable[..., Api]:
    """Make an API: ``make_api(binaryMediaTypes=[...])``."""
    return front.api


def serve_tiny(front: Front) -> None:
    """Put the tiny model in service."""
    running, bucket = front.cloud, "models"
    running.client("s3").create_bucket(Bucket=bucket)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo("name.txt")
        info.size = len(b"tiny")
        archive.addfile(info, io.BytesIO(b"tiny"))
    running.client("s3").put_object(Bucket=bucket, Key="model.tar.gz", Body=buffer.getvalue())
    role = front.role(
        {"Effect": "Allow", "Action": ["s3:GetObject", "logs:*"], "Resource": "*"},
        trust={"Principal": {"Service": "sagemaker.amazonaws.com"}},
    )
    sagemaker = running.client("sagemaker")
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{bucket}/model.tar.gz"}
    sagemaker.create_model(ModelName=ENDPOINT, ExecutionRoleArn=role, PrimaryContainer=container)
    variant = {
        "VariantName": "AllTraffic", "ModelName": ENDPOINT, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1,
    }  # fmt: skip
    sagemaker.create_endpoint_config(EndpointConfigName=ENDPOINT, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName=ENDPOINT)
    end = time.monotonic() + 60
    while sagemaker.describe_endpoint(EndpointName=ENDPOINT)["EndpointStatus"] != "InService":
        assert time.monotonic() < end, "the tiny model is not in service after 60 s"
        time.sleep(0.1)
