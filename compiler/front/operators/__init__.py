"""ONNX operators, one function each, that lower a node into the tensor program."""
