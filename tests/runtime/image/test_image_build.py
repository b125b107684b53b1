"""The build context of an image.

Calls of the user's docker as a process.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from mlops_runtime.image.image_build import BuildContextError, Docker, DockerError, build_arguments, write_context


def test_the_context_runs_by_itself(tmp_path: Path) -> None:
    """The code copied to site-packages can be imported without the checkout, and has a version."""
    context = write_context("runtime", tmp_path / "context")
    program = "import mlops_runtime, importlib.metadata as m; print(mlops_runtime.__file__, m.version('mlops-runtime'))"

    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path.insert(0, {str(context.folder / 'site-packages')!r}); {program}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.startswith(str(context.folder))
    assert done.stdout.split()[1] == context.tag.rpartition("-")[0]


def test_the_tag_changes_with_the_content_alone(tmp_path: Path) -> None:
    """The same files have the same tag in any folder; one changed byte changes it."""
    first, second = write_context("runtime", tmp_path / "a"), write_context("runtime", tmp_path / "b")
    explain = write_context("explain", tmp_path / "c")

    assert first.tag == second.tag != explain.tag


def test_what_a_context_held_is_replaced(tmp_path: Path) -> None:
    """Files of an earlier context are removed."""
    old = write_context("runtime", tmp_path / "context").folder / "old"
    old.write_text("x")

    assert not (write_context("explain", tmp_path / "context").folder / "old").exists()


def test_a_folder_of_other_files_is_left_as_it_is(tmp_path: Path) -> None:
    """A project or home folder passed by mistake is left unchanged, and so is a file."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / ".dockerignore").write_text("*.csv")
    (tmp_path / "file").write_text("x")

    for name in ("project", "file"):
        with pytest.raises(BuildContextError, match="must be a new or empty folder"):
            write_context("explain", tmp_path / name)
    assert (tmp_path / "project" / ".dockerignore").read_text() == "*.csv"
    assert (tmp_path / "file").read_text() == "x"


def _program(folder: Path, body: str) -> None:
    path = folder / "docker"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_without_docker_the_commands_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The message lists the commands to run on a machine with docker."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(DockerError) as caught:
        Docker.find(["docker one", "docker two"])

    assert str(caught.value).splitlines() == [
        "there is no docker on this machine's PATH; on one that has it, run:",
        "    docker one",
        "    docker two",
    ]


def test_a_command_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The message contains the exit code; docker's own output is printed before it."""
    _program(tmp_path, "exit 3")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    with pytest.raises(DockerError, match=r"docker failed with exit code 3: docker push 'a b'"):
        Docker.find([]).run("push", "a b")
    assert not Docker.find([]).has_image("a")


def test_a_command_reads_what_it_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A password is passed by standard input, never as an argument."""
    _program(tmp_path, f'cat > "{tmp_path}/given"')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    Docker.find([]).run("login", given="secret")

    assert (tmp_path / "given").read_text() == "secret"


def test_an_explaining_image_names_what_it_extends() -> None:
    """The base image is a build argument; the build has one platform and no attestations."""
    arguments = build_arguments(Path("c"), name="x:1", platform="linux/arm64", runtime="r@sha256:1")

    assert arguments[:4] == ["buildx", "build", "--platform", "linux/arm64"]
    assert "--provenance=false" in arguments
    assert arguments[arguments.index("--build-arg") + 1] == "RUNTIME=r@sha256:1"
