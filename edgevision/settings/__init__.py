"""What a setting is: name, kind, range, default and meaning, said once, for options, files and documentation.

May import: nothing.
"""
