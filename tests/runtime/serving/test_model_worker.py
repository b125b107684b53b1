"""The program of the process: loaders of each flavor, and frames as training had them."""

import numpy as np
import pytest

from mlops_runtime.contracts.model_manifest import Flavor
from mlops_runtime.serving.model_worker import LOADERS, framed

COLUMNS = [{"name": "price", "type": "number"}, {"name": "store", "type": "category", "categories": ["east", "west"]}]


def test_each_flavor_has_a_loader() -> None:
    """The contract's words are the table's keys."""
    assert set(LOADERS) == set(Flavor.__args__)  # type: ignore[attr-defined]


def test_a_frame_has_categories_as_text_and_missing_ones_as_missing() -> None:
    """A null text is NaN and never None: an encoder fitted with one answers otherwise for the other."""
    frame = framed(COLUMNS)(np.array([[1.5, 1], [np.nan, -1]], dtype=np.float32))
    assert frame["price"].dtype == np.float64
    assert list(frame["store"].cat.categories) == ["east", "west"]
    assert frame["store"].isna().tolist() == [False, True]
    assert frame["store"][0] == "west"
    assert frame["store"][1] != frame["store"][1]


@pytest.mark.parametrize("rows", [0, 1, 1000])
def test_a_frame_has_the_rows_of_its_matrix(rows: int) -> None:
    """None, one and many."""
    assert len(framed(COLUMNS)(np.zeros((rows, 2), dtype=np.float32))) == rows
