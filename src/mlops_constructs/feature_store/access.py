"""Who decides what somebody reads of a feature store."""

from enum import Enum


class FeatureAccess(Enum):
    """What holds the grants of a feature store.

    ``IAM``: policies on catalog and objects, table by table. A Parquet file is read whole, so no grant can be narrower.

    ``LAKE_FORMATION``: Lake Formation vends credentials to Athena, Glue and EMR, which hold columns back. The store's location is
    registered with a role of its own. Somebody who is granted reading gets no right to the objects, so pyiceberg, which reads them
    itself, works for writers and builders alone. A data-lake administrator must have done three things before the first deployment:
    made the role that deploys (CDK's execution role) a data-lake administrator too, which registers locations and grants
    permissions; taken ``IAMAllowedPrincipals`` out of the default permissions of new databases and tables, as by them IAM alone
    decides; and, in an account with older settings, revoked them from databases that are there already.

    See: https://docs.aws.amazon.com/lake-formation/latest/dg/change-settings.html
    """

    IAM = "IAM"
    LAKE_FORMATION = "LAKE_FORMATION"
