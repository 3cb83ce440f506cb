"""Side by side with PyTorch: the same model, the same data, the same machine.

Needs `torch`, which the library itself does not.
"""
