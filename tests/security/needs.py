"""``python -m tests.security.needs TARGET FOLDER...`` writes `recorded_calls.json` from output of `record`; tests read it here.

Generated names are replaced by logical ids, identities by zeros and counters by `N`, so that each kind of call occurs
once, sorted. `named_calls.yaml` has calls of AWS services with a role that the embedded cloud does not make.
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from tests.security import front_door
from tests.security.policies import Policies
from tests.security.units import template

FOLDER = Path(__file__).parent
RECORDED = {
    "sagemaker": FOLDER / "recorded_calls.json",
    "eks": FOLDER / "recorded_calls_on_eks.json",
    "front_door": FOLDER / "recorded_calls_of_front_door.json",
}
NAMED = FOLDER / "named_calls.yaml"
# output of `record`: IAM evaluations, resource names, and the evaluations per user operation
JOURNAL, RESOURCES, OPERATIONS = "iam.jsonl", "resources.json", "operations.json"
# name prefixes of the demo's endpoint in `named_calls.yaml`, and the names of a target's endpoints: the first whose key
# is a prefix of the role's logical id applies
_NAMED_ENDPOINT = "demand-forecast"
ENDPOINTS: Mapping[str, Mapping[str, str]] = {"front_door": front_door.ENDPOINTS}
# identities keep their length, by which policies match execution names; counters do not
_IDENTITIES = tuple(
    re.compile(pattern)
    for pattern in (
        r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        r"[0-9a-f]{16,}|\d{9,}",
        r"\d{4}([-/]?)\d\d\1\d\d(?:[-T/_ ]?\d\d(?:[:/]?\d\d)*(?:\.\d+)?Z?)?",
        r"(?<![0-9a-zA-Z])(?=[0-9a-f]*\d)[0-9a-f]{6,}(?![0-9a-zA-Z])",
    )
)
# ids that API Gateway assigns to jobs: mlops_runtime/inference_api/job_names.py
_JOB = re.compile(r"(/jobs/|/jobs/[\w-]+/|/api/|/api-)[\w-]{15}(?=\.|$)")
_COUNTER = re.compile(r"(?<![0-9a-zA-Z])\d+(?![0-9a-zA-Z])")
_HASH = re.compile(r"[0-9a-f]{32,}")
# https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html: needs no permission and cannot be denied
_ALWAYS_ALLOWED = "sts:GetCallerIdentity"
_PEOPLE = re.compile(r"^(Reader|OnCall|RegistryApprover)")
_KEPT = re.compile(r"\b000000000000\b|us-east-1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A call that must be allowed.

    Args:
        role: Logical id of the calling role, a service principal, or ``administrator``.
        action: The IAM action.
        resource: The ARN.
        context: Condition keys. Default: only the global ones.
        source: Reason for a call that was not recorded. Default: a recorded call.
        operation: The console's mutating operation that made it first. Default: none.
    """

    role: str
    action: str
    resource: str
    context: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    operation: str = ""


def recorded(target: str = "sagemaker") -> list[Need]:
    """Return the recorded calls.

    Args:
        target: Serving target of the unit. Default: a SageMaker endpoint.
    """
    return [Need(**row) for row in json.loads(RECORDED[target].read_text())]


def named(policies: Policies, target: str = "sagemaker") -> list[Need]:
    """Return the named calls of each caller.

    Args:
        policies: The policies of the template.
        target: Target with the named endpoints. Default: the demo's.
    """
    found = []
    for entry in yaml.safe_load(NAMED.read_text())["calls"]:
        if target not in entry.get("targets", [target]):
            continue
        for role in callers(entry, policies):
            found += [
                Need(
                    role=role,
                    action=action,
                    resource=resource(entry, role, target),
                    context={key: _of_endpoint(value, role, target) for key, value in entry.get("context", {}).items()},
                    source=entry["source"],
                )
                for action in entry["actions"]
            ]
    return found


def resource(entry: Mapping[str, Any], role: str, target: str) -> str:
    """Return the resource of a named call, with the name of the role's endpoint.

    Args:
        entry: An entry of `named_calls.yaml`.
        role: The caller.
        target: Target of the role's template.
    """
    return _of_endpoint(entry["resource"], role, target)


def _of_endpoint(text: str, role: str, target: str) -> str:
    endpoints = ENDPOINTS.get(target, {"": _NAMED_ENDPOINT})
    own = next(name for begin, name in endpoints.items() if role.startswith(begin))
    return text.replace(_NAMED_ENDPOINT, own)


def callers(entry: Mapping[str, Any], policies: Policies) -> list[str]:
    """Return the callers of a named call: one caller, or each role whose logical id matches.

    Args:
        entry: An entry of `named_calls.yaml`.
        policies: The policies of the template.
    """
    if "caller" in entry:
        _, is_role, taken = entry["resource"].partition(":role/")
        return [entry["caller"]] if not is_role or taken in policies.roles else []
    return [role for role in policies.roles if re.search(entry["roles"], role)]


def normalised(folder: Path, policies: Policies) -> list[dict[str, Any]]:
    """Return the content of a `record` folder, each kind of call once, sorted."""
    kept = json.loads((folder / RESOURCES).read_text())["names"]
    names = {}
    for logical_id, physical in kept.items():
        if policies.has(logical_id) and physical.startswith("arn:"):
            names[physical] = policies.attribute(logical_id)
        tail = re.split(r"[/:|]", physical)[-1]
        if policies.has(logical_id) and tail != (name := policies.name(logical_id)) and len(tail) > 5:
            names[tail] = name
    pattern = re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))))

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {plain(key): plain(inner) for key, inner in sorted(value.items())}
        if isinstance(value, list):
            return sorted({plain(inner) for inner in value}, key=str)
        if not isinstance(value, str):
            return value
        named = pattern.sub(lambda found: names[found[0]], value)
        return _varying(named) if named.startswith("arn:") or "/" in named else _HASH.sub("N", named)

    roles, operations = {policies.name(role): role for role in policies.roles}, _operations(folder)
    rows = {}
    for number, line in enumerate((folder / JOURNAL).read_text().splitlines()):
        row = json.loads(line)
        role = roles.get(plain(row["principal"]).rpartition("/")[2])
        if row["allowed"] and role is not None and row["action"] != _ALWAYS_ALLOWED:
            need = {
                "role": role,
                "action": row["action"],
                "resource": plain(row["resource"]),
                "context": plain(row["context"]),
            }
            if number in operations and _PEOPLE.search(role):
                need["operation"] = operations[number]
            rows[json.dumps(need, sort_keys=True)] = need
    return [rows[key] for key in sorted(rows)]


def _operations(folder: Path) -> dict[int, str]:
    """Return the journal lines that were first evaluated for a user's operation."""
    kept = folder / OPERATIONS
    rows = json.loads(kept.read_text()) if kept.is_file() else []
    return {number: row["name"] for row in rows for number in range(row["begin"], row["end"])}


def _varying(text: str) -> str:
    """Replace each varying date and identity by zeros, and a counter by `N`."""
    text = _JOB.sub(r"\1N", _HASH.sub("N", text))
    kept = [*_KEPT.findall(text), ""]
    pieces = _KEPT.split(text)
    for pattern in _IDENTITIES:
        pieces = [pattern.sub(_plain_identity, piece) for piece in pieces]
    pieces = [_COUNTER.sub(_plain_counter, piece) for piece in pieces]
    return "".join(piece + after for piece, after in zip(pieces, kept, strict=True))


def _plain_identity(found: re.Match[str]) -> str:
    return re.sub(r"[0-9a-zA-Z]", "0", found[0])


def _plain_counter(found: re.Match[str]) -> str:
    return found[0] if set(found[0]) == {"0"} else "N"


def main(target: str, folders: Sequence[Path]) -> None:
    """Write the file of a target."""
    policies = Policies(template(target))
    rows = {json.dumps(row, sort_keys=True) for folder in folders for row in normalised(folder, policies)}
    RECORDED[target].write_text("[\n" + ",\n".join(sorted(rows)) + "\n]\n")
    print(f"{len(rows)} kinds of calls")  # noqa: T201 - a command


if __name__ == "__main__":
    main(sys.argv[1], [Path(folder) for folder in sys.argv[2:]])
