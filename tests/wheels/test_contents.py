"""Contents of the wheels: everything that synthesis and the command need, and nothing else."""

import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ROOT / "packages"


@pytest.fixture(scope="module")
def names(wheels: dict[str, Path]) -> dict[str, set[str]]:
    """Names of the files in each wheel."""
    return {name: set(zipfile.ZipFile(path).namelist()) for name, path in wheels.items()}


def test_each_wheel_is_one_import_package(names: dict[str, set[str]]) -> None:
    """No tests, byte code, data or examples; a distribution shared by packages, or a package split, breaks on uninstalling."""
    tops = {name: {each.split("/")[0] for each in files if ".dist-info/" not in each} for name, files in names.items()}

    assert tops == {name: {name.replace("-", "_")} for name in tops}
    assert len(tops) == 4
    junk = (".pyc", ".parquet", ".whl", ".csv")
    assert [each for files in names.values() for each in files if "__pycache__" in each or each.endswith(junk)] == []


def test_all_have_one_version(wheels: dict[str, Path]) -> None:
    """Each requires exactly its own version of the others, and no version is stored anywhere else."""
    paths = (ROOT / "pyproject.toml", *PACKAGES.glob("*/pyproject.toml"))
    projects = [tomllib.loads(path.read_text())["project"] for path in paths]
    versions = {project["name"]: project["version"] for project in projects}
    lines = [line for project in projects for line in project["dependencies"]]
    lines += [
        line for project in projects for extra in project.get("optional-dependencies", {}).values() for line in extra
    ]
    requested = {line for line in lines if line.startswith("mlops-") and "[" not in line}

    assert versions.keys() == wheels.keys()
    assert len(set(versions.values())) == 1
    assert requested == {f"{name}=={versions[name]}" for name in versions if name != "mlops-constructs"}


def test_every_function_travels(names: dict[str, set[str]]) -> None:
    """``lambda_code`` finds them in an installed package."""
    folders = {path.parent.name for path in (ROOT / "lambdas").glob("*/handler.py")}

    assert folders
    assert {f"mlops_constructs/_lambdas/{folder}/handler.py" for folder in folders} <= names["mlops-constructs"]


def test_every_file_of_a_package_travels(names: dict[str, set[str]]) -> None:
    """Locks of layers, Dockerfiles, the template of ``mlops new`` with its hidden files, tables, pages, claims, ``py.typed``."""
    sources = {folder.name: folder / "src" for folder in PACKAGES.iterdir()} | {"mlops-constructs": ROOT / "src"}
    for name, source in sources.items():
        package = source / name.replace("-", "_")
        paths = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        files = {path.relative_to(source).as_posix() for path in paths}
        assert f"{package.name}/py.typed" in files
        assert files - names[name] == set()

    assert {
        "mlops_runtime/layers/monitor.txt",
        "mlops_runtime/image/containers/model/Dockerfile",
        "mlops_runtime/monitor/page/report.html.jinja",
    } <= names["mlops-runtime"]
    assert "mlops_cli/templates/unit/project/.gitlab-ci.yml.jinja" in names["mlops-cli"]
