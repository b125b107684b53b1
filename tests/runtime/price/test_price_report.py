"""Prices for people and programs."""

from mlops_runtime.price import MonthlyPrice, PriceLine, price_document, price_lines, price_table

TABLE = price_table("eu-west-1")
OLD = MonthlyPrice(lines=(PriceLine(what="1 key", resources=("Key",), low=1.0, high=3.0),), unpriced=())
FLEET = PriceLine(what="1 ml.m5.large of a-b", resources=("Spec",), low=93.44, high=93.44, is_serving=True)
NEW = MonthlyPrice(lines=(*OLD.lines, FLEET), unpriced=("a-c: no price of ml.x in eu-west-1",))


def test_a_change_shows_both_totals() -> None:
    """What it costs now stands behind what it will cost."""
    shown = list(price_lines({"Demand": OLD}, {"Demand": NEW}, TABLE))

    assert shown[0].startswith("price a month in eu-west-1, USD, list prices of ")
    assert shown[3].split() == ["1", "ml.m5.large", "of", "a-b", "93.44", "while", "serving"]
    assert shown[4].strip() == "not counted: a-c: no price of ml.x in eu-west-1"
    assert shown[5].strip() == (
        "idle 1.00 to 3.00, serving 94.44 to 96.44; before: idle 1.00 to 3.00, serving 1.00 to 3.00"
    )


def test_several_stacks_end_with_their_sum() -> None:
    """The last line is the total of all."""
    *_, last = price_lines({}, {"One": OLD, "Two": OLD}, TABLE)

    assert last == "  all stacks: idle 2.00 to 6.00, serving 2.00 to 6.00"


def test_programs_get_the_same_with_its_sources() -> None:
    """Each line names its resources, the document its region, date and pages."""
    document = price_document({}, {"Demand": NEW}, TABLE)

    assert document["stacks"][0]["before"] is None
    assert document["stacks"][0]["after"]["serving"] == [94.44, 96.44]
    assert document["stacks"][0]["after"]["lines"][1]["resources"] == ["Spec"]
    assert document["total"]["before"] == {"idle": [0, 0], "serving": [0, 0]}
    assert document["sources"]["key_month"] == "https://aws.amazon.com/kms/pricing/"
