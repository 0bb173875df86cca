"""Unrolled SGD: how models arose, step by step, and what steps changed."""
