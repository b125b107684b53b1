"""Arguments of jobs within SageMaker's limits."""

import argparse
import json

from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.jobs.arguments import split_argument


@given(st.dictionaries(st.text(alphabet="ab-é", max_size=40), st.integers(-9, 9), max_size=40))
def test_a_split_argument_joins_to_itself(document: dict[str, int]):
    """Pieces have at most 256 characters, pass an argument parser, and join to the text."""
    text = json.dumps(document)
    pieces = split_argument(text)
    assert "".join(pieces) == text
    assert max(map(len, pieces)) <= 256
    parser = argparse.ArgumentParser()
    parser.add_argument("--plan", nargs="+")
    parser.add_argument("--as-of")
    read = parser.parse_args(["--plan", *pieces, "--as-of", "now"])
    assert read.plan == pieces
