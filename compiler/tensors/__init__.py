"""Tensor programs: ONNX models as layouts, elementwise kernels and matrix products."""
