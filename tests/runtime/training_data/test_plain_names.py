"""Names that people give, as AWS takes them."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.training_data.plain_names import plain_name


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Stück", "stueck"),
        ("GRÖßE", "groesse"),
        ("Straße", "strasse"),
        ("Ærø", "aero"),
        ("Łódź", "lodz"),
        ("naïve café", "naive-cafe"),
        ("units_sold", "units-sold"),
        ("商品", ""),
    ],
)
def test_letters_are_spelled_as_people_do_without_their_keys(form: str, text: str, name: str) -> None:
    """Whether a file system keeps accents apart or not."""
    assert plain_name(unicodedata.normalize(form, text)) == name  # type: ignore[arg-type]


@given(st.text())
def test_a_name_is_one_of_ascii(text: str) -> None:
    """Or nothing, of a text without letters and digits."""
    assert re.fullmatch(r"([a-z0-9]+(_[a-z0-9]+)*)?", plain_name(text, "_"))
