"""Checkpoints read without executing anything: the security boundary. Imports `storage`."""
