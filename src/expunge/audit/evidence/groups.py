"""The groups of rows on which models are judged."""

GROUPS = ("forget", "retain", "test")
MARGIN = ".margin"  # behind a group's name: its margins, as the task made them
MARGINS = tuple(group + MARGIN for group in GROUPS)
