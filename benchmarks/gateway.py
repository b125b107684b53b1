"""``python -m benchmarks.gateway [calls]``: latency that a REST API adds to a model call on the embedded cloud.

InvokeEndpoint; the same model through an AWS integration, with IAM, and with a validated body and templates; and a
MOCK. The cases alternate on one connection each; milliseconds of the client, with signatures made before. The figures
do not apply to AWS.
"""

import http.client
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.measure import load
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from tests.local.gateway.conftest import ENDPOINT, PREDICTIONS, RUNNERS, Api, Front, serve_tiny

from mlops_local import cloud

WARM = 40
BODY = json.dumps({"instances": [[float(number) for number in range(20)] for _ in range(10)]}).encode()
SCHEMA = {"type": "object", "required": ["instances"], "properties": {"instances": {"type": "array", "minItems": 1}}}
RESPONSES = {
    "200": {"responseParameters": {"method.response.header.X-Inference-Id": "context.requestId"}},
    "502": {"selectionPattern": "424|5..", "responseTemplates": {"application/json": '{"id": "$context.requestId"}'}},
}
ID = {"integration.request.header.X-Amzn-SageMaker-Inference-Id": "context.requestId"}


def furnish(front: Front) -> Api:
    """Create an API with a method per case."""
    api, client = front.api(), front.gateway
    client.create_model(restApiId=api.id, name="Rows", contentType="application/json", schema=json.dumps(SCHEMA))
    validator = client.create_request_validator(restApiId=api.id, name="body", validateRequestBody=True)["id"]
    model = {"type": "AWS", "uri": PREDICTIONS, "credentials": front.may_predict(), "requestParameters": ID}
    api.method("/model", RESPONSES, **model)
    api.method("/signed", RESPONSES, method={"authorizationType": "AWS_IAM"}, **model)
    checked = {
        "authorizationType": "AWS_IAM",
        "requestModels": {"application/json": "Rows"},
        "requestValidatorId": validator,
    }
    passing = {"application/json": "$input.body"}
    api.method("/checked", RESPONSES, method=checked, passthroughBehavior="NEVER", requestTemplates=passing, **model)
    api.method("/mock", {"200": {}}, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'})
    return api.deploy()


def main(calls: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["MLOPS_LOCAL_RUNNERS"] = RUNNERS
        running = cloud.up(Path(home))
        try:
            front = Front(running, running.client("apigateway"))
            serve_tiny(front)
            measure(front, furnish(front), calls)
        finally:
            running.down(forget=True)


def measure(front: Front, api: Api, calls: int) -> None:
    """Call each case in turn, and print a table."""
    stage = f"/_aws/execute-api/{api.id}/live"
    ways = {
        "InvokeEndpoint": (f"/endpoints/{ENDPOINT}/invocations", "sagemaker"),
        "through the API": (f"{stage}/model", ""),
        "through the API, IAM": (f"{stage}/signed", "execute-api"),
        "through the API, IAM, schema and template": (f"{stage}/checked", "execute-api"),
        "MOCK": (f"{stage}/mock", ""),
    }
    root, base = Credentials(*front.cloud.root_keys().values()), urlsplit(front.cloud.endpoint_url)
    lines = {name: http.client.HTTPConnection(base.hostname or "", base.port) for name in ways}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(WARM + calls):
        for name, (path, service) in ways.items():
            request = AWSRequest("POST", base.geturl() + path, data=BODY, headers={"Content-Type": "application/json"})
            if service:
                SigV4Auth(root, service, "us-east-1").add_auth(request)
            headers = dict(request.headers)
            began = time.perf_counter()
            lines[name].request("POST", path, BODY, headers)
            response = lines[name].getresponse()
            response.read()
            took = time.perf_counter() - began
            if response.status != 200:
                sys.exit(f"{name} answered {response.status}")
            if turn >= WARM:
                times[name].append(took * 1000)
    sys.stdout.write(
        f"{calls} calls each, {load()}\n\n| way | p50 ms | p99 ms | p50 added | p99 added |\n|---|---|---|---|---|\n"
    )
    direct = _quantiles(times["InvokeEndpoint"])
    for name, found in times.items():
        half, most = _quantiles(found)
        sys.stdout.write(f"| {name} | {half:.2f} | {most:.2f} | {half - direct[0]:+.2f} | {most - direct[1]:+.2f} |\n")


def _quantiles(found: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(found, n=100)
    return cuts[49], cuts[98]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
