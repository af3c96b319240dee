"""Files that appear whole or not at all, JSON as dataclasses, the cache's folder, hashes.

May import: nothing.
"""
