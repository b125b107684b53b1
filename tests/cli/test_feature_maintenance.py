"""``mlops features maintain`` on a store in a folder."""

import json
import subprocess
from collections.abc import Callable

from feature_shops import FeatureShop

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_maintain_says_what_it_did_to_each_table(feature_shop: FeatureShop, in_process: Run) -> None:
    """As lines and as JSON; a second time there is nothing to do."""
    first = in_process("features", "maintain", "--path", feature_shop.path)
    again = json.loads(in_process("features", "maintain", "--path", feature_shop.path, "--json").stdout)

    assert first.returncode == 0, first.stderr
    said = [line.partition(":")[0] for line in first.stdout.splitlines()]
    assert said == list(feature_shop.client.table_names())
    assert all("unneeded files removed, 0 old keys forgotten, 0 tags dropped" in x for x in first.stdout.splitlines())
    assert [each["table"] for each in again["tables"]] == said
    assert all(each["compacted"] == each["removed"] == 0 for each in again["tables"])
