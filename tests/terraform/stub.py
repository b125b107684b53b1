"""A module with a stubbed provider: each resource and data source becomes a ``terraform_data`` with the same arguments.

Terraform itself then checks and evaluates everything but the provider's schema, without downloading a provider. Arguments that
force a replacement are in ``triggers_replace``: Terraform replaces the stubbed resource where it would replace the real one.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from mlops_runtime.terraform.forced_replacements import FORCED_REPLACEMENTS

_HEAD = re.compile(r'^(resource|data) "(\w+)" "(\w+)" \{$')
_META = ("for_each", "depends_on", "count")
_NAMES = re.compile(r"^  (\w+)\s+(=|\{)")
_IGNORED = re.compile(r"^    ignore_changes\s+= \[(.*)\]$")


def arguments(text: str) -> dict[str, set[str]]:
    """Return the arguments and blocks of each kind of resource and data source in a module, without meta-arguments."""
    found: dict[str, set[str]] = {}
    kind = None
    for line in text.splitlines():
        head = _HEAD.match(line)
        if head:
            kind = head[2] if head[1] == "resource" else f"data.{head[2]}"
            found.setdefault(kind, set())
        elif line == "}":
            kind = None
        elif kind is not None and (name := _NAMES.match(line)) and name[1] not in (*_META, "lifecycle"):
            found[kind].add(name[1])
    return found


def expressions_of(text: str) -> list[tuple[str, dict[str, str]]]:
    """Return each resource with its one-line arguments as expressions."""
    found: list[tuple[str, dict[str, str]]] = []
    current: dict[str, str] = {}
    for line in text.splitlines():
        head = _HEAD.match(line)
        if head:
            current = {}
            if head[1] == "resource":
                found.append((head[2], current))
        elif (name := _NAMES.match(line)) and name[2] == "=":
            current[name[1]] = line.split("=", 1)[1].strip()
    return found


def attributes(text: str) -> dict[str, set[str]]:
    """Return the attributes that a module reads of each kind of resource and data source."""
    found: dict[str, set[str]] = {}
    for data, kind, attribute in re.findall(r"\b(data\.)?(aws_\w+)\.\w+(?:\[[^\]]*\])?\.(\w+)", text):
        found.setdefault(f"{data}{kind}", set()).add(attribute)
    return found


def stub(source: Path, target: Path, computed: Mapping[str, str]) -> None:
    """Write the stubbed module.

    Args:
        source: The module.
        target: Folder to write to.
        computed: Further input lines of each kind of resource: attributes that the provider would compute.
    """
    target.mkdir(parents=True, exist_ok=True)
    for file in source.glob("*.tf"):
        if file.name != "versions.tf":
            (target / file.name).write_text(_stubbed(file.read_text(), computed))
    for file in source.rglob("*"):
        if file.is_file() and file.suffix != ".tf":
            copy = target / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())


def _stubbed(text: str, computed: Mapping[str, str]) -> str:
    lines, kept, given, kind, is_meta = [], [], [], "", False
    for line in text.splitlines():
        head = _HEAD.match(line)
        if head:
            prefix = "" if head[1] == "resource" else "data_"
            kind, kept, given = f"{prefix}{head[2]}", [], []
            lines.append(f'resource "terraform_data" "{kind}_{head[3]}" {{')
        elif kind and line == "}":
            lines += [*kept, *_triggers(kind, given), "  input = {", *given, computed.get(kind, ""), "  }", "}"]
            kind = ""
        elif kind:
            name = _NAMES.match(line)
            if name:
                is_meta = name[1] in _META or line == "  lifecycle {"
            (kept if is_meta else given).append(_ignored(line) if is_meta else re.sub(r"^(  \w+) \{$", r"\1 = {", line))
        else:
            lines.append(line)
    return _referenced("\n".join(lines) + "\n")


def _triggers(kind: str, given: list[str]) -> list[str]:
    """Return the arguments of a resource that force its replacement."""
    known = FORCED_REPLACEMENTS.get(kind)
    if known is None:
        return []
    pairs = (line.strip().split("=", 1) for line in given if _NAMES.match(line) and not line.endswith("{"))
    values = {name.strip(): value.strip() for name, value in pairs}
    forcing = [name for name in (*known.identity, *known.settings) if name in values]
    inner = ", ".join(f'"{name}" = tostring({values[name]})' for name in forcing)
    return [f"  triggers_replace = tomap({{ {inner} }})"]


def _ignored(line: str) -> str:
    match = _IGNORED.match(line)
    if match is None:
        return line
    entries = [f'triggers_replace["{name}"]' for name in match[1].split(", ")]
    return f"    ignore_changes = [{', '.join(entries)}]"


def _referenced(text: str) -> str:
    text = re.sub(
        r"\b(data\.)?(aws_\w+)\.(\w+)((?:\[[^\]]*\])?)\.(\w+)",
        lambda m: f"terraform_data.{'data_' if m[1] else ''}{m[2]}_{m[3]}{m[4]}.output.{m[5]}",
        text,
    )
    text = re.sub(
        r"(?<![\w.\"])(data\.)?(aws_\w+)\.(\w+)\b(?!\.)",
        lambda m: f"terraform_data.{'data_' if m[1] else ''}{m[2]}_{m[3]}",
        text,
    )
    return text.replace("self.value", "self.output.value")
