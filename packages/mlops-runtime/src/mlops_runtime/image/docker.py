"""The user's own docker, as a process: what builds, logs in and pushes; and the same as commands for another machine."""

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# SageMaker and Lambda take a manifest of one platform; the attestations that buildx adds would make an index of it
# https://docs.docker.com/build/metadata/attestations/
_NO_ATTESTATIONS = "--provenance=false"


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
            DockerError: If there is none.
        """
        program = shutil.which("docker")
        if program is None:
            first = "" if copied is None else f"copy {copied} there to the same path and "
            words = f"there is no docker on this machine's PATH; on one that has it, {first}run:"
            raise DockerError("\n    ".join([words, *commands]))
        return cls(program=program)

    def run(self, *arguments: str, given: str | None = None) -> None:
        """Run a command to its end.

        Args:
            arguments: Its arguments.
            given: What it reads from standard input. Default: nothing.

        Raises:
            DockerError: If it fails.
        """
        done = subprocess.run([self.program, *arguments], input=given, text=True, check=False)
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
        runtime: The image that an explaining image extends. Default: it extends none.

    Example:
        >>> " ".join(build_arguments(Path("context"), name="mlops-runtime:1", platform="linux/amd64"))
        'buildx build --platform linux/amd64 --provenance=false --load --tag mlops-runtime:1 context'
    """
    extended = [] if runtime is None else ["--build-arg", f"RUNTIME={runtime}"]
    return [
        *("buildx", "build", "--platform", platform, _NO_ATTESTATIONS, "--load", *extended, "--tag", name),
        str(context),
    ]
