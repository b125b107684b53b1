"""A deployed API with a model behind it: access logs, approvals, and calls as client programs make them."""

import http.client
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from examples.retail.loop import Loop

from mlops_local.cloud import Cloud

JSON = "application/json"
PATH = "/v1/models/doubled/predictions"


class Answer(NamedTuple):
    """A caller's response; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class ApiDoor:
    """Common base of the SageMaker and EKS tests; ``outputs`` are those of the stack, ``loop`` its rollouts."""

    cloud: Cloud
    outputs: dict[str, str]
    loop: Loop

    def allow_logs(self) -> None:
        """Set the account's role for access logs, as a platform does once per Region."""
        role = "arn:aws:iam::000000000000:role/api-gateway-logs"
        operations = [{"op": "replace", "path": "/cloudwatchRoleArn", "value": role}]
        self.cloud.client("apigateway").update_account(patchOperations=operations)

    def now(self) -> datetime:
        """Return the time of the embedded clock."""
        return datetime.fromisoformat(self.cloud.clock()["now"])

    def approve(self, package: str, error: str | None = None) -> None:
        """Approve a package, and wait for the end of its rollout: success, or the named error."""
        self.loop.wait_idle("DeployMachineArn")
        seen = {each["executionArn"] for each in self.loop.executions("DeployMachineArn")}
        self.loop.approve(package, "a person looked at it")
        self.loop.wait_execution("DeployMachineArn", seen, appear=30, finish=120, error=error)

    def keys(self, role: str) -> Credentials:
        """Return a caller's credentials after assuming a role."""
        taken = self.cloud.client("sts").assume_role(RoleArn=self.outputs[role], RoleSessionName="caller")
        keys: dict[str, Any] = taken["Credentials"]
        return Credentials(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])

    def call(
        self, body: bytes, *, path: str = PATH, verb: str = "POST", role: str | None = "ShopRole", **headers: str
    ) -> Answer:
        """Call the API without an SDK, signed by a role if given; header names have ``_`` for ``-``."""
        address = f"{self.cloud.endpoint_url}/_aws/execute-api/{self.outputs['ApiId']}/live{path}"
        sent = {"content-type": JSON, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if role is not None:
            request = AWSRequest(verb, address, data=body, headers=sent)
            SigV4Auth(self.keys(role), "execute-api", "us-east-1").add_auth(request)
            sent = dict(request.headers)
        parts = urlsplit(address)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        try:
            connection.request(verb, parts.path, body or None, sent)
            response = connection.getresponse()
            return Answer(response.status, {n.lower(): v for n, v in response.getheaders()}, response.read())
        finally:
            connection.close()
