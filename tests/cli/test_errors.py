"""Errors shown by the command."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from tests.called_command import call_command

from mlops_cli.aws_account import UserError, shown


def test_a_named_error_is_shown_with_its_words() -> None:
    """Users see the library's message."""
    with pytest.raises(UserError, match="port 4566 is in use"), shown(OSError):
        raise OSError("port 4566 is in use")


def test_any_other_error_stays_what_it_is() -> None:
    """A bug keeps its traceback."""
    with pytest.raises(KeyError), shown(OSError):
        raise KeyError("x")


_MANIFEST = b'{"artifacts": {"S": {"type": "aws:cloudformation:stack"}}}'
_FILES = {
    "mine": b"mine",
    "binary": b"\xff\xfe\x00",
    "folder.json/kept": b"",
    "broken/manifest.json": _MANIFEST,
    "list.json": b'{"Resources": []}',
    "app.py": b"",
}
_DIGITS, _BEFORE_UTC = "9" * 5_000, "0001-01-01T00:00:00+14:00"
_UNIT = ("--owner", "a@example.com", "--cost-center", "1", "--place", "222222222222/eu-west-1", "--defaults", "a:B")
_IMAGE = f"server@sha256:{'0' * 64}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with files, without an AWS account or an embedded cloud."""
    for name, content in _FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    for name, value in {"AWS_PROFILE": "none", "AWS_CONFIG_FILE": "none", "MLOPS_LOCAL_HOME": "none"}.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def _contents(folder: Path) -> Mapping[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("plan", "--app", "python 'app.py"), "cannot be read: No closing quotation"),
        (("plan", "--app", "broken"), "not the manifest of a cloud assembly"),
        (("terraform", "export", "S", "--output", "out", "--app", "python 'app.py"), "No closing quotation"),
        (("terraform", "export", "S", "--output", "mine"), "mine is a file; name a folder"),
        (("terraform", "export", "S", "--output", "mine/x/y"), "mine is a file; name another folder"),
        (("local", "status", "--home", "mine/x"), "mine/x is not a folder; give another home"),
        (("local", "down", "--forget", "--home", "mine/x"), "mine/x is not a folder; give another home"),
        (("local", "up", "--home", "mine/x"), "mine is not a folder; give another home"),
        (("local", "clock", "--jump", f"{_DIGITS}d"), "a duration must be numbers"),
        (("local", "clock", "--to", _BEFORE_UTC), "a time must have the form"),
        (("traffic", "replay", "rows.csv", "--time", "at", "--label-delay", f"{_DIGITS}h"), "a duration must be"),
        (("traffic", "replay", "rows.csv", "--time", "at", "--from", _BEFORE_UTC), "a time must have the form"),
        (("local", "image", "add", _IMAGE, "--serve", "python 'x"), "must be one that sh can read"),
        (("local", "image", "add", _IMAGE, "--serve", "x", "--home", "mine/x"), "mine/x is not a folder"),
        (("local", "image", "list", "--home", "mine/x"), "mine/x is not a folder"),
        (("audit", "machine", "list.json"), "a template must have resources that are objects"),
        (("audit", "machine", "binary"), "a template must be a JSON file"),
        (("audit", "machine", "folder.json"), "a template must be a JSON file"),
        (("unit", "create", "sales", *_UNIT, "--project", _DIGITS), "nothing was created"),
        (("new", "mine/x"), "cannot be created, since"),
        (("new", "x", "--index", "http://[bad"), "got one with an invalid host"),
        (("image", "build", "--context", "mine/x"), "cannot write mine/x: Not a directory; give another --context"),
        (("serving", "check", "http://[bad"), "Invalid IPv6 URL"),
        (("serving", "check", "http://127.0.0.1:99999"), "got 'http://127.0.0.1:99999': Port out of range"),
        (("serving", "check", "http://a..b:1"), "nothing listens at a..b:1"),
        (("features", "list", "--path", "mine/x"), "mine/x"),
        (("features", "lock", "a:B", "binary"), "cannot load module"),
        (("verify", "--check", "folder.json"), "name a report"),
        (("verify", "--check", "binary"), "report"),
    ],
)
def test_mistakes_end_in_a_line_and_change_nothing(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    """Paths below a file or of another kind, bytes that are not text, huge numbers, impossible times and open quotes."""
    result = call_command(*arguments)

    assert result.returncode in (1, 2)
    assert message in " ".join(result.stderr.split())
    if result.returncode == 1:  # usage errors have a frame
        assert (result.stderr[:7], result.stderr.count("\n")) == ("mlops: ", 1)
    assert _contents(folder) == _FILES


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(13, "Permission denied", "units"), "units: Permission denied"),
        (IsADirectoryError(21, "Is a directory", Path("a.tf")), "a.tf: Is a directory"),
    ],
)
def test_a_path_that_cannot_be_used_is_a_line(monkeypatch: pytest.MonkeyPatch, error: OSError, line: str) -> None:
    """Wherever a verb reads or writes it."""
    monkeypatch.setattr("mlops_cli.__main__.app", _raising(error))
    assert call_command().stderr == f"mlops: cannot use {line}; correct the path, or its permissions\n"


def test_an_error_of_the_system_without_a_path_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not the user's mistake."""
    monkeypatch.setattr("mlops_cli.__main__.app", _raising(OSError(9, "Bad file descriptor")))
    with pytest.raises(OSError, match="Bad file descriptor"):
        call_command()


def _raising(error: Exception) -> Callable[..., None]:
    def fail(**_: object) -> None:
        raise error

    return fail
