"""One module per inference library, and opening sessions.

May import: storage, device, contract, bundle, verification.
"""
