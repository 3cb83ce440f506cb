"""NumPy's breadth: what a Tensor has from NumPy's arrays, and NumPy's functions that a Transformer does without."""
