"""Benchmarks: grids of forget sets, methods and seeds, tuned alike, judged alike, row by row."""
