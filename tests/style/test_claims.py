"""Code, tests and ledger say the same of AWS."""

import ast
import re
from collections import Counter
from pathlib import Path

from mlops_local.autoscaling import api as autoscaling_api
from mlops_local.aws_claims import Claim, read_claims
from mlops_local.sagemaker import api as sagemaker_api
from tools import verified_page

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / "src" / "mlops_local"
CLAIMS = read_claims()
_MOST_CLAIMS = 3  # of a test that is not parametrized
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


def _is_parametrized(test: str) -> bool:
    path, *names = test.split("::")
    found = [n for n in _functions(ast.parse((ROOT / path).read_text())) if n.name == names[-1]]
    return any("parametrize" in ast.unparse(decorator) for n in found for decorator in n.decorator_list)


def test_a_test_without_cases_holds_few_claims() -> None:
    """One that many claims name says little of each; with a case a claim, a fault of one fails."""
    named = Counter(claim.test for claim in CLAIMS if claim.test)

    assert [test for test, count in named.items() if count > _MOST_CLAIMS and not _is_parametrized(test)] == []


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


# what raises these has nothing of AWS: the command's side of the embedded cloud, its clock, its own wire
_MECHANISM = frozenset(
    {
        "assembly",
        "aws_claims",
        "clients",
        "clock",
        "cloud",
        "compat",
        "deployer",
        "faults",
        "launcher",
        "ports",
        "processes",
        "routes",
    }
    | {"haproxy", "runners", "settings"}
)
_LIMIT = re.compile(r"embedded|\bhere\b|127\.0\.0\.1")  # of ours: said by name, imitates nothing


def _functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _refusals(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Return what a function raises with a message of its own, but for limits of the embedded cloud."""
    inner = {id(node) for other in _functions(function) if other is not function for node in ast.walk(other)}
    raised = [node for node in ast.walk(function) if isinstance(node, ast.Raise) and id(node) not in inner]
    texts = [ast.unparse(node.exc) for node in raised if isinstance(node.exc, ast.Call)]
    return [text for text in texts if not _LIMIT.search(text)]


def test_what_refuses_names_its_claim() -> None:
    """By a comment in the function or of the whole module; a limit of the embedded cloud says in words that it is one."""
    silent = []
    for path in sorted(LOCAL.rglob("*.py")):
        if path.stem in _MECHANISM or "egress" in path.parts:
            continue
        text = path.read_text()
        lines, tree = text.splitlines(), ast.parse(text)
        whole = "\n".join(line for line in lines if line.startswith("# claim: "))  # of the whole module
        for function in _functions(tree):
            body = "\n".join(lines[function.lineno - 1 : function.end_lineno])
            if _refusals(function) and not _COMMENT.search(whole + body):
                silent.append(f"{path.relative_to(LOCAL)}: {function.name}")

    assert silent == []


def test_every_operation_and_type_is_covered() -> None:
    """What the planes of the embedded cloud answer follows a claim."""
    covered = {name for claim in CLAIMS for name in claim.covers}
    served = {f"sagemaker:{name}" for name in sagemaker_api.OPERATIONS}
    served |= {f"application-autoscaling:{name}" for name in autoscaling_api.OPERATIONS}

    assert served - covered == set()
