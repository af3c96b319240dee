"""Checks this machine and names the fix for each problem.

May import: storage, device, engines, sources.
"""
