"""An external table and model, run with the commands of ``mlops``: ``mlops demo --own``."""
