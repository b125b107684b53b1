"""When a model may be trained anew, and when what came out may be registered."""
