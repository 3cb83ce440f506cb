"""Writing: how a model reads a text that grows, and how the next token is chosen."""
