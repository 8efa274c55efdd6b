"""Variational auto-encoders that separate what an image shows from how it looks.

The library floor: tensors and arrays in, tensors, arrays and figures out. It
knows nothing of DVC, MLflow, parameters files or the pipeline's file layout.
"""
