"""Where results go: files, windows, and what lies across a network.

May import: storage, device, contract, sources, analytics, drawing.
"""
