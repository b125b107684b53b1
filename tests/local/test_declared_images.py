"""Commands of third-party images on this machine, as declared by the user."""

import subprocess
import sys
from pathlib import Path

import pytest

from mlops_local import declared_images, runners, settings
from mlops_local.declared_images import DeclarationError
from mlops_local.runners import UnknownImageError

DIGEST = "sha256:" + "ab" * 32
IMAGE = f"team/server@{DIGEST}"
URI = f"111122223333.dkr.ecr.eu-west-1.amazonaws.com/{IMAGE}"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of an embedded cloud with its state beside it."""
    monkeypatch.setattr(settings, "home", tmp_path / "state")
    return declared_images.file_of(tmp_path)


def test_a_digest_runs_what_was_declared_of_it(file: Path, tmp_path: Path) -> None:
    """In its folder, with its environment's programs first, parsed like a Dockerfile's shell form."""
    folder, programs = tmp_path / "a server", tmp_path / "env" / "bin"
    folder.mkdir()
    programs.mkdir(parents=True)
    (programs / "python").symlink_to(sys.executable)
    (programs / "hello").write_text('#!/bin/sh\necho "$PWD $1 $2"\n')
    (programs / "hello").chmod(0o755)
    declared_images.add(file, URI, serve="hello --port $PORT", folder=folder, venv=tmp_path / "env")
    command = runners.serve_command(URI)
    done = subprocess.run(
        command, env={"PATH": "/usr/bin:/bin", "PORT": "8080"}, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{folder} --port 8080\n"
    assert list(declared_images.images(file)) == [IMAGE]
    assert runners.lock(URI) is None


def test_another_digest_is_refused_with_the_verb(file: Path, tmp_path: Path) -> None:
    """A declaration is valid for one digest only."""
    declared_images.add(file, IMAGE, serve="python serve.py", folder=tmp_path, venv=None)
    with pytest.raises(UnknownImageError, match="declare the command of another image with mlops local image add"):
        runners.serve_command(IMAGE.replace("ab", "cd"))
    with pytest.raises(UnknownImageError, match="has no 'train'"):
        runners.job_command(IMAGE, None, None)
    declared_images.remove(file, IMAGE)
    with pytest.raises(UnknownImageError):
        runners.serve_command(IMAGE)


def test_all_problems_of_a_declaration_are_one_message(file: Path, tmp_path: Path) -> None:
    """A tag, no command, no folder, no environment; nothing is written."""
    with pytest.raises(DeclarationError) as error:
        declared_images.add(file, "server:latest", serve=" ", folder=tmp_path / "none", venv=tmp_path)
    message = str(error.value)
    assert "an image is named by its digest, repository@sha256:<64 hex digits>, got 'server:latest'" in message
    assert "the command that serves must not be empty" in message
    assert f"the folder {tmp_path / 'none'} is missing" in message
    assert f"{tmp_path} has no bin/python; make it with: uv venv {tmp_path}" in message
    assert not file.exists()
    with pytest.raises(DeclarationError, match=r"must be one that sh can read, got \"python 'serve.py\": .+"):
        declared_images.add(file, IMAGE, serve="python 'serve.py", folder=tmp_path, venv=None)
    assert not file.exists()
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(DeclarationError, match=r"mine is not a folder; give another home"):
        declared_images.add(declared_images.file_of(tmp_path / "mine"), IMAGE, serve="ls", folder=tmp_path, venv=None)


def test_fails_by_name_for_what_is_not_declared_or_cannot_be_read(file: Path, tmp_path: Path) -> None:
    """A file edited by hand into an invalid one runs nothing."""
    with pytest.raises(DeclarationError, match="is not declared; declared are: none"):
        declared_images.remove(file, IMAGE)
    file.write_text("[")
    with pytest.raises(
        UnknownImageError, match=r"images\.json cannot be read .*; delete it, and declare its images again"
    ):
        runners.serve_command(IMAGE)
