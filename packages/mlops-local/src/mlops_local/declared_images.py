"""Images whose local command the user declared: ``images.json`` beside the state of the embedded cloud.

There is no container engine. The user declares a digest to be a command in a folder, optionally with a Python environment, and
vouches that it does what the image does; the embedded cloud only starts it. Undeclared digests are rejected.
"""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FILE = "images.json"
_IMAGE = re.compile(r"[a-z0-9]([a-z0-9._/-]*[a-z0-9])?@sha256:[0-9a-f]{64}")


class DeclarationError(ValueError):
    """An image cannot be declared, or is not declared; the message names the allowed values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredImage:
    """The command of a digest."""

    serve: str  # shell command; the container's `/opt/ml` in it stands for the model's folder
    folder: str  # absolute working directory
    venv: str | None = None  # Python environment whose programs come first on the path

    def command(self) -> str:
        """Return the shell command line.

        Example:
            >>> DeclaredImage(serve="python serve.py", folder="/srv/my server", venv="/srv/env").command()
            "cd '/srv/my server' && PATH=/srv/env/bin:$PATH exec python serve.py"
        """
        path = "" if self.venv is None else f"PATH={shlex.quote(f'{self.venv}/bin')}:$PATH "
        return f"cd {shlex.quote(self.folder)} && {path}exec {self.serve}"


def repository(image: str) -> str:
    """Return the repository name of an image.

    Example:
        >>> repository("000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "0" * 64)
        'mlops-runtime'
    """
    path = image.split("@", 1)[0]
    host, slash, rest = path.partition("/")
    path = rest if slash and ("." in host or ":" in host or host == "localhost") else path
    return path.split(":", 1)[0]


def file_of(home: Path) -> Path:
    """Return the path of the file in an embedded cloud's folder."""
    return home / FILE


def images(file: Path) -> Mapping[str, DeclaredImage]:
    """Return the declared images by ``repository@sha256:digest``.

    Raises:
        DeclarationError: If the file cannot be read, for example after a manual change.
    """
    try:
        rows: dict[str, dict[str, Any]] = json.loads(file.read_text())
        return {image: DeclaredImage(**row) for image, row in rows.items()}
    except FileNotFoundError:
        return {}
    except NotADirectoryError as error:
        raise DeclarationError(f"{file.parent} is not a folder; give another home") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise DeclarationError(f"{file} cannot be read ({error}); delete it, and declare its images again") from error


def command(file: Path, image: str) -> str | None:
    """Return the shell command line of an image, its URI with or without registry; ``None`` if it is not declared."""
    found = images(file).get(f"{repository(image)}@{image.partition('@')[2]}")
    return None if found is None else found.command()


def add(file: Path, image: str, *, serve: str, folder: Path, venv: Path | None) -> DeclaredImage:
    """Declare the command of a digest, replacing an earlier declaration.

    Raises:
        DeclarationError: Listing every problem.
    """
    name = f"{repository(image)}@{image.partition('@')[2]}"
    problems = []
    if _IMAGE.fullmatch(name) is None:
        problems.append(f"an image is named by its digest, repository@sha256:<64 hex digits>, got {image!r}")
    if not serve.strip():
        problems.append("the command that serves must not be empty")
    elif problem := _shell_problem(serve):
        problems.append(f"the command that serves must be one that sh can read, got {serve!r}: {problem}")
    if not folder.is_dir():
        problems.append(f"the folder {folder} is missing")
    if venv is not None and not (venv / "bin" / "python").exists():
        problems.append(f"{venv} has no bin/python; make it with: uv venv {venv}")
    if problems:
        raise DeclarationError("; ".join(problems))
    made = DeclaredImage(
        serve=serve.strip(), folder=str(folder.absolute()), venv=None if venv is None else str(venv.absolute())
    )
    _write(file, {**images(file), name: made})
    return made


def _shell_problem(command: str) -> str:
    """Return why a shell cannot read a command, without running it; empty if it can."""
    read = subprocess.run(["/bin/sh", "-n", "-c", command], capture_output=True, text=True, check=False)
    return " ".join(read.stderr.split())


def remove(file: Path, image: str) -> None:
    """Remove a declaration.

    Raises:
        DeclarationError: If the image is not declared.
    """
    known, name = dict(images(file)), f"{repository(image)}@{image.partition('@')[2]}"
    if known.pop(name, None) is None:
        raise DeclarationError(f"{name} is not declared; declared are: {', '.join(sorted(known)) or 'none'}")
    _write(file, known)


def _write(file: Path, rows: Mapping[str, DeclaredImage]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{os.getpid()}")
    partial.write_text(json.dumps({name: asdict(row) for name, row in sorted(rows.items())}, indent=2) + "\n")
    partial.replace(file)
