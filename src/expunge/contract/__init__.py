"""The laws that every method obeys, as tests that run on any method: see `laws.py`."""
