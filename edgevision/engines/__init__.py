"""What runs a graph, a file for each library, and the opening of sessions. Imports `verification` and below."""
