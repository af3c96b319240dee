"""Whether answers are the source model's: tolerances, comparison, golden frames. Imports `bundle` and below."""
