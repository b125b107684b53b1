"""Code of functions and layers as assets: from a checkout or from the wheel, deterministic, pure Python in the zips.

A function's asset holds its folder of ``lambdas/`` and the modules of ``mlops_runtime`` that it imports, found by reading the
imports; a change elsewhere does not deploy it again. Compiled wheels travel in layers that ``mlops assets build`` fetches.
"""

import atexit
import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_

import mlops_runtime
from constructs import Construct
from mlops_constructs._errors import ValidationError
from mlops_runtime.layers import glue_wheels, layer_wheels

# the newest Python that CDK knows; cdk-nag's LambdaLatestVersion refuses any older
RUNTIME = lambda_.Runtime.PYTHON_3_14
_MAXIMUM_DESCRIPTION = 256  # https://docs.aws.amazon.com/lambda/latest/api/API_PublishLayerVersion.html
_PACKAGE = Path(__file__).parent
_RUNTIME = Path(mlops_runtime.__file__).parent
_CHECKOUT = _PACKAGE.parent.parent / "lambdas"
_INSTALLED = _PACKAGE / "_lambdas"
# read by pattern and not by ast: parsing every module of the runtime was a tenth of a synthesis
_IMPORT = re.compile(
    r"""^[ \t]*(?:
        from [ \t]+ (?P<module> mlops_runtime[\w.]*) [ \t]+ import [ \t]+ (?P<names> \([^)]*\) | [^\n]*)
        | import [ \t]+ (?P<whole> mlops_runtime[\w.]*)
    )""",
    re.MULTILINE | re.VERBOSE,
)


def lambda_code(folder: str, *, files: Mapping[str, str] | None = None) -> lambda_.Code:
    """Return the asset of one function: its folder and what it imports of ``mlops_runtime``.

    Args:
        folder: Folder of ``lambdas/``.
        files: Texts by name that stand beside the handler. Default: none.

    Raises:
        ValidationError: If there is no such folder, or it imports a module that is not there.
    """
    return lambda_.Code.from_asset(str(_with_files(_staged(folder), files) if files else _staged(folder)))


def job_package(module: str) -> Path:
    """Return a folder with a module of ``mlops_runtime.jobs`` and what it imports, for jobs that run no image of ours.

    Args:
        module: Its name.

    Raises:
        ValidationError: If there is no such module, or it imports a module that is not there.
    """
    source = _RUNTIME / "jobs" / f"{module}.py"
    if not source.is_file():
        raise ValidationError("UnknownJob", [f"module must be one of mlops_runtime.jobs, got {module!r}"])
    target = _scratch() / f"job-{module}"
    for path in {source, *runtime_files([source]), *_package_files(source)}:
        _copy(path, target / path.relative_to(_RUNTIME.parent))
    return target


def text_file(name: str, text: str) -> Path:
    """Return a file with a text, for an asset.

    Args:
        name: Name of the file.
        text: What is in it.
    """
    path = _scratch() / hashlib.sha256(text.encode()).hexdigest()[:16] / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def layer(scope: Construct, id: str, *, name: str, architecture: lambda_.Architecture) -> lambda_.LayerVersion:
    """Define a layer from the wheels that ``mlops assets build`` fetched.

    Args:
        scope: Parent.
        id: Construct id.
        name: Name of the lock, such as ``monitor``.
        architecture: Architecture of the functions that use it.

    Raises:
        ValidationError: If the wheels are not there.
    """
    folder = layer_wheels.layer_folder(name, architecture=architecture.name)
    if not (folder / "python").is_dir():
        problem = f"wheels of layer {name!r} for {architecture.name} are not in {folder}; run: mlops assets build --layer {name}"
        raise ValidationError("LayerNotBuilt", [problem], scope)
    return lambda_.LayerVersion(
        scope,
        id,
        # the folder is named by the hash of its lock: reading 46 MiB again would say the same; node may stand in another folder
        code=lambda_.Code.from_asset(
            str(folder.resolve()), asset_hash=folder.name, asset_hash_type=cdk.AssetHashType.CUSTOM
        ),
        compatible_runtimes=[RUNTIME],
        compatible_architectures=[architecture],
        description=_description(name),
        removal_policy=cdk.RemovalPolicy.DESTROY,
    )


def glue_archive(name: str) -> Path:
    """Return the zip of a lock's wheels for Glue jobs, which ``mlops assets build --glue`` fetched.

    Args:
        name: Name of the lock, such as ``features``.

    Raises:
        ValidationError: If it is not there.
    """
    path = glue_wheels.archive_path(name)
    if not path.is_file():
        problem = f"wheels of {name!r} for Glue are not in {path.parent}; run: mlops assets build --glue"
        raise ValidationError("WheelsNotBuilt", [problem])
    return path


def _description(name: str) -> str:
    text = f"{name}: {', '.join(layer_wheels.pins(name))}"
    return text if len(text) <= _MAXIMUM_DESCRIPTION else f"{text[: _MAXIMUM_DESCRIPTION - 5].rpartition(',')[0]}, ..."


@cache
def _scratch() -> Path:
    """One folder a process; CDK copies what it needs into its assembly at once."""
    folder = Path(tempfile.mkdtemp(prefix="mlops-assets-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def _staged(folder: str) -> Path:
    root = _CHECKOUT if _CHECKOUT.is_dir() else _INSTALLED
    source = root / folder
    if not (source / "handler.py").is_file():
        known = sorted(path.parent.name for path in root.glob("*/handler.py"))
        raise ValidationError("UnknownFunction", [f"folder must be one of {', '.join(known)}, got {folder!r}"])
    target = _scratch() / folder
    for path in sorted(source.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            _copy(path, target / path.relative_to(source))
    for path in runtime_files(sorted(source.rglob("*.py"))):
        _copy(path, target / path.relative_to(_RUNTIME.parent))
    return target


def _with_files(staged: Path, files: Mapping[str, str]) -> Path:
    """Copy what is staged and put further files beside it, in a folder named by them."""
    key = "\0".join(part for name in sorted(files) for part in (name, files[name]))
    target = staged.with_name(f"{staged.name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}")
    for path in sorted(path for path in staged.rglob("*") if path.is_file()):
        _copy(path, target / path.relative_to(staged))
    for name, text in files.items():
        (target / name).write_text(text)
        (target / name).chmod(0o644)
    return target


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())
    target.chmod(0o644)


def runtime_files(sources: Sequence[Path]) -> list[Path]:
    """Return the modules of ``mlops_runtime`` that Python files import, directly or not, with the packages around them.

    Args:
        sources: Python files.

    Raises:
        ValidationError: If a module is imported that is not there.
    """
    found: dict[Path, None] = {}
    waiting = list(sources)
    problems: list[str] = []
    while waiting:
        source = waiting.pop()
        for module in _imports(source):
            path = _module_file(module)
            if path is None:
                problems.append(f"{source.parent.name}/{source.name} imports {module}, which does not exist")
                continue
            for file in (*_package_files(path), path):
                if file not in found:
                    found[file] = None
                    waiting.append(file)
    if problems:
        raise ValidationError("MissingModule", sorted(problems))
    return sorted(found)


@cache
def _imports(source: Path) -> tuple[str, ...]:
    """Return what a file imports of the runtime; a line of a docstring that looks like an import only makes the zip larger."""
    found: list[str] = []
    for match in _IMPORT.finditer(source.read_text()):
        module = match["module"] or match["whole"]
        names = re.findall(r"\w+", re.sub(r"#.*| as \w+", "", match["names"] or ""))
        found += [module, *(f"{module}.{name}" for name in names if _module_file(f"{module}.{name}"))]
    return tuple(found)


def _module_file(module: str) -> Path | None:
    path = _RUNTIME.parent.joinpath(*module.split("."))
    candidates = (path / "__init__.py", path.with_suffix(".py"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _package_files(path: Path) -> Iterator[Path]:
    folder = path.parent
    while folder != _RUNTIME.parent:
        yield folder / "__init__.py"
        folder = folder.parent
