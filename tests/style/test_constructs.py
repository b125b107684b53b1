"""Style of the constructs: rules for every public construct and helper."""

import ast
import functools
import inspect
import re
import subprocess
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam

import mlops_constructs
from constructs import Construct

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src" / "mlops_constructs").rglob("*.py"))
PUBLIC = {name: getattr(mlops_constructs, name) for name in mlops_constructs.__all__}
CONSTRUCTS = {n: c for n, c in PUBLIC.items() if inspect.isclass(c) and issubclass(c, Construct)}
# modules that constructs must not import: boto3, clock, randomness, network, environment
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
PASCAL = re.compile(r"[A-Z][A-Za-z0-9]*")
# callables that take (scope, id): classes, and our functions that define constructs
DEFINES = re.compile(r"(?:.*\.)?(?:[A-Z]\w+|define_\w+|service_role|shared_policy|layer)")
Node = TypeVar("Node", bound=ast.AST)


@functools.cache
def _trees() -> dict[str, ast.Module]:
    return {str(path.relative_to(ROOT / "src")): ast.parse(path.read_text()) for path in SOURCES}


def _walk(kind: type[Node]) -> Iterator[tuple[str, Node]]:
    """Return all nodes of a kind, each with its file name."""
    for name, tree in _trees().items():
        yield from ((name, node) for node in ast.walk(tree) if isinstance(node, kind))


def _methods(construct: type) -> Iterator[tuple[str, inspect.Signature, str]]:
    for name, member in inspect.getmembers(construct, inspect.isfunction):
        if not name.startswith("_") and name in vars(construct):
            yield name, inspect.signature(member), inspect.getdoc(member) or ""


def test_there_is_something_to_hold() -> None:
    """The lists that the other tests walk are complete."""
    assert len(CONSTRUCTS) > 10
    assert len(PUBLIC) > len(CONSTRUCTS)
    assert len(SOURCES) > 80


def test_arguments_are_keyword_only_and_typed() -> None:
    """Constructors take ``scope, id, *``; every argument has a type, never Any or an untyped mapping."""
    wrong = []
    for name, construct in CONSTRUCTS.items():
        parameters = inspect.signature(construct.__init__).parameters
        positional = [p.name for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
        if positional != ["self", "scope", "id"]:
            wrong.append(f"{name}: positional {positional}")
        if len(parameters) - 3 > 15:
            wrong.append(f"{name}: {len(parameters) - 3} arguments")
        for parameter in list(parameters.values())[3:]:
            if parameter.kind is not parameter.KEYWORD_ONLY:
                wrong.append(f"{name}.{parameter.name}: {parameter.kind.description}")
            if parameter.annotation is parameter.empty or "Any" in str(parameter.annotation):
                wrong.append(f"{name}.{parameter.name}: its type is {parameter.annotation}")

    assert wrong == []


def test_the_docstring_covers_every_argument() -> None:
    """Every argument is documented, optional ones with a default; there is an example."""
    wrong = []
    for name, construct in CONSTRUCTS.items():
        text = inspect.getdoc(construct) or ""
        arguments = text.partition("Args:")[2].split("\n\n")[0]
        if not text.partition("\n")[0].endswith("."):
            wrong.append(f"{name}: the summary does not end with a full stop")
        if "Stateful." not in text and "Stateless." not in text:
            wrong.append(f"{name}: neither Stateful. nor Stateless.")
        if "Example:" not in text:
            wrong.append(f"{name}: no Example:")
        for parameter in list(inspect.signature(construct.__init__).parameters.values())[1:]:
            block = re.search(rf"^ +{parameter.name}: ((?:.*\n?)(?:^ {{8,}}.*\n?)*)", arguments, re.MULTILINE)
            if block is None:
                wrong.append(f"{name}.{parameter.name} has no line")
            elif parameter.default is not parameter.empty and "Default:" not in block[1]:
                wrong.append(f"{name}.{parameter.name} does not say its default")

    assert wrong == []


def test_grants_return_grants_and_metrics_metrics() -> None:
    """Grants return CDK's Grant and metrics CDK's Metric."""
    methods = [(f"{n}.{method}", s) for n, c in CONSTRUCTS.items() for method, s, _ in _methods(c)]
    returns = {
        "grant_": (iam.Grant, "iam.Grant"),
        "metric": (
            cloudwatch.Metric,
            "cloudwatch.Metric",
            cloudwatch.MathExpression,
            "cloudwatch.MathExpression",
        ),
    }

    assert [
        method
        for method, signature in methods
        for prefix, allowed in returns.items()
        if method.partition(".")[2].startswith(prefix) and signature.return_annotation not in allowed
    ] == []


def test_everything_public_has_a_docstring() -> None:
    """Public classes, methods and properties have docstrings."""
    missing = [name for name, item in PUBLIC.items() if not inspect.getdoc(item)]
    for name, item in PUBLIC.items():
        if inspect.isclass(item):
            members = {n: m for n, m in vars(item).items() if not n.startswith("_")}
            missing += [
                f"{name}.{n}"
                for n, m in members.items()
                if (inspect.isfunction(m) or isinstance(m, property | classmethod)) and not inspect.getdoc(m)
            ]

    assert missing == []


def test_construct_ids_are_pascal_case_literals() -> None:
    """Construct ids are literals: a composed id could change and replace resources. Loops and helpers pass ids by name."""
    wrong = []
    for name, call in _walk(ast.Call):
        if len(call.args) < 2 or not isinstance(call.args[0], ast.Name) or call.args[0].id not in {"self", "scope"}:
            continue
        if not DEFINES.fullmatch(ast.unparse(call.func)):
            continue
        identity = call.args[1]
        if isinstance(identity, ast.Constant) and isinstance(identity.value, str):
            if not PASCAL.fullmatch(identity.value) and call.args[0].id == "self":
                wrong.append(f"{name}:{call.lineno}: {identity.value!r}")
        elif isinstance(identity, ast.JoinedStr):
            parts = [part for part in identity.values if isinstance(part, ast.FormattedValue)]
            known = all(isinstance(part.value, ast.Name) and part.value.id in {"id", "name"} for part in parts[:1])
            if not known:
                wrong.append(f"{name}:{call.lineno}: built from {ast.unparse(identity)}")

    assert wrong == []


def test_no_bags_and_no_outside_world() -> None:
    """No ``**kwargs``; no SDK, clock, randomness, network or environment during synthesis."""
    bags = [
        f"{name}:{n.lineno}: {n.name}"
        for name, n in _walk(ast.FunctionDef)
        if n.args.kwarg and n.args.kwarg.annotation is None
    ]
    imports = {(name, a.name.split(".")[0]) for name, n in _walk(ast.Import) for a in n.names}
    imports |= {(name, str(n.module).split(".")[0]) for name, n in _walk(ast.ImportFrom)}
    outside = {(name, module) for name, module in imports if module in FORBIDDEN | {"subprocess"}}
    environment = [f"{name}:{n.lineno}" for name, n in _walk(ast.Attribute) if n.attr in {"environ", "getenv"}]

    assert bags == []
    assert outside == set()
    assert environment == []


def test_defaults_are_tested_for_none() -> None:
    """Rejects ``x or default``, which would replace an explicit 0 or empty list; parameters are compared with None."""
    wrong = []
    for path, function in _walk(ast.FunctionDef):
        names = {a.arg for a in [*function.args.args, *function.args.kwonlyargs]}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign | ast.keyword | ast.Return) and isinstance(node.value, ast.BoolOp):
                first = node.value.values[0]
                if isinstance(node.value.op, ast.Or) and isinstance(first, ast.Name) and first.id in names:
                    wrong.append(f"{path}:{node.value.lineno}: {ast.unparse(node.value)}")

    assert wrong == []


# used between constructs; no stack calls it
BETWEEN_CONSTRUCTS = {
    "BusinessUnit.publish_entry",
    "EksTenant.claim",
    "IBusinessUnit.publish_entry",
    "IEksTenant.claim",
}


def _classes(annotation: object) -> Iterator[type]:
    """Return the classes in an annotation."""
    if typing.get_origin(annotation) is not None or isinstance(annotation, types.UnionType):
        for part in typing.get_args(annotation):
            for each in part if isinstance(part, list) else [part]:
                yield from _classes(each)
    elif isinstance(annotation, type):
        yield annotation


def _callables() -> Iterator[tuple[str, object]]:
    """Return public constructors, factories and methods."""
    for name, item in PUBLIC.items():
        if not inspect.isclass(item):
            yield name, item
            continue
        yield name, item.__init__
        members = {n: m for n, m in vars(item).items() if not n.startswith("_")}
        for member, found in members.items():
            function = getattr(found, "__func__", found)
            if inspect.isfunction(function):
                yield f"{name}.{member}", function


def test_what_callers_name_is_public() -> None:
    """Argument types of public constructors and methods are public, and so are the types of their own arguments."""
    wrong, seen = [], 0
    for name, function in _callables():
        hints = typing.get_type_hints(function)
        for argument, annotation in hints.items():
            for found in _classes(annotation) if argument != "return" and name not in BETWEEN_CONSTRUCTS else ():
                seen += 1
                if found.__module__.startswith("mlops_") and found not in PUBLIC.values():
                    wrong.append(f"{name}({argument}=): {found.__module__}.{found.__qualname__}")

    assert seen > 500
    assert wrong == []


def test_stacks_of_examples_import_from_one_module() -> None:
    """A file that declares names public objects by ``mlops_constructs``, and no example names a private one."""
    wrong = []
    for path in sorted((ROOT / "examples").rglob("*.py")):
        imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        found = [(str(node.module), alias.name) for node in imports for alias in node.names]
        declares = any(module.partition(".")[0] == "mlops_constructs" for module, _ in found)
        for module, name in found:
            is_ours = module.startswith("mlops_") and module != "mlops_constructs"
            is_private = any(part.startswith("_") for part in (*module.split("."), name))
            if is_ours and (is_private or (declares and name in PUBLIC)):
                wrong.append(f"{path.relative_to(ROOT)}: from {module} import {name}")
    assert wrong == []


def test_generated_projects_import_public_modules() -> None:
    """A project of ``mlops new`` names objects by ``mlops_constructs``, its tests by modules for tests."""
    templates = ROOT / "packages" / "mlops-cli" / "src" / "mlops_cli" / "templates"
    imported = re.compile(r"(?:from|import) (mlops_\w+[\w.]*)")
    found = {
        (path.parent.name == "tests", module)
        for path in templates.rglob("*.jinja")
        for module in imported.findall(path.read_text())
    }

    assert sorted(found) == [
        (False, "mlops_constructs"),
        (False, "mlops_constructs.compliance.harness"),
        (True, "mlops_constructs.testing"),
        (True, "mlops_runtime.testing"),
    ]


def test_the_import_collects_no_garbage() -> None:
    """Garbage collection is off during the import, which it would double, and on again afterwards."""
    code = (
        "import gc; runs = []; gc.callbacks.append(lambda phase, info: runs.append(phase));"
        "from mlops_constructs import BusinessUnit, ModelEndpoint, ModelMonitor, RetrainingPipeline;"
        "print(len(runs) < 100, gc.get_freeze_count() > 100_000, gc.isenabled())"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout == "True True True\n"


def test_a_module_loads_when_its_name_is_asked_for() -> None:
    """Modules load lazily: a unit without a console or cluster does not import them; unknown names raise AttributeError."""
    code = (
        "import sys; from mlops_constructs import BusinessUnit;"
        "loaded = [name in sys.modules for name in ('mlops_constructs.console', 'aws_cdk.aws_eks_v2')];"
        "import mlops_constructs; print(loaded, 'Console' in dir(mlops_constructs), mlops_constructs.Console.__name__,"
        " hasattr(mlops_constructs, 'Consol'))"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout == "[False, False] True Console False\n"
