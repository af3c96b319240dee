"""Facts of this computer: processor, memory, GPU, power, and what OpenCV was built with.

May import: nothing.
"""
