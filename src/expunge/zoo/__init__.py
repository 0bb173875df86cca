"""Small models and data sets for the demo, tests and benchmarks."""
