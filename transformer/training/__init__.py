"""Training: the loop, what it minimises, its recipes, and the folder that a run leaves behind."""
