"""Checkpoints read without executing anything: the security boundary.

May import: storage.
"""
