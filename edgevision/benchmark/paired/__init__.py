"""Comparison of two builds: interleaved pairs in processes, rank tests, and stored runs."""
