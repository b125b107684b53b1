"""Check templates with cfn-lint, checkov, cfn-guard, cloudsplaining and policy_sentry, except for accepted findings.

``python -m tools.template_checks [--sample] TEMPLATE...`` exits with 1 if a finding is not in ``tools/checkers/accepted.yaml``, or,
without ``--sample``, if an entry of that list matches no finding. Each checker has its own environment, created by
``uv sync --script`` with its file in ``tools/checkers/``; this command downloads none.
"""

import argparse
import fnmatch
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml

FOLDER = Path(__file__).with_name("checkers")
CHECKERS = ("cfn_guard", "cfn_lint", "checkov", "cloudsplaining", "policy_sentry")
_PROCESSES = 2
_MINIMUM_REASON = 40
_HASH = re.compile(r"[0-9A-F]{8}$")


class MissingCheckerError(Exception):
    """A checker's environment is missing; the message has the command that creates it."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class CheckerFinding:
    """Finding of one checker for one resource; ``resource`` is the logical id without CDK's hash."""

    checker: str
    rule: str
    resource: str
    template: str
    message: str = ""

    def __str__(self) -> str:
        return f"{self.checker} {self.rule} at {self.template}/{self.resource}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedFinding:
    """Entry of the list: an accepted finding and the reason."""

    checker: str
    rule: str
    resources: tuple[str, ...]
    reason: str

    def matches(self, finding: CheckerFinding, pattern: str) -> bool:
        """Whether a finding matches this entry with one of its patterns."""
        same = (finding.checker, finding.rule) == (self.checker, self.rule)
        return same and fnmatch.fnmatchcase(finding.resource, pattern)


def read_accepted(path: Path = FOLDER / "accepted.yaml") -> list[AcceptedFinding]:
    """Read the list.

    Raises:
        ValueError: If an entry names an unknown checker, has no resources, or a reason of less than 40 characters.
    """
    entries = [
        AcceptedFinding(**(entry | {"resources": tuple(entry["resources"])}))
        for entry in yaml.safe_load(path.read_text())
    ]
    for entry in entries:
        if entry.checker not in CHECKERS or not entry.resources or len(entry.reason) < _MINIMUM_REASON:
            raise ValueError(
                f"{path.name}: checker must be one of {', '.join(CHECKERS)}, resources not empty and the reason at least "
                f"{_MINIMUM_REASON} characters, got {entry}"
            )
    return entries


def problems(
    findings: Iterable[CheckerFinding], accepted: Sequence[AcceptedFinding], *, is_complete: bool = True
) -> list[str]:
    """Return the findings that are not accepted and, if all templates were checked, the entries that match no finding."""
    found = sorted(set(findings))
    listed = [(entry, pattern) for entry in accepted for pattern in entry.resources]
    left = [
        f"{finding}; fix it, or list it in accepted.yaml with a reason"
        for finding in found
        if not any(entry.matches(finding, pattern) for entry, pattern in listed)
    ]
    stale = [
        f"accepted.yaml: {entry.checker} {entry.rule} at {pattern!r} meets no finding any more; remove it"
        for entry, pattern in listed
        if is_complete and not any(entry.matches(finding, pattern) for finding in found)
    ]
    return left + stale


def run(checker: str, templates: Sequence[Path]) -> list[CheckerFinding]:
    """Run one checker in its environment.

    Raises:
        MissingCheckerError: If uv or the environment is missing.
        RuntimeError: If the checker fails.
    """
    uv, script = shutil.which("uv"), FOLDER / f"run_{checker}.py"
    if uv is None:
        raise MissingCheckerError("uv is not installed, which runs the checkers; install it: pip install uv")
    ready = subprocess.run(
        [uv, "sync", "--offline", "--locked", "--quiet", "--script", str(script)], capture_output=True, check=False
    )
    if ready.returncode != 0:
        raise MissingCheckerError(f"{checker} is not installed; run: uv sync --script tools/checkers/{script.name}")
    by_path = {
        str(path.resolve()): f"{path.parent.name}/{path.name.removesuffix('.template.json')}" for path in templates
    }
    command = [uv, "run", "--offline", "--quiet", "--script", str(script), *by_path]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"{checker} ended with {result.returncode}: {result.stderr[-2000:]}")
    return [
        CheckerFinding(
            checker=checker,
            rule=found["rule"],
            resource=_HASH.sub("", found["resource"]),
            template=next(
                (name for path, name in by_path.items() if path.endswith(found["template"])), found["template"]
            ),
            message=found["message"],
        )
        for found in json.loads(result.stdout)
    ]


def check(templates: Sequence[Path], checkers: Sequence[str] = CHECKERS) -> list[CheckerFinding]:
    """Run checkers, two at a time; templates that are equal in both profiles are checked once.

    Raises:
        MissingCheckerError: As ``run``.
        RuntimeError: As ``run``.
    """
    once = list({path.read_bytes(): path for path in templates}.values())
    with ThreadPoolExecutor(_PROCESSES) as pool:
        return [finding for found in pool.map(lambda checker: run(checker, once), checkers) for finding in found]


def main(arguments: Sequence[str]) -> int:
    """Print the problems, and return 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sample", action="store_true", help="not all templates are given: do not report unused entries"
    )
    parser.add_argument("templates", nargs="+", type=Path)
    given = parser.parse_args(arguments)
    accepted = read_accepted()
    findings = check(given.templates)
    left = problems(findings, accepted, is_complete=not given.sample)
    print("\n".join(left), file=sys.stderr)
    print(f"{len(given.templates)} templates, {len(findings)} findings, {len(left)} problems")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
