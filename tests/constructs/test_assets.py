"""Code of functions and layers as assets."""

import ast
import json
import subprocess
from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk import aws_lambda as lambda_
from aws_cdk.assertions import Template

from mlops_constructs import ValidationError, _assets
from mlops_constructs._assets import glue_archive, lambda_code, layer, runtime_files
from mlops_runtime.layers import layer_wheels

ROOT = Path(__file__).resolve().parents[2]


def _asset_files(folder: str) -> list[str]:
    staged = _assets._staged(folder, {})
    return sorted(str(path.relative_to(staged)) for path in staged.rglob("*") if path.is_file())


def test_the_asset_holds_the_folder_and_what_it_imports() -> None:
    """Nothing else: other changes must not redeploy the function."""
    assert _asset_files("sweeper") == [
        "handler.py",
        "mlops_runtime/__init__.py",
        "mlops_runtime/business_unit/__init__.py",
        "mlops_runtime/business_unit/sweep.py",
        "mlops_runtime/lambda_protocol.py",
    ]


# the console contains modules of feature pages, which it disables without their libraries
_LAYERED = ("console", "feature_ingest", "feature_maintenance", "feature_publish")
FOLDERS = sorted(p.parent.name for p in (ROOT / "lambdas").glob("*/handler.py"))
# loads modules outside assets, compiles each source once, and imports all modules of each asset in a child process
_IMPORTING = """
import importlib, importlib.machinery, json, os, sys, traceback
from pathlib import Path
import boto3, jinja2, orjson

codes, own = {}, importlib.machinery.SourceFileLoader.source_to_code
importlib.machinery.SourceFileLoader.source_to_code = lambda self, data, path, **options: (
    codes.get(bytes(data)) or own(self, data, path, **options)
)
for line in sys.stdin:
    staged, modules, absent = json.loads(line)
    for path in Path(staged).rglob("*.py"):
        source = path.read_bytes()
        if source not in codes:
            codes[source] = compile(source, str(path), "exec", dont_inherit=True)
    child = os.fork()
    if child == 0:
        try:
            sys.path.insert(0, staged)
            for module in modules:
                importlib.import_module(module)
            import mlops_runtime
            assert mlops_runtime.__file__.startswith(staged), mlops_runtime.__file__
            loaded = [name for name in sys.modules if name.startswith(tuple(absent))]
            assert not loaded, loaded
        except BaseException:
            problem = traceback.format_exc()
        else:
            problem = ""
        print(json.dumps(problem), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.fixture(scope="module")
def problems() -> dict[str, str]:
    """Return the import errors of each asset, without bytecode, which would change the asset for later tests."""
    lines = []
    for folder in FOLDERS:
        staged = _assets._staged(folder, {})
        paths = sorted(
            str(path.relative_to(staged).with_suffix("")) for path in (staged / "mlops_runtime").rglob("*.py")
        )
        modules = [path.replace("/", ".").removesuffix(".__init__") for path in paths]
        # functions on feature tables have a layer; the client in their zips avoids duckdb, as their own tests show
        absent = ("jsii", "aws_cdk") if folder in _LAYERED else ("jsii", "aws_cdk", "pyarrow", "duckdb")
        lines.append(json.dumps([str(staged), modules, absent]))
    command = [".venv/bin/python", "-B", "-c", _IMPORTING]
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr == ""
    return dict(zip(FOLDERS, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_function_has_an_asset_that_imports(folder: str, problems: dict[str, str]) -> None:
    """An isolated Python imports every module from the zip alone."""
    assert problems[folder] == ""


def test_the_console_starts_without_the_libraries_of_features() -> None:
    """These libraries do not fit into the function beside the monitor's."""
    staged = _assets._staged("console", {})
    program = (
        f"import sys; sys.path.insert(0, {str(staged)!r}); import mlops_runtime.console.hosted as hosted; "
        f"assert hosted.__file__.startswith({str(staged)!r}); "
        "assert not [m for m in sys.modules if m.startswith(('pyarrow', 'pyiceberg', 'duckdb'))]"
    )
    result = subprocess.run(
        [".venv/bin/python", "-B", "-c", program], capture_output=True, text=True, check=False, cwd=ROOT
    )

    assert result.stderr == ""


def test_caches_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytecode would change the hash between machines."""
    folder = tmp_path / "cached"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "handler.py").write_text("x = 1\n")
    (folder / "__pycache__" / "handler.cpython-311.pyc").write_bytes(b"\0")
    monkeypatch.setattr(_assets, "_CHECKOUT", tmp_path)

    assert _asset_files("cached") == ["handler.py"]


def test_a_file_beside_the_handler_is_another_asset() -> None:
    """Two stores have two declarations and one handler; files staged by others stay unchanged."""
    codes = [
        lambda_code("sweeper", files=files) for files in (None, {"groups.json": "1"}, {"groups.json": "2"}, {"x": "1"})
    ]
    stack = cdk.Stack(cdk.App(), "S")
    for i, code in enumerate(codes):
        lambda_.Function(stack, f"F{i}", runtime=lambda_.Runtime.PYTHON_3_14, handler="handler.handler", code=code)

    functions = Template.from_stack(stack).find_resources("AWS::Lambda::Function").values()
    assert len({function["Properties"]["Code"]["S3Key"] for function in functions}) == 4
    staged = _assets._staged("sweeper", {"groups.json": "2"})
    assert (staged / "groups.json").read_text() == "2"
    assert (staged / "handler.py").read_bytes() == (ROOT / "lambdas" / "sweeper" / "handler.py").read_bytes()
    assert "groups.json" not in _asset_files("sweeper")


def test_the_same_code_has_the_same_hash() -> None:
    """Two apps of one process refer to the same asset."""
    hashes = set()
    for _ in range(2):
        stack = cdk.Stack(cdk.App(), "S")
        lambda_.Function(
            stack,
            "F",
            runtime=lambda_.Runtime.PYTHON_3_14,
            handler="handler.handler",
            code=lambda_code("sweeper"),
        )
        function = next(iter(Template.from_stack(stack).find_resources("AWS::Lambda::Function").values()))
        hashes.add(function["Properties"]["Code"]["S3Key"])

    assert len(hashes) == 1


def test_fails_on_an_unknown_folder() -> None:
    """The message lists the functions."""
    with pytest.raises(ValidationError, match=r"UnknownFunction: folder must be one of .*sweeper.*, got 'nothing'"):
        lambda_code("nothing")


def test_fails_on_an_import_that_is_not_there(tmp_path: Path) -> None:
    """Rejects a function that cannot start at synthesis."""
    source = tmp_path / "handler.py"
    source.write_text("from mlops_runtime.nowhere import thing\n")

    with pytest.raises(ValidationError, match=r"handler.py imports mlops_runtime.nowhere, which does not exist"):
        runtime_files([source])


def test_imports_inside_functions_are_found(tmp_path: Path) -> None:
    """The zip contains late imports too."""
    source = tmp_path / "handler.py"
    source.write_text("def f():\n    from mlops_runtime.contracts import model\n")

    assert "model.py" in {path.name for path in runtime_files([source])}


def test_no_import_is_overlooked() -> None:
    """The pattern that reads imports agrees with Python's own parser."""
    sources = [*ROOT.glob("packages/mlops-runtime/src/mlops_runtime/**/*.py"), *ROOT.glob("lambdas/*/*.py")]
    overlooked = {str(source): sorted(_parsed(source) - set(_assets._imports(source))) for source in sources}

    assert {source: names for source, names in overlooked.items() if names} == {}


def _parsed(source: Path) -> set[str]:
    parsed: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            parsed |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{source} has a relative import, which the pattern does not see"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            parsed |= {node.module, *(name for name in names if _assets._module_files(name))}
    return {name for name in parsed if name.split(".")[0] == "mlops_runtime"}


@pytest.mark.parametrize("architecture", sorted(layer_wheels.ARCHITECTURES))
def test_functions_and_their_layers_fit_into_lambda(architecture: str) -> None:
    """At most 245 MB of Lambda's unzipped limit of 250 MB, measured on the wheels that uv downloads.

    See: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html#function-configuration-deployment-and-execution
    """
    built = {path.name.split("-")[0]: path for path in layer_wheels.build_layers(architecture=architecture)}
    machine = {"x86_64": 62, "arm64": 183}[architecture]  # e_machine of ELF
    for folder, name in (("capture_counts", "monitor"), ("feature_ingest", "features"), ("monitor_decide", "monitor")):
        files = [p for root in (_assets._staged(folder, {}), built[name]) for p in root.rglob("*") if p.is_file()]
        assert 0 < sum(path.stat().st_size for path in files) <= 245_000_000
        libraries = [path for path in files if ".so" in path.suffixes]
        assert libraries != []
        assert {int.from_bytes(path.read_bytes()[18:20], "little") for path in libraries} == {machine}


def test_a_description_is_cut_where_lambda_cuts_it() -> None:
    """Cut between two pins, so that none is misread."""
    assert _assets._description("monitor") == "monitor: numpy==2.5.5, orjson==3.13.0"
    text = _assets._description("features")
    assert len(text) <= 256
    assert (
        text.removesuffix(", ...").removeprefix("features: ").split(", ")
        == layer_wheels.pins("features")[: text.count("==")]
    )


def test_wheels_and_functions_are_of_one_python() -> None:
    """A layer of another version would not load."""
    assert _assets.RUNTIME.name == f"python{layer_wheels.PYTHON_VERSION}"


def test_a_built_layer_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Synthesis reads the folder that the command filled."""
    monkeypatch.chdir(tmp_path)
    package = layer_wheels.layer_folder("monitor", architecture="x86_64") / "python" / "numpy"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    stack = cdk.Stack(cdk.App(), "S")

    layer(stack, "Layer", name="monitor", architecture=lambda_.Architecture.X86_64)

    Template.from_stack(stack).has_resource_properties(
        "AWS::Lambda::LayerVersion", {"CompatibleArchitectures": ["x86_64"], "CompatibleRuntimes": ["python3.14"]}
    )


def test_fails_when_the_layer_is_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Synthesis downloads nothing; the error names the command."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(
        ValidationError,
        match=r"LayerNotBuilt: wheels of layer 'monitor' .*; run: mlops assets build",
    ):
        layer(cdk.Stack(cdk.App(), "S"), "Layer", name="monitor", architecture=lambda_.Architecture.ARM_64)


def test_fails_when_wheels_for_glue_are_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Synthesis downloads nothing; the error names the command."""
    monkeypatch.setattr(layer_wheels, "ASSETS", tmp_path)

    with pytest.raises(ValidationError, match=r"WheelsNotBuilt: .* run: mlops assets build --glue"):
        glue_archive("features")
