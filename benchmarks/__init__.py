"""Benchmarks, run from the root of a checkout; see benchmarks.run."""
