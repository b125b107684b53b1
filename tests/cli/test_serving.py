"""``mlops serving check`` prints a table of rules and an exit code; the image that ``mlops verify`` serves."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.runtime.serving.wrong_server import serving
from typer.testing import CliRunner

from mlops_cli import __main__ as command
from mlops_cli.aws_account import UserError
from mlops_cli.serving import app, serving_image
from mlops_runtime.image import PLACEHOLDER_DIGEST

if TYPE_CHECKING:
    from typing import Literal


RUN = CliRunner()


Run = Callable[..., subprocess.CompletedProcess[str]]


DIGEST = "sha256:" + "a" * 64


def test_a_server_that_keeps_the_rules_is_shown_rule_by_rule() -> None:
    """Exits with 0; unchecked rules have a reason."""
    with serving() as url:
        result = RUN.invoke(app, ["check", url])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["ping", "passed"]
    assert lines[-1].endswith("skipped  the server's process is not known (--pid)")


def test_fails_with_every_broken_rule(tmp_path: Path) -> None:
    """The table has the reasons, the last line the names."""
    sample = tmp_path / "rows.json"
    sample.write_text(json.dumps({"instances": [[1, 2]]}))
    with serving("other paths") as url:
        result = RUN.invoke(app, ["check", url, "--request", str(sample)])
    assert "failed   GET /no/such/path must be a 4xx, got 200; GET /invocations must be a 4xx, got 200" in result.stdout
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == f"{url} breaks 1 of 18 rules: other paths"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["localhost:1"], "the server must be http://host:port, got 'localhost:1'"),
        (["http://[bad"], "the server must be http://host:port, got 'http://[bad': Invalid IPv6 URL"),
        (["http://127.0.0.1:99999"], "the server must be http://host:port, got 'http://127.0.0.1:99999': Port"),
        (["http://127.0.0.1:1", "--content-type", "text/csv"], "--content-type requires --request"),
        (
            ["http://127.0.0.1:1", "--request", "rows.bin"],
            "the request must be application/json or text/csv, got 'rows.bin'",
        ),
        (["http://127.0.0.1:1", "--request", "none.csv"], "cannot read none.csv: No such file or directory"),
    ],
)
def test_fails_before_it_asks(arguments: list[str], message: str) -> None:
    """A usage error is one line with the fix."""
    result = RUN.invoke(app, ["check", *arguments])
    assert isinstance(result.exception, UserError)
    assert message in str(result.exception)


def test_the_command_has_it() -> None:
    """``mlops serving`` is the app."""
    assert "serving" in {group.name for group in command.app.registered_groups}


def chosen(given: str | None, settings: Path, *, cloud: Literal["aws", "embedded"] = "aws") -> tuple[str, str]:
    """Return the image of a run in eu-west-1."""
    return serving_image(given, cloud=cloud, account="1" * 12, region="eu-west-1", settings=settings)


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """Return ``cdk.json`` as shipped."""
    path = tmp_path / "cdk.json"
    path.write_text(json.dumps({"context": {"image_digest": PLACEHOLDER_DIGEST}}))
    return path


def test_the_image_is_the_one_that_is_named_or_that_of_the_settings(settings: Path) -> None:
    """The placeholder is used only on the embedded cloud."""
    uri = f"{'1' * 12}.dkr.ecr.eu-west-1.amazonaws.com/team/model@{DIGEST}"

    assert chosen(uri, settings) == ("team/model", DIGEST)
    assert chosen(None, settings, cloud="embedded") == ("mlops-runtime", PLACEHOLDER_DIGEST)
    assert chosen(f"mlops-runtime@{PLACEHOLDER_DIGEST}", settings, cloud="embedded") == (
        "mlops-runtime",
        PLACEHOLDER_DIGEST,
    )
    settings.write_text(json.dumps({"context": {"image_digest": DIGEST}}))
    assert chosen(None, settings) == ("mlops-runtime", DIGEST)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            None,
            r"^image_digest of cdk\.json is the placeholder of 64 zeros, which only the embedded cloud accepts",
        ),
        (f"mlops-runtime@{PLACEHOLDER_DIGEST}", r"^--image 'mlops-runtime@sha256:0+' is the placeholder of 64 zeros"),
        (f"{'2' * 12}.dkr.ecr.eu-west-1.amazonaws.com/m@{DIGEST}", "belongs to account 222222222222"),
        ("mlops-runtime:latest", "must be REPOSITORY@sha256"),
    ],
)
def test_what_aws_cannot_serve_is_refused_by_name(settings: Path, given: str | None, words: str) -> None:
    """Fails before any look-up or creation."""
    with pytest.raises(UserError, match=words):
        chosen(given, settings)


def test_settings_without_a_digest_are_no_image(tmp_path: Path) -> None:
    """The error says what to pass."""
    with pytest.raises(UserError, match="no serving image: give --image"):
        chosen(None, tmp_path / "cdk.json", cloud="embedded")


@pytest.mark.parametrize(("content", "words"), [("{", "is not JSON"), ('{"context": []}', "an object as context, got")])
def test_fails_on_settings_that_cannot_be_read(settings: Path, content: str, words: str) -> None:
    """As `mlops deploy` does."""
    settings.write_text(content)
    with pytest.raises(UserError, match=words):
        chosen(None, settings)
