"""Feature groups of customer behaviour: a household's purchases, their history, and its demographics."""

from datetime import timedelta

from mlops_constructs import Entity, Feature, FeatureGroup

HOUSEHOLD = Entity("household_id", "string", "household with a loyalty card")
CATEGORY = Entity("category", "string", "product category")
FORTNIGHT = Entity("fortnight", "int", "first of the two weeks of the data, an odd number")

_CLOSE = "close of the last week that it covers"
_FRESH = timedelta(days=10)

CATEGORY_PURCHASES = FeatureGroup(
    name="category_purchases",
    entities=(HOUSEHOLD, CATEGORY, FORTNIGHT),
    event_time="end of the fortnight",
    features=(
        Feature("prediction_time", "timestamp", "when it is requested, after the books of the week before closed"),
        Feature("bought", "int", "1 if the household bought in the category in the fortnight, else 0", allowed=(0, 1)),
    ),
    owner="customer",
    description="Purchases by household, category and fortnight: the label",
)

CATEGORY_HISTORY = FeatureGroup(
    name="category_history",
    entities=(HOUSEHOLD, CATEGORY),
    event_time=_CLOSE,
    features=(
        Feature(
            "days_since_purchase",
            "int",
            "days since the last purchase in the category",
            nullable=True,
            minimum=0,
            maximum=56,
        ),
        Feature("purchases_4", "int", "baskets with the category in the last 4 weeks", minimum=0),
        Feature("purchases_8", "int", "baskets with the category in the last 8 weeks", minimum=0),
        Feature("spend_8", "double", "dollars spent in the category in the last 8 weeks", minimum=0),
        Feature(
            "discount_8",
            "double",
            "share of the shelf price saved in the category in the last 8 weeks",
            minimum=0,
            maximum=1,
        ),
        Feature("coupons_8", "int", "coupons used in the category in the last 8 weeks", minimum=0),
        Feature(
            "coupons_on_offer", "int", "current campaigns of the household with coupons for the category", minimum=0
        ),
        Feature(
            "own_rate",
            "double",
            "share of the last 4 fortnights with a purchase, with two at the category's rate",
            minimum=0,
            maximum=1,
        ),
    ),
    ttl=_FRESH,
    owner="customer",
    description="Recency, frequency and spend of a household in a category",
)

HOUSEHOLD_HISTORY = FeatureGroup(
    name="household_history",
    entities=(HOUSEHOLD,),
    event_time=_CLOSE,
    features=(
        Feature("days_since_visit", "int", "days since the last visit", minimum=0, maximum=56),
        Feature("visits_4", "int", "visits in the last 4 weeks", minimum=0),
        Feature("visits_8", "int", "visits in the last 8 weeks", minimum=1),
        Feature("basket_spend_8", "double", "dollars spent in the last 8 weeks", minimum=0),
        Feature(
            "basket_discount_8", "double", "share of the shelf price saved in the last 8 weeks", minimum=0, maximum=1
        ),
        Feature("basket_coupons_8", "int", "baskets with a coupon in the last 8 weeks", minimum=0),
        Feature("campaigns", "int", "campaigns that the household is in now", minimum=0),
    ),
    ttl=_FRESH,
    owner="customer",
    description="Visits, spend and campaigns of a household",
)

CATEGORY_TREND = FeatureGroup(
    name="category_trend",
    entities=(CATEGORY,),
    event_time=_CLOSE,
    features=(
        Feature(
            "category_rate",
            "double",
            "share of active households that bought, over the last 4 fortnights",
            minimum=0,
            maximum=1,
        ),
    ),
    ttl=_FRESH,
    owner="customer",
    description="How common purchases in a category are",
)

DEMOGRAPHICS = FeatureGroup(
    name="demographics",
    entities=(HOUSEHOLD,),
    event_time="beginning of the data",
    features=(
        Feature(
            "age",
            "string",
            "age of the head of the household, in bands",
            nullable=True,
            allowed=("19-24", "25-34", "35-44", "45-54", "55-64", "65+"),
        ),
        Feature(
            "income", "string", "yearly income, in bands", nullable=True, pattern=r"Under 15K|\d{2,3}-\d{2,3}K|250K\+"
        ),
        Feature("household_size", "string", "persons, 5+ from five", nullable=True, pattern=r"[1-4]|5\+"),
        Feature("kids_count", "string", "children, 3+ from three", nullable=True, pattern=r"[0-2]|3\+"),
    ),
    owner="customer",
    description="What a third of the households said about themselves",
)

GROUPS = (CATEGORY_PURCHASES, CATEGORY_HISTORY, HOUSEHOLD_HISTORY, CATEGORY_TREND, DEMOGRAPHICS)
KNOWN_BEFORE = (CATEGORY_HISTORY, HOUSEHOLD_HISTORY, CATEGORY_TREND, DEMOGRAPHICS)

# inputs of the model: the category, and every feature known before the fortnight
INPUTS = (CATEGORY.name, *(name for group in KNOWN_BEFORE for name in group.feature_names))
