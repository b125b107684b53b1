"""What is emptied before it is deleted: names that constructs write, the sweeper reads and a comparison of templates follows."""

# types of the custom resources
BUCKET = "Custom::BucketSweep"
PACKAGES = "Custom::ModelPackageSweep"
# tag of what may be emptied: a unit that becomes PRODUCTION loses it before its sweeper goes
MARK = "mlops:swept"
