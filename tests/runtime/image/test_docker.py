"""The user's docker as a process."""

from pathlib import Path

import pytest

from mlops_runtime.image.docker import Docker, DockerError, build_arguments


def _program(folder: Path, body: str) -> None:
    path = folder / "docker"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_without_docker_the_commands_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """To be run where there is one."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(DockerError) as caught:
        Docker.find(["docker one", "docker two"])

    assert str(caught.value).splitlines() == [
        "there is no docker on this machine's PATH; on one that has it, run:",
        "    docker one",
        "    docker two",
    ]


def test_a_command_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With its exit code; what docker wrote stands above it."""
    _program(tmp_path, "exit 3")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    with pytest.raises(DockerError, match=r"docker failed with exit code 3: docker push 'a b'"):
        Docker.find([]).run("push", "a b")
    assert not Docker.find([]).has_image("a")


def test_a_command_reads_what_it_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A password goes through standard input, never through arguments."""
    _program(tmp_path, f'cat > "{tmp_path}/given"')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    Docker.find([]).run("login", given="secret")

    assert (tmp_path / "given").read_text() == "secret"


def test_an_explaining_image_names_what_it_extends() -> None:
    """By build argument; one platform, no attestations."""
    arguments = build_arguments(Path("c"), name="x:1", platform="linux/arm64", runtime="r@sha256:1")

    assert arguments[:4] == ["buildx", "build", "--platform", "linux/arm64"]
    assert "--provenance=false" in arguments
    assert arguments[arguments.index("--build-arg") + 1] == "RUNTIME=r@sha256:1"
