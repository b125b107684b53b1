"""A stranger's table and model through the verbs of the command: ``mlops demo --own``."""
