"""Power and clocks: the mode that a device is in, what holds its clocks down, and what that means for a figure."""
