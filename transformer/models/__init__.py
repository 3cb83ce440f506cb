"""The models: each file reads from top to bottom like the figure in its paper."""
