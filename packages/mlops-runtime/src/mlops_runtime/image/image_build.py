"""Build an image with the user's docker: its context, its locked requirements, and the same as commands for another machine."""

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
# the folder of an image below containers/, and the name of its repository unless the user names another
FOLDERS: dict[ImageKind, str] = {"runtime": "model", "explain": "explain", "model": "environment"}
REPOSITORIES: dict[ImageKind, str] = {"runtime": "mlops-runtime", "explain": "mlops-explain", "model": "mlops-model"}
_LOCK_FILE = "requirements.lock"
# declared before the first stage without a value; the context's file has one, so that no build forgets it
_LOCK_ARGUMENT = "ARG REQUIREMENTS_SHA256\n"
_STDERR = 2  # the file descriptor
_DISTRIBUTION = "mlops-runtime"
_PACKAGE = Path(__file__).parents[1]
_CONTAINERS = Path(__file__).with_name("containers")
# of the folder, what the build does not read
_TOOLS = ("*.in", "__pycache__")
# marks a folder as a build context, which may be rewritten; docker's own name, so that no build reads it
_MARK = ".dockerignore"
_MARKED = "# written by mlops image build: the folder is rewritten each time\n.dockerignore\n"

# SageMaker and Lambda take a manifest of one platform; the attestations that buildx adds would make an index of it
# https://docs.docker.com/build/metadata/attestations/
_NO_ATTESTATIONS = "--provenance=false"


class BuildContextError(ValueError):
    """A folder holds something else than a build context; nothing in it was touched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildContext:
    """A folder that docker builds an image from.

    Args:
        folder: The folder; it holds the ``Dockerfile``.
        tag: The version, and the first 12 digits of the SHA-256 over all files: another content has another tag.
    """

    folder: Path
    tag: str


def write_context(kind: ImageKind, folder: Path, lock: RequirementsLock | None = None) -> BuildContext:
    """Write the build context of an image, in place of what the folder held.

    Args:
        kind: Which image: ``runtime`` for jobs and servers, ``explain`` with shap on top of it, ``model`` with the environment of a
            model on top of it.
        lock: What the environment of ``model`` is made of. Default: it is another image.
        folder: Where to: a new or empty folder, or one that this function has written before.

    Raises:
        BuildContextError: If the folder holds anything else.

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
        # jobs ask for the version that they run
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
            f"{str(folder)!r} must be a new or empty folder, or one that mlops image build has written, as what it holds is "
            "replaced; name another with --context"
        )


def _digest(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        total.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


class DockerError(RuntimeError):
    """There is no docker here, or it failed; the message has the commands or docker's last words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Docker:
    """A docker that runs commands, its output shown to the user as it comes.

    Args:
        program: Path of the executable.
    """

    program: str

    @classmethod
    def find(cls, commands: Sequence[str], *, copied: Path | None = None) -> "Docker":
        """Find docker on the path.

        Args:
            commands: What to run on a machine that has docker, for the error.
            copied: Folder that the commands need there. Default: none.

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
        """Run a command to its end; what it prints goes to standard error, since it is progress.

        Args:
            arguments: Its arguments.
            given: What it reads from standard input. Default: nothing.

        Raises:
            DockerError: If it fails.
        """
        done = subprocess.run([self.program, *arguments], input=given, text=True, stdout=_STDERR, check=False)
        if done.returncode != 0:
            raise DockerError(f"docker failed with exit code {done.returncode}: {shlex.join(['docker', *arguments])}")

    def has_image(self, name: str) -> bool:
        """Return whether docker holds an image of this name."""
        done = subprocess.run([self.program, "image", "inspect", name], capture_output=True, check=False)
        return done.returncode == 0


def build_arguments(context: Path, *, name: str, platform: str, runtime: str | None = None) -> list[str]:
    """Return docker's arguments that build an image of one platform.

    Args:
        context: Folder of the build context.
        name: Name and tag of the image.
        platform: Such as ``linux/amd64``.
        runtime: The image that this one extends. Default: it extends none.

    Example:
        >>> " ".join(build_arguments(Path("context"), name="mlops-runtime:1", platform="linux/amd64"))
        'buildx build --platform linux/amd64 --provenance=false --load --tag mlops-runtime:1 context'
    """
    extended = [] if runtime is None else ["--build-arg", f"RUNTIME={runtime}"]
    return [
        *("buildx", "build", "--platform", platform, _NO_ATTESTATIONS, "--load", *extended, "--tag", name),
        str(context),
    ]
