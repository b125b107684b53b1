"""Verification of signatures: a request must be signed with a secret of this cloud, or be one that AWS serves unsigned."""

import asyncio
import base64
import contextvars
import hashlib
import hmac
import json
import re
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs, quote

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from ministack import app
from ministack.core import iam_actions, iam_evaluator, sigv4
from ministack.core.responses import get_account_id, get_region, set_request_account_id
from ministack.services import alb, apigateway_v1, cloudfront, cognito, ecr, lambda_svc, s3

from mlops_local import own_names, settings
from mlops_local.routes import Application, Receive, Scope, Send, whole_body

_KEY = secrets.token_bytes(32)  # new for each run of the embedded cloud


Response = tuple[int, dict[str, str], bytes]

_LARGE = 256 * 1024  # bytes from which a body is hashed off the event loop
_CODE_LIFE = 600  # seconds, https://docs.aws.amazon.com/lambda/latest/api/API_FunctionCodeLocation.html
_HEX = 64
_ACCOUNT = re.compile(r"\d{12}")
# paths that end in a secret issued by this cloud: CloudFormation's responses and signals, EKS's token reviews
_CAPABILITIES = {"/_ministack/cfn-response/": "PUT", "/_ministack/cfn-signal/": "PUT", "/_ministack/eks-auth/": "POST"}
# authorized by the API or function itself
_APPLICATIONS = ("/_aws/execute-api/", "/_aws/lambda-url/")
_COGNITO_PAGES = frozenset({
    ("GET", "/oauth2/authorize"), ("POST", "/oauth2/login"), ("POST", "/login"), ("POST", "/oauth2/token"), ("GET", "/logout"),
    ("POST", "/oauth2/revoke"),
    *((method, f"/oauth2/user{info}") for method in ("GET", "POST") for info in ("Info", "info")),
})  # fmt: skip
_COGNITO_KEYS = ("/.well-known/jwks.json", "/.well-known/openid-configuration")
_BALANCERS = "/_alb/"
# paths that MiniStack serves before it reads hosts and buckets; they always need a signature
_SIGNED = ("/v20180820/", "/iceberg", "/v2/email", "/WriteGetObjectResponse")

_registry_password = secrets.token_urlsafe(32)
_checking: contextvars.ContextVar[bool] = contextvars.ContextVar("mlops_checking", default=False)


def session_keys(purpose: str) -> tuple[str, str, str]:
    """Return access key id, secret access key and session token derived from a purpose."""
    identifier, secret, token = (
        hmac.new(_KEY, f"{part}|{purpose}".encode(), hashlib.sha256).hexdigest() for part in ("id", "secret", "token")
    )
    return f"ASIA{identifier[:16].upper()}", secret, token


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    raw_path: str
    query: dict[str, list[str]]
    raw_headers: list[tuple[bytes, bytes]]
    headers: dict[str, str]
    body: bytes = field(repr=False)

    def service(self) -> str:
        """The service, as MiniStack detects it."""
        return str(app.detect_service(self.method, self.path, self.headers, self.parameters()))

    def parameters(self) -> dict[str, Any]:
        """Query parameters, including those of a form."""
        found: dict[str, Any] = app._routing_params(self.method, self.path, self.headers, self.body, self.query)
        return found


@dataclass(frozen=True, slots=True)
class _Verdict:
    """The verified access key (empty if unsigned), or the error response."""

    key: str = ""
    is_anonymous: bool = False
    answer: Response | None = None


def install() -> None:
    """Replace MiniStack's verification of signatures, and sign the URLs that MiniStack issues."""
    is_root_key = iam_evaluator._is_root_key
    # root's signature is verified like any other; elsewhere root is still recognized by its key
    iam_evaluator._is_root_key = lambda key: not _checking.get() and bool(is_root_key(key))
    # done by with_signatures, once for each request
    app.pin_signed_request = app.pin_signed_body = lambda *_: None
    lambda_svc._presigned_code_url = _code_url
    lambda_svc._layer_content_url = _layer_url
    token = ecr._get_authorization_token

    def authorization_token(data: dict[str, Any]) -> Response:
        status, headers, body = token(data)
        answer = json.loads(body)
        for row in answer["authorizationData"]:
            row["authorizationToken"] = _registry_token()
        return status, headers, json.dumps(answer).encode()

    ecr._get_authorization_token = authorization_token


def with_signatures(application: Application) -> Application:
    """Return an ASGI application that rejects requests without a required signature, and passes others to ``application``."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await _connect(application, scope, receive, send)
            return
        body = await whole_body(receive)
        if body is None:
            return
        request = _read(scope, body)
        context = contextvars.copy_context()
        if len(body) < _LARGE:
            verdict = context.run(_verdict, request)
        else:
            verdict = await asyncio.get_running_loop().run_in_executor(None, context.run, _verdict, request)
        if verdict.answer is not None:
            await app._send_response(send, *verdict.answer, head=request.method == "HEAD")
            return
        # read by MiniStack when it evaluates permissions
        iam_evaluator._signed_request.set(None)
        iam_evaluator._verified_key.set(verdict.key)
        iam_evaluator._anonymous.set(verdict.is_anonymous)
        await application(scope, _again(body, receive), send)

    return serve


async def _connect(application: Application, scope: Scope, receive: Receive, send: Send) -> None:
    """Pass WebSockets to APIs, which authorize them themselves; those of IoT and AppSync would be open to everyone."""
    host = next((value.decode("latin-1") for name, value in scope.get("headers", []) if name == b"host"), "")
    if scope["type"] == "websocket" and not app._parse_execute_api_url(host, scope["path"]):
        await receive()
        await send({"type": "websocket.close", "code": 1008})
    else:
        await application(scope, receive, send)


def _again(body: bytes, receive: Receive) -> Receive:
    """Return a receive function that returns an already read body first."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def give() -> Any:
        return messages.pop() if messages else await receive()

    return give


def _read(scope: Scope, body: bytes) -> _Request:
    headers: dict[str, str] = {}
    for raw_name, value in scope["headers"]:
        name, text = raw_name.decode("latin-1").lower(), sigv4.decode_header_value(value)
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    query = parse_qs(scope["query_string"].decode("utf-8", "replace"), keep_blank_values=True)
    raw_path = scope.get("raw_path") or quote(scope["path"]).encode()
    return _Request(
        scope["method"], scope["path"], raw_path.decode("latin-1"), query, list(scope["headers"]), headers, body
    )


def _verdict(request: _Request) -> _Verdict:
    if app._is_ecr_registry_path(request.path) and not _is_viewers(request):
        return _registry_verdict(request)
    verdict = _signer(request)
    if verdict.answer is not None:
        return verdict
    if _is_internal(request.path) and not _is_of_balancer(request):
        if request.method == next((m for start, m in _CAPABILITIES.items() if request.path.startswith(start)), None):
            return verdict
        is_clock = (request.method, request.path) == ("GET", "/_mlops/clock")  # read by commands, for any user
        if verdict.key and (is_clock or iam_evaluator.is_root_access_key(verdict.key)):
            return verdict
        return _Verdict(answer=_json(403, "AccessDeniedException", "this address of the embedded cloud needs a signature of "
                                     "the account's root user; `mlops local env` has its keys"))  # fmt: skip
    if not verdict.key and not _is_open(request):
        code = "AccessDenied" if request.service() == "s3" else "MissingAuthenticationToken"
        # claim: calls-are-signed
        return _Verdict(answer=_failure(request, code, "Request is missing Authentication Token"))
    return verdict


def _signer(request: _Request) -> _Verdict:
    """Verify a request's signature: the key, an error, or neither if it has none."""
    _checking.set(True)
    iam_evaluator.pin_signed_request(request.method, request.raw_path, request.query, request.raw_headers)
    pinned = iam_evaluator._signed_request.get()
    if pinned is None:
        return _Verdict(is_anonymous=iam_evaluator._anonymous.get())
    key = pinned.access_key_id
    # claim: authentication-errors-by-protocol
    if _ACCOUNT.fullmatch(key or "") and key not in settings.accounts:
        return _Verdict(answer=_failure(request, "InvalidClientTokenId", f"the embedded cloud has no account {key}"))
    try:
        if key:
            set_request_account_id(app._request_account_scope(key))
    except iam_evaluator.AmbiguousAccessKeyError:
        return _Verdict(
            answer=_failure(request, "UnrecognizedClientException", "The security token included is invalid.")
        )
    if pinned.s3_scoped:
        return _presigned(request, key)
    stated, actual = request.headers.get("x-amz-content-sha256", ""), hashlib.sha256(request.body).hexdigest()
    # claim: the-stated-hash-is-the-bodys
    is_s3 = "/s3/aws4_request" in request.headers.get("authorization", "")
    if not pinned.sigv2 and (not stated or (len(stated) == _HEX and not is_s3)):
        pinned = replace(pinned, headers={**pinned.headers, "x-amz-content-sha256": actual})
    # claim: signatures-are-recomputed
    iam_evaluator._signed_request.set(replace(pinned, body=request.body))
    found = iam_evaluator.authenticate(key, get_account_id())
    if isinstance(found, iam_evaluator.AuthError):
        return _Verdict(answer=_failure(request, found.code, found.message))
    if is_s3 and len(stated) == _HEX and stated.lower() != actual:
        text = "The provided 'x-amz-content-sha256' header does not match what was computed."
        return _Verdict(answer=s3._error("XAmzContentSHA256Mismatch", text, 400))
    return _Verdict(key)


def _presigned(request: _Request, key: str) -> _Verdict:
    """Verify a presigned S3 URL, which MiniStack also uses for its own downloads."""
    if not _is_internal(request.path):
        wrong = iam_evaluator._s3_scope_failure(request.service())
        if wrong is not None:
            return _Verdict(answer=_failure(request, wrong.code, wrong.message))
    answer: Response | None = s3._verify_presigned_sigv4(request.method, request.path, request.headers, request.query)
    return _Verdict(answer=answer) if answer is not None else _Verdict(key)


def _is_internal(path: str) -> bool:
    return path == "/health" or (path.startswith("/_") and not path.startswith(_APPLICATIONS))


def _is_open(request: _Request) -> bool:
    """Return whether AWS serves a request without a signature; the service then authenticates callers itself."""
    # claim: some-operations-are-unsigned
    host, path = request.headers.get("host", ""), request.path
    if _is_viewers(request):
        return True
    if path.startswith(_SIGNED) or path in app._RDS_DATA_PATHS:
        return False
    if _api(request) or app._parse_lambda_url(host, path):
        return True
    if (request.method, path) in _COGNITO_PAGES or _is_key_of_pool(request) or _is_of_balancer(request):
        return True
    service = request.service()
    if service == "s3":
        return app._s3_cors_target(host, path) is not None
    action = iam_actions.extract_iam_action(
        service, request.method, path, request.headers, request.body, request.parameters()
    )
    return action is not None and bool(iam_evaluator._served_unsigned(service, action))


def _is_viewers(request: _Request) -> bool:
    """Return whether a request's host is a distribution or an API's custom domain name, which own every path."""
    host = request.headers.get("host", "")
    # claim: viewers-of-distributions-are-unsigned
    label = app._parse_cloudfront_dataplane_host(host)
    return own_names.is_api(host) or (label is not None and cloudfront.find_distribution_for_label(label) is not None)


def _api(request: _Request) -> tuple[str, str, str] | None:
    """Return id, stage and path of the API of a request; MiniStack serves some paths before it reads hosts."""
    host = request.headers.get("host", "")
    found: tuple[str, str, str] | None
    if own_names.is_api(host):
        found = app._resolve_custom_domain_request(host, request.path)
    else:
        found = None if request.path.startswith(_SIGNED) else app._parse_execute_api_url(host, request.path)
    return found


def _is_of_balancer(request: _Request) -> bool:
    """Return whether a request's host is an existing load balancer; it gets the address at which that listens."""
    host, path = request.headers.get("host", ""), request.path
    if not app._is_potential_alb_request(host, path):
        return False
    name = path.removeprefix(_BALANCERS).partition("/")[0] if path.startswith(_BALANCERS) else ""
    return alb.find_lb_for_host(host) is not None or (bool(name) and alb._find_lb_by_name(name) is not None)


def _is_key_of_pool(request: _Request) -> bool:
    pool = next((request.path.removesuffix(end) for end in _COGNITO_KEYS if request.path.endswith(end)), None)
    return request.method == "GET" and pool is not None and cognito._get_pool_unscoped(pool.lstrip("/")) is not None


def _registry_verdict(request: _Request) -> _Verdict:
    # claim: registry-asks-for-its-token
    given = request.headers.get("authorization", "")
    if hmac.compare_digest(given.encode(), f"Basic {_registry_token()}".encode()):
        return _Verdict()
    error = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}
    realm = {
        "Content-Type": "application/json",
        "Www-Authenticate": 'Basic realm="embedded",service="ecr.amazonaws.com"',
    }
    return _Verdict(answer=(401, realm, json.dumps(error).encode()))


def _registry_token() -> str:
    return base64.b64encode(f"AWS:{_registry_password}".encode()).decode()


def _failure(request: _Request, code: str, message: str) -> Response:
    """Return an error in the service's protocol."""
    if _is_internal(request.path):
        return _json(403, code, message)
    error, named = iam_evaluator.AuthError(code, message), _api(request)
    if named is not None:
        # claim: gateway-words-failed-signatures
        answer: Response = apigateway_v1.authentication_error_response(
            *named[:2], error, request.headers, request.query
        )
        return answer
    # claim: authentication-errors-by-protocol
    identifier = str(uuid.uuid4())
    status, headers, body = app._credential_failure(request.service(), "", identifier, error, request.headers)
    return status, {**headers, "x-amzn-requestid": identifier}, body


def _json(status: int, code: str, message: str) -> Response:
    return status, {"Content-Type": "application/json"}, json.dumps({"__type": code, "message": message}).encode()


def _code_url(name: str) -> str:
    return _signed_url(f"/_ministack/lambda-code/{get_account_id()}/{get_region()}/{quote(name)}")


def _layer_url(name: str, version: int) -> str:
    return _signed_url(f"/_ministack/lambda-layers/{get_account_id()}/{get_region()}/{quote(name)}/{version}/content")


def _signed_url(path: str) -> str:
    """Return a MiniStack URL presigned by root, as S3 would."""
    # claim: code-is-behind-a-presigned-address
    request = AWSRequest("GET", settings.endpoint_url() + path)
    keys: Mapping[str, str] = settings.root_keys()
    credentials = Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"])
    S3SigV4QueryAuth(credentials, "s3", settings.region, expires=_CODE_LIFE).add_auth(request)
    return str(request.url)
