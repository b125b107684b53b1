"""Random requests over a real socket: no server errors, no internals in responses, and the server stays up."""

import hashlib
import http.client
import json
import random
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.serving.test_server import server, wait_for_ping

TYPES = [
    "application/json",
    "text/csv",
    "text/csv; charset=utf-16",
    "application/x-npy",
    "",
    "a/b;;=",
    "APPLICATION/JSON ; x",
    "\x7f",
]
ACCEPTS = ["*/*", "text/csv", "image/png", "application/json;q=0", ";;,,", ""]
PATHS = [
    "/invocations",
    "/v2/models/model/infer",
    "/ping",
    "/v2",
    "/v2/models/%2e%2e/infer",
    "/metrics",
    "/invocations/",
    "/\u00ff",
    "//",
    "*",
]
VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1e308,
    1e-400,
    2**70,
    "",
    "x",
    "1",
    "north",
    [],
    {},
    [[[]]],
    {"a": {}},
    "\ud800",
    "e" * 500,
]
ROW = {"price": 1.0, "stock": 2.0, "store": "north"}


def value(random_: random.Random, depth: int = 0) -> Any:
    """Return a JSON value."""
    kind = random_.randrange(7)
    if depth < 3 and kind == 0:
        return [value(random_, depth + 1) for _ in range(random_.randrange(4))]
    if depth < 3 and kind == 1:
        names = [
            "instances",
            "inputs",
            "name",
            "shape",
            "data",
            "datatype",
            "price",
            "store",
            "id",
            "parameters",
            "outputs",
        ]
        return {random_.choice(names): value(random_, depth + 1) for _ in range(random_.randrange(4))}
    return random_.choice(VALUES)


def almost(random_: random.Random) -> Any:
    """Return a valid body with one fault, or none."""
    if random_.random() < 0.3:
        return {"instances": [random_.choice([ROW, list(ROW.values())])] * random_.randrange(1, 4)}
    if random_.random() < 0.5:
        row: Any = {**ROW, random_.choice([*ROW, "other"]): value(random_)}
        return {"instances": [ROW] * random_.randrange(3) + [random_.choice([row, list(ROW.values()), value(random_)])]}
    tensors: list[Any] = [
        {"name": name, "datatype": "BYTES" if name == "store" else "FP32", "shape": [2], "data": [cell, cell]}
        for name, cell in ROW.items()
    ]
    tensor = random_.choice(tensors)
    tensor[random_.choice([*tensor, "parameters"])] = value(random_)
    return {"id": value(random_), "inputs": tensors} if random_.random() < 0.3 else {"inputs": tensors}


def body(random_: random.Random) -> bytes:
    """Return a body: valid, almost valid, JSON, CSV, deeply nested, or bytes."""
    makers: list[Callable[[], bytes]] = [
        lambda: json.dumps(almost(random_)).encode(),
        lambda: json.dumps(almost(random_)).encode(),
        lambda: json.dumps(value(random_)).encode("utf-8", "surrogatepass"),
        lambda: "\n".join(
            ",".join(random_.choices(["1", "-2.5", "north", "", '"', "1e39", "nan", "\x00", "\u0661"], k=3))
            for _ in range(3)
        ).encode(),
        lambda: random_.randbytes(random_.randrange(200)),
        lambda: b"[" * random_.randrange(5000),
        lambda: b'{"instances":[' + b"[1,2,3]," * 3000 + b"[1,2,3]]}",
    ]
    return random_.choice(makers)()


def request(random_: random.Random) -> tuple[bytes, bool]:
    """Return a raw request, and whether the server can determine its end."""
    content, is_whole = body(random_), True
    path = random_.choice(PATHS) if random_.random() < 0.3 else PATHS[b'"inputs"' in content[:200]]
    method = random_.choice(["GET", "PUT", "HEAD", "OPTIONS", "POST"]) if random_.random() < 0.2 else "POST"
    headers = {
        "Host": "x",
        "Content-Type": random_.choice(TYPES) if random_.random() < 0.4 else random_.choice(TYPES[:2]),
        "Accept": random_.choice(ACCEPTS) if random_.random() < 0.3 else "*/*",
        "Connection": "close",
        "Content-Length": str(len(content)),
    }
    if random_.random() < 0.1:
        headers["X-Amzn-SageMaker-Inference-Id"] = random_.choice(["a", "b" * 65, "c\x80", "\u00e9"])
    if random_.random() < 0.05:
        headers["Content-Length"] = random_.choice(["-1", "x", str(2**63), "99999999", "0"])
        is_whole = False
    if random_.random() < 0.05:
        del headers["Content-Length"]
        headers["Transfer-Encoding"] = "chunked"
        content = random_.choice([b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content), b"zz\r\n", b"0\r\n\r\n"])
        is_whole = content.endswith(b"0\r\n\r\n")
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {text}\r\n" for name, text in headers.items()) + "\r\n"
    sent = head.encode("latin-1", "replace") + content
    if random_.random() < 0.03:
        return random_.randbytes(random_.randrange(1, 300)), False
    return sent, is_whole


@pytest.fixture(scope="module")
def port(models: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Return the port of a running server."""
    folder: Path = tmp_path_factory.mktemp("fuzz")
    models.write(folder / "model")
    with (folder / "log").open("w") as log:
        digest = hashlib.sha256(models.onnx()).hexdigest()
        with server(folder, digest, errors=log.fileno()) as (process, port):
            wait_for_ping(port)
            yield port
            assert process.poll() is None
    assert "internal error" not in (folder / "log").read_text()


def ask(port: int, sent: bytes, *, is_whole: bool) -> tuple[int, bytes]:
    """Send bytes and half-close incomplete ones; return status and body, 0 if the server only closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        received = b""
        try:
            connection.sendall(sent)
            if not is_whole:
                connection.shutdown(socket.SHUT_WR)
            while not whole(received, sent) and (part := connection.recv(65536)):
                received += part
        except ConnectionError:
            pass  # the server may close before everything was sent
    if not received:
        return 0, b""
    status = int(received.split(b" ", 2)[1])
    return status, received.partition(b"\r\n\r\n")[2]


def whole(received: bytes, sent: bytes) -> bool:
    """Return whether a response is complete: the server may keep an invalid connection open for a while."""
    head, separator, content = received.partition(b"\r\n\r\n")
    found = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    return bool(separator and found) and (
        sent.startswith(b"HEAD ") or len(content) >= int(found[1]) if found else False
    )


def campaign(port: int, count: int, seed: int) -> Counter[int]:
    """Send a number of requests and check each response."""
    random_ = random.Random(seed)
    seen: Counter[int] = Counter()
    for number in range(count):
        sent, is_whole = request(random_)
        status, answer = ask(port, sent, is_whole=is_whole)
        assert status < 500, (number, sent[:500], answer)
        for word in (b"Traceback", b'File "', b".py", b"onnxruntime", b"numpy"):
            assert word not in answer, (number, sent[:500], answer)
        seen[status] += 1
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", "/invocations", json.dumps({"instances": [ROW]}), {"content-type": "application/json"})
    assert json.loads(connection.getresponse().read()) == {"predictions": [3.0]}
    return seen


def test_some_noise(port: int) -> None:
    """Hundreds in every suite: many rejected, some answered."""
    seen = campaign(port, 400, seed=1)
    assert seen[200] > 5
    assert seen[400] > 100
    assert seen[404] > 5
    assert seen[415] > 5


@pytest.mark.campaign
def test_much_noise(port: int) -> None:
    """Thousands."""
    seen = campaign(port, 5000, seed=2)
    print(sorted(seen.items()))  # noqa: T201 - the campaign's result
    assert seen.total() == 5000
