"""Attacks on an `InferenceApi` with a live model: each has a reason to be rejected, which its form may hide.

The model's own server counts the requests that reach it.
"""

import base64
import hashlib
import hmac
import http.client
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock
from urllib.parse import quote, urlsplit

import requests
from aws_cdk import aws_cognito as cognito
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from tests.campaign.hostile import bodies, forms
from tests.campaign.hostile.forms import Sound
from tests.campaign.hostile.judge import Door
from tests.campaign.hostile.wire import Attack, request, send
from tests.examples import models, test_inference_api

from mlops_constructs import Access
from mlops_local.cloud import Cloud
from mlops_runtime.contracts.model import ModelSignature
from mlops_runtime.inference_api.open_api import METADATA, open_api
from mlops_runtime.inference_api.request_promise import request_schema

REGION, JSON = "us-east-1", "application/json"
SCHEMA = request_schema(ModelSignature(inputs=models.INPUTS, output="y"), max_rows=100)
SOUND = b'{"instances": [{"x": 2.0}]}'
SIGNED, BY_TOKEN = "/v1/models/doubled/predictions", "/v1/token/models/doubled/predictions"
_SCOPE = "models/predict"
# each rejected by the schema, and by a model whose server reads it
_BAD = (
    b'{"instances": [[1, 2]]}',
    b'{"instances": [{"x": "2"}]}',
    b'{"instances": [{"y": 1}]}',
    b'{"instances": []}',
    b"[]",
)


class Gateway(test_inference_api.Door):
    """The deployed API, callers of all kinds, and the number of requests to its model."""

    name = "gateway"

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        pools = cloud.client("cognito-idp")
        self._pools = {name: _client(pools, name) for name in ("callers", "others")}
        arn = pools.describe_user_pool(UserPoolId=self._pools["callers"]["pool"])["UserPool"]["Arn"]

        def access(stack: Any) -> Access:
            pool = cognito.UserPool.from_user_pool_arn(stack, "Pool", arn)
            return Access.both(pool, scope=_SCOPE)

        super().__init__(cloud, folder, access=access, schema=SCHEMA)
        self.folder = folder
        parts = urlsplit(cloud.endpoint_url)
        self.root = f"/_aws/execute-api/{self.outputs['ApiId']}/live"
        self.host = f"{parts.hostname}:{parts.port}"
        self.url = f"http://{self.host}{self.root}"
        # names of the account's resources
        named = ("ArtifactsBucket", "AuditBucket", "EndpointName", "RolloutTable")
        secrets = ("000000000000", "arn:aws", "s3://", "amazonaws.com", *(self.outputs[name] for name in named))
        self.door = Door(
            name=self.name,
            address=(parts.hostname or "", parts.port or 0),
            secrets=tuple(secret.encode() for secret in secrets),
        )
        self.renew()

    def renew(self) -> None:
        """Create new keys and tokens: the embedded clock may have ended the old ones."""
        self.granted, self.other = self.keys("ShopRole"), self.keys("OtherRole")
        self.tokens = {name: _token(self.door.address, pool) for name, pool in self._pools.items()}

    def reached(self) -> int:
        """Return the number of requests to the model's server, by its own count."""
        return sum(_invocations(port) for port in self._ports())

    def _ports(self) -> list[int]:
        """The ports of the endpoint's servers, by which SageMaker's embedded plane names their logs."""
        logs = self.cloud.client("logs")
        group = f"/aws/sagemaker/Endpoints/{self.outputs['EndpointName']}"
        streams = logs.describe_log_streams(logGroupName=group)["logStreams"]
        return sorted({int(each["logStreamName"].split("/i-")[1].split("-")[0]) for each in streams})

    @staticmethod
    def difference(before: int, after: int) -> int:
        """Return the number of requests between two counts."""
        return after - before

    def document(self) -> dict[str, Any]:
        """Return the document that callers get from ``mlops api export``."""
        template = json.loads((self.folder / "cdk.out" / "Door.template.json").read_text())
        (described,) = [
            each["Metadata"][METADATA]
            for each in template["Resources"].values()
            if METADATA in each.get("Metadata", {})
        ]
        return open_api({"domain": None, **described})

    def sign(self, requested: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign a request or give it a token, according to its path."""
        body = requested.body if isinstance(requested.body, bytes) else str(requested.body or "").encode()
        if "/v1/token/" in str(requested.url):
            requested.headers["authorization"] = self.tokens["callers"]
            return requested
        headers = {"content-type": str(requested.headers.get("content-type", "")), "host": self.host}
        request = AWSRequest(requested.method, requested.url, data=body, headers=headers)
        SigV4Auth(self.granted, "execute-api", REGION).add_auth(request)
        requested.headers.update(dict(request.headers))
        return requested

    def attack(self, chance: Random) -> Attack:
        """Return the next attack, chosen at random."""
        return chance.choice(_ATTACKS)(self, chance)

    def oddity(self, chance: Random) -> Attack:
        """Return a valid request in an unusual form: rejected, or answered as usual."""
        return chance.choice(_ODDITIES)(self, chance)

    def signed(
        self,
        body: bytes,
        *,
        path: str = SIGNED,
        verb: str = "POST",
        headers: Mapping[str, str] | None = None,
        keys: Credentials | None = None,
        service: str = "execute-api",
        region: str = REGION,
        by: timedelta = timedelta(),
    ) -> Sound:
        """Return a correctly signed request."""
        given = {"host": self.host, "content-type": JSON, **(headers or {})}
        request = AWSRequest(verb, f"http://{self.host}{self.root}{path}", data=body, headers=given)
        now = datetime.now(UTC) + by
        with mock.patch("botocore.auth.get_current_datetime", lambda **_: now.replace(tzinfo=None)):
            SigV4Auth(keys or self.granted, service, region).add_auth(request)
        return Sound(verb, self.root + path, dict(request.headers), body)

    def by_token(self, token: str, body: bytes = SOUND, *, path: str = BY_TOKEN, verb: str = "POST") -> Sound:
        """Return a request with a token."""
        headers = {"host": self.host, "content-type": JSON, "authorization": token}
        return Sound(verb, self.root + path, headers, body)

    def unsigned(self, body: bytes = SOUND) -> Sound:
        """Return a request without a signature."""
        return Sound("POST", self.root + SIGNED, {"host": self.host, "content-type": JSON}, body)

    def _presigned(self, chance: Random) -> Sound:
        """Return a valid request with an expired or changed presigned URL."""
        request = AWSRequest("POST", f"http://{self.host}{self.root}{SIGNED}", data=SOUND, headers={"host": self.host})
        then = datetime.now(UTC) - timedelta(days=1)
        with mock.patch("botocore.auth.get_current_datetime", lambda **_: then.replace(tzinfo=None)):
            SigV4QueryAuth(self.granted, "execute-api", REGION, expires=chance.choice([60, 604_800_000])).add_auth(
                request
            )
        return self.unsigned()._replace(path=f"{self.root}{SIGNED}?{urlsplit(request.url).query}")

    def to_refuse(self, chance: Random) -> Sound:
        """Return a request with one reason to be rejected."""
        bad = chance.choice(_BAD)
        token = self.tokens["callers"]
        return chance.choice([
            self.unsigned(), self.signed(bad), self.signed(bad), self.signed(SOUND, keys=self.other), self.by_token("x"),
            self.by_token(token, bad), self.by_token(self.tokens["others"]),
        ])  # fmt: skip


def _client(pools: Any, name: str) -> dict[str, str]:
    """Create a user pool with a client of the client-credentials grant."""
    pool = pools.create_user_pool(PoolName=name)["UserPool"]["Id"]
    scope = [{"ScopeName": "predict", "ScopeDescription": "asks models"}]
    pools.create_resource_server(UserPoolId=pool, Identifier="models", Name="models", Scopes=scope)
    made = pools.create_user_pool_client(
        UserPoolId=pool, ClientName="shop", GenerateSecret=True, AllowedOAuthFlows=["client_credentials"],
        AllowedOAuthFlowsUserPoolClient=True, AllowedOAuthScopes=[_SCOPE],
    )["UserPoolClient"]  # fmt: skip
    return {"pool": pool, "id": made["ClientId"], "secret": made["ClientSecret"]}


def _token(address: tuple[str, int], pool: Mapping[str, str]) -> str:
    """Request an access token as a program does."""
    basic = base64.b64encode(f"{pool['id']}:{pool['secret']}".encode()).decode()
    headers = {
        "host": ":".join(map(str, address)),
        "authorization": f"Basic {basic}",
        "content-type": "application/x-www-form-urlencoded",
    }
    form = f"grant_type=client_credentials&scope={quote(_SCOPE, safe='')}".encode()
    (reply,) = send(address, Attack(kind="token", raw=request("POST", "/oauth2/token", headers, form)))
    return str(json.loads(reply.body)["access_token"])


def _invocations(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    except OSError:  # of a rehearsal that has ended
        return 0
    finally:
        connection.close()
    wanted = ("mlops_requests_total{route=", "invocations", "v2/infer", "other")
    return sum(
        int(line.rpartition(" ")[2])
        for line in lines
        if line.startswith(wanted[0]) and any(f'route="{name}"' in line for name in wanted[1:])
    )


def _made(kind: str, sound: Sound, *, is_http: bool = True) -> Attack:
    return Attack(kind=kind, raw=request(sound.verb, sound.path, sound.headers, sound.body), is_http=is_http)


def _body(self: Gateway, chance: Random) -> Attack:
    """A body of a granted caller that violates the schema."""
    value = chance.choice(bodies.NUMBERS)
    text = json.dumps(chance.choice([*bodies.TEMPLATES, *bodies.TEXTS]))
    kind, body = chance.choice(
        [
            ("number", f'{{"instances": [{{"x": {value}}}]}}'.encode()),
            ("number", f'{{"instances": [[{value}]]}}'.encode()),
            ("template", f'{{"instances": [{{"x": {text}}}]}}'.encode()),
            ("template", f'{{"instances": [{{"x": 1, {text}: 1}}]}}'.encode()),
            ("template", text.encode()),
            ("doubled key", b'{"instances": [[1]], "instances": "x"}'),
            ("doubled key", b'{"instances": [{"x": 1, "x": "2"}]}'),
            ("not JSON", bodies.broken_json(chance, SOUND)),
            ("encoding of text", bodies.other_text(chance, SOUND)),
            ("depth", bodies.deep_json(chance, lambda nested: f'{{"instances": [{{"x": {nested}}}]}}')),
            ("depth", bodies.deep_json(chance, lambda nested: nested)),
            ("shape", bodies.other_shapes(chance, {"instances": [{"x": 2.0}]})),
            ("shape", json.dumps({"instances": [[1]] * chance.choice([101, 2000])}).encode()),
        ]
    )  # the rest of a number
    if kind == "number" and value == "1e":  # the rest of a number, if there were one
        body = body.replace(b"1e", b"1e]")
    if chance.random() < 0.3:
        return _made(kind, self.by_token(self.tokens["callers"], body))
    return _made(kind, self.signed(body))


def _size(self: Gateway, chance: Random) -> Attack:
    """Sizes beyond what the firewall inspects, and beyond the gateway's limit."""
    size = chance.choice([65, 65, 65, 100, 1024, 11 * 1024]) * 1024
    filler = chance.choice([b" ", b"[", b"\x00"])
    return _made("size", self.signed(SOUND + filler * size if chance.random() < 0.5 else filler * size + SOUND))


def _type(self: Gateway, chance: Random) -> Attack:
    """An undeclared content type that the model would accept."""
    kind, body = chance.choice([
        ("text/csv", b"2.0\n"), ("text/csv; charset=utf-8", b"2.0\n"), ("application/xml", b"<a/>"), ("application/jsonp", SOUND),
        ("application/x-www-form-urlencoded", b"instances=1"), ("multipart/form-data; boundary=a", b"--a\r\n\r\n2\r\n--a--"),
        ("*/*", b"2.0\n"), ("application/*", b"2.0\n"), ("text/plain", SOUND), ("application/vnd.api+json", SOUND), (";",
        b"2.0\n"), ("x", SOUND),
        ("application/json\x0b", b"2.0\n"), ("application/json, text/csv", b"2.0\n"), ("text/csv, application/json", b"2.0\n"),
        ("application/json;text/csv", b"2.0\n"), ("application/octet-stream", SOUND), ("", b"2.0\n"), ("application/x-npy",
        b"\x93NUMPY"),
        ("application/json-seq", SOUND), ("text/json", SOUND), ("application/" + "j" * 500, SOUND), ("$context.accountId", SOUND),
    ])  # fmt: skip
    return _made("content type", self.signed(body, headers={"content-type": kind}), is_http="\x0b" not in kind)


def _encoding(self: Gateway, chance: Random) -> Attack:
    """A compressed body, which nothing may decompress unchecked."""
    coding, body = bodies.compressed(chance, SOUND)
    return _made("content encoding", self.signed(body, headers={"content-encoding": coding}))


def _signature(self: Gateway, chance: Random) -> Attack:
    """A valid body of an unknown caller, or of one without a grant."""
    way = chance.randrange(13)
    if way < 3:
        service = chance.choice(["s3", "sagemaker", "lambda", "sts", "execute-api/x", ""])
        sound = (
            self.signed(SOUND, service=service)
            if way
            else self.signed(SOUND, region=chance.choice(["eu-west-1", "*", ""]))
        )
    elif way == 3:
        sound = self.signed(
            SOUND, by=chance.choice([-1, 1]) * timedelta(minutes=chance.choice([16, 60, 1440, 525_600]))
        )
    elif way == 4:
        sound = self.signed(SOUND, keys=self.other)
    elif way == 5:
        sound = self.signed(_BAD[0])._replace(body=SOUND)
    elif way == 6:
        sound = self.signed(SOUND, path="/v1/models/doubled", verb="GET")
        sound = sound._replace(verb="POST", path=self.root + SIGNED)
    elif way == 7:
        keys = self.granted
        wrong = chance.choice([
            Credentials(keys.access_key, "x" * 40, keys.token), Credentials(keys.access_key, keys.secret_key, None),
            Credentials(keys.access_key, keys.secret_key, keys.token[:-4] + "AAAA"), Credentials("test", "wrong"),
            Credentials(keys.access_key, keys.secret_key, self.other.token), Credentials("AKIAIOSFODNN7EXAMPLE", "x" * 40),
        ])  # fmt: skip
        sound = self.signed(SOUND, keys=wrong)
    elif way == 8:
        whole = self.signed(SOUND)
        given = dict(whole.headers)
        auth = given["Authorization"]
        given["Authorization"] = chance.choice([
            auth[:-4] + "0000", auth.replace("SignedHeaders=", "SignedHeaders=x;"), auth.replace("aws4_request", "aws4_requesT"),
            auth.replace("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"), auth.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
            auth.replace("Credential=", "Credential=,"), auth.split("Signature=")[0] + "Signature=", "AWS4-HMAC-SHA256",
            "AWS " + auth.split("=")[1][:20] + ":x", auth.replace("/", "//", 1), "\u00e9" * 50,
        ])  # fmt: skip
        sound = whole._replace(headers=given)
    elif way == 9:
        sound = self.unsigned()._replace(
            headers={**self.unsigned().headers, "x-api-key": "a" * chance.choice([1, 20, 5000])}
        )
    elif way == 10:
        sound = self._presigned(chance)
    elif way == 11:
        sound = self.by_token(self.tokens["callers"], path=SIGNED)
    else:
        whole = self.signed(SOUND)
        sound = whole._replace(path=self.root + BY_TOKEN)
    return _made("signature", sound)


def _token_attack(self: Gateway, chance: Random) -> Attack:
    """A valid body with an invalid token, or one of other callers."""
    own, foreign = self.tokens["callers"], self.tokens["others"]
    head, payload, signature = own.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    now = int(time.time())
    changed = chance.choice([
        claims, {**claims, "exp": now - 10}, {**claims, "exp": "never"}, {**claims, "exp": 10**400}, {**claims,
        "scope": "models/admin"},
        {**claims, "iss": "https://evil.example"}, {**claims, "token_use": "id"}, {}, [], None,
    ])  # fmt: skip
    kept = json.loads(base64.urlsafe_b64decode(head + "=="))
    header = chance.choice([
        {"alg": "none"}, {"alg": "None", "typ": "JWT"}, {**kept, "alg": "HS256"}, {**kept, "kid": "../../../../dev/null"},
        {**kept, "kid": "x' or 1=1"},
        {"alg": "HS256", "jku": "https://evil.example/jwks"}, {**kept, "kid": ["a"]}, {**kept, "alg": ""}, {**kept,
        "crit": ["x"]}, kept,
    ])  # fmt: skip
    made = f"{_part(header)}.{_part(changed)}"
    signed = _sealed(made, chance.choice([b"", b"null", head.encode()]))
    token = chance.choice([
        f"{made}.", f"{made}.{signature}", f"{made}.{signed}", foreign, f"Bearer {foreign}", own[:-6] + "AAAAAA",
        f"{head}.{payload}", own[::-1],
        f"{head}..{signature}", "", "Bearer", "null", "." * 3, "a.b.c", "a" * 9000, own + own, f"{own}.x",
        f"Basic {own}", own.upper(), "\u00e9.\u00e9.\u00e9",
        f"{head}.{payload}=.{signature}x", "$context.accountId",
    ])  # fmt: skip
    if token in (own, f"Bearer {own}") or (header == kept and changed == claims and token == f"{made}.{signature}"):
        token = "x"
    return _made("token", self.by_token(token, path=chance.choice([BY_TOKEN, SIGNED])))


def _part(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def _sealed(text: str, key: bytes) -> str:
    return base64.urlsafe_b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).rstrip(b"=").decode()


def _path(self: Gateway, chance: Random) -> Attack:
    """A correctly signed path outside the API."""
    path = chance.choice(
        [
            SIGNED,
            SIGNED,
            "/v1/models/doubled",
            "/v1/models/doubled/jobs/0f/../..",
            "/v1/models/doubled/jobs/%2e%2e%2f%2e%2e",
        ]
    )
    path = forms.other_path(chance, path) + chance.choice(
        ["", "", f"?{quote(chance.choice(bodies.TEMPLATES))}=1", "?a=1&a=2&%zz"]
    )
    sound = self.signed(chance.choice(_BAD), path=path)
    if chance.random() < 0.2:  # outside of the stage, and of the API
        sound = self.unsigned()._replace(path=forms.other_path(chance, self.root + SIGNED))
    return _made("path", sound, is_http=False)


def _method(self: Gateway, chance: Random) -> Attack:
    return forms.other_method(chance, self.unsigned())


def _smuggled(self: Gateway, chance: Random) -> Attack:
    """The outer request has the rights, the inner request does not."""
    plain = self.unsigned()
    inner = request(plain.verb, plain.path, plain.headers, plain.body)
    return forms.smuggled(chance, self.signed(chance.choice(_BAD)), inner)


def _form(make: Callable[[Random, Sound], Attack]) -> Callable[[Gateway, Random], Attack]:
    return lambda self, chance: make(chance, self.to_refuse(chance))


def _odd_body(self: Gateway, chance: Random) -> Attack:
    """A body that some parsers accept, but not all."""
    body = chance.choice([
        b'{"instances": "x", "instances": [{"x": 2.0}]}', b'{"instances": [{"x": "2", "x": 2.0}]}',
        b'\n\t {"instances":[[2]]} \r\n',
        b'{"\\u0069nstances": [{"\\u0078": 2.0}]}', b'{"instances": [{"x": 2.0E+0}]}', b'{"instances": [{"x": 2.0e-400}]}',
        b'{"instances": [{"x": -0}]}', b'{"instances": [[' + b"2" * 38 + b"]]}", b'{"instances": [[0.' + b"3" * 4000 + b"]]}",
        b"\xef\xbb\xbf" + SOUND,
    ])  # fmt: skip
    return _made("body", self.signed(body))


def _odd_header(self: Gateway, chance: Random) -> Attack:
    """Headers that SageMaker's runtime reads as settings, which callers of the API may not choose."""
    more = chance.choice([
        {"x-amzn-sagemaker-target-variant": "other"}, {"x-amzn-sagemaker-target-model": "../other.tar.gz"},
        {"content-type": "application/json; charset=utf-7"},
        {"x-amzn-sagemaker-target-container-hostname": "169.254.169.254"}, {"x-amzn-sagemaker-inference-id": "victim"},
        {"content-type": "APPLICATION/JSON"},
        {"x-amzn-sagemaker-custom-attributes": "model=evil"}, {"x-amzn-sagemaker-session-id": "NEW_SESSION"},
        {"accept": "text/csv"},
        {"x-amzn-requestid": "$context.accountId"}, {"x-amzn-requestid": "a" * 900}, {"x-forwarded-for": "127.0.0.1"},
        {"x-amzn-trace-id": "Root=1;x"},
        {"x-amz-target": "SageMaker.DeleteEndpoint"}, {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"},
        {"content-encoding": "identity"}, {"cookie": "a=b"},
        {"x-http-method-override": "DELETE"}, {"range": "bytes=0-3"}, {"if-none-match": "*"}, {"expect": "100-continue"},
        {"te": "trailers"},
    ])  # fmt: skip
    return _made("header", self.signed(SOUND, headers=more))


def _odd_form(self: Gateway, chance: Random) -> Attack:
    sound = self.signed(SOUND) if chance.random() < 0.7 else self.by_token(self.tokens["callers"])
    make = chance.choice(
        [forms.doubled_header, forms.other_host, forms.chunked, forms.other_version, forms.long_header]
    )
    return make(chance, sound)


def _odd_path(self: Gateway, chance: Random) -> Attack:
    more = chance.choice(
        ["", "/", "?", "?a=b", "?%zz=1", "?instances=x", "?x-http-method-override=GET", "?a=" + "b" * 3000]
    )
    path = chance.choice([SIGNED, "/v1/models/%64oubled/predictions", SIGNED])
    return _made("path", self.signed(SOUND, path=path + more), is_http=False)


def _overflow(self: Gateway, chance: Random) -> Attack:
    """Valid rows whose prediction overflows: the model fails, and the API reports it."""
    return _made(OVERFLOW, self.signed(b'{"instances": [{"x": %de38}]}' % chance.choice([-3, -2, 2, 3])))


OVERFLOW = "beyond the model"
_ATTACKS: tuple[Callable[[Gateway, Random], Attack], ...] = (
    *(_body,) * 22, *(_type,) * 7, *(_encoding,) * 3, *(_signature,) * 13, *(_token_attack,) * 13, *(_path,) * 14, *(_method,) * 4,
    *(_form(forms.doubled_header),) * 5, *(_form(forms.broken_header),) * 4, *(_form(forms.long_header),) * 2,
    *(_form(forms.other_host),) * 5,
    *(_form(forms.ranged),) * 3, _smuggled, _smuggled, _form(forms.other_version), _form(forms.chunked), _size,
)  # fmt: skip
_ODDITIES = (_odd_body, _odd_header, _odd_form, _odd_path, _overflow)
