"""The groups of rows on which models are judged."""

GROUPS = ("forget", "retain", "test")
