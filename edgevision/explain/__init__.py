"""Heat maps: which part of a frame an answer rests on. Imports `drawing`, `sources` and `contract`."""
