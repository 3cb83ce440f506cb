"""Text in, token ids out: tokenizers, corpora and small tasks."""
