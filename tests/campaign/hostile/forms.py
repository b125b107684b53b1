"""Forms of a valid request that proxies, servers and frameworks treat differently: framing, headers, methods, hosts, paths."""

from collections.abc import Mapping
from random import Random
from typing import NamedTuple
from urllib.parse import quote

from tests.campaign.hostile.bodies import TEMPLATES, TEXTS
from tests.campaign.hostile.wire import Attack, head, request

_SHORT = 1.0  # seconds that the client waits for a server that itself waits for more bytes
_OVERRIDES = ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "_method")
METHODS = ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "post", "POS", "ANY", "A" * 300)
_HOSTS = (
    "evil.example", "", "127.0.0.1", "localhost:1", "169.254.169.254", "[::1]", "a@127.0.0.1", "127.0.0.1:80:80", "..", "*",
    "sts.amazonaws.com", "other.execute-api.us-east-1.amazonaws.com", "bucket.s3.amazonaws.com", "a" * 5000, "xn--80ak6aa92e.com",
)  # fmt: skip
_CHUNKED = (
    "chunked",
    "Chunked",
    "xchunked",
    "chunked, identity",
    "identity, chunked",
    " chunked",
    "chunked;q=1",
    "\x0bchunked",
    "gzip",
)


class Sound(NamedTuple):
    """A request that a server would accept."""

    verb: str
    path: str
    headers: Mapping[str, str]
    body: bytes


def smuggled(chance: Random, sound: Sound, inner: bytes) -> Attack:
    """Return a request whose end is ambiguous, with another request in the possible body.

    Args:
        chance: Random generator.
        sound: The outer request.
        inner: The bytes that must not become a request with the rights of the outer one.
    """
    headers, end = dict(sound.headers), b"0\r\n\r\n"
    lengths = {"content-length": str(len(end) + len(inner))}
    coding = chance.choice(_CHUNKED)
    name = chance.choice(["transfer-encoding", "Transfer-Encoding", "transfer-encoding ", "x: y\r\n transfer-encoding"])
    chunk = f"{len(inner):x}\r\n".encode() + inner + b"\r\n" + end
    last = {"connection": "close"}
    made = chance.choice([
        head(sound.verb, sound.path, {**headers, **lengths, name: coding, **last}) + end + inner,
        head(sound.verb, sound.path, {**headers, name: coding, "content-length": "4", **last}) + chunk,
        head(sound.verb, sound.path, {**headers, name: "chunked", "Transfer-encoding": coding, **last}) + end + inner,
        head(sound.verb, sound.path, {**headers, "content-length": "0", "Content-Length": str(len(inner))}) + inner,
        head(sound.verb, sound.path, {**headers, "content-length": f"{chance.choice(['+', '-', '0x', ' '])}{len(inner)}"}) + inner,
        head(sound.verb, sound.path, {**headers, "content-length": f"0, {len(inner)}"}) + inner,
        head("GET", sound.path, {**headers, "content-length": "0"}) + inner,
        head(sound.verb, sound.path, {**headers, "transfer-encoding": "chunked"}) + b"ffffffffffffffff1\r\n" + inner + end,
        head(sound.verb, sound.path, {**headers, "transfer-encoding": "chunked"}) + b"0;a=\n" + inner + b"\r\n\r\n",
        head(sound.verb, sound.path, {**headers, "content-length": str(len(sound.body) + 9)}) + sound.body,
    ])  # fmt: skip
    return Attack(kind="smuggling", raw=made, is_http=False, patience=_SHORT)


def doubled_header(chance: Random, sound: Sound) -> Attack:
    """Return a request with one header twice, with two values."""
    name = chance.choice(["host", "content-type", "authorization", "content-length", "x-amz-date", "x-amz-security-token", "origin",
                          "idempotency-key"])  # fmt: skip
    other = {"content-length": "1", "content-type": "text/csv", "origin": "https://evil.example"}.get(
        name, "evil.example"
    )
    first = chance.random() < 0.5
    before, after = ({name: other}, {}) if first else ({}, {name.title(): other})
    lines = {**before, **{key: value for key, value in sound.headers.items() if not (first and key.lower() == name)}}
    if first and name in sound.headers:
        lines[name.title()] = sound.headers[name]
    return Attack(kind="doubled header", raw=request(sound.verb, sound.path, {**lines, **after}, sound.body))


def broken_header(chance: Random, sound: Sound) -> Attack:
    """Return a request with a malformed header, or one that would begin another header."""
    bad = chance.choice([
        "a: b\r\nX-Injected: 1", "a: b\nX-Injected: 1", "a: b\rX-Injected: 1", "a: \x00", "a: b\r\n folded", "a b: c",
        ": empty", "no colon",
        "a\t: b", "\x7f: a", "a: \xff\xfe", "a: %0d%0aX-Injected:%201", "(): a",
    ])  # fmt: skip
    raw = request(sound.verb, sound.path, sound.headers, sound.body)
    line, _, rest = raw.partition(b"\r\n")
    return Attack(
        kind="broken header", raw=line + b"\r\n" + bad.encode("latin-1") + b"\r\n" + rest, is_http=False, patience=5.0
    )


def long_header(chance: Random, sound: Sound) -> Attack:
    """Return a request with headers that are longer or more than servers accept."""
    more = chance.choice([
        {"x-long": "a" * chance.choice([9000, 20_000, 70_000, 300_000])},
        {f"x-{number}": "a" for number in range(chance.choice([200, 2000]))},
        {"a" * 70_000: "b"},
        {"cookie": "; ".join(f"a{number}=b" for number in range(3000))},
    ])  # fmt: skip
    raw = request(sound.verb, sound.path, {**sound.headers, **more}, sound.body)
    return Attack(kind="long header", raw=raw, is_http=False, patience=5.0)


def other_method(chance: Random, sound: Sound) -> Attack:
    """Return a request with another method, which a framework may treat as the valid one."""
    headers, path = dict(sound.headers), sound.path
    override = chance.choice(_OVERRIDES)
    if override.startswith("X"):
        headers[override] = sound.verb
    else:
        path += f"{'&' if '?' in path else '?'}_method={sound.verb}"
    return Attack(kind="method", raw=request(chance.choice(METHODS), path, headers, sound.body), is_http=False)


def other_host(chance: Random, sound: Sound) -> Attack:
    """Return a request to another host by this connection, also in absolute form."""
    host = chance.choice(_HOSTS)
    headers = {name: value for name, value in sound.headers.items() if name.lower() != "host"}
    path = sound.path
    if chance.random() < 0.2:
        path = f"http://{host or 'evil.example'}{path}"
    elif chance.random() < 0.8:
        headers = {"host": host, **headers}
    extra = {chance.choice(["x-forwarded-host", "x-original-url", "x-rewrite-url", "forwarded"]): sound.path}
    return Attack(kind="host", raw=request(sound.verb, path, {**headers, **extra}, sound.body), is_http=False)


def other_version(chance: Random, sound: Sound) -> Attack:
    """Return a request of another HTTP version, or of another protocol."""
    raw = chance.choice([
        request(sound.verb, sound.path, sound.headers, sound.body, version="1.0"),
        request(sound.verb, sound.path, sound.headers, sound.body, version=chance.choice(["0.9", "2.0", "3.0", "1.2", "1.1.1",
        "x"])),
        f"{sound.verb} {sound.path}\r\n\r\n".encode(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(chance.randrange(256) for _ in range(40)),
        bytes(chance.randrange(256) for _ in range(200)) + b"\r\n\r\n",
        request(sound.verb, sound.path, {**sound.headers, "upgrade": "h2c", "http2-settings": "AAMAAABkAAQAAP__"}, sound.body),
        request(sound.verb, sound.path, {**sound.headers, "upgrade": "websocket", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
                                         "sec-websocket-version": "13"}, sound.body),
    ])  # fmt: skip
    return Attack(kind="version", raw=raw, is_http=False, patience=_SHORT)


def chunked(chance: Random, sound: Sound) -> Attack:
    """Return a chunked request; some chunks are malformed."""
    size = chance.choice([1, 2, 7, 64])
    parts = [sound.body[at : at + size] for at in range(0, len(sound.body), size)]
    extension = chance.choice(["", ";a=b", ';a="\r\n"', ";" + "a" * 9000])
    chunks = b"".join(f"{len(part):X}{extension}\r\n".encode() + part + b"\r\n" for part in parts)
    end = chance.choice(
        [
            b"0\r\n\r\n",
            b"0\r\nX-Injected: 1\r\n\r\n",
            b"0\r\ncontent-length: 5\r\n\r\n",
            b"zz\r\n\r\n",
            b"-1\r\n\r\n",
            b"",
        ]
    )
    headers = {**sound.headers, "transfer-encoding": "chunked", "connection": "close"}
    return Attack(
        kind="chunks", raw=head(sound.verb, sound.path, headers) + chunks + end, is_http=False, patience=_SHORT
    )


def ranged(chance: Random, sound: Sound) -> Attack:
    """Return a range or conditional request, which none of these responses supports."""
    more = chance.choice([
        {"range": "bytes=0-0"}, {"range": "bytes=" + ",".join(f"{at}-" for at in range(500))}, {"range": "bytes=-1e9"},
        {"if-none-match": "*"}, {"if-match": "*"}, {"if-range": "x", "range": "bytes=0-"}, {"expect": "100-continue"},
        {"expect": "x"},
        {"te": "trailers"}, {"trailer": "content-length"}, {"accept": "text/html;q=x, */*;q=-1"},
        {"accept-encoding": "identity;q=0"},
    ])  # fmt: skip
    return Attack(kind="range or condition", raw=request(sound.verb, sound.path, {**sound.headers, **more}, sound.body))


def other_path(chance: Random, path: str) -> str:
    """Return a path that a server may treat as the valid one, or as a file, after decoding or joining it."""
    parts = path.strip("/").split("/")
    at = chance.randrange(len(parts))
    part = parts[at]
    text = chance.choice([*TEMPLATES, *TEXTS])
    changed = chance.choice([
        "..", ".", "%2e%2e", "%252e%252e", "..%2f", "..%5c", f"..;/{part}", f"{part};x=y", f"{part}%00", f"{part}%20", f"{part}.",
        f"{part}/", f"/{part}", f"%2f{part}", part.upper() if part.upper() != part else f"{part}X", f"{part}%0d%0aX-Injected:%201",
        f"{part}\uff0f..".encode().decode("latin-1"), quote(text, safe=""), f"{part}%c0%af", f"{part}%zz", f"{part}%ff", "%",
        "*", "~",
        "a" * 9000, "{model}", "{proxy+}", "..\\..\\", f"{part}%3f", f"{part}%23", "%u002e%u002e", "C:", "etc/passwd",
    ])  # fmt: skip
    return "/" + "/".join([*parts[:at], changed, *parts[at + 1 :]])
