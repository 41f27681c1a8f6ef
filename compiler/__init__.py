"""Compiler: ONNX model to mapped, checked SPU program."""
