"""Numbers of models: arrays in, numbers out, one file a metric."""
