"""Terraform's language as text, in the form that ``terraform fmt`` leaves as it is.

See: https://developer.hashicorp.com/terraform/language/style
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression as it stands, such as ``var.name``."""

    text: str


Value = str | int | bool | None | Expression | Sequence["Value"] | Mapping[str, "Value"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block: its kind, its labels, its arguments and the blocks in it.

    Example:
        >>> print(render([Block(kind="variable", labels=("name",), arguments={"type": Expression("string")})]), end="")
        variable "name" {
          type = string
        }
    """

    kind: str
    labels: tuple[str, ...] = ()
    arguments: Mapping[str, Value] = field(default_factory=dict)
    blocks: tuple["Block", ...] = ()


def render(blocks: Sequence[Block]) -> str:
    """Return blocks as a file, one empty line between them."""
    return "\n".join("\n".join(_block(block)) + "\n" for block in blocks)


def quote(text: str) -> str:
    """Return a string literal; what looks like a template in it stays text.

    Example:
        >>> print(quote("${a}"))
        "$${a}"
    """
    return json.dumps(text, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


def expressions(arguments: Mapping[str, Value]) -> dict[str, str]:
    """Return each argument as the expression that is rendered.

    Example:
        >>> expressions({"name": Expression("var.name"), "minutes": 3})
        {'name': 'var.name', 'minutes': '3'}
    """
    return {name: "\n".join(_value(value)) for name, value in arguments.items()}


def _block(block: Block) -> Iterator[str]:
    labels = "".join(f" {quote(label)}" for label in block.labels)
    yield f"{block.kind}{labels} {{"
    lines = list(_arguments(block.arguments, equals=" = "))
    for inner in block.blocks:
        if lines:
            lines.append("")
        lines += _block(inner)
    yield from (f"  {line}" if line else "" for line in lines)
    yield "}"


def _arguments(arguments: Mapping[str, Value], *, equals: str) -> Iterator[str]:
    """Yield the lines of arguments: neighbours of one line are aligned, longer ones stand between empty lines."""
    short: list[tuple[str, str]] = []
    is_first = True
    for name, value in arguments.items():
        lines = list(_value(value))
        if len(lines) == 1:
            short.append((name, lines[0]))
            continue
        if short:
            yield from _aligned(short, equals)
            short, is_first = [], False
        if not is_first:
            yield ""
        is_first = False
        yield f"{name}{equals}{lines[0]}"
        yield from lines[1:]
    if short:
        if not is_first:
            yield ""
        yield from _aligned(short, equals)


def _aligned(pairs: Sequence[tuple[str, str]], equals: str) -> Iterator[str]:
    width = max(len(name) for name, _ in pairs)
    return (f"{name.ljust(width)}{equals}{value}" for name, value in pairs)


def _value(value: Value) -> Iterator[str]:
    if isinstance(value, Expression):
        yield from value.text.split("\n")
    elif value is None:
        yield "null"
    elif isinstance(value, bool):
        yield "true" if value else "false"
    elif isinstance(value, str):
        yield quote(value)
    elif isinstance(value, int):
        yield str(value)
    elif isinstance(value, Mapping):
        yield from _mapping(value)
    else:
        yield f"[{', '.join(' '.join(_value(item)) for item in value)}]"


def _mapping(value: Mapping[str, Value]) -> Iterator[str]:
    if not value:
        yield "{}"
        return
    yield "{"
    named = {key if key.isidentifier() else quote(key): item for key, item in value.items()}
    yield from (f"  {line}" if line else "" for line in _arguments(named, equals=" = "))
    yield "}"
