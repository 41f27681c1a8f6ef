"""Front ends: ONNX models as tensor programs, tasks in Python and JSON as dataflow graphs."""
