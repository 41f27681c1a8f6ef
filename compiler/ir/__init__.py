"""What the compiler works on: tensor programs, expressions, dataflow graphs."""
