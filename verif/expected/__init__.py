"""What should come out, computed apart from the array: predictions and error bounds."""
