"""Training: data in the formats people have, losses, schedules, and run folders that survive a kill.

Imports `models`, `checkpoint`, `datasets`, `evaluation` and below.
"""
