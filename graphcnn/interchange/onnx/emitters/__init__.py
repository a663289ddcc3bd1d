"""What each op of the graph is in ONNX, family by family: `emit(write, node, results)`."""
