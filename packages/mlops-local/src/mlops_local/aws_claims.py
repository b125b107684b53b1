"""The ledger of claims: each AWS behaviour that the embedded cloud imitates or a template relies on, with source and test.

``claims/<area>.yaml`` contains the claims. Code that imitates one has a comment ``# claim: <id>``; ``tests/style/test_claims.py``
checks both directions. Claims without documentation are *assumed*: `docs/verified.md` is generated from them, and
`mlops verify` tests them in a real account.
"""

import datetime
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

FOLDER = Path(__file__).with_name("claims")
BASES = ("documented", "observed", "assumed")
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_SOURCE = re.compile(r"https://\S+|(botocore|github|kubernetes|ours): \S.*", re.DOTALL)
_TEST = re.compile(r"tests/\S+\.py(::\w+)+")
_OPTIONAL = ("test", "shown_by", "covers", "seen")


class ClaimError(ValueError):
    """The ledger is invalid; the message names each problem with its file and fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One behaviour of AWS.

    Example:
        >>> claims = read_claims()
        >>> all(claim.basis in BASES for claim in claims)
        True
    """

    id: str  # unique name in kebab-case; used in the comment of the imitating code
    claim: str  # AWS's behaviour, in short sentences
    # the documentation: an `https` page, or `botocore:`, `github:`, `kubernetes:` with the location there; `ours:`
    # gives the reason for a claim without documentation
    source: str
    read: datetime.date  # date when the source was read
    basis: str  # `documented`, `observed` (publicly, by others) or `assumed`
    module: str  # path of the file that imitates the behaviour, or that relies on it if only AWS can show it
    # the test that verifies the imitation, as pytest names it. Default: none, allowed only for assumed claims
    test: str | None = None
    # the observation in a real account that confirms or refutes the claim. Default: none; required for assumed claims
    shown_by: str | None = None
    # operations (`sagemaker:CreateModel`) and CloudFormation types whose responses follow this claim
    covers: tuple[str, ...] = ()
    # result of a report of `mlops verify`: `date`, `region`, `report`, `result`. Default: not seen yet
    seen: Mapping[str, str] | None = None


def read_claims(folder: Path = FOLDER, area: str = "*") -> tuple[Claim, ...]:
    """Read all claims, sorted by file and position.

    Args:
        folder: Folder of the YAML files. Default: the package's own.
        area: Stem of a single file to read. Default: all files.

    Raises:
        ClaimError: For each entry with an unknown or missing field, a wrong type or value, or a duplicate id.
    """
    problems: list[str] = []
    claims: list[Claim] = []
    for path in sorted(folder.glob(f"{area}.yaml")):
        entries = yaml.safe_load(path.read_text("utf-8"))
        if not isinstance(entries, list):
            problems.append(f"{path.name}: must be a list of claims, got {type(entries).__name__}")
            continue
        for number, entry in enumerate(entries, 1):
            found = _problems(entry)
            if found:
                name = entry.get("id", number) if isinstance(entry, Mapping) else number
                problems += [f"{path.name}, {name}: {problem}" for problem in found]
            else:
                claims.append(Claim(**{**entry, "covers": tuple(entry.get("covers", ()))}))
    uses = Counter(claim.id for claim in claims)
    problems += [f"id {name!r} is used {uses[name]} times; choose another" for name in uses if uses[name] > 1]
    if problems:
        raise ClaimError("; ".join(problems))
    return tuple(claims)


def _problems(entry: object) -> list[str]:
    if not isinstance(entry, Mapping):
        return [f"must be a mapping, got {entry!r}"]
    known = [field.name for field in fields(Claim)]
    problems = [f"unknown field {name!r}; allowed are {', '.join(known)}" for name in entry if name not in known]
    problems += [f"field {name!r} is missing" for name in known if name not in (*_OPTIONAL, *entry)]
    texts = ("id", "claim", "source", "basis", "module", "test", "shown_by")
    wrong = [name for name in texts if name in entry and not (isinstance(entry[name], str) and entry[name].strip())]
    problems += [f"{name} must be a non-empty string, got {entry[name]!r}" for name in wrong]
    if problems:
        return problems
    if not _ID.fullmatch(entry["id"]):
        problems.append(f"id must be in kebab-case, got {entry['id']!r}")
    if not _SOURCE.fullmatch(entry["source"]):
        problems.append(
            f"source must be an https address or begin with botocore:, github:, kubernetes: or ours:, got {entry['source']!r}"
        )
    if type(entry["read"]) is not datetime.date:
        problems.append(f"read must be a date such as 2026-11-28, got {entry['read']!r}")
    if entry["basis"] not in BASES:
        problems.append(f"basis must be one of {', '.join(BASES)}, got {entry['basis']!r}")
    if entry["basis"] == "assumed" and "shown_by" not in entry:
        problems.append("an assumed claim needs shown_by: the observation that confirms or refutes it")
    if entry["basis"] != "assumed" and "test" not in entry:
        problems.append("a claim that is not assumed needs the test that holds it")
    if "test" in entry and not _TEST.fullmatch(entry["test"]):
        problems.append(f"test must be tests/<file>.py::<function>, got {entry['test']!r}")
    if entry["basis"] != "assumed" and entry["source"].startswith("ours:"):
        problems.append("a claim without a public source is assumed; set basis: assumed, or name the source")
    covers = entry.get("covers", [])
    if not (isinstance(covers, Sequence) and not isinstance(covers, str) and all(isinstance(c, str) for c in covers)):
        problems.append(f"covers must be a list of strings, got {covers!r}")
    seen = entry.get("seen")
    if seen is not None and not (isinstance(seen, Mapping) and set(seen) == {"date", "region", "report", "result"}):
        problems.append(f"seen must have date, region, report and result, got {seen!r}")
    return problems
