"""Models from scratch, kept: by a Recipe or a Trainer, and how each arose."""
