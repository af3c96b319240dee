"""What runs a graph, a file for each library, and the opening of sessions.

May import: storage, device, contract, bundle, verification.
"""
