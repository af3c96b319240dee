"""How fast it is: timing, paired runs, records. Imports `pipeline` and below."""
