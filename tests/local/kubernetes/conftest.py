"""Fixtures: clusters on the shared cloud, and their callers."""

import base64
import http.client
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.signers import RequestSigner

from mlops_local.cloud import Cloud

APPLY, MERGE = "application/apply-patch+yaml", "application/merge-patch+json"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "0" * 64
# enables EKS Auto Mode
AUTO_MODE: dict[str, Any] = {
    "computeConfig": {"enabled": True},
    "kubernetesNetworkConfig": {"elasticLoadBalancing": {"enabled": True}},
    "storageConfig": {"blockStorage": {"enabled": True}},
}
_number = itertools.count(1)
_SERVER = """
import os, signal, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.answer(500 if os.path.exists(os.path.join(os.environ["TMPDIR"], "sick")) else 200, b"ok")
    def do_POST(self):
        said = self.rfile.read(int(self.headers["Content-Length"]))
        if said == b"die":
            os._exit(3)
        if said == b"sick":
            open(os.path.join(os.environ["TMPDIR"], "sick"), "w").close()
        self.answer(int(os.environ.get("STATUS", "200")), os.environ["VERSION"].encode())
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
print("serving", os.environ["VERSION"], flush=True)
server.serve_forever()
"""


def sign(cluster: str, keys: dict[str, str], *, signed_for: str | None = None) -> str:
    """Return a signed token: https://github.com/kubernetes-sigs/aws-iam-authenticator#api-authorization-from-outside-a-cluster."""
    session = boto3.Session(region_name="us-east-1", **keys)
    client = session.client("sts", region_name="us-east-1")
    signer = RequestSigner(
        client.meta.service_model.service_id, "us-east-1", "sts", "v4", session.get_credentials(), session.events
    )
    request = {
        "method": "GET", "url": "https://sts.us-east-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15",
        "body": {}, "headers": {"x-k8s-aws-id": signed_for or cluster}, "context": {},
    }  # fmt: skip
    url = signer.generate_presigned_url(request, region_name="us-east-1", expires_in=60, operation_name="")
    return "k8s-aws-v1." + base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")


@dataclass(frozen=True)
class Caller:
    """A caller of one cluster."""

    endpoint: str
    token: str

    def call(self, method: str, path: str, body: object = None, media: str = "application/json") -> tuple[int, Any]:
        """Send one request; return status and response."""
        connection = http.client.HTTPConnection(self.endpoint.removeprefix("http://"), timeout=20)
        sent = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
        connection.request(method, path, sent, {"authorization": f"Bearer {self.token}", "content-type": media})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text) if "json" in (answer.getheader("Content-Type") or "") else text.decode()

    def apply(self, manifest: dict[str, Any], query: str = "", manager: str = "mlops-constructs") -> tuple[int, Any]:
        """Apply a manifest server-side."""
        return self.call("PATCH", f"{path(manifest)}?fieldManager={manager}{query}", manifest, APPLY)

    def get(self, manifest: dict[str, Any]) -> Any:
        """Return the object of a manifest."""
        return self.call("GET", path(manifest))[1]


_PLURALS = {"NetworkPolicy": "networkpolicies"}


def path(manifest: dict[str, Any]) -> str:
    """Return the path of a manifest's object."""
    version, metadata = manifest["apiVersion"], manifest["metadata"]
    where = f"/namespaces/{metadata['namespace']}" if metadata.get("namespace") else ""
    plural = _PLURALS.get(manifest["kind"], manifest["kind"].lower() + "s")
    return f"/{'apis' if '/' in version else 'api'}/{version}{where}/{plural}/{metadata['name']}"


def thing(kind: str, name: str, namespace: str = "demand", api: str = "v1", **rest: Any) -> dict[str, Any]:
    """Return a manifest; an empty namespace for cluster-scoped kinds."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **rest.pop("metadata", {})}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **rest}


@pytest.fixture(scope="session")
def server_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server in place of a model: it returns its version, and exits or becomes unhealthy on request."""
    script = tmp_path_factory.mktemp("server") / "server.py"
    script.write_text(_SERVER)
    return script


@pytest.fixture(scope="module")
def cluster_name() -> str:
    """Return a cluster name that is unique in the session."""
    return f"cluster{next(_number)}-{sys.modules[__name__].__hash__() % 997}"


@pytest.fixture(scope="module")
def admin(cloud: Cloud, cluster_name: str) -> Iterator[Caller]:
    """The creator of a cluster of this module, with a namespace ``demand`` and a service account ``forecast``."""
    trust = {"Effect": "Allow", "Principal": {"Service": "eks.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = cloud.client("iam").create_role(RoleName=f"{cluster_name}-role", AssumeRolePolicyDocument=document)["Role"]
    eks = cloud.client("eks")
    eks.create_cluster(
        name=cluster_name,
        roleArn=role["Arn"],
        resourcesVpcConfig={},
        accessConfig={"authenticationMode": "API"},
        **AUTO_MODE,
    )
    endpoint = eks.describe_cluster(name=cluster_name)["cluster"]["endpoint"]
    caller = Caller(endpoint, sign(cluster_name, cloud.root_keys()))
    assert caller.apply(thing("Namespace", "demand", ""))[0] == 201
    assert caller.apply(thing("ServiceAccount", "forecast"))[0] == 201
    yield caller
    eks.delete_cluster(name=cluster_name)


@pytest.fixture
def deployment(server_script: Path) -> Callable[..., dict[str, Any]]:
    """Return a Deployment of the small server: ``deployment("forecast-blue", version="v1", replicas=2)``."""

    def make(name: str, *, version: str = "v1", replicas: int | None = None, **rest: Any) -> dict[str, Any]:
        probe = {"httpGet": {"path": "/ping", "port": "http"}, "periodSeconds": 1, "failureThreshold": 2}
        environment = {"VERSION": version, **rest.pop("environment", {})}
        container = {
            "name": "model", "image": IMAGE, "command": ["python", str(server_script)],
            "ports": [{"containerPort": 8080, "name": "http"}], "readinessProbe": probe, "livenessProbe": probe,
            "startupProbe": {**probe, "failureThreshold": 60},
            "env": [{"name": key, "value": value} for key, value in environment.items()],
            **rest.pop("container", {}),
        }  # fmt: skip
        pod = {
            "serviceAccountName": "forecast", "terminationGracePeriodSeconds": 5, "containers": [container], **rest.pop("pod", {})
        }  # fmt: skip
        spec: dict[str, Any] = {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            **rest,
        }
        if replicas is not None:
            spec["replicas"] = replicas
        return thing("Deployment", name, api="apps/v1", spec=spec)

    return make
