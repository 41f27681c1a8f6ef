"""JAX functions as tensor programs: what ONNX models become, too."""
