"""Engines for one device: built from a bundle's graph, and checked before they are trusted."""
