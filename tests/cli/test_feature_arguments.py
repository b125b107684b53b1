"""What the arguments of ``mlops features`` stand for, and one line for each that stands for nothing."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_cli.errors import UserError
from mlops_cli.feature_arguments import load_groups, pairs, read_parquet

MODULE = """
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup

STOCK = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"),),
    features=(Feature("on_hand", "{on_hand}", "units on hand"), Feature("price", "double", "dollars", nullable=True)),
    owner="demand",
    description="stock",
)
GROUPS = (STOCK,)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in a folder with a package that declares a group; what was loaded of it is forgotten."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "declared.py").write_text(MODULE.format(on_hand="long"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield tmp_path / "shop"
    for name in [name for name in sys.modules if name == "shop" or name.startswith("shop.")]:
        del sys.modules[name]


def test_groups_are_those_of_a_module(package: Path) -> None:
    """With the module, beside whose file the lock file is."""
    module, groups = load_groups("shop.declared:GROUPS")

    assert module.__file__ == str(package / "declared.py")
    assert [group.table_name for group in groups] == ["stock_v1"]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ("shop.declared", "groups must be <module>:<name of the groups>, got 'shop.declared'"),
        ("shop.absent:GROUPS", "cannot load module 'shop.absent': No module named 'shop.absent'"),
        ("shop.declared:NONE", "'shop.declared:NONE' must be a tuple or list of FeatureGroup, got nothing"),
        ("shop.declared:STOCK", "'shop.declared:STOCK' must be a tuple or list of FeatureGroup, got FeatureGroup("),
        ("shop:GROUPS", "'shop:GROUPS' must be a tuple or list of FeatureGroup, got nothing"),
        (
            "shop.wrong:GROUPS",
            "cannot load module 'shop.wrong': shop/wrong.py:4: feature group 'stock': feature 'on_hand' has type",
        ),
    ],
)
def test_fails_when_there_are_no_such_groups(package: Path, groups: str, message: str) -> None:
    """The name is said, and what was found under it."""
    (package / "wrong.py").write_text(MODULE.format(on_hand="number"))
    with pytest.raises(UserError) as error:
        load_groups(groups)

    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            '"store"),),',
            '"store")),',
            "shop/slip.py:4: feature group 'stock': entities must be a tuple of Entity, got one Entity without a comma; "
            "write entities=(Entity(...),)",
        ),
        (
            'owner="demand"',
            'owner=5, ttl=14, version="2"',
            "shop/slip.py:4: feature group 'stock': owner must be a str, got 5; ttl must be a timedelta such as "
            "timedelta(days=14), got 14; leave it out for none; version must be a whole number, at least 1, got '2'",
        ),
        (
            'entities=(Entity("store_id", "string", "store"),),',
            "",
            "shop/slip.py:4: TypeError: FeatureGroup.__init__() missing 1 required keyword-only argument: 'entities'",
        ),
        ("GROUPS = (STOCK,)", "GROUPS = (STOK,)", "shop/slip.py:11: NameError: name 'STOK' is not defined"),
        ("GROUPS = (STOCK,)", "GROUPS = (STOCK,", "shop/slip.py:11: SyntaxError: '(' was never closed"),
        ("GROUPS = (STOCK,)", "import absent_library", "shop/slip.py:11: No module named 'absent_library'"),
    ],
)
def test_fails_when_the_module_does_not_load(package: Path, before: str, after: str, message: str) -> None:
    """File, line and what is wrong there are one line."""
    text = MODULE.format(on_hand="long")
    assert before in text
    (package / "slip.py").write_text(text.replace(before, after))
    with pytest.raises(UserError) as error:
        load_groups("shop.slip:GROUPS")

    assert str(error.value).startswith(f"cannot load module 'shop.slip': {message}")
    assert len(str(error.value).splitlines()) == 1


def test_pairs_name_each_once() -> None:
    """In the order given; the value may have the sign."""
    assert pairs("--entity", ["sku=7", "store_id=a=b"]) == [("sku", "7"), ("store_id", "a=b")]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["sku", "=7", "store_id=1"], "--entity must be NAME=VALUE, got 'sku', '=7'"),
        (["sku=7", "sku=8"], "--entity names sku more than once"),
    ],
)
def test_fails_when_a_pair_is_none(given: list[str], message: str) -> None:
    """Each wrong one is named."""
    with pytest.raises(UserError, match=message):
        pairs("--entity", given)


def test_fails_when_a_file_is_not_parquet(tmp_path: Path) -> None:
    """Or is not there."""
    file = tmp_path / "rows.csv"
    file.write_text("a,b")
    with pytest.raises(UserError, match=r"--entities must be a Parquet file, got .*rows\.csv: "):
        read_parquet("--entities", file)
    with pytest.raises(UserError, match=r"got .*absent\.parquet: it is not there"):
        read_parquet("--entities", tmp_path / "absent.parquet")
