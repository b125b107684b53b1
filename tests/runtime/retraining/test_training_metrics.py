"""Metrics written by a training script: bounded, and never a failure."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from mlops_runtime.contracts.retraining import TrainingMetrics
from mlops_runtime.retraining import training_metrics
from mlops_runtime.retraining.training_metrics import (
    MAXIMUM_FILE,
    log_line,
    read_files,
    read_folder,
    read_log_line,
    read_output,
)


def _archive(**files: bytes) -> io.BytesIO:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name.replace("_", "."))
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    packed.seek(0)
    return packed


def test_metrics_and_curves_are_read() -> None:
    """An empty cell and a diverged loss have no value; other output files are ignored."""
    found = read_output(
        _archive(
            model_txt=b"x",
            metrics_json=b'{"rmse": 1.5, "trees": 180}',
            metrics_csv=b"epoch,train,valid\n1,3,\n2,2.5,nan\n",
        )
    )
    assert found == TrainingMetrics(
        metrics={"rmse": 1.5, "trees": 180.0},
        step="epoch",
        steps=(1.0, 2.0),
        curves={"train": (3.0, 2.5), "valid": (None, None)},
    )


def test_one_file_is_enough_and_none_is_nothing() -> None:
    """A script need not write any."""
    assert read_output(_archive(plot_png=b"x")) is None
    found = read_output(_archive(metrics_csv=b"step,loss\n"))
    assert found is not None
    assert (found.curves, found.metrics, found.problems) == ({"loss": ()}, {}, ())


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("metrics.json", b"[1]", "it must be an object of names and numbers, got list"),
        ("metrics.json", b'{"a": "x"}', "'a' must be a finite number, got 'x'"),
        ("metrics.json", b'{"a": NaN}', "'a' must be a finite number, got nan"),
        ("metrics.json", b'{"a": true}', "'a' must be a finite number, got True"),
        ("metrics.json", b"{", "Expecting property name"),
        ("metrics.json", b"\xff", "invalid start byte"),
        ("metrics.json", b"[" * 100_000, "recursion"),
        ("metrics.json", b'{"a": 1' + b"0" * 400 + b"}", "too large"),
        ("metrics.json", json.dumps({str(i): i for i in range(201)}).encode(), "at most 200 names, got 201"),
        ("metrics.json", b'{"": 1}', "names must be different, printable"),
        ("metrics.csv", b"", "it must begin with a header"),
        ("metrics.csv", b"epoch,loss,loss\n", "names must be different"),
        ("metrics.csv", b"epoch,loss\n1\n", "line 2 has 1 cells, the header has 2"),
        ("metrics.csv", b"epoch,loss\none,1\n", "could not convert string to float"),
        ("metrics.csv", b"epoch,loss\n,1\n", "a step must be a number, got ''"),
        ("metrics.csv", b"e,l\n" + b"1,1\n" * 10_001, "at most 10000 steps"),
        ("metrics.csv", b'"' + b"a" * 200_000, "field larger than field limit"),
    ],
)
def test_what_cannot_be_read_is_named(name: str, content: bytes, problem: str) -> None:
    """The other file still counts."""
    other = {"metrics.csv": b"epoch,loss\n1,2\n", "metrics.json": b'{"a": 1}'}
    found = read_files(other | {name: content})
    (reported,) = found.problems
    assert reported.startswith(f"{name}: ")
    assert problem in reported
    assert (found.metrics != {}) == (name == "metrics.csv")
    assert (found.curves != {}) == (name == "metrics.json")


def test_a_large_file_is_not_read() -> None:
    """It is named, and the other file is read."""
    found = read_output(_archive(metrics_json=b" " * (MAXIMUM_FILE + 1), metrics_csv=b"epoch,loss\n1,2\n"))
    assert found is not None
    assert found.problems == (f"metrics.json must have at most {MAXIMUM_FILE} bytes, got {MAXIMUM_FILE + 1}",)
    assert found.curves == {"loss": (2.0,)}


def test_an_archive_that_unpacks_to_anything_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data up to the limit counts."""
    monkeypatch.setattr(training_metrics, "_MAXIMUM_UNPACKED", 100_000)
    found = read_output(_archive(metrics_json=b'{"a": 1}', large=b"0" * 200_000))
    assert found is not None
    assert found.metrics == {"a": 1.0}
    assert "it unpacks to more than 100000 bytes" in found.problems[0]


@pytest.mark.parametrize("content", [b"", b"not packed", b"\x1f\x8b\x08\x00broken"])
def test_a_broken_archive_is_named(content: Any) -> None:
    """For any damage."""
    found = read_output(io.BytesIO(content))
    assert found is not None
    assert found.problems[0].startswith("output.tar.gz cannot be read: ")


def test_what_a_script_wrote_so_far_is_read_of_its_folder(tmp_path: Path) -> None:
    """A large file and a partial line are problems, links are not followed, and no file is no problem."""
    assert read_folder(tmp_path) is None
    (tmp_path / "metrics.csv").write_text("epoch,loss\n1,3\n2,")
    (tmp_path / "metrics.json").write_bytes(b" " * (MAXIMUM_FILE + 1))
    found = read_folder(tmp_path)
    assert found is not None
    assert (found.steps, found.curves) == ((1.0, 2.0), {"loss": (3.0, None)})
    assert found.problems == (f"metrics.json must have at most {MAXIMUM_FILE} bytes, it has more",)
    (tmp_path / "metrics.json").unlink()
    (tmp_path / "metrics.json").symlink_to("/etc/hostname")
    again = read_folder(tmp_path)
    assert again is not None
    assert (again.metrics, again.problems) == ({}, ())


def test_a_log_has_metrics_in_one_event() -> None:
    """Long curves keep every second step, repeatedly; other lines are ignored."""
    steps = tuple(float(step) for step in range(10_000))
    curves = {f"curve {number}": steps for number in range(20)}
    line = log_line(TrainingMetrics(metrics={"rmse": 1.5}, step="epoch", steps=steps, curves=curves))
    assert len(line.encode()) <= 60_000
    found = read_log_line(line)
    assert found is not None
    assert (found.metrics, found.steps[:2], len(found.curves)) == ({"rmse": 1.5}, (0.0, 32.0), 20)
    assert found.problems == ("the log has 1 of 32 steps",)
    long = {f"{number:03}{'損' * 97}": (1.0, 2.0) for number in range(200)}
    line = log_line(TrainingMetrics(metrics={"rmse": 1.5}, step="epoch", steps=(1.0, 2.0), curves=long))
    assert len(line.encode()) <= 60_000
    found = read_log_line(line)
    assert found is not None
    assert (found.metrics, found.curves, found.problems) == ({"rmse": 1.5}, {}, ("the log has no steps",))
    assert read_log_line("epoch 1") is read_log_line("mlops train: written before it failed: {") is None
