"""Layer times from the engines' own profiles, assigned to the nodes of the graph."""
