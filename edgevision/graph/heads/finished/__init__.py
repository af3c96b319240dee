"""Heads of exports that include NMS, beside the forms of `end2end`."""
