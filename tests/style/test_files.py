"""Style of files: length, a test for every module, thin handlers, no machine-specific paths."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAXIMUM_LINES = 700
MAXIMUM_HANDLER = 40
_TEXT = {".py", ".md", ".toml", ".txt", ".json", ".yml", ".yaml", ".sh", ".jinja"}
_AREAS = {"mlops_constructs": "constructs", "mlops_runtime": "runtime", "mlops_local": "local", "mlops_cli": "cli"}


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


TRACKED = _tracked()
PYTHON = [p for p in TRACKED if p.suffix == ".py"]
SOURCES = (ROOT / "src", *sorted(ROOT.glob("packages/*/src")))
MODULES = [
    p
    for p in PYTHON
    if any(p.is_relative_to(folder) for folder in SOURCES) and p.name not in ("__init__.py", "__main__.py")
]
HANDLERS = sorted((ROOT / "lambdas").glob("*/handler.py"))


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_files_are_short() -> None:
    """No file exceeds the line limit."""
    lines = {_id(p): len(p.read_text().splitlines()) for p in PYTHON if not p.is_relative_to(ROOT / "tests")}

    assert len(lines) > 500
    assert {name: count for name, count in lines.items() if count > MAXIMUM_LINES} == {}


def test_handlers_are_thin() -> None:
    """Handlers only connect; decisions are in the tested runtime."""
    long, others = {}, {}
    for path in HANDLERS:
        text = path.read_text()
        if (count := len(text.splitlines())) > MAXIMUM_HANDLER:
            long[_id(path)] = count
        names = [node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
        if names.count("handler") != 1:
            others[_id(path)] = names

    assert HANDLERS != []
    assert (long, others) == ({}, {})


def test_every_function_has_its_test() -> None:
    """A test of ``tests/lambdas`` names each function's folder."""
    tests = {path.stem: path.read_text() for path in (ROOT / "tests" / "lambdas").glob("test_*.py")}
    folders = [path.parent.name for path in HANDLERS]

    assert [
        name for name in folders if f"test_{name}" not in tests and not any(f'"{name}"' in t for t in tests.values())
    ] == []


def _test_files(module: Path) -> Iterator[Path]:
    """Yield possible paths of a module's test."""
    root = next(folder for folder in SOURCES if module.is_relative_to(folder))
    package, *inner = module.relative_to(root).with_suffix("").parts
    folder = ROOT.joinpath("tests", _AREAS[package], *inner[:-1])
    for name in (inner[-1], *inner[-2:-1]):
        for parent in (folder, folder.parent):
            yield parent / f"test_{name.strip('_')}.py"


def test_every_module_has_its_test() -> None:
    """``mlops_x/a/b.py`` is tested by ``tests/x/a/test_b.py``; modules of plain types by their package's test."""
    assert len(MODULES) > 400
    assert [_id(path) for path in MODULES if not any(test.is_file() for test in _test_files(path))] == []


def test_nothing_of_the_workshop_is_committed() -> None:
    """No file contains paths or the package index of one machine."""
    words = ["/wor" + "k/", "/tm" + "p/", "site-" + "packages/ministack", "index-" + "url ="]
    pattern = re.compile("|".join(map(re.escape, words)))
    found = [
        f"{_id(path)}:{number}"
        for path in TRACKED
        if path.suffix in {".py", ".md", ".toml", ".txt", ".json", ".yml", ".yaml", ".sh", ".jinja"}
        and "tests" not in path.parts[:-1]
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]

    assert found == []


def test_no_data_or_build_output_is_committed() -> None:
    """Wheels, data and assemblies are not in git."""
    assert [_id(p) for p in TRACKED if p.suffix in {".parquet", ".whl", ".zip", ".gz", ".onnx", ".so", ".pyc"}] == []


def test_the_runtime_loads_no_jsii() -> None:
    """Importing the runtime, as Lambda functions and notebooks do, never loads jsii."""
    program = (
        "import sys, mlops_runtime.contracts, mlops_runtime.features.feature_group, mlops_runtime.aws_api; "
        "print([m for m in sys.modules if m.startswith(('jsii', 'aws_cdk', 'constructs'))])"
    )

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"


# an alias is the type of documents whose schema is another project's and has no class there: each counts once, not each use
FOREIGN = {
    "eks/kubernetes_objects.py": {"Manifest": "Kubernetes objects of any kind, as YAML and the API have them"},
    "eks/manifest_checks.py": {"Object": "parts of Kubernetes objects"},
    "features/open_lineage.py": {"Event": "run events as serialized by OpenLineage's client, with any facets"},
    "promotion/template_links.py": {
        "_Statement": "statements of templates: any member may be a function of CloudFormation"
    },
    "serving/http_app.py": {"Message": "messages of ASGI", "Scope": "connections of ASGI"},
}
_UNTYPED = r"(?:dict|Mapping|MutableMapping)\[str, Any\]"
_ALIAS = re.compile(rf'^(?:type )?(\w+)(?:: TypeAlias)? = "?{_UNTYPED}"?$', re.MULTILINE)


def _untyped_lines(modules: dict[str, str]) -> dict[str, int]:
    """Return the number of lines with `dict[str, Any]` in each module; an alias of it, and each use of one, count too."""
    aliases = {name: _ALIAS.findall(text) for name, text in modules.items()}
    owners = {
        f"from mlops_runtime.{name.removesuffix('.py').replace('/', '.')} import": set(found)
        - FOREIGN.get(name, {}).keys()
        for name, found in aliases.items()
    }
    counts = {}
    for name, text in modules.items():
        names = set(aliases[name]) - FOREIGN.get(name, {}).keys()
        names = names.union(*(found for line, found in owners.items() if line in text))
        uses = re.compile("|".join([r"dict\[str, Any\]", *(rf"\b{re.escape(each)}\b" for each in names)]))
        counts[name] = sum(
            uses.search(line) is not None or _ALIAS.match(line) is not None for line in text.splitlines()
        )
    return counts


def test_few_documents_have_no_type() -> None:
    """Plans, results and requests have classes; `dict[str, Any]` is for documents of others, such as OpenAPI and Kubernetes."""
    runtime = ROOT / "packages" / "mlops-runtime" / "src" / "mlops_runtime"
    modules = {
        path.relative_to(runtime).as_posix(): path.read_text() for path in MODULES if path.is_relative_to(runtime)
    }
    found = {name: set(_ALIAS.findall(text)) for name, text in modules.items()}

    assert {name: aliases for name, aliases in found.items() if aliases} == {n: set(why) for n, why in FOREIGN.items()}
    assert 0 < sum(_untyped_lines(modules).values()) < 100


def test_an_alias_does_not_hide_untyped_documents() -> None:
    """Its uses count in its own module and where it is imported."""
    modules = {
        "a.py": "Row = dict[str, Any]\ntype Rows = Mapping[str, Any]\ndef f(row: Row) -> Rows: ...\n",
        "b/c.py": "from mlops_runtime.a import Row\nx: Row = {}\ny: dict[str, Any] = {}\n",
        "eks/manifest_checks.py": "Object = Mapping[str, Any]\ndef f(part: Object) -> Object: ...\n",
        "d.py": "def f(Row: int) -> Mapping[str, object]: ...\n",
    }
    assert _untyped_lines(modules) == {"a.py": 3, "b/c.py": 3, "eks/manifest_checks.py": 1, "d.py": 0}


def test_layers_hold() -> None:
    """The layers of the architecture hold, by import-linter's contracts in ``pyproject.toml``."""
    result = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )

    assert result.returncode == 0, result.stdout[-3000:]
