"""The hosted console on this machine: its pages with their policy, its API behind a Cognito authorizer of the embedded cloud."""

import json
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import boto3

from mlops_local.cloud import Cloud
from mlops_runtime.cloud_connection import CloudConnection, embedded_options
from mlops_runtime.console.hosted import HostedConsole
from mlops_runtime.console.page_files import CONFIG, HEADERS, content_policy, page_files
from mlops_runtime.console.route import Role

PASSWORD = "Aa1!aaaaaa"  # of all users in the pool
PEOPLE = {"ann": "on-call", "ben": "reader", "cleo": None}
SCOPE = "console/use"
TAKES = ["sts:AssumeRole", "sts:SetSourceIdentity"]
_CLAIMS = ("token_use", "username", "cognito:groups", "auth_time", "client_id")
_SERVICES = ("ssm", "dynamodb", "sagemaker", "states", "s3", "cloudwatch", "kms")
_READS = [f"{service}:{verb}*" for service in _SERVICES for verb in ("Get", "List", "Describe", "BatchGet", "Query")]


class HostedFront(ThreadingHTTPServer):
    """The front; ``ages`` makes sign-ins before its first value count as older by its second, in seconds."""

    daemon_threads = True

    def __init__(self, cloud: Cloud, name: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        # Cognito redirects to https, or to localhost
        self.cloud, self.files, self.origin = cloud, page_files(), f"http://localhost:{self.server_port}"
        self.ages = (0.0, 0.0)
        self.pool, self.client = _pool(cloud, name, self.origin)
        self.authorizer = _authorizer(cloud, name, self.pool)
        options = embedded_options(cloud.home)
        assert options is not None
        connection = CloudConnection(session=boto3.Session(), options=options)
        self.console = HostedConsole(roles=_roles(cloud, name), connection=connection)
        self.headers = {**HEADERS, "Content-Security-Policy": content_policy(connects_to=cloud.endpoint_url)}
        sign_in = {
            "kind": "cognito",
            "domain": cloud.endpoint_url,
            "clientId": self.client,
            "scopes": ["openid", SCOPE],
        }
        self.config = json.dumps({"signIn": sign_in, "api": "/api"}).encode()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def age(self, seconds: float) -> None:
        """Make all sign-ins so far count as older."""
        next_second = int(time.time()) + 1  # the claim has whole seconds
        self.ages = (next_second, seconds)
        while time.time() < next_second:
            time.sleep(0.05)

    def authorized(self, token: str) -> tuple[int, Any]:
        """Return the embedded gateway's result for a token: its status, and the context of the request."""
        request = urllib.request.Request(self.authorizer, headers={"Authorization": token})  # noqa: S310 - loopback
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - loopback
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


class _Handler(BaseHTTPRequestHandler):
    server: HostedFront
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        """Serve a page, or the API."""
        path = urlsplit(self.path).path
        if path.startswith("/api/"):
            self._call(path)
        elif path == CONFIG:
            self._send(200, {"Content-Type": "application/json", "Cache-Control": "no-store"}, self.server.config)
        elif (file := self.server.files.get(path)) is not None:
            headers = {"Content-Type": file.content_type, "Cache-Control": file.cache_control}
            self._send(200, headers, file.content)
        else:
            self._send(404, {"Content-Type": "text/plain"}, b"")

    do_POST = do_GET  # noqa: N815 - the name of the standard library

    def _call(self, path: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        status, context = self.server.authorized(self.headers.get("Authorization", ""))
        if status != 200:
            self._send(status, {"Content-Type": "application/json"}, json.dumps(context).encode())
            return
        before, seconds = self.server.ages
        claims = context["authorizer"]["claims"]
        if int(claims["auth_time"]) < before:
            claims["auth_time"] = str(int(claims["auth_time"]) - int(seconds))
        found = self.server.console.answer({
            "path": path,
            "httpMethod": self.command,
            "multiValueHeaders": {name: self.headers.get_all(name) for name in self.headers},
            # as in a Lambda event: tokens and users use real time, whatever the embedded clock
            "requestContext": {**context, "requestTimeEpoch": int(time.time() * 1000)},
            "body": body or None,
        })  # fmt: skip
        self._send(found["statusCode"], found["headers"], found["body"].encode())

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, **self.server.headers}.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _pool(cloud: Cloud, name: str, origin: str) -> tuple[str, str]:
    """Make a pool with its users and the pages' client, restricted to the console's scope."""
    idp = cloud.client("cognito-idp")
    pool = idp.create_user_pool(PoolName=name)["UserPool"]["Id"]
    idp.create_resource_server(
        UserPoolId=pool,
        Identifier="console",
        Name="console",
        Scopes=[{"ScopeName": "use", "ScopeDescription": "Use the console"}],
    )
    idp.create_user_pool_domain(UserPoolId=pool, Domain=f"{name}-sign-in", ManagedLoginVersion=2)
    client = idp.create_user_pool_client(
        UserPoolId=pool,
        ClientName="pages",
        AllowedOAuthFlows=["code"],
        AllowedOAuthFlowsUserPoolClient=True,
        AllowedOAuthScopes=["openid", SCOPE],
        CallbackURLs=[f"{origin}/"],
        LogoutURLs=[f"{origin}/"],
        SupportedIdentityProviders=["COGNITO"],
        ExplicitAuthFlows=["ALLOW_USER_SRP_AUTH"],
        RefreshTokenRotation={"Feature": "ENABLED", "RetryGracePeriodSeconds": 0},
        AccessTokenValidity=5,
        TokenValidityUnits={"AccessToken": "minutes"},
    )["UserPoolClient"]["ClientId"]
    idp.create_managed_login_branding(UserPoolId=pool, ClientId=client, UseCognitoProvidedValues=True)
    for who, group in PEOPLE.items():
        idp.admin_create_user(UserPoolId=pool, Username=who, MessageAction="SUPPRESS")
        idp.admin_set_user_password(UserPoolId=pool, Username=who, Password=PASSWORD, Permanent=True)
        if group is not None:
            idp.create_group(UserPoolId=pool, GroupName=group)
            idp.admin_add_user_to_group(UserPoolId=pool, Username=who, GroupName=group)
    return pool, client


def _authorizer(cloud: Cloud, name: str, pool: str) -> str:
    """Make an API that returns its authorizer's context for tokens with the console's scope; return its address."""
    client, idp = cloud.client("apigateway"), cloud.client("cognito-idp")
    api = {"restApiId": client.create_rest_api(name=name)["id"]}
    root = client.get_resources(**api)["items"][0]["id"]
    where = {**api, "resourceId": root, "httpMethod": "GET"}
    authorizer = client.create_authorizer(
        **api,
        name="people",
        type="COGNITO_USER_POOLS",
        providerARNs=[idp.describe_user_pool(UserPoolId=pool)["UserPool"]["Arn"]],
        identitySource="method.request.header.Authorization",
    )["id"]
    by = {"authorizationType": "COGNITO_USER_POOLS", "authorizerId": authorizer, "authorizationScopes": [SCOPE]}
    client.put_method(**where, **by)
    client.put_integration(**where, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'})
    message = ", ".join(f'"{claim}": "$context.authorizer.claims[\'{claim}\']"' for claim in _CLAIMS)
    template = f'{{"authorizer": {{"claims": {{{message}}}}}}}'
    client.put_method_response(**where, statusCode="200")
    client.put_integration_response(**where, statusCode="200", responseTemplates={"application/json": template})
    client.create_deployment(**api, stageName="live")
    return f"{cloud.endpoint_url}/_aws/execute-api/{api['restApiId']}/live/"


def _roles(cloud: Cloud, name: str) -> dict[Role, str]:
    iam, found = cloud.client("iam"), {}
    trust = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": TAKES}
    for role, actions in ((Role.READER, _READS), (Role.ON_CALL, ["*"])):
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        made = iam.create_role(RoleName=f"{name}-{role.value}", AssumeRolePolicyDocument=document)
        allowed = {"Effect": "Allow", "Action": actions, "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        iam.put_role_policy(RoleName=f"{name}-{role.value}", PolicyName="May", PolicyDocument=policy)
        found[role] = made["Role"]["Arn"]
    return found
