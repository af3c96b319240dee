"""Where results go: videos, folders of images, JSON lines, windows, and what lies across a network."""
