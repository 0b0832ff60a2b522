"""Running a model over data: the worker process, its plan, batches, devices and bounds."""
