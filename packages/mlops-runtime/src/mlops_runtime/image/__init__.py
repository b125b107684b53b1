"""The image of jobs and servers: its build context, its registry, and whether a registry has what a stack names."""

# what ``cdk.json`` has before an image was built; only the embedded cloud stands in for it
PLACEHOLDER_DIGEST = "sha256:" + "0" * 64
