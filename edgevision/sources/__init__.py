"""Where frames come from: files, folders, cameras that are kept alive.

May import: storage, device, contract.
"""
