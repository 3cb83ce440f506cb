"""A run as one HTML file: its weights in half precision, and the model once more in JavaScript that one can read.

``model.js`` computes, ``tokenizer.js`` cuts the text, ``sampling.js`` chooses; ``maps.js``, ``byhand.js``, ``next.js``
and ``view.js`` show.
"""

from .build import write_page

__all__ = ["write_page"]
