"""Sentences whose embeddings are measured."""

import numpy as np

from verif.numerics.minilm import SENTENCES
from verif.stimulus.sentence_pairs import PAIRS
from verif.studies.sentences import SHOWN, similarities


def test_no_sentence_is_measured_twice_or_was_calibrated_with():
    measured = [sentence for pair in PAIRS for sentence in pair]
    assert len({*measured, *SENTENCES[:SHOWN]}) == 2 * 50 + SHOWN


def test_similarities_are_cosines_of_neighbours():
    found = similarities(np.array([[1.0, 0], [0, 2], [3, 3], [1, 0], [2, 0], [-1, 0]]))
    assert np.allclose(found, [0, np.sqrt(0.5), -1])
