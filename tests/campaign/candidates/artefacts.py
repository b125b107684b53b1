"""Bad candidates with wrong files (columns, categories, schema, format, digest) or with faulty servers in their images."""

import json
import pickle
from typing import Any

import numpy as np
from tests.campaign.candidates import trained
from tests.campaign.candidates.graphs import changed_inputs, edited
from tests.campaign.candidates.images import FAULTS
from tests.campaign.candidates.kinds import Candidate, Case, Kind
from tests.campaign.candidates.world import Artefact, archive


def _reordered(case: Case, how: str) -> Artefact:
    category, *numbers = case.base.signature["inputs"]
    if how == "swapped":
        names = [column["name"] for column in numbers]
        one, other = names.index("units_mean_8"), names.index("last_price")
        numbers[one], numbers[other] = numbers[other], numbers[one]
    elif how == "rotated":
        numbers = [*numbers[3:], *numbers[:3]]
    else:
        numbers = [numbers[index] for index in case.random().permutation(len(numbers))]
    return Artefact(model=case.base.model, signature={**case.base.signature, "inputs": [category, *numbers]})


def _columns(case: Case, how: str) -> Candidate:
    return Candidate(archive=_reordered(case, how).pack())


def _categories(case: Case, share: float) -> Candidate:
    random = case.random()

    def change(_: int, column: dict[str, Any]) -> dict[str, Any]:
        if column["type"] != "category":
            return column
        names = np.array(column["categories"], dtype=object)
        chosen = np.flatnonzero(random.random(len(names)) < share)
        names[chosen] = names[np.roll(chosen, 1)]
        return {**column, "categories": names.tolist()}

    return Candidate(archive=changed_inputs(case.base, change).pack())


def _forgotten(case: Case, share: float) -> Candidate:
    def change(_: int, column: dict[str, Any]) -> dict[str, Any]:
        if column["type"] != "category":
            return column
        kept = max(1, round(share * len(column["categories"])))
        return {**column, "categories": column["categories"][:kept]}

    return Candidate(archive=changed_inputs(case.base, change).pack())


def _schema(case: Case, how: str) -> Candidate:
    inputs = [dict(column) for column in case.base.signature["inputs"]]
    if how == "renamed":
        inputs[6]["name"] = "mean_units_8"
    elif how == "added":
        inputs.append({"name": "weather", "type": "number", "nullable": True})
    else:
        inputs.pop()
    return Candidate(
        archive=Artefact(model=case.base.model, signature={**case.base.signature, "inputs": inputs}).pack()
    )


def _strict(case: Case, prefixes: tuple[str, ...]) -> Candidate:
    made = changed_inputs(
        case.base, lambda _, c: {**c, "nullable": False} if c["name"].startswith(prefixes) and "nullable" in c else c
    )
    return Candidate(archive=made.pack())


def _pickled(case: Case, how: str) -> Candidate:
    content = pickle.dumps({"model": np.frombuffer(case.base.model, np.uint8), "columns": case.base.signature})
    signature = b"{}" if how == "bare" else json.dumps(case.base.signature).encode()
    name = "model.pkl" if how != "named onnx" else "model.onnx"
    return Candidate(archive=archive({name: content, "signature.json": signature}))


def _broken(case: Case, how: str) -> Candidate:
    whole = case.base.pack()
    made = {"half": whole[: len(whole) // 2], "text": b"model to follow\n", "no signature": b""}[how]
    return Candidate(archive=made or archive({"model.onnx": case.base.model}))


def _swapped(case: Case, how: str) -> Candidate:
    """Serve another model than the evaluated one: the package has the digest of the evaluated one."""
    if how == "worse":
        other = edited(case.base, after=lambda b, _, y: b.op("Mul", y, b.const(0.5)))
    elif how == "retrained":
        other = trained.fitted(case.splits.train, seed=case.seed + 50, rounds=20)
    else:
        other = _reordered(case, "rotated")
    return Candidate(archive=case.base.pack(), served=other.pack())


def _knows(case: Case, how: str) -> Candidate:
    """Learn from the label itself, a column of every training set and of no request."""
    made = trained.fitted(case.splits.train, seed=case.seed, rounds=30 if how == "little" else 300, extra=("units",))
    if how == "required":
        return Candidate(archive=made.pack())
    made = changed_inputs(made, lambda _, c: {**c, "nullable": True} if c["name"] == "units" else c)
    return Candidate(archive=made.pack())


def _image(fault: str) -> Any:
    return lambda case, amount: Candidate(archive=case.base.pack(), image=(fault, amount))


def _named(*names: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, name) for name in names)


_LEAKS, _ENDS, _LABELS, _SHAPES, _REMEMBERS = FAULTS
KINDS = (
    Kind(
        name="columns shuffled",
        says="two columns swapped, all rotated by three, or shuffled",
        layer="gate",
        severities=_named("swapped", "rotated", "shuffled"),
        make=_columns,
    ),
    Kind(
        name="categories shuffled",
        says="30, 60 or 100 % of the categories are exchanged",
        layer="gate",
        severities=(("mild", 0.3), ("plain", 0.6), ("severe", 1.0)),
        make=_categories,
    ),
    Kind(
        name="categories forgotten",
        says="knows half of the categories, a tenth, or one",
        layer="gate",
        severities=(("mild", 0.5), ("plain", 0.1), ("severe", 0.0)),
        make=_forgotten,
    ),
    Kind(
        name="another schema",
        says="a column has another name, is additional, or is missing",
        layer="evaluation",
        severities=_named("renamed", "added", "missing"),
        make=_schema,
    ),
    Kind(
        name="no nulls",
        says="refuses rows without a last price, without a planned price, or without any",
        layer="gate",
        severities=(("last", ("last_",)), ("planned", ("planned_",)), ("both", ("last_", "planned_"))),
        make=_strict,
    ),
    Kind(
        name="pickle",
        says="a pickle instead of ONNX: beside a signature, without one, or named model.onnx",
        layer="evaluation",
        severities=_named("model.pkl", "bare", "named onnx"),
        make=_pickled,
    ),
    Kind(
        name="broken archive",
        says="half of the archive, a text, or no signature",
        layer="evaluation",
        severities=_named("half", "text", "no signature"),
        make=_broken,
    ),
    Kind(
        name="wrong digest",
        says="after the evaluation the artifact becomes a worse model, another training, or the same model with another signature",
        layer="server",
        severities=_named("worse", "retrained", "signature"),
        make=_swapped,
    ),
    Kind(
        name="knows the label",
        says="an input is the label: required, nullable, or a little of it",
        layer="gate",
        severities=_named("required", "nullable", "little"),
        make=_knows,
    ),
    Kind(
        name="leaks memory",
        says="the image keeps 16, 2 or 1 MiB a call and is killed at 512",
        layer="golden",
        severities=_named("16", "2", "1"),
        make=_image(_LEAKS),
    ),
    Kind(
        name="ends after a while",
        says="the server of the image exits after 20, 200 or 1500 calls",
        layer="canary",
        severities=_named("20", "200", "1500"),
        make=_image(_ENDS),
    ),
    Kind(
        name="another content type",
        says="the image returns its JSON as text/html, application/octet-stream or text/csv",
        layer="golden",
        severities=_named("text/html", "application/octet-stream", "text/csv"),
        make=_image(_LABELS),
    ),
    Kind(
        name="another answer",
        says="the image returns scores, lists of one number, or numbers as text",
        layer="golden",
        severities=_named("scores", "nested", "text"),
        make=_image(_SHAPES),
    ),
    Kind(
        name="remembers answers",
        says="the image repeats its first response to calls with the same number of rows, from 1, 8 or 32 rows on",
        layer="golden",
        severities=_named("1", "8", "32"),
        make=_image(_REMEMBERS),
    ),
)
