"""Bias of language models: measured, reduced, and what that costs."""
