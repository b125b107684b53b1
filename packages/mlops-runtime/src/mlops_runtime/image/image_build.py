"""Build an image with the user's docker: build context, locked requirements, and the commands to do it on another machine."""

import hashlib
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Literal

from mlops_runtime.image.requirements_lock import RequirementsLock

ImageKind = Literal["runtime", "explain", "model"]
# folder of an image below containers/, and default name of its repository
FOLDERS: dict[ImageKind, str] = {"runtime": "model", "explain": "explain", "model": "environment"}
REPOSITORIES: dict[ImageKind, str] = {"runtime": "mlops-runtime", "explain": "mlops-explain", "model": "mlops-model"}
_LOCK_FILE = "requirements.lock"
# declared without a value before the first stage; the context's copy sets it, so that every build has it
_LOCK_ARGUMENT = "ARG REQUIREMENTS_SHA256\n"
_STDERR = 2  # the file descriptor
_DISTRIBUTION = "mlops-runtime"
_PACKAGE = Path(__file__).parents[1]
_CONTAINERS = Path(__file__).with_name("containers")
# files of the folder that the build does not read
_TOOLS = ("*.in", "__pycache__")
# marks a folder as a build context, which may be rewritten; docker ignores this file
_MARK = ".dockerignore"
_MARKED = "# written by mlops image build: the folder is rewritten each time\n.dockerignore\n"

# SageMaker and Lambda need a manifest of one platform; buildx's attestations would turn it into an index
# https://docs.docker.com/build/metadata/attestations/
_NO_ATTESTATIONS = "--provenance=false"


class BuildContextError(ValueError):
    """A folder contains something other than a build context; nothing in it was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildContext:
    """A folder that docker builds an image from."""

    folder: Path  # the folder, with the `Dockerfile`
    tag: str  # the version, and the first 12 digits of the SHA-256 over all files: other contents have another tag


def write_context(kind: ImageKind, folder: Path, lock: RequirementsLock | None = None) -> BuildContext:
    """Write the build context of an image, replacing the folder's contents.

    Args:
        kind: The image: ``runtime`` for jobs and servers, ``explain`` with shap on top of it, ``model`` with a model's environment
            on top of it.
        lock: Lock of the environment, for ``model``. Default: for other images.
        folder: Target folder: new, empty, or written by this function before.

    Raises:
        BuildContextError: If the folder contains anything else.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     sorted(path.name for path in write_context("explain", Path(place) / "context").folder.iterdir())
        ['.dockerignore', 'Dockerfile', 'requirements.txt']
    """
    _check_replaceable(folder)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(_CONTAINERS / FOLDERS[kind], folder, ignore=shutil.ignore_patterns(*_TOOLS))
    installed = distribution(_DISTRIBUTION)
    if kind == "runtime":
        packages = folder / "site-packages"
        shutil.copytree(_PACKAGE, packages / _PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__", "containers"))
        # jobs query the version of the package
        named = packages / f"{_DISTRIBUTION.replace('-', '_')}-{installed.version}.dist-info"
        named.mkdir()
        (named / "METADATA").write_text(installed.read_text("METADATA") or "", "utf-8")
    if lock is not None:
        (folder / _LOCK_FILE).write_bytes(lock.content)
        file = folder / "Dockerfile"
        declared = _LOCK_ARGUMENT.replace("\n", f"={lock.sha256}\n")
        file.write_text(file.read_text("utf-8").replace(_LOCK_ARGUMENT, declared, 1), "utf-8")
    tag = f"{installed.version}-{_digest(folder)[:12]}"
    (folder / _MARK).write_text(_MARKED, "utf-8")
    return BuildContext(folder=folder, tag=tag)


def _check_replaceable(folder: Path) -> None:
    mark = folder / _MARK
    if not folder.exists() or (mark.is_file() and mark.read_text("utf-8") == _MARKED):
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise BuildContextError(
            f"{str(folder)!r} must be a new or empty folder, or one that mlops image build has written, because its contents are "
            "replaced; choose another with --context"
        )


def _digest(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        total.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


class DockerError(RuntimeError):
    """Docker is missing or failed; the message has the commands to run elsewhere, or the failed command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Docker:
    """A docker executable whose output is shown to the user."""

    program: str

    @classmethod
    def find(cls, commands: Sequence[str], *, copied: Path | None = None) -> "Docker":
        """Find docker on the PATH; the error names the commands to run elsewhere, and the folder that they need there.

        Raises:
            DockerError: If docker is missing.
        """
        program = shutil.which("docker")
        if program is None:
            first = "" if copied is None else f"copy {copied} there to the same path and "
            words = f"there is no docker on this machine's PATH; on one that has it, {first}run:"
            raise DockerError("\n    ".join([words, *commands]))
        return cls(program=program)

    def run(self, *arguments: str, given: str | None = None) -> None:
        """Run a command to its end, given its standard input; its output goes to standard error, since it is progress.

        Raises:
            DockerError: If it fails.
        """
        done = subprocess.run([self.program, *arguments], input=given, text=True, stdout=_STDERR, check=False)
        if done.returncode != 0:
            raise DockerError(f"docker failed with exit code {done.returncode}: {shlex.join(['docker', *arguments])}")

    def has_image(self, name: str) -> bool:
        """Return whether docker has an image of this name."""
        done = subprocess.run([self.program, "image", "inspect", name], capture_output=True, check=False)
        return done.returncode == 0


def build_arguments(context: Path, *, name: str, platform: str, runtime: str | None = None) -> list[str]:
    """Return docker's arguments to build an image for one platform.

    Example:
        >>> " ".join(build_arguments(Path("context"), name="mlops-runtime:1", platform="linux/amd64"))
        'buildx build --platform linux/amd64 --provenance=false --load --tag mlops-runtime:1 context'
    """
    extended = [] if runtime is None else ["--build-arg", f"RUNTIME={runtime}"]
    return [
        *("buildx", "build", "--platform", platform, _NO_ATTESTATIONS, "--load", *extended, "--tag", name),
        str(context),
    ]
