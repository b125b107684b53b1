"""``mlops features find | services`` on a store in a folder."""

import json
import subprocess
from collections.abc import Callable

from tests.cli.feature_shops import STOCK, FeatureShop

from mlops_runtime.features.feature_service import FeatureService

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_find_names_groups_and_where_words_are(feature_shop: FeatureShop, in_process: Run) -> None:
    """Needs no declaration: tables of a folder contain their descriptions."""
    where = ("--path", feature_shop.path)
    result = json.loads(in_process("features", "find", "shelves lies", *where, "--json").stdout)
    shown = in_process("features", "find", "Pricing", *where)
    none = in_process("features", "find", "weather", *where)

    assert [(hit["name"], hit["matches"]) for hit in result] == [("stock_v1", ["description"])]
    assert "price_v1" in shown.stdout
    assert "stock_v1" not in shown.stdout
    assert (none.returncode, none.stdout) == (
        0,
        f"no group or service of {feature_shop.path.name} has 'weather'; list all groups with: mlops features list\n",
    )


def test_services_are_listed_with_their_users(feature_shop: FeatureShop, in_process: Run) -> None:
    """Before a service's first training set the list is empty; then it has versions, columns and numbers of sets."""
    where = ("--path", feature_shop.path)
    assert "has no service yet" in in_process("features", "services", *where).stdout
    service = FeatureService(name="aisles", features=(STOCK,), columns={"stock": ["on_hand"]})
    feature_shop.client.training_set(feature_shop.rows, service, name="aisles")

    result = json.loads(in_process("features", "services", *where, "--json").stdout)
    shown = in_process("features", "services", *where).stdout

    assert [(each["name"], each["version"], each["sha256"], each["training_sets"]) for each in result] == [
        ("aisles", 1, service.use.sha256, 1)
    ]
    assert "stock__on_hand" in shown
    assert "service aisles" in in_process("features", "find", "aisles", *where).stdout


def test_find_needs_a_word(feature_shop: FeatureShop, in_process: Run) -> None:
    """The error has the given value."""
    done = in_process("features", "find", "  ", "--path", feature_shop.path)
    assert done.returncode == 1
    assert "TEXT must contain at least one word, got '  '" in done.stderr
