"""Verification: what is fed in, what should come out, benches, proofs, tests, studies, pages."""
