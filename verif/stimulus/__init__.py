"""What is fed in: graphs, chains, programs, vectors, and changes of models."""
