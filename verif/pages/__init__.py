"""Pages and pictures that are written from code, results and examples, and their stamps."""
