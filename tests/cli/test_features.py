"""``mlops features lock``: ids beside the module, and one line for each refusal."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = """
from mlops_runtime.features.group import Entity, Feature, FeatureGroup

STOCK = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"),),
    features=(Feature("on_hand", "{on_hand}", "units on hand"), Feature("price", "double", "dollars", nullable=True)),
    owner="demand",
    description="stock",
)
GROUPS = (STOCK,)
"""


def mlops(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "mlops_cli", "features", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Make a project with a package that declares a group."""
    package = tmp_path / "shop"
    package.mkdir()
    (package / "declared.py").write_text(MODULE.format(on_hand="long"))
    return tmp_path


def test_lock_writes_beside_the_module_and_then_has_nothing_new(project: Path) -> None:
    """The second run changes nothing; a path may be given."""
    first = mlops("lock", "shop.declared:GROUPS", cwd=project)
    assert (first.returncode, first.stdout) == (0, "shop/features.lock.json: 1 tables; commit it\n")
    text = (project / "shop" / "features.lock.json").read_text()
    assert json.loads(text)["tables"]["stock_v1"]["next_field_id"] == 7
    second = mlops("lock", "shop.declared:GROUPS", cwd=project)
    assert second.stdout == "shop/features.lock.json: 1 tables, nothing new\n"
    assert mlops("lock", "shop.declared:GROUPS", "other.json", cwd=project).returncode == 0
    assert (project / "other.json").read_text() == text


def test_each_refusal_is_a_line_of_its_own(project: Path) -> None:
    """A narrowed and a lost column are two lines on stderr, and the file stays as it was."""
    mlops("lock", "shop.declared:GROUPS", cwd=project)
    file = project / "shop" / "features.lock.json"
    before = file.read_text()
    (project / "shop" / "declared.py").write_text(MODULE.format(on_hand="int").replace('"price"', '"cost"'))
    result = mlops("lock", "shop.declared:GROUPS", cwd=project)
    assert (result.returncode, result.stdout) == (1, "")
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert "'on_hand' (features.lock.json line 17) has type 'long' and cannot become 'int'" in lines[0]
    assert (
        "'price' (id 6, features.lock.json line 18) is no longer declared ('cost' looks like its new name)" in lines[1]
    )
    assert file.read_text() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["shop.declared"], "mlops: groups must be <module>:<name of the groups>, got 'shop.declared'"),
        (["shop.absent:GROUPS"], "mlops: cannot load module 'shop.absent': No module named 'shop.absent'"),
        (["shop.declared:NONE"], "mlops: 'shop.declared:NONE' must be a tuple or list of FeatureGroup, got nothing"),
        (
            ["shop.declared:STOCK"],
            "mlops: 'shop.declared:STOCK' must be a tuple or list of FeatureGroup, got FeatureGroup(",
        ),
        (["shop:GROUPS"], "mlops: 'shop:GROUPS' must be a tuple or list of FeatureGroup, got nothing"),
        (
            ["shop.wrong:GROUPS"],
            "mlops: cannot load module 'shop.wrong': shop/wrong.py:4: feature group 'stock': feature 'on_hand' has type",
        ),
        (
            ["shop.declared:GROUPS", "absent/lock.json"],
            "mlops: cannot write absent/lock.json: No such file or directory",
        ),
    ],
)
def test_fails_when_groups_or_path_are_not_there(project: Path, arguments: list[str], message: str) -> None:
    """One line on stderr and exit 1."""
    (project / "shop" / "wrong.py").write_text(MODULE.format(on_hand="number"))
    result = mlops("lock", *arguments, cwd=project)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(message)
    assert len(result.stderr.splitlines()) == 1


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
@pytest.mark.parametrize("verb", ["lock", "catalog"])
def test_fails_when_the_module_does_not_load(project: Path, verb: str, before: str, after: str, message: str) -> None:
    """File, line and what is wrong there are one line, whichever verb loads the module; nothing is written."""
    text = MODULE.format(on_hand="long")
    assert before in text
    (project / "shop" / "slip.py").write_text(text.replace(before, after))
    groups = "shop.slip:GROUPS"
    result = mlops(*(["lock", groups] if verb == "lock" else ["catalog", "--groups", groups]), cwd=project)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"mlops: cannot load module 'shop.slip': {message}")
    assert len(result.stderr.splitlines()) == 1
    assert not (project / "shop" / "features.lock.json").exists()
