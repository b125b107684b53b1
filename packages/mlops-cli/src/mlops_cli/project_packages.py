"""Sources of this library's packages in a project: an index, a git revision, or wheels built here and stored in ``vendor/``.

The source follows from ``direct_url.json`` of the installed distribution. Wheels are referenced by path in ``tool.uv.sources``, so
that ``uv.lock`` has their hashes and uv rejects changed ones.

See: https://packaging.python.org/en/latest/specifications/direct-url/
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mlops_cli.aws_account import UserError
from mlops_runtime.image.requirements_lock import RequirementsError
from mlops_runtime.image.uv_program import MissingUvError, compile_lock, find_uv, last_words

OURS = ("mlops-cli", "mlops-constructs", "mlops-local", "mlops-runtime")
VENDOR = "vendor"
# locks of a project and their source files: of the whole project, and of its models' environment
LOCKS = {"uv.lock": "pyproject.toml", "requirements.lock": "requirements.in"}
# files that a build of a checkout needs
_BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE", "src", "lambdas", "packages")
_ANOTHER_INDEX = "name an index with all packages with --index, or run this on a machine with access to one"
_FOLDERS_OF_GIT = {"mlops-constructs": None} | {name: f"packages/{name}" for name in OURS if name != "mlops-constructs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageSources:
    """Source of this library's packages, for ``pyproject.toml``."""

    index: str | None = None  # URL of a package index. Default: the index in uv's settings
    git: tuple[str, str] | None = None  # repository and commit. Default: not from git
    wheels: Mapping[str, bytes] = field(default_factory=dict)  # wheels in `vendor/`, by file name

    def requirements(self) -> str:
        """Return the lines of ``dependencies``.

        Example:
            >>> print(PackageSources(wheels={"mlops_runtime-0.1.0-py3-none-any.whl": b""}).requirements())
                "mlops-cli",
                "mlops-constructs",
                "mlops-local",
                "mlops-runtime",
        """
        if self.wheels or self.git is not None:
            return "\n".join(f'    "{name}",' for name in OURS)
        return f'    "mlops-constructs>={version("mlops-cli")},<1",'

    def table(self) -> str:
        """Return uv's tables in ``pyproject.toml``; empty for uv's default index."""
        if self.wheels:
            named = {name.partition("-")[0].replace("_", "-"): name for name in sorted(self.wheels)}
            lines = [f'{name} = {{ path = "{VENDOR}/{wheel}" }}' for name, wheel in named.items()]
            return "\n".join(["[tool.uv.sources]", *lines])
        if self.git is not None:
            url, commit = self.git
            lines = [
                f'{name} = {{ git = "{url}", rev = "{commit}"' + (f', subdirectory = "{folder}" }}' if folder else " }")
                for name, folder in sorted(_FOLDERS_OF_GIT.items())
            ]
            return "\n".join(["[tool.uv.sources]", *lines])
        return "" if self.index is None else f'[[tool.uv.index]]\nname = "packages"\nurl = "{self.index}"'

    def files(self) -> dict[str, bytes]:
        """Return the repository's wheel files, by path."""
        return {f"{VENDOR}/{name}": content for name, content in self.wheels.items()}


def package_sources(index: str | None = None) -> PackageSources:
    """Return the source of this installation's packages, or an index; for a checkout, wheels are built.

    Raises:
        UserError: If wheels cannot be built.
    """
    if index is not None:
        return PackageSources(index=index)
    found = _direct_url()
    if found is None:
        return PackageSources()
    vcs = found.get("vcs_info", {})
    if vcs.get("vcs") == "git":
        return PackageSources(git=(str(found["url"]), str(vcs["commit_id"])))
    place = Path(unquote(urlsplit(str(found["url"])).path))
    if "dir_info" in found:
        return PackageSources(wheels=_built(_checkout(place)))
    return PackageSources(wheels=_beside(place))


def index_problem(index: str) -> str | None:
    """Return why a URL is not allowed as package index, or ``None``. The URL is written to files under version control.

    Example:
        >>> index_problem("https://pypi.shop.internal/simple")
        >>> index_problem("https://ci:secret@pypi.shop.internal/simple")
        '--index must not contain user and password, which would be stored in git; set UV_INDEX_PACKAGES_USERNAME and _PASSWORD'
    """
    try:
        host = urlsplit(index).netloc
    except ValueError:  # its message, or the URL, could contain a password
        return "--index must be an https://, http:// or file:// URL, got one with an invalid host"
    if "@" in host:
        return (
            "--index must not contain user and password, which would be stored in git; set UV_INDEX_PACKAGES_USERNAME and "
            "_PASSWORD"
        )
    if re.fullmatch(r"(https?|file)://[^\s\"\\]+", index) is None:
        return f"--index must be an https://, http:// or file:// URL, got {index!r}"
    return None


def locked(files: Mapping[str, bytes], names: Iterable[str] = LOCKS) -> dict[str, bytes]:
    """Lock a project's files; versions in existing locks are kept if they still fit.

    Args:
        files: The files of the project by path.
        names: The locks to create. Default: all.

    Raises:
        UserError: If uv is missing or finds no versions; the message has its reason.
    """
    with tempfile.TemporaryDirectory(prefix="mlops-lock-") as made:
        folder = Path(made)
        (folder / VENDOR).mkdir()
        for name, content in files.items():
            if name in (*LOCKS, *LOCKS.values()) or name.startswith(f"{VENDOR}/"):
                (folder / name).write_bytes(content)
        for name in names:
            lock(folder, name)
        return {name: (folder / name).read_bytes() for name in names}


def lock(folder: Path, name: str) -> None:
    """Write one of the ``LOCKS`` in a project's folder.

    Raises:
        UserError: If uv is missing or finds no versions; the message has its reason.
    """
    try:
        if name == "requirements.lock":
            compile_lock(Path(LOCKS[name]), Path(name), is_universal=True, folder=folder)
            return
        uv = find_uv()
    except MissingUvError as error:
        raise UserError("mlops new locks the project with uv, which is missing; run: pip install uv") from error
    except RequirementsError as error:
        raise UserError(f"{error}; {_ANOTHER_INDEX}") from error
    done = subprocess.run(
        [uv, "lock", "--quiet"], cwd=folder, capture_output=True, text=True, check=False, env=_environment()
    )
    if done.returncode:
        raise UserError(f"uv cannot lock the project: {last_words(done.stderr)}; {_ANOTHER_INDEX}")


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "UV_LOCKED", "UV_FROZEN")}


def _direct_url() -> dict[str, Any] | None:
    try:
        text = distribution("mlops-cli").read_text("direct_url.json")
    except PackageNotFoundError:
        return None
    return None if text is None else dict(json.loads(text))


def _checkout(place: Path) -> Path:
    """Return the root folder of the checkout that contains a distribution's folder."""
    for folder in (place, *place.parents):
        if all((folder / name).exists() for name in _BUILT_FROM):
            return folder
    raise UserError(
        f"mlops-cli is installed from {str(place)!r}, which is no longer in a checkout of mlops-constructs; install it "
        "again, or name an index with it with --index"
    )


def _built(checkout: Path) -> dict[str, bytes]:
    """Build the wheels of a checkout, with its commit in their versions."""
    try:
        uv = find_uv()
    except RequirementsError as error:
        raise UserError("mlops new builds its own wheels with uv, which is missing; run: pip install uv") from error
    with tempfile.TemporaryDirectory(prefix="mlops-wheels-") as folder:
        source, out = Path(folder) / "source", Path(folder) / "out"
        source.mkdir()
        for name in _BUILT_FROM:
            _copy(checkout / name, source / name)
        commit = _commit(checkout)
        if commit is not None:
            for path in (source / "pyproject.toml", *(source / "packages").glob("*/pyproject.toml")):
                text = re.sub(r'(?m)^version = "([^"+]+)"$', rf'version = "\1+g{commit}"', path.read_text(), count=1)
                path.write_text(text)
        done = subprocess.run(
            [uv, "build", "--all-packages", "--wheel", "--quiet", "--out-dir", str(out)],
            cwd=source,
            capture_output=True,
            text=True,
            check=False,
            env=_environment(),
        )
        if done.returncode:
            raise UserError(f"uv cannot build the wheels of {str(checkout)!r}: {last_words(done.stderr)}")
        return {path.name: path.read_bytes() for path in sorted(out.glob("*.whl"))}


def _copy(source: Path, target: Path) -> None:
    if source.is_file():
        shutil.copyfile(source, target)
        return
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".venv", "node_modules", "*.egg-info"))


def _commit(checkout: Path) -> str | None:
    done = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "--short=8", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or None if done.returncode == 0 else None


def _beside(wheel: Path) -> dict[str, bytes]:
    """Return the wheels of all four packages from the folder of an installed wheel."""
    found = {path.name: path.read_bytes() for path in sorted(wheel.parent.glob("mlops_*.whl"))}
    missing = [name for name in OURS if not any(each.startswith(f"{name.replace('-', '_')}-") for each in found)]
    if missing:
        raise UserError(
            f"mlops-cli was installed from {str(wheel)!r}, but its folder has no wheel of {', '.join(missing)}; copy the wheels "
            "there, or name an index with them with --index"
        )
    return found
