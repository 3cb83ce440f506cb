"""NumPy's breadth: the functions, methods and names of NumPy that a Transformer does without."""
