"""Frames from files, folders and live cameras.

May import: storage, settings, device, contract.
"""
