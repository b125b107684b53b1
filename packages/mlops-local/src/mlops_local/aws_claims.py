"""The ledger: each behaviour of AWS that the embedded cloud imitates or a template relies on, with its source and its test.

``claims/<area>.yaml`` holds the claims. The code that imitates one carries a comment ``# claim: <id>``;
``tests/style/test_claims.py`` holds both sides together. Undocumented claims are *assumed*: `docs/verified.md` is
written from them, and `mlops verify` asks a real account.
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
    """The ledger has faults; the message names each with its file and its fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One behaviour of AWS.

    Args:
        id: Unique name in kebab-case; the imitating code carries it in a comment.
        claim: What AWS does, in short sentences.
        source: Where that is documented: an ``https`` page, or ``botocore:``, ``github:``, ``kubernetes:`` with the location
            there; ``ours:`` gives the reason for a claim without a document.
        read: When the source was read.
        basis: ``documented``, ``observed`` (by others, in public) or ``assumed``.
        module: Path of the file that imitates it, or that relies on it where only AWS can show it.
        test: The test that holds it, as pytest names it. Default: none, which only an assumed claim may have.
        shown_by: What a real account would show. Default: none; an assumed claim must have it.
        covers: Operations (``sagemaker:CreateModel``) and CloudFormation types whose answers follow this claim. Default: none.
        seen: What a report of ``mlops verify`` showed: ``date``, ``region``, ``report``, ``result``. Default: nothing was seen yet.

    Example:
        >>> claims = read_claims()
        >>> all(claim.basis in BASES for claim in claims)
        True
    """

    id: str
    claim: str
    source: str
    read: datetime.date
    basis: str
    module: str
    test: str | None = None
    shown_by: str | None = None
    covers: tuple[str, ...] = ()
    seen: Mapping[str, str] | None = None


def read_claims(folder: Path = FOLDER, area: str = "*") -> tuple[Claim, ...]:
    """Read all claims, sorted by file and place.

    Args:
        folder: Where the YAML files are. Default: the package's own.
        area: Stem of the one file to read. Default: all are read.

    Raises:
        ClaimError: For each entry with an unknown or missing field, a wrong type or value, or an id that is used twice.
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
        problems.append("an assumed claim needs shown_by: what a real account would show")
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
