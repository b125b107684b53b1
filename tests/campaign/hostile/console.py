"""Attacks on the console's API: each has a reason to be rejected, which its form may hide. Stored data shows accepted ones."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import boto3
import requests
from tests.campaign.hostile import bodies, forms
from tests.campaign.hostile.forms import Sound
from tests.campaign.hostile.judge import Door
from tests.campaign.hostile.wire import Attack, request
from tests.cli.deployed_unit import DeployedUnit
from tests.cli.model_registry import PackageGroup
from tests.cli.monitored_unit import MonitoredUnit

from mlops_cli.console_server import ConsoleServer
from mlops_local.cloud import Cloud
from mlops_runtime.cloud_connection import CloudConnection, embedded_options
from mlops_runtime.console.api import ConsoleApi
from mlops_runtime.console.openapi import document
from mlops_runtime.console.route import ROOT

JSON = "application/json"
_STALE = {"sequence": 999_999}


class Console:
    """The console of an embedded cloud with a unit whose monitor has decided, and a package that waits for approval."""

    name = "console"

    def __init__(self, cloud: Cloud, folder: Path, server: ConsoleServer) -> None:
        self.cloud, self.server = cloud, server
        self.unit = MonitoredUnit(DeployedUnit(cloud, "hostile")).unit
        self.unit.serve(1)
        self.unit.serve(2)
        group = PackageGroup(cloud, self.unit.endpoint, f"{self.unit.name}-models")
        self.package = group.register("alarm-1")
        root, unit = ROOT, f"{ROOT}/units/{self.unit.name}"
        endpoint, reason = f"{unit}/endpoints/{self.unit.endpoint}", "INC-1: forecasts are too high"
        seen = {"expect": _STALE, "reason": reason}
        decided = {"expect": {"approval": "PendingManualApproval", "binding": "0" * 64}, "reason": reason}
        self.writes: dict[str, dict[str, Any]] = {
            f"{endpoint}/rollbacks": seen,
            f"{endpoint}/abort": seen,
            f"{unit}/pause": seen,
            f"{unit}/resume": seen,
            f"{unit}/pipelines/none/retrainings": {"expect": {"last_execution": "none"}, "reason": reason},
            f"{root}/packages/{self.package}/approval": decided,
            f"{root}/packages/{self.package}/rejection": decided,
        }
        self.reads = (
            f"{root}/me", f"{root}/units", unit, endpoint, f"{root}/approvals", f"{root}/packages/{self.package}",
            f"{endpoint}/drift",
            f"{endpoint}/drift/feature?feature=price", f"{unit}/features?text=a", f"{root}/audit/{self.unit.endpoint}",
            f"{root}/audit/{self.unit.endpoint}/verification", f"{root}/audit/{self.unit.endpoint}/records/1",
            f"{root}/packages/{self.package}/lineage",
            f"{endpoint}/rollbacks/none", "/", "/api/v1/openapi.json",
        )  # fmt: skip
        # a signed-in user reads ARNs, others do not; no response contains the token
        secrets = (server.token, str(folder), str(Path(__file__).parents[3]))
        self.door = Door(
            name=self.name,
            address=("127.0.0.1", server.server_port),
            secrets=tuple(secret.encode() for secret in secrets),
            of_the_account=(b"arn:aws", b"s3://", b"000000000000"),
        )

    def renew(self) -> None:
        """Do nothing: the token lives as long as the server."""

    def document(self) -> dict[str, Any]:
        """Return the API's response without the clock."""
        described = dict(document(self.server.api.routes))
        paths = {path: item for path, item in described["paths"].items() if not path.endswith("/clock")}
        return described | {"paths": paths}

    @property
    def url(self) -> str:
        """Address of the API."""
        return f"http://{self.server.host}{ROOT}"

    def sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Give a request the token."""
        request.headers["authorization"] = f"Bearer {self.server.token}"
        return request

    def reached(self) -> dict[str, str]:
        """Return the stored data of the unit and its package, and the executions."""
        found = {key: sha256(content).hexdigest() for key, content in self.unit.objects().items()}
        for table in ("automation", "rollout", "retraining"):
            rows = self.unit.dynamodb.scan(TableName=f"{self.unit.name}-{table}")["Items"]
            found |= {
                f"{table}/{number}": json.dumps(row, sort_keys=True, default=str) for number, row in enumerate(rows)
            }
        client = self.cloud.client("stepfunctions")
        for execution in client.list_executions(stateMachineArn=self.unit.machine)["executions"]:
            found[execution["executionArn"]] = execution["status"]
        packages = self.cloud.client("sagemaker").list_model_packages(ModelPackageGroupName=self.unit.endpoint)
        for each in packages["ModelPackageSummaryList"]:
            found[each["ModelPackageArn"]] = each["ModelApprovalStatus"]
        return found

    @staticmethod
    def difference(before: dict[str, str], after: dict[str, str]) -> int:
        """Return the number of changed entries."""
        return sum(before.get(name) != after.get(name) for name in before.keys() | after.keys())

    def attack(self, chance: Random) -> Attack:
        """Return the next attack."""
        return chance.choice(_ATTACKS)(self, chance)

    def oddity(self, chance: Random) -> Attack:
        """Return a read request in an unusual form."""
        sound = self.read(chance.choice(self.reads))
        make = chance.choice([
            forms.doubled_header, forms.other_host, forms.chunked, forms.other_version, forms.long_header, forms.ranged,
            forms.other_method, _odd_query,
            _odd_query, _odd_query,
        ])  # fmt: skip
        return make(chance, sound)

    def headers(self) -> dict[str, str]:
        """Return the headers that the page itself sends."""
        return {"host": self.server.host, "authorization": f"Bearer {self.server.token}"}

    def read(self, path: str) -> Sound:
        """Return a read request like the page's."""
        return Sound("GET", path, self.headers(), b"")

    def write(self, chance: Random, body: bytes | None = None) -> Sound:
        """Return a write request of an outdated page; with another body if given."""
        path, seen = chance.choice(list(self.writes.items()))
        key = {"idempotency-key": f"{chance.getrandbits(128):032x}", "content-type": JSON}
        return Sound("POST", path, self.headers() | key, json.dumps(seen).encode() if body is None else body)

    def to_refuse(self, chance: Random) -> Sound:
        """Return a write request with one reason to be rejected."""
        sound = self.write(chance)
        headers = dict(sound.headers)
        way = chance.randrange(4)
        if way == 0:
            del headers["authorization"]
        elif way == 1:
            headers["authorization"] = chance.choice(
                ["Bearer x", "Bearer ", "Basic x", self.server.token, f"bearer {self.server.token}"]
            )
        elif way == 2:
            del headers["idempotency-key"]
        return sound._replace(headers=headers)


@contextmanager
def opened(cloud: Cloud, folder: Path) -> Iterator[Console]:
    """Serve the console of a cloud during the attacks."""
    options = embedded_options(cloud.home)
    assert options is not None
    connection = CloudConnection(session=boto3.Session(), options=options)
    with ConsoleServer(ConsoleApi(lambda _role: connection)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Console(cloud, folder, server)
        finally:
            server.shutdown()
            thread.join()


def _made(kind: str, sound: Sound, *, is_http: bool = True) -> Attack:
    return Attack(kind=kind, raw=request(sound.verb, sound.path, sound.headers, sound.body), is_http=is_http)


def _body(self: Console, chance: Random) -> Attack:
    """A body that is not a write request's, or an outdated one."""
    path, seen = chance.choice(list(self.writes.items()))
    sound = json.dumps(seen).encode()
    text, number = chance.choice([*bodies.TEMPLATES, *bodies.TEXTS]), chance.choice(bodies.NUMBERS)
    kind, body = chance.choice([
        ("number", sound.replace(b"999999", number.encode())),
        ("number", json.dumps({**seen, "to": 0}).encode().replace(b'"to": 0', b'"to": ' + number.encode())),
        ("template", json.dumps({**seen, "reason": text}).encode()),
        ("template", json.dumps({**seen, text: 1}).encode()),
        ("template", json.dumps({**seen, "expect": {**seen["expect"], "package": text}}).encode()),
        ("doubled key", sound[:-1] + b', "reason": 1}'),
        ("not JSON", bodies.broken_json(chance, sound)),
        ("encoding of text", bodies.other_text(chance, sound)),
        ("depth", bodies.deep_json(chance, lambda nested: f'{{"reason": {nested}, "expect": {nested}}}')),
        ("depth", bodies.deep_json(chance, lambda nested: nested)),
        ("shape", bodies.other_shapes(chance, seen)),
        ("size", sound + b" " * chance.choice([65, 1024, 11 * 1024]) * 1024 if chance.random() < 0.1 else b" " * 65_537),
    ])  # fmt: skip
    return _made(kind, self.write(chance, body)._replace(path=path))


def _type(self: Console, chance: Random) -> Attack:
    """Content types that a form of another page can send."""
    sound = self.write(chance)
    kind = chance.choice(["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a", "",
    "text/json", "*/*",
                          "application/json, text/plain", "text/plain; application/json", "x" * 3000])  # fmt: skip
    return _made("content type", sound._replace(headers={**sound.headers, "content-type": kind}))


def _encoding(self: Console, chance: Random) -> Attack:
    sound = self.write(chance)
    coding, body = bodies.compressed(chance, sound.body)
    return _made("content encoding", sound._replace(headers={**sound.headers, "content-encoding": coding}, body=body))


def _foreign(self: Console, chance: Random) -> Attack:
    """A page of another origin in the user's browser, or a program without the token."""
    sound = self.write(chance) if chance.random() < 0.5 else self.read(chance.choice(self.reads[:-2]))
    token = self.server.token
    more = chance.choice([
        {"origin": "https://evil.example"}, {"origin": "null"}, {"origin": f"http://{self.server.host}.evil.example"},
        {"origin": ""},
        {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"host": "evil.example"},
        {"host": f"localhost:{self.server.server_port}"},
        {"authorization": f"Bearer {token[:-1]}"}, {"authorization": f"Bearer {token} "  "x"},
        {"authorization": f"Bearer {token.swapcase()}"},
        {"authorization": "Bearer \u00e9"}, {"authorization": token}, {"authorization": ""},
        {"authorization": "Bearer " + "a" * 9000},
        {"authorization": "Basic " + "a" * 40}, {"authorization": "Bearer null"},
        {"authorization": "Bearer eyJhbGciOiJub25lIn0.e30."},
    ])  # fmt: skip
    return _made("foreign page or token", sound._replace(headers={**sound.headers, **more}))


def _key(self: Console, chance: Random) -> Attack:
    sound = self.write(chance)
    key = chance.choice(
        [*bodies.TEMPLATES, "short", "a" * 65, "a" * 5000, "../../x/../y", "", "\u00e9" * 9, "a b c d e f"]
    )
    return _made("idempotency key", sound._replace(headers={**sound.headers, "idempotency-key": key}))


def _path(self: Console, chance: Random) -> Attack:
    """An address outside the API, with all rights."""
    path = chance.choice(
        [*self.reads, "/app.js", "/../../etc/passwd", "/api/v1/packages/a/1", "/api/v1/audit/../units"]
    )
    path = forms.other_path(chance, path.partition("?")[0]) + chance.choice(
        ["", "?a=%zz", "?text=" + "a" * 3000, "?window=%00"]
    )
    return _made("path", self.read(path), is_http=False)


def _odd_query(chance: Random, sound: Sound) -> Attack:
    name = chance.choice(["window", "feature", "text", "column", "_method", "", "token"])
    value = quote(
        chance.choice([*bodies.TEMPLATES, *bodies.TEXTS, "newest", "2017-99-99", "2017-01-01T99", "price", "%"]).encode(
            "utf-8", "replace"
        )
    )
    return _made(
        "query", sound._replace(path=f"{sound.path}{'&' if '?' in sound.path else '?'}{name}={value}&{name}=2")
    )


def _method(self: Console, chance: Random) -> Attack:
    return forms.other_method(chance, self.write(chance))


def _smuggled(self: Console, chance: Random) -> Attack:
    """The outer request has the token, the inner request does not."""
    inner = self.write(chance)
    bare = {name: value for name, value in inner.headers.items() if name != "authorization"}
    return forms.smuggled(chance, self.write(chance, b"[]"), request(inner.verb, inner.path, bare, inner.body))


def _form(make: Callable[[Random, Sound], Attack]) -> Callable[[Console, Random], Attack]:
    return lambda self, chance: make(chance, self.to_refuse(chance))


_ATTACKS: tuple[Callable[[Console, Random], Attack], ...] = (
    *(_body,) * 25, *(_type,) * 6, *(_encoding,) * 3, *(_foreign,) * 16, *(_key,) * 6, *(_path,) * 15, *(_method,) * 5,
    *(_form(forms.doubled_header),) * 6, *(_form(forms.broken_header),) * 4, *(_form(forms.long_header),) * 2,
    *(_form(forms.other_host),) * 5,
    *(_form(forms.ranged),) * 3, _smuggled, _smuggled, _form(forms.other_version), _form(forms.chunked),
)  # fmt: skip
