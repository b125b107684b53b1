"""Assets of functions and layers, built from a checkout or the installed wheel: deterministic, with pure Python in the zips.

A function's asset contains its folder of ``lambdas/`` and the modules of ``mlops_runtime`` that it imports, so that a change to
another module does not redeploy it. Compiled wheels are in layers, which ``mlops assets build`` fetches.
"""

import atexit
import hashlib
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_

import mlops_runtime
from constructs import Construct
from mlops_constructs._validation import ValidationError
from mlops_runtime.layers import layer_wheels

# the newest Python that CDK supports; cdk-nag's LambdaLatestVersion rejects older ones
RUNTIME = lambda_.Runtime.PYTHON_3_14
_MAXIMUM_DESCRIPTION = 256  # https://docs.aws.amazon.com/lambda/latest/api/API_PublishLayerVersion.html
_PACKAGE = Path(__file__).parent
_SOURCES = Path(mlops_runtime.__file__).parent.parent
_CHECKOUT = _PACKAGE.parent.parent / "lambdas"
_INSTALLED = _PACKAGE / "_lambdas"
# a regular expression instead of ast: parsing every module of the runtime took a tenth of a synthesis
_IMPORT = re.compile(
    r"""^[ \t]*(?:
        from [ \t]+ (?P<module> mlops_runtime[\w.]*) [ \t]+ import [ \t]+ (?P<names> \([^)]*\) | [^\n]*)
        | import [ \t]+ (?P<whole> mlops_runtime[\w.]*)
    )""",
    re.MULTILINE | re.VERBOSE,
)


def lambda_code(folder: str, *, files: Mapping[str, str] | None = None) -> lambda_.Code:
    """Return the asset of one function: its folder and the modules of ``mlops_runtime`` that it imports.

    Args:
        folder: Folder of ``lambdas/``.
        files: Contents of further files beside the handler, by file name. Default: none.

    Raises:
        ValidationError: If the folder or an imported module does not exist.
    """
    staged = _staged(folder, files or {})
    # otherwise Node.js would read every file again
    return lambda_.Code.from_asset(str(staged), asset_hash=staged.name, asset_hash_type=cdk.AssetHashType.CUSTOM)


def job_package(module: str) -> Path:
    """Return a folder with a module of ``mlops_runtime.jobs`` and its imports, for jobs that do not run the platform's image.

    Raises:
        ValidationError: If the module or an imported module does not exist.
    """
    source = _module_files(f"mlops_runtime.jobs.{module}")
    if not source:
        raise ValidationError("UnknownJob", [f"module must be one of mlops_runtime.jobs, got {module!r}"])
    return _written(_runtime_contents(sorted({*source, *runtime_files(source[-1:])})))


def text_file(name: str, text: str) -> Path:
    """Write a string to a temporary file with this name, for an asset, and return the file's path."""
    return _written({name: text.encode()}) / name


def layer(scope: Construct, id: str, *, name: str, architecture: lambda_.Architecture) -> lambda_.LayerVersion:
    """Define a layer from the wheels that ``mlops assets build`` fetched.

    Args:
        scope: Parent.
        id: Construct id.
        name: Name of the lock file, such as ``monitor``.
        architecture: Architecture of the functions that use the layer.

    Raises:
        ValidationError: If the wheels were not fetched.
    """
    folder = layer_wheels.layer_folder(name, architecture=architecture.name)
    if not (folder / "python").is_dir():
        problem = f"wheels of layer {name!r} for {architecture.name} are not in {folder}; run: mlops assets build --layer {name}"
        raise ValidationError("LayerNotBuilt", [problem], scope)
    return lambda_.LayerVersion(
        scope,
        id,
        # the folder's name is the hash of its lock, so the 46 MiB need no second hash; Node.js may run in another directory
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
        name: Name of the lock file, such as ``features``.

    Raises:
        ValidationError: If the zip was not built.
    """
    path = layer_wheels.glue_archive_path(name)
    if not path.is_file():
        problem = f"wheels of {name!r} for Glue are not in {path.parent}; run: mlops assets build --glue"
        raise ValidationError("WheelsNotBuilt", [problem])
    return path


def _description(name: str) -> str:
    text = f"{name}: {', '.join(layer_wheels.pins(name))}"
    return text if len(text) <= _MAXIMUM_DESCRIPTION else f"{text[: _MAXIMUM_DESCRIPTION - 5].rpartition(',')[0]}, ..."


@cache
def _scratch() -> Path:
    """Return a temporary folder of this process; CDK copies assets into its assembly immediately."""
    folder = Path(tempfile.mkdtemp(prefix="mlops-assets-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _staged(folder: str, files: Mapping[str, str]) -> Path:
    return _written({**_contents(folder), **{name: text.encode() for name, text in files.items()}})


@cache
def _contents(folder: str) -> Mapping[str, bytes]:
    """Return the files of a function's asset by name. Byte code is excluded, as it differs between machines."""
    root = _CHECKOUT if _CHECKOUT.is_dir() else _INSTALLED
    source = root / folder
    if not (source / "handler.py").is_file():
        known = sorted(path.parent.name for path in root.glob("*/handler.py"))
        raise ValidationError("UnknownFunction", [f"folder must be one of {', '.join(known)}, got {folder!r}"])
    own = [path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    imported = runtime_files([path for path in own if path.suffix == ".py"])
    return {str(path.relative_to(source)): path.read_bytes() for path in own} | _runtime_contents(imported)


def _runtime_contents(files: Sequence[Path]) -> dict[str, bytes]:
    return {_name(file): _read(file) for file in files}


@cache
def _name(file: Path) -> str:
    return str(file.relative_to(_SOURCES))


@cache
def _read(file: Path) -> bytes:
    return file.read_bytes()


def _written(contents: Mapping[str, bytes]) -> Path:
    """Return a folder with the files, named by the hash of their names and contents."""
    digest = hashlib.sha256()
    for name in sorted(contents):
        digest.update(f"{name}\0{len(contents[name])}\0".encode() + contents[name])
    target = _scratch() / digest.hexdigest()
    if target.is_dir():
        return target
    paths = {target / name: content for name, content in contents.items()}
    for folder in {path.parent for path in paths}:
        folder.mkdir(parents=True, exist_ok=True)
    for path, content in paths.items():
        path.write_bytes(content)
        path.chmod(0o644)
    return target


def runtime_files(sources: Sequence[Path]) -> list[Path]:
    """Return the modules of ``mlops_runtime`` that Python files import, directly or indirectly, with the packages around them.

    Raises:
        ValidationError: If an imported module does not exist.
    """
    found: set[Path] = set()
    waiting = list(sources)
    problems: list[str] = []
    while waiting:
        source = waiting.pop()
        for module in _imports(source):
            files = _module_files(module)
            if not files:
                problems.append(f"{source.parent.name}/{source.name} imports {module}, which does not exist")
            waiting += [file for file in files if file not in found]
            found.update(files)
    if problems:
        raise ValidationError("MissingModule", sorted(problems))
    return sorted(found)


@cache
def _imports(source: Path) -> tuple[str, ...]:
    """Return a file's imports of the runtime; a docstring line that resembles an import only enlarges the zip."""
    found: list[str] = []
    for match in _IMPORT.finditer(_read(source).decode()):
        module = match["module"] or match["whole"]
        names = re.findall(r"\w+", re.sub(r"#.*| as \w+", "", match["names"] or ""))
        found += [module, *(f"{module}.{name}" for name in names if _module_files(f"{module}.{name}"))]
    return tuple(found)


@cache
def _module_files(module: str) -> tuple[Path, ...]:
    """Return the file of a module after those of the packages around it; none if the module does not exist."""
    package, _, name = module.rpartition(".")
    around = _module_files(package) if package else ()
    if package and not around:
        return ()
    path = (around[-1].parent if around else _SOURCES) / name
    found = next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)
    return () if found is None else (*around, found)
