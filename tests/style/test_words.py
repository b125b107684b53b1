"""Plain English in strings, docstrings, comments, pages, templates and the ledger of claims.

Patterns match prose only, not identifiers, stored keys or names of states.
"""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tests.style.test_files import ROOT, TRACKED

# a pattern, and suggested replacements
WORDS = {
    r"\b(ring|rings|rang|rung|ringing)\b": "fires, is in ALARM",
    r"\b(is|are|was|were|be|been) told\b": "gets, is logged, is reported",
    r"\bhears? of\b": "receives, reads",
    r"\btells of\b": "reports",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bputs? right\b": "fix",
    r"\bturn(s|ed)? down\b": "rejected",
    r"\b(taken|takes|take|took|gone|goes|go|went) back\b": "rolled back, returns",
    r"\banew\b": "again",
    r"\b(some|any)body\b": "a user, the caller",
    r"\bnobody\b": "no user, no caller; or passive voice",
    r"(?<!-)\b(whoever|whatever)\b(?!-)": "the caller, callers that",
    r"\b(is|are|was|were) (?-i:none)\b": "is not one, is missing",
    r"(?<!there )\b(is|are) no (?!longer|more|less|later|earlier|newer|older)[a-z]": "is not a",
    r"\b(a|the|this|that|each|any|one|at|in|within|last) moments?\b": "time",
    r"\bwho (calls|asks|reads|wants|owns)\b": "the caller, the reader",
    r"\b(so|as) many [a-z\s]{1,30} as\b": "the number of",
    r"(?<!Another )\blook(s|ed|ing)? (at|into)\b": "check, read, inspect",
    r"\bjudg(e|es|ed|ing)\b(?!\()": "evaluate",
    r"(?<!\.)\b(rests|rested)\b(?![:(])": "is paused",
    r"(?<![-,])\bw(a|o)kes?\b": "starts, is invoked",
    r"\bstands\b(?! for\b| in for\b| out\b)": "is",
    r"\bof which (no|none|nothing|there|it)\b": "without, for which, whose",
    r"\b(AWS|S3|EC2|KMS|IAM|EKS|STS|Glue|Athena|SageMaker|Lambda|CloudFormation|Kubernetes|GitLab) says\b": "returns",
    r"\b(MiniStack|Arrow|DuckDB|boto3|pyiceberg|MLflow|the (API|cloud|command|console|container)) says\b": "reports, prints",
    r"\bwhat (serves|lies|stays|stands|waits|holds)\b": "name the thing",
    r"\bolder than this field\b": "0.1.0 is the first version: make the field required",
    r"\bno longer written\b": "0.1.0 is the first version: delete it",
    r"(?<![-.`])\b(?-i:asked)\b": "requested, sent, queried",
    r"\bolder (records|manifests)\b": "0.1.0 is the first version: delete the branch",
}
_ANY = re.compile("|".join(f"(?:{pattern})" for pattern in WORDS).replace(" ", r"\s"), re.IGNORECASE)
_FOLDERS = ("README.md", "CHANGELOG.md", "docs/", "examples/", "lambdas/", "src/", "packages/")
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")
_CODE_OF_TEMPLATE = re.compile(r"\{[{%].*?[%}]\}")
_NOT_PROSE = ("docs/worklog/",)
_LEDGER = "packages/mlops-local/src/mlops_local/claims/"
_FIELD_OF_LEDGER = re.compile(r"^  (?:claim|shown_by): .*\n(?:    .*\n)*", re.MULTILINE)


def _joined(text: str) -> str:
    """Return text with lines joined by one character each, so that line numbers remain countable."""
    return re.sub(r"[ \t]*\n[ \t]*", "\n", text)


def _prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield strings and comments of a program with their first line; a page is one piece."""
    text = path.read_text()
    if _ANY.search(_joined(text)) is None:
        return  # fast path for most files
    if path.suffix == ".yaml":
        for field in _FIELD_OF_LEDGER.finditer(text):
            yield 1 + text.count("\n", 0, field.start()), field[0]
        return
    if path.suffix != ".py":
        yield 1, _CODE_OF_TEMPLATE.sub("{}", text) if path.suffix == ".jinja" else text
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", None)):
            is_formatted = "f" in token.string.partition('"')[0].lower()
            yield token.start[0], _PLACEHOLDER.sub("{}", token.string) if is_formatted else token.string


def _found(path: Path) -> Iterator[str]:
    for first, text in _prose(path):
        piece = _joined(text)
        if _ANY.search(piece) is None:
            continue
        for pattern, better in WORDS.items():
            for match in re.finditer(pattern.replace(" ", r"\s"), piece, re.IGNORECASE):
                if (piece[: match.start()] or " ")[-1] + piece[match.end() : match.end() + 1] in {"''", '""', "``"}:
                    continue  # the whole string is a value or a name
                line = first + piece.count("\n", 0, match.start())
                yield f"{path.relative_to(ROOT)}:{line}: {' '.join(match[0].split())!r} -> {better}"


def test_words_are_plain() -> None:
    """Prose uses standard terms of AWS and pyiceberg."""
    read = [
        path
        for path in TRACKED
        if (name := str(path.relative_to(ROOT))).startswith(_FOLDERS)
        and not name.startswith(_NOT_PROSE)
        and (path.suffix in {".py", ".md", ".jinja", ".html"} or name.startswith(_LEDGER))
    ]

    assert len(read) > 500
    assert [each for path in read for each in _found(path)] == []
