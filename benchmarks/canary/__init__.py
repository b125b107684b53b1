"""The verdict of a rollout beside other rules on the same made traces."""
