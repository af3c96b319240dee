"""Facts of this computer: CPU, memory, GPU, power, and the build of OpenCV.

May import: nothing.
"""
