"""Reads checkpoints without executing them: the security boundary.

May import: storage.
"""
