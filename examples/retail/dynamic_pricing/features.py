"""Feature groups of dynamic pricing: sales, usual prices, and planned prices."""

from datetime import timedelta

from mlops_constructs import Entity, Feature, FeatureGroup

STORE = Entity("store_id", "string", "store")
PRODUCT_GROUP = Entity("product_group", "string", "product type: products that a shopper takes for one another")
WEEK = Entity("week", "int", "week of the data, 2 begins on 2017-01-02")

_FRESH = timedelta(days=10)

GROUP_SALES = FeatureGroup(
    name="group_sales",
    entities=(STORE, PRODUCT_GROUP, WEEK),
    event_time="end of the week",
    features=(
        Feature(
            "prediction_time", "timestamp", "when the week's prices are decided, after the books of the last one closed"
        ),
        Feature("units", "double", "units sold in the week", minimum=0),
    ),
    owner="pricing",
    description="Units sold by store and product group: the label",
)

SALES_HISTORY = FeatureGroup(
    name="sales_history",
    entities=(STORE, PRODUCT_GROUP),
    event_time="end of the last week that it covers",
    features=(
        Feature("units_lag_1", "double", "units of the last week", minimum=0),
        Feature("units_mean_4", "double", "mean units of the last 4 weeks", minimum=0),
        Feature("units_mean_8", "double", "mean units of the last 8 weeks", minimum=0),
    ),
    ttl=_FRESH,
    owner="pricing",
    description="Sales that led up to a week, by store and product group",
)

PRICE_HISTORY = FeatureGroup(
    name="price_history",
    entities=(PRODUCT_GROUP,),
    event_time="end of the last week that it covers",
    features=(
        Feature("usual_price", "double", "dollars a unit, mean price list of the last 8 weeks", minimum=0.01),
        Feature(
            "usual_discount",
            "double",
            "share of the shelf price given off, mean of the last 8 weeks",
            minimum=0,
            maximum=1,
        ),
        Feature(
            "last_price_ratio",
            "double",
            "price list of the last week over the usual price: after a deal, cupboards are full",
            minimum=0.01,
        ),
    ),
    ttl=_FRESH,
    owner="pricing",
    description="Prices that led up to a week, by product group",
)

PRICE_PLAN = FeatureGroup(
    name="price_plan",
    entities=(PRODUCT_GROUP, WEEK),
    event_time="when the plan is fixed, with the books of the week before",
    features=(
        Feature("planned_price", "double", "dollars a unit on the price list of the week", minimum=0.01),
        Feature(
            "planned_discount", "double", "share of the shelf price given off on the price list", minimum=0, maximum=1
        ),
        Feature(
            "on_promotion", "int", "1 if the discount is at least 3 points deeper than usual, else 0", allowed=(0, 1)
        ),
    ),
    owner="pricing",
    description="Prices of a week, as decided before it",
)

PROMOTION_PLAN = FeatureGroup(
    name="promotion_plan",
    entities=(STORE, PRODUCT_GROUP, WEEK),
    event_time="when the plan is fixed, with the books of the week before",
    features=(
        Feature(
            "display_share",
            "double",
            "share of the group, by recent sales, on display in the store",
            minimum=0,
            maximum=1,
        ),
        Feature(
            "mailer_share",
            "double",
            "share of the group, by recent sales, in the store's mailer; twice where it is in two places",
            minimum=0,
        ),
    ),
    owner="pricing",
    description="Displays and mailers of a week, as decided before it",
)

GROUPS = (GROUP_SALES, SALES_HISTORY, PRICE_HISTORY, PRICE_PLAN, PROMOTION_PLAN)
KNOWN_BEFORE = (SALES_HISTORY, PRICE_HISTORY, PRICE_PLAN, PROMOTION_PLAN)
SEGMENT = "on_promotion"  # the gate evaluates it separately; the model sees the discount itself

# inputs of the model: the product group, and every feature known before the week
INPUTS = (PRODUCT_GROUP.name, *(name for group in KNOWN_BEFORE for name in group.feature_names if name != SEGMENT))
