"""Code, tests and the ledger of claims about AWS agree."""

import ast
import functools
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlops_local.autoscaling import scaling_api as autoscaling_api
from mlops_local.aws_claims import Claim, read_claims
from mlops_local.sagemaker import sagemaker_api
from tools import verified_page

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / "packages/mlops-local/src/mlops_local"
claims = functools.cache(read_claims)
_MOST_CLAIMS = 3  # for a test without parameters
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
    """Every claim that names a test names an existing one."""
    assert [f"{claim.id}: {claim.test}" for claim in claims() if claim.test and not _exists(claim)] == []


def _is_parametrized(test: str) -> bool:
    path, *names = test.split("::")
    tree = ast.parse((ROOT / path).read_text())
    found = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) and n.name == names[-1]]
    return any("parametrize" in ast.unparse(decorator) for n in found for decorator in n.decorator_list)


def test_a_test_without_cases_holds_few_claims() -> None:
    """A test without cases may support only a few claims; parametrized cases fail for their own claim."""
    named = Counter(claim.test for claim in claims() if claim.test)

    assert [test for test, count in named.items() if count > _MOST_CLAIMS and not _is_parametrized(test)] == []


def test_every_claim_names_the_code_that_relies_on_it() -> None:
    """The named module exists; in the embedded cloud it contains the claim's id in a comment."""
    missing = [f"{claim.id}: {claim.module}" for claim in claims() if not (ROOT / claim.module).exists()]
    silent = [
        f"{claim.id}: {claim.module}"
        for claim in claims()
        if claim.module.startswith("packages/mlops-local/src/mlops_local/") and claim.module not in missing
        if claim.id not in _COMMENT.findall((ROOT / claim.module).read_text())
    ]

    assert missing == []
    assert silent == []


def test_every_comment_names_a_claim() -> None:
    """A comment ``claim: <id>`` names an entry of the ledger."""
    known = {claim.id for claim in claims()}
    unknown = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted(LOCAL.rglob("*.py"))
        if path.name != "aws_claims.py"
        for name in _COMMENT.findall(path.read_text())
        if name not in known
    ]

    assert unknown == []


def test_the_page_is_written_from_the_ledger() -> None:
    """``python -m tools.verified_page`` changes nothing."""
    assert verified_page.PAGE.read_text() == verified_page.page()


# errors unrelated to AWS: the command's part of the embedded cloud, its clock, its own protocol
_MECHANISM = frozenset(
    {
        "accounts",
        "aws_claims",
        "batch_delivery",
        "clients",
        "clock",
        "cloud",
        "compat",
        "declared_images",
        "deployer",
        "faults",
        "process_fork",
        "recorded_types",
        "function_processes",
        "log_pipe",
        "launcher",
        "kept_stores",
        "ministack_stores",
        "model_environments",
        "plain_data",
        "saver",
        "snapshot_files",
        "session_processes",
        "routes",
    }
    | {"haproxy", "runners", "settings"}
)
_LIMIT = re.compile(r"embedded|not supported here|127\.0\.0\.1")  # our own limits, which imitate nothing
_ANSWER = re.compile(r"(^|[._])(\w*_error|error_response\w*)$")  # MiniStack's functions that return an error
_TYPE = re.compile(r'"(AWS::\w+::\w+)"')
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def _imitating() -> list[Path]:
    """Return the modules that imitate AWS."""
    paths = sorted(LOCAL.rglob("*.py"))
    return [path for path in paths if path.stem not in _MECHANISM and "egress" not in path.parts]


def _refusals(function: _Function) -> list[str]:
    """Return the error messages that a function raises, except limits of the embedded cloud."""
    others = [node for node in ast.walk(function) if isinstance(node, _Function) and node is not function]
    inner = {id(node) for other in others for node in ast.walk(other)}
    own = [node for node in ast.walk(function) if id(node) not in inner]
    raised = [node.exc for node in own if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)]
    returned = [node.value for node in own if isinstance(node, ast.Return) and isinstance(node.value, ast.Call)]
    texts = [ast.unparse(call) for call in raised]
    texts += [ast.unparse(call) for call in returned if _ANSWER.search(ast.unparse(call.func))]
    return [text for text in texts if not _LIMIT.search(text)]


def _silent(scope: Sequence[ast.stmt], lines: Sequence[str], *, is_covered: bool = False) -> Iterator[str]:
    """Yield functions that reject input without a claim in them, directly above them or above their class."""
    for node in scope:
        if not isinstance(node, _Function | ast.ClassDef):
            continue
        above = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) - 2
        comments = itertools.takewhile(lambda line: line.lstrip().startswith("#"), reversed(lines[: above + 1]))
        covered = is_covered or bool(_COMMENT.search("\n".join(comments)))
        body = "\n".join(lines[node.lineno - 1 : node.end_lineno])
        if isinstance(node, _Function) and _refusals(node) and not covered and not _COMMENT.search(body):
            yield node.name
        yield from _silent(node.body, lines, is_covered=covered)


def test_what_refuses_names_its_claim() -> None:
    """A comment in or above the function or its class names a claim; limits of the embedded cloud say that they are limits."""
    silent = [
        f"{path.relative_to(LOCAL)}: {name}"
        for path in _imitating()
        for name in _silent(ast.parse(path.read_text()).body, path.read_text().splitlines())
    ]

    assert silent == []


def test_every_module_that_imitates_names_a_claim() -> None:
    """Modules longer than a small helper name a claim."""
    texts = {str(path.relative_to(LOCAL)): path.read_text() for path in _imitating()}

    assert [name for name, text in texts.items() if text.count("\n") > 60 and not _COMMENT.search(text)] == []


def test_every_operation_and_type_is_covered() -> None:
    """Operations of the embedded cloud and the resource types it supports follow a claim."""
    covered = {name for claim in claims() for name in claim.covers}
    served = {f"sagemaker:{name}" for name in sagemaker_api.OPERATIONS}
    served |= {f"application-autoscaling:{name}" for name in autoscaling_api.OPERATIONS}
    served |= {name for path in _imitating() for name in _TYPE.findall(path.read_text())}

    assert served - covered == set()
