"""What images of others run on this machine, as the user declared: ``images.json`` beside the state of the embedded cloud.

There is no container engine here. A digest is declared to be a command in a folder, with an environment of Python or without: the
user says that it does what the image does, and the embedded cloud only starts it. A digest that is not declared is refused.
"""

import json
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FILE = "images.json"
_IMAGE = re.compile(r"[a-z0-9]([a-z0-9._/-]*[a-z0-9])?@sha256:[0-9a-f]{64}")


class DeclarationError(ValueError):
    """An image cannot be declared, or is not; the message says what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredImage:
    """What a digest runs.

    Args:
        serve: Command as a shell reads it; the container's ``/opt/ml`` in it is where the model lies.
        folder: Where it runs, absolute.
        venv: Environment of Python whose programs come first. Default: none.
    """

    serve: str
    folder: str
    venv: str | None = None

    def command(self) -> str:
        """Return the text that a shell runs.

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
    """Return the file of an embedded cloud's folder."""
    return home / FILE


def images(file: Path) -> Mapping[str, DeclaredImage]:
    """Return what is declared, by ``repository@sha256:digest``.

    Raises:
        DeclarationError: The file was changed by hand and cannot be read.
    """
    try:
        rows: dict[str, dict[str, Any]] = json.loads(file.read_text())
        return {image: DeclaredImage(**row) for image, row in rows.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        raise DeclarationError(f"{file} cannot be read ({error}); delete it, and declare its images again") from error


def command(file: Path, image: str) -> str | None:
    """Return what a shell runs for an image; None where it is not declared.

    Args:
        file: The file.
        image: URI of the image, with its registry or without.
    """
    found = images(file).get(f"{repository(image)}@{image.partition('@')[2]}")
    return None if found is None else found.command()


def add(file: Path, image: str, *, serve: str, folder: Path, venv: Path | None) -> DeclaredImage:
    """Declare what a digest runs, in place of what was declared before.

    Args:
        file: The file.
        image: ``repository@sha256:digest``, with its registry or without.
        serve: The command.
        folder: Where it runs.
        venv: Environment of Python.

    Raises:
        DeclarationError: With every problem.
    """
    name = f"{repository(image)}@{image.partition('@')[2]}"
    problems = []
    if _IMAGE.fullmatch(name) is None:
        problems.append(f"an image is named by its digest, repository@sha256:<64 hex digits>, got {image!r}")
    if not serve.strip():
        problems.append("the command that serves must not be empty")
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


def remove(file: Path, image: str) -> None:
    """Remove what was declared.

    Raises:
        DeclarationError: It is not declared.
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
