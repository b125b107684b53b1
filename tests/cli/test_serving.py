"""``mlops serving check``: a table, and an exit that says which rules are broken."""

import json
from pathlib import Path

import pytest
from tests.runtime.serving.wrong_server import serving
from typer.testing import CliRunner

from mlops_cli import __main__ as command
from mlops_cli.errors import UserError
from mlops_cli.serving import app

RUN = CliRunner()


def test_a_server_that_keeps_the_rules_is_shown_rule_by_rule() -> None:
    """Exit 0; what could not be asked says why."""
    with serving() as url:
        result = RUN.invoke(app, ["check", url])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["ping", "passed"]
    assert lines[-1].endswith("skipped  the server's process is not known (--pid)")


def test_fails_with_every_broken_rule(tmp_path: Path) -> None:
    """The reasons stand in the table, the names in the last line."""
    sample = tmp_path / "rows.json"
    sample.write_text(json.dumps({"instances": [[1, 2]]}))
    with serving("other paths") as url:
        result = RUN.invoke(app, ["check", url, "--request", str(sample)])
    assert "failed   GET /no/such/path must be a 4xx, got 200; GET /invocations must be a 4xx, got 200" in result.stdout
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == f"{url} breaks 1 of 17 rules: other paths"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["localhost:1"], "the server must be http://host:port, got 'localhost:1'"),
        (["http://127.0.0.1:1", "--content-type", "text/csv"], "--content-type says how to send a request"),
        (
            ["http://127.0.0.1:1", "--request", "rows.bin"],
            "the request must be application/json or text/csv, got 'rows.bin'",
        ),
        (["http://127.0.0.1:1", "--request", "none.csv"], "cannot read none.csv: No such file or directory"),
    ],
)
def test_fails_before_it_asks(arguments: list[str], message: str) -> None:
    """A wrong call is one line with the fix."""
    result = RUN.invoke(app, ["check", *arguments])
    assert isinstance(result.exception, UserError)
    assert message in str(result.exception)


def test_the_command_has_it() -> None:
    """``mlops serving`` is the app."""
    assert "serving" in {group.name for group in command.app.registered_groups}
