"""Cost of each layer of a graph, relative to the limits of the machine."""
