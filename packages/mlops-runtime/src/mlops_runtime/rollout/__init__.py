"""Rollouts of models to endpoints: plan, API requests, audit chain, custom resource, guard."""
