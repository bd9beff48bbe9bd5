"""A short-video service: the workload of the demo, and how one routes by residence."""
