"""Proofs: units by SAT, parts of the array by bounded model checking and induction."""
