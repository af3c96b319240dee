"""Engines: one file for each library, which that file imports plainly at its top."""
