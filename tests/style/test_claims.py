"""Code, tests and ledger say the same of AWS."""

import ast
import re
from pathlib import Path

from mlops_local.aws_claims import Claim, read_claims
from tools import verified_page

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / "src" / "mlops_local"
CLAIMS = read_claims()
_COMMENT = re.compile(r"claim: ([a-z0-9-]+)")


def _exists(claim: Claim) -> bool:
    path, *names = (claim.test or "").split("::")
    if not (ROOT / path).is_file():
        return False
    scope: list[ast.stmt] = ast.parse((ROOT / path).read_text()).body
    for name in names:
        found = [
            n for n in scope if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and n.name == name
        ]
        if not found:
            return False
        scope = found[0].body
    return True


def test_the_test_of_every_claim_exists() -> None:
    """A claim that is held by a test names one that runs."""
    assert [f"{claim.id}: {claim.test}" for claim in CLAIMS if claim.test and not _exists(claim)] == []


def test_every_claim_names_the_code_that_relies_on_it() -> None:
    """The file is there; in the embedded cloud it carries the claim's id in a comment."""
    missing = [f"{claim.id}: {claim.module}" for claim in CLAIMS if not (ROOT / claim.module).exists()]
    silent = [
        f"{claim.id}: {claim.module}"
        for claim in CLAIMS
        if claim.module.startswith("src/mlops_local/") and claim.module not in missing
        if claim.id not in _COMMENT.findall((ROOT / claim.module).read_text())
    ]

    assert missing == []
    assert silent == []


def test_every_comment_names_a_claim() -> None:
    """A comment ``claim: <id>`` leads to an entry of the ledger."""
    known = {claim.id for claim in CLAIMS}
    unknown = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted(LOCAL.rglob("*.py"))
        if path.name != "aws_claims.py"
        for name in _COMMENT.findall(path.read_text())
        if name not in known
    ]

    assert unknown == []


def test_the_page_is_written_from_the_ledger() -> None:
    """``python -m tools.verified_page`` would change nothing."""
    assert verified_page.PAGE.read_text() == verified_page.page()
