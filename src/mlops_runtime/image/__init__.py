"""The image of jobs and servers: its build context, its registry, and whether a registry has what a stack names."""
