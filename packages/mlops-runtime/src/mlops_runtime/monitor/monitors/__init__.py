"""The monitors, one module each, with their statistics."""
