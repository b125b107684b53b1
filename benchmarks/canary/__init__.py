"""The verdict of a rollout compared with other rules on the same synthetic traces."""
