"""From evidence to audit.json and a verdict."""
