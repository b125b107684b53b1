"""The house style of constructs, held by a program: what every public construct and helper looks like."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam

import mlops_constructs
from constructs import Construct

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src" / "mlops_constructs").rglob("*.py"))
PUBLIC = {name: getattr(mlops_constructs, name) for name in mlops_constructs.__all__}
CONSTRUCTS = {n: c for n, c in PUBLIC.items() if inspect.isclass(c) and issubclass(c, Construct)}
# modules that constructs may not use: boto3, clock, randomness, network, environment
FORBIDDEN = {
    "boto3",
    "botocore",
    "random",
    "secrets",
    "uuid",
    "socket",
    "requests",
    "urllib",
    "http",
    "datetime",
    "time",
}
# makes the platform call, never a construct; reads data files, not the network
EXEMPT = {("_assets.py", "subprocess"), ("_wheels.py", "subprocess")}
PASCAL = re.compile(r"[A-Z][A-Za-z0-9]*")
# what takes (scope, id): classes, and our functions that define
DEFINES = re.compile(r"(?:.*\.)?(?:[A-Z]\w+|define_\w+|service_role|shared_policy|layer)")


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT / "src"))


def _methods(construct: type) -> Iterator[tuple[str, inspect.Signature, str]]:
    for name, member in inspect.getmembers(construct, inspect.isfunction):
        if not name.startswith("_") and name in vars(construct):
            yield name, inspect.signature(member), inspect.getdoc(member) or ""


@pytest.mark.parametrize("name", sorted(CONSTRUCTS))
def test_arguments_are_keyword_only_and_typed(name: str) -> None:
    """``scope, id, *``, each with a type, none of them Any or a bag."""
    signature = inspect.signature(CONSTRUCTS[name].__init__)
    positional = [p.name for p in signature.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]

    assert positional == ["self", "scope", "id"]
    for parameter in list(signature.parameters.values())[3:]:
        assert parameter.kind is parameter.KEYWORD_ONLY, parameter.name
        assert parameter.annotation is not parameter.empty, parameter.name
        assert "Any" not in str(parameter.annotation), parameter.name
    assert len(signature.parameters) - 3 <= 14


@pytest.mark.parametrize("name", sorted(CONSTRUCTS))
def test_the_docstring_covers_every_argument(name: str) -> None:
    """Each has a line; each optional one says what is done by default; there is an example."""
    text = inspect.getdoc(CONSTRUCTS[name]) or ""
    summary = text.splitlines()[0]
    arguments = text.split("Args:")[1].split("\n\n")[0]

    assert summary.endswith(".")
    assert "Stateful." in text or "Stateless." in text
    assert "Example:" in text
    for parameter in list(inspect.signature(CONSTRUCTS[name].__init__).parameters.values())[1:]:
        block = re.search(rf"^ +{parameter.name}: ((?:.*\n?)(?:^ {{8,}}.*\n?)*)", arguments, re.MULTILINE)
        assert block, f"{parameter.name} has no line"
        if parameter.default is not parameter.empty:
            assert "Default:" in block[1], f"{parameter.name} does not say its default"


@pytest.mark.parametrize("name", sorted(CONSTRUCTS))
def test_grants_return_grants_and_metrics_metrics(name: str) -> None:
    """Callers may chain what CDK gives them."""
    for method, signature, _ in _methods(CONSTRUCTS[name]):
        if method.startswith("grant_"):
            assert signature.return_annotation in (iam.Grant, "iam.Grant"), method
        if method.startswith("metric"):
            assert signature.return_annotation in (cloudwatch.Metric, "cloudwatch.Metric"), method


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_everything_public_has_a_docstring(name: str) -> None:
    """Classes and their methods and properties."""
    item = PUBLIC[name]
    assert inspect.getdoc(item)
    if inspect.isclass(item):
        members = {n: m for n, m in vars(item).items() if not n.startswith("_")}
        missing = [
            n
            for n, m in members.items()
            if (inspect.isfunction(m) or isinstance(m, property | classmethod)) and not inspect.getdoc(m)
        ]
        assert missing == []


@pytest.mark.parametrize("path", SOURCES, ids=_id)
def test_construct_ids_are_pascal_case_literals(path: Path) -> None:
    """An id made of parts is a rename waiting to happen; loops and helpers pass ids on by name."""
    wrong = []
    for call in (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)):
        if len(call.args) < 2 or not isinstance(call.args[0], ast.Name) or call.args[0].id not in {"self", "scope"}:
            continue
        if not DEFINES.fullmatch(ast.unparse(call.func)):
            continue
        identity = call.args[1]
        if isinstance(identity, ast.Constant) and isinstance(identity.value, str):
            if not PASCAL.fullmatch(identity.value) and call.args[0].id == "self":
                wrong.append(f"line {call.lineno}: {identity.value!r}")
        elif isinstance(identity, ast.JoinedStr):
            parts = [part for part in identity.values if isinstance(part, ast.FormattedValue)]
            known = all(isinstance(part.value, ast.Name) and part.value.id in {"id", "name"} for part in parts[:1])
            if not known:
                wrong.append(f"line {call.lineno}: built from {ast.unparse(identity)}")

    assert wrong == []


@pytest.mark.parametrize("path", SOURCES, ids=_id)
def test_no_bags_and_no_outside_world(path: Path) -> None:
    """No ``**kwargs``; no SDK, clock, randomness, network or environment in what synthesizes."""
    tree = ast.parse(path.read_text())
    bags = [
        n.name
        for n in ast.walk(tree)
        if isinstance(n, ast.FunctionDef) and n.args.kwarg and n.args.kwarg.annotation is None
    ]
    imports = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imports |= {str(n.module).split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    environment = [n.lineno for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr in {"environ", "getenv"}]

    assert bags == []
    assert {(path.name, m) for m in imports & (FORBIDDEN | {"subprocess"})} - EXEMPT == set()
    assert environment == []


@pytest.mark.parametrize("path", SOURCES, ids=_id)
def test_defaults_are_tested_for_none(path: Path) -> None:
    """``x or default`` replaces an explicit 0 or empty list: parameters are compared with None."""
    wrong = []
    for function in (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)):
        names = {a.arg for a in [*function.args.args, *function.args.kwonlyargs]}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign | ast.keyword | ast.Return) and isinstance(node.value, ast.BoolOp):
                first = node.value.values[0]
                if isinstance(node.value.op, ast.Or) and isinstance(first, ast.Name) and first.id in names:
                    wrong.append(f"line {node.value.lineno}: {ast.unparse(node.value)}")

    assert wrong == []
