"""Judging: how likely a text is to a model, how good an answer is, what decoding does to text."""
