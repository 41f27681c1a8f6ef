"""The handwritten digits model: data, training script and the trained ONNX file."""
