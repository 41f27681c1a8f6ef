"""What bounds a mapped graph or model: tables and pictures."""
