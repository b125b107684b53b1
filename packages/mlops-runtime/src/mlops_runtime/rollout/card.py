"""A model card in Markdown, written from a passport: what is not recorded says so, with the reason."""

from mlops_runtime.contracts.passport import Passport

_ROWS = (
    ("Package", "package"),
    ("Container", "container_sha256"),
    ("Image", "image"),
    ("Artefact (SHA-256)", "artifact_sha256"),
    ("Artefact signed with", "signing_key"),
    ("Model (SHA-256)", "model_sha256"),
    ("Baseline (SHA-256)", "baseline_sha256"),
)
_MADE = (
    ("Training set", "training_set_id"),
    ("Trained and registered by", "training_execution"),
    ("Code", "code"),
    ("Evaluation", "evaluation_uri"),
)
_RELEASED = (
    ("Approved by", "approver"),
    ("Approval", "approval"),
    ("Golden requests passed (SHA-256)", "golden_sha256"),
    ("Serving spec (SHA-256)", "spec_sha256"),
    ("Deploy machine (SHA-256)", "machine_sha256"),
)


def model_card(passport: Passport) -> str:
    """Return the model card of a promotion.

    Args:
        passport: A passport whose signature was checked.
    """
    gate = passport.gate
    lines = [
        f"# {_text(passport.endpoint)}: {_text((passport.package or 'a model without a package').rpartition('/')[2])}",
        "",
        f"Promoted {_text(passport.at)} by {_text(passport.execution)}, asked for by {_text(passport.requested_by)}; "
        f"audit record {passport.sequence}.",
        "",
        *_section("What it is", _ROWS, passport),
        *_section("How it was made", _MADE, passport),
        "## Gate",
        "",
        _missing("gate", passport)
        if gate is None
        else f"{_text(gate.verdict)}: {_text(gate.reason)} (evaluation {gate.evaluation_sha256}, {_text(gate.uri)})",
        "",
        *_section("How it was released", _RELEASED, passport),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _section(title: str, rows: tuple[tuple[str, str], ...], passport: Passport) -> list[str]:
    table = ["| | |", "|---|---|"]
    for head, name in rows:
        value = getattr(passport, name)
        table.append(f"| {head} | {_missing(name, passport) if value is None else _text(str(value))} |")
    return [f"## {title}", "", *table, ""]


def _missing(name: str, passport: Passport) -> str:
    return f"not recorded: {_text(passport.not_recorded.get(name, 'no reason was given'))}"


def _text(value: str) -> str:
    """Return text that no Markdown renderer takes for a table, a heading, a link or HTML."""
    flat = " ".join(value.split())
    for mark in ("\\", "|", "<", "[", "`", "*", "_", "#"):
        flat = flat.replace(mark, f"\\{mark}")
    return flat
