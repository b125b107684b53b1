"""Nothing that runs on the embedded cloud, or in a shell that is pointed at it, reaches AWS.

Settings such as ``AWS_ENDPOINT_URL`` are advice: a client that names its endpoint itself does not take it. The environment of
the embedded cloud therefore also names a proxy of ours, which ends what goes to AWS's hosts and passes on all else.
"""
