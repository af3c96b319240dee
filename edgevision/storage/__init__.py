"""Atomic file writes, JSON encoding of dataclasses, the cache folder, and hashes.

May import: nothing.
"""
