"""Which operations of an FP16 graph stay in FP32: rules, groups of operations, and their search."""
