"""What the wheel holds: everything that synthesis needs, and nothing else."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv builds the wheel and is not installed")
    result = subprocess.run(
        [uv, "build", "--wheel", "--out-dir", str(folder)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    """Names of the files in the wheel."""
    return set(zipfile.ZipFile(wheel).namelist())


def test_every_function_travels(names: set[str]) -> None:
    """``lambda_code`` finds them where the package is installed."""
    folders = {path.parent.name for path in (ROOT / "lambdas").glob("*/handler.py")}

    assert folders
    assert {f"mlops_constructs/_lambdas/{folder}/handler.py" for folder in folders} <= names


def test_locks_of_layers_travel(names: set[str]) -> None:
    """``mlops assets build`` reads them there."""
    assert "mlops_constructs/_layers/monitor.txt" in names


def test_what_the_command_makes_and_compares_with_travels(names: set[str]) -> None:
    """``mlops new`` renders every file of its template, hidden ones too; ``mlops plan`` reads its table."""
    source = ROOT / "packages/mlops-cli/src"
    files = {str(p.relative_to(source)) for p in (source / "mlops_cli/templates").rglob("*") if p.is_file()}

    assert "mlops_cli/templates/unit/project/.gitlab-ci.yml.jinja" in files
    assert files | {"mlops_cli/replacement.json"} <= names


def test_the_catalogues_page_travels(names: set[str]) -> None:
    """``mlops features catalog`` fills it in."""
    assert "mlops_runtime/features/catalogue.html.jinja" in names


def test_the_monitors_page_travels(names: set[str]) -> None:
    """``mlops monitor report`` fills it in."""
    assert "mlops_runtime/monitor/page/report.html.jinja" in names


def test_the_packages_are_typed(names: set[str]) -> None:
    """Users' checkers see our types."""
    assert {
        f"{package}/py.typed" for package in ("mlops_constructs", "mlops_runtime", "mlops_local", "mlops_cli")
    } <= names


def test_nothing_else_travels(names: set[str]) -> None:
    """No tests, byte code, data or examples."""
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}

    assert tops == {"mlops_cli", "mlops_constructs", "mlops_local", "mlops_runtime"}
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".parquet", ".whl", ".csv"))]


def test_functions_synthesize_from_the_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    """Without the checkout, code comes from the package itself."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    program = (
        "import aws_cdk as cdk, mlops_constructs; from mlops_constructs import BusinessUnit, Profile; "
        f"assert mlops_constructs.__file__.startswith({str(tmp_path)!r}); "
        "app = cdk.App(); BusinessUnit(cdk.Stack(app, 'S'), 'Unit', name='demand', profile=Profile.DEVELOPMENT); "
        "app.synth(); print('ok')"
    )

    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {program}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )

    assert result.stdout.strip() == "ok", result.stderr[-2000:]
