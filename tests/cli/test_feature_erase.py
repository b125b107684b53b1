"""``mlops features erase`` on a store in a folder; ``test_feature_location`` covers the store of a unit."""

import json
import subprocess
from collections.abc import Callable

import pytest
from tests.cli.feature_shops import FeatureShop

Run = Callable[..., subprocess.CompletedProcess[str]]
COPIES = "copies outside the store, including those of other units; ask every unit with read access"


@pytest.fixture
def erase(feature_shop: FeatureShop, in_process: Run) -> Run:
    """Erase from the store."""
    return lambda *arguments: in_process("features", "erase", *arguments, "--path", feature_shop.path)


def test_erase_asks_first_and_spares_what_is_in_use(feature_shop: FeatureShop, erase: Run, in_process: Run) -> None:
    """Changes nothing before the confirmation, and finally lists what it does not reach."""
    whom = ("--entity", "store_id=2", "--reason", "T-1")
    unsure = erase(*whom)
    spared = erase(*whom, "--yes", "--in-use", feature_shop.built.id[:12])
    before = feature_shop.client.table("stock_v1").scan().to_arrow().num_rows
    done = erase(*whom, "--yes", "--in-use", feature_shop.built.id, "--include-in-use")
    again = json.loads(erase(*whom, "--yes", "--json").stdout)
    rebuilt = in_process("features", "rebuild", feature_shop.built.id, "--path", feature_shop.path)

    assert unsure.stderr == (
        "mlops: not done without a confirmation: erase store_id=2 from shop with its history, which cannot be undone; add --yes\n"
    )
    assert spared.stderr.startswith("mlops: models in use were trained from 1 training sets that contain the entity")
    assert "or pass --include-in-use: these sets can then never be built again" in spared.stderr
    assert (unsure.returncode, spared.returncode, before) == (1, 1, 12)
    assert done.returncode == 0, done.stderr
    assert (
        f"training set {feature_shop.built.id} contained the entity and cannot be rebuilt" in done.stdout.splitlines()
    )
    assert done.stdout.splitlines()[-1] == f"not reached: {COPIES}"
    assert feature_shop.client.table("stock_v1").scan().to_arrow()["store_id"].unique().to_pylist() == ["1"]
    assert (again["tables"], again["online"], again["left"]) == ([], {}, [COPIES])
    assert rebuilt.stderr.startswith("mlops: IMPOSSIBLE")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--entity", "store_id", "--reason", "T-1"), "--entity must be NAME=VALUE, got 'store_id'"),
        (("--entity", "a=1", "--entity", "a=2", "--reason", "T-1"), "--entity names a more than once"),
        (("--entity", "shop=1", "--reason", "T-3", "--yes"), "no table has the key shop; there are price_v1"),
        (
            ("--entity", "store_id=1", "--reason", "", "--yes"),
            "--reason must not be empty, for example a ticket number, got ''",
        ),
        (
            ("--entity", "store_id=1", "--reason", " ", "--yes"),
            "--reason must not be empty, for example a ticket number, got ' '",
        ),
        (
            ("--entity", "store_id=Ann@x.org", "--reason", "asked by ann@x.org.", "--yes"),
            "--reason contains the store_id to erase, and the reason stays in the records; give a ticket number",
        ),
        (("--entity", "store_id=1", "--reason", "store 1 closed", "--yes"), "--reason contains the store_id to erase"),
    ],
)
def test_fails_in_one_line(feature_shop: FeatureShop, erase: Run, arguments: tuple[str, ...], message: str) -> None:
    """The error has the value and what is allowed; nothing is erased."""
    result = erase(*arguments)

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"mlops: {message}")
    assert len(result.stderr.splitlines()) == 1
    assert feature_shop.client.table("stock_v1").scan().to_arrow().num_rows == 12


def test_a_number_that_holds_the_entitys_digits_is_a_reason(erase: Run) -> None:
    """Ticket 4271 or T-2 does not identify store 2."""
    assert erase("--entity", "store_id=2", "--reason", "tickets 4271, T-2", "--yes").returncode == 0
