"""Draw the diagrams of the documentation: ``python -m tools.diagrams`` writes ``docs/images/*.svg``."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
BOX_WIDTH, BOX_HEIGHT, GAP = 128, 46, 36
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#12333a;text-anchor:middle}"
    ".note{font-size:11px;fill:#5a6f75}"
    "rect{fill:#e4f3f2;stroke:#0d7c7c;rx:8}"
    ".warn rect{fill:#fdecea;stroke:#b3261e}"
    "path{stroke:#456;fill:none;stroke-width:1.6;marker-end:url(#tip)}"
    ".back{stroke:#b3261e;stroke-dasharray:5 4}"
)
_TIP = (
    '<marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0L10 5L0 10z" style="fill:#456;stroke:none;marker-end:none"/></marker>'
)


def main() -> None:
    """Write the three diagrams."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures().items():
        (IMAGES / f"{name}.svg").write_text(picture, "utf-8")


def pictures() -> dict[str, str]:
    """Return each diagram's text by name."""
    loop = (
        ("features", "known at a time"),
        ("training set", "pinned, hashed"),
        ("train", "isolated job"),
        ("gate", "champion, segments"),
        ("approve", "policy or person"),
        ("canary", "evidence, alarms"),
        ("serve", "captured"),
        ("monitor", "drift, quality"),
    )
    deploy = (
        ("lock", "one rollout at a time"),
        ("preflight", "read at the source"),
        ("rehearse", "golden, shadow"),
        ("shift", "step by step"),
        ("evidence", "calls, alarms"),
        ("record", "one, chained"),
        ("clean up", "nothing is left"),
        ("unlock", "in every path"),
    )
    return {
        "loop": _cycle(loop, "drift or new labels ask for a retraining", "the loop", is_closed=True),
        "deploy": _cycle(
            deploy, "an alarm, an abort or too little evidence: traffic first goes back", "the Deploy machine"
        ),
        "slots": _slots(),
    }


def _box(x: float, y: float, title: str, note: str) -> str:
    middle = x + BOX_WIDTH / 2
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}"/>'
        f'<text x="{middle:g}" y="{y + 20:g}">{escape(title)}</text>'
        f'<text class="note" x="{middle:g}" y="{y + 36:g}">{escape(note)}</text>'
    )


def _picture(width: float, height: float, body: Sequence[str], label: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img" '
        f'aria-label="{escape(label)}"><style>{_STYLE}</style><defs>{_TIP}</defs>'
        f'<path d="M0 0H{width:g}V{height:g}H0z" style="fill:#fff;stroke:none;marker-end:none"/>{"".join(body)}</svg>\n'
    )


def _cycle(boxes: Sequence[tuple[str, str]], note: str, label: str, *, is_closed: bool = False) -> str:
    """Return eight boxes, four to the right above and four to the left below, a note, and whether the end leads back."""
    step, top, bottom, half = BOX_WIDTH + GAP, 16.0, 150.0, len(boxes) // 2
    places = [
        (20 + step * (i if i < half else len(boxes) - 1 - i), top if i < half else bottom) for i in range(len(boxes))
    ]
    body = [_box(x, y, *box) for (x, y), box in zip(places, boxes, strict=True)]
    for (x, y), (_, next_y) in itertools.pairwise(places):
        if y != next_y:
            body.append(f'<path d="M{x + BOX_WIDTH / 2:g} {y + BOX_HEIGHT:g}V{next_y - 2:g}"/>')
        else:
            start, end = (x + BOX_WIDTH, x + step - 2) if y == top else (x, x - GAP + 2)
            body.append(f'<path d="M{start:g} {y + BOX_HEIGHT / 2:g}H{end:g}"/>')
    if is_closed:
        left = 20 + BOX_WIDTH / 2
        body.append(f'<path class="back" d="M{left:g} {bottom:g}V{top + BOX_HEIGHT + 2:g}"/>')
    middle = 20 + (step * half - GAP) / 2
    body.append(f'<text class="note" x="{middle:g}" y="{(top + BOX_HEIGHT + bottom) / 2 + 4:g}">{escape(note)}</text>')
    return _picture(step * half + 4, bottom + BOX_HEIGHT + 16, body, label)


def _slots() -> str:
    body = [
        _box(20, 77, "callers", "HTTPS"),
        _box(210, 77, "listener rule", "weights"),
        _box(420, 16, "blue", "champion, 90 %"),
        _box(420, 138, "green", "challenger, 10 %"),
        _box(620, 77, "capture", "one prefix"),
        '<path d="M148 100H208"/>',
        '<path d="M338 90L418 44"/>',
        '<path d="M338 110L418 156"/>',
        '<path d="M548 44L618 88"/>',
        '<path d="M548 156L618 112"/>',
        '<text class="note" x="274" y="150">the Deploy machine shifts them</text>',
    ]
    return _picture(770, 200, body, "two slots behind one weighted rule")


if __name__ == "__main__":
    main()
