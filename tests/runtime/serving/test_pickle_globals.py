"""What a pickle names is listed without loading it."""

import io
import os
import pickle
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from tests.runtime.serving import model_folders

from mlops_runtime.serving.model_folder import checked_manifest
from mlops_runtime.serving.pickle_globals import MOST, UNREAD, archived_globals, pickle_globals


class Evil:
    """Runs a command when it is loaded."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch /tmp/never",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_is_read(protocol: int) -> None:
    """By the names in an instruction, and by two texts on the stack; a text that comes again is known from before."""
    value = [Fraction(1, 2), Fraction(3, 4), {"fractions": Fraction(1, 3)}, Evil()]
    found = pickle_globals(pickle.dumps(value, protocol=protocol))
    assert found.is_complete
    assert {"fractions.Fraction", "posix.system"} <= set(found.names)
    assert not os.path.exists("/tmp/never")  # noqa: PTH110 - what the pickle would make


def test_a_name_that_is_made_of_others_is_listed_as_unknown() -> None:
    """Texts that are computed while it loads are not in it."""
    content = b"\x80\x04K\x01K\x02\x93."
    assert pickle_globals(content).names == ("?.?",)


def test_what_cannot_be_read_to_the_end_says_so() -> None:
    """Arrays of joblib between the instructions, compressed files, and no pickle at all."""
    buffer = io.BytesIO()
    joblib.dump({"weights": np.arange(1000.0)}, buffer)
    found = pickle_globals(buffer.getvalue())
    assert any(name.startswith("joblib.") for name in found.names)
    assert not found.is_complete
    packed = io.BytesIO()
    joblib.dump({"weights": np.arange(1000.0)}, packed, compress=3)
    assert (pickle_globals(packed.getvalue()).names, pickle_globals(packed.getvalue()).is_complete) == ((), False)
    assert not pickle_globals(b"no pickle").is_complete


def test_a_list_has_an_end() -> None:
    """So that a page about a model stays one."""
    lines = b"".join(b"cm\nn%d\n0" % number for number in range(MOST + 50))
    found = pickle_globals(lines + b"N.")
    assert (len(found.names), found.is_complete) == (MOST, False)


def test_an_archive_of_a_pickle_says_what_it_names(tmp_path: Path) -> None:
    """One that is not unpickled says nothing, also where a pickle lies in it."""
    model_folders.estimator(tmp_path / "model")
    archive = model_folders.archive(tmp_path / "model", tmp_path / "model.tar.gz")
    manifest, _ = checked_manifest(tmp_path / "model", expected_sha256=None)
    found = archived_globals(archive, manifest)
    assert found is not None
    assert any(name.startswith("sklearn.") for name in found)
    assert archived_globals(archive, replace(manifest, trust="data")) is None
    (tmp_path / "broken").write_bytes(b"x")
    assert archived_globals(tmp_path / "broken", manifest) == (UNREAD,)
