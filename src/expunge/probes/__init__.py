"""Experiments on models that yield arrays; what the arrays mean is judged by `audit`."""
