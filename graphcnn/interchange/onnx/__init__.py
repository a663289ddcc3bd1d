"""ONNX: `reading` makes networks of files, `writing` files of models.

`onnx` is an optional dependency, `pip install graphcnn[onnx]`, and is imported only where it is used.
"""
