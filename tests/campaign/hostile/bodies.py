"""Invalid request bodies: JSON that parsers read differently, templates, other encodings, sizes."""

import gzip
import json
import zlib
from collections.abc import Callable
from random import Random

MEGABYTE = 1024 * 1024

# what a template engine would evaluate; a response with the account number would reveal it
TEMPLATES = (
    "$context.accountId",
    "${context.accountId}",
    "$context.identity.accountId",
    "$stageVariables",
    "$input.body",
    "$input.params().header",
    "#set($context.responseOverride.status = 200)",
    "#set($x = $context.accountId)$x",
    "#foreach($k in $context.keySet())$k=$context.get($k) #end",
    "#if(true)$context.accountId#end",
    '"}#end#set($context.requestOverride.path.x = "y")',
    "$util.parseJson('{}')",
    "$input.getClass().forName('java.lang.Runtime')",
    "{{7*7}}",
    "${jndi:ldap://127.0.0.1/a}",
    "%{#context}",
    "{% import os %}",
)
# strings that a page, log or shell might interpret
TEXTS = (
    "<script>alert(1)</script>",
    "'; DROP TABLE models; --",
    "$(id)",
    "`id`",
    "../../../../etc/passwd",
    "\r\nX-Injected: 1",
    "\x00",
    "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    "\u202e\u2066",
    "A" * 5000,
    "__proto__",
    "constructor",
    "%s%n%x",
)
NUMBERS = (
    "NaN",
    "Infinity",
    "-Infinity",
    "nan",
    "+1",
    ".5",
    "1.",
    "01",
    "0x1",
    "1_000",
    "1e",
    "--1",
    "1e400",
    "-1e400",
    "9" * 400,
)


def broken_json(chance: Random, sound: bytes) -> bytes:
    """Return invalid JSON that a lenient parser may accept as the valid body."""
    text = sound.decode()
    return chance.choice([
        text[: chance.randrange(len(text))].encode(),
        text.replace('"', "'").encode(),
        f"{text},".encode(),
        f"{text}{text}".encode(),
        f"/* a */{text}".encode(),
        f"{text}// a".encode(),
        text.replace("}", ",}").encode(),
        text.replace("]", ",]").encode(),
        f"({text})".encode(),
        f"callback({text})".encode(),
        f")]}}',\n{text}".encode(),
        text.replace(" ", "\xa0").replace(":", "\u2003:").encode(),
        text.replace("{", "{\x00", 1).encode(),
        f"{text}\x00".encode(),
    ])  # fmt: skip


def other_text(chance: Random, sound: bytes) -> bytes:
    """Return the valid body in an encoding that JSON does not allow, or with bytes that are not UTF-8."""
    text = sound.decode()
    at = chance.randrange(1, len(sound))
    return chance.choice([
        text.encode("utf-16"), text.encode("utf-16-le"), text.encode("utf-32"), text.encode("utf-7").replace(b"{", b"+AHs-"),
        text.encode("cp037"), sound[:at] + b"\xff" + sound[at:], sound[:at] + b"\xc0\xaf" + sound[at:],
        sound[:at] + b"\xed\xa0\x80" + sound[at:], sound.replace(b"{", b"\xef\xbd\x9b", 1),
    ])  # fmt: skip


def compressed(chance: Random, sound: bytes) -> tuple[str, bytes]:
    """Return a content encoding and a body; in the last pair only the name is true."""
    return chance.choice([
        ("gzip", gzip.compress(sound)), ("deflate", zlib.compress(sound)), ("gzip, gzip", gzip.compress(gzip.compress(sound))),
        ("gzip", gzip.compress(b" " * MEGABYTE)), ("br", b"\x0b\x02\x80{}\x03"), ("gzip", sound[:1]),
    ])  # fmt: skip


def deep_json(chance: Random, inside: Callable[[str], str]) -> bytes:
    """Return deeply nested JSON, inserted by ``inside`` in place of a value of a valid body."""
    depth = chance.choice([100, 990, 1010, 5000, 20_000])
    opened, closed = chance.choice([("[", "]"), ('{"a":', "}"), ('[{"a":[', "]}]")])
    nested = opened * depth + "1" + closed * (depth if chance.random() < 0.8 else 0)
    return inside(nested).encode()


def other_shapes(chance: Random, sound: object) -> bytes:
    """Return JSON of another shape than the valid document, which is an object."""
    assert isinstance(sound, dict)
    extra = chance.choice([*TEMPLATES, *TEXTS])
    name = chance.choice(list(sound))
    without = {key: value for key, value in sound.items() if key != name}
    return json.dumps(
        chance.choice([
            None, [], {}, True, 0, "", [sound], {"body": sound}, json.dumps(sound), without, {**sound, extra: 1},
            {**sound, "__proto__": {"isAdmin": True}}, {**sound, "$schema": "x"}, {**without, name.upper(): sound[name]},
            {**without, name.replace("e", "\u0435").replace("a", "\u0430") + "\u200b": sound[name]}, {**sound, name: None},
            {**sound, name: {}},
            {**sound, name: [[[]]]}, {**sound, name: extra if not isinstance(sound[name], str) else [extra]},
            {**sound, name: {"$ref": "#"}},
        ])
    ).encode()  # fmt: skip
