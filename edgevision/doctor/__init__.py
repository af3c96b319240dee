"""What is wrong with this machine, and what mends it.

May import: storage, device, engines.
"""
