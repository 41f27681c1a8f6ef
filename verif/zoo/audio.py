"""Sound that is made, always the same: vowels, tones and noise, as no package has recordings.

A voice is pulses of a falling and rising pitch through the resonances of vowels (formants as G. E.
Peterson and H. L. Barney, J. Acoust. Soc. Am. 24, 1952, measured them of men); syllables are
parted by silence and by hiss.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

#: Samples a second.
RATE = 16000
#: First two formants in Hz: i, a, u, e, o as in heed, hod, who'd, head, hawed.
VOWELS = ((270, 2290), (730, 1090), (300, 870), (530, 1840), (570, 840))
#: Width of the resonances in Hz, of the order of those of speech.
WIDTH = 80


@cache
def speech(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """Sound like syllables, of magnitudes up to 1, ``seconds * RATE`` samples."""
    rng, pieces, count = np.random.default_rng(seed), [], 0
    wanted = round(seconds * RATE)
    while count < wanted:
        length = int(rng.integers(RATE // 10, RATE // 3))
        kind = rng.integers(5)
        if kind == 0:
            piece = rng.normal(0, 0.002, length)
        elif kind == 1:
            piece = rng.normal(0, 0.1, length)
        else:
            piece = _vowel(rng, length)
        pieces.append(piece * np.hanning(length))
        count += length
    sound = np.concatenate(pieces)[:wanted] + rng.normal(0, 0.001, wanted)
    return (sound / np.abs(sound).max()).astype(np.float32)


def _vowel(rng: np.random.Generator, length: int) -> NDArray:
    pitch = rng.uniform(90, 220) * np.linspace(1, rng.uniform(0.8, 1.2), length)
    source = np.diff(np.floor(np.cumsum(pitch) / RATE), prepend=0.0)
    for formant in VOWELS[rng.integers(len(VOWELS))]:
        source = _resonance(source, formant)
    return source / max(np.abs(source).max(), 1e-9)


def _resonance(sound: NDArray, frequency: float) -> NDArray:
    """Two poles at a frequency, by their impulse response, which has died away after 50 ms."""
    time = np.arange(RATE // 20) / RATE
    response = np.exp(-np.pi * WIDTH * time) * np.sin(2 * np.pi * frequency * time)
    return np.convolve(sound, response)[: len(sound)]


@cache
def melody(samples: int, rate: int, seed: int = 0) -> NDArray[np.float32]:
    """Notes with four overtones each, as of a plucked string."""
    rng, sound = np.random.default_rng(seed), np.zeros(samples)
    step = rate // 4
    for start in range(0, samples, step):
        time = np.arange(min(2 * step, samples - start)) / rate
        frequency = 440 * 2 ** (rng.integers(-24, 12) / 12)
        for k in range(1, 6):
            sound[start : start + len(time)] += (
                np.sin(2 * np.pi * k * frequency * time) * np.exp(-3 * k * time) / k
            )
    return (sound / np.abs(sound).max()).astype(np.float32)


def log_mel(
    sound: NDArray, bands: int, window: int, hop: int, low: float = 20.0, high: float = RATE / 2
) -> NDArray[np.float32]:
    """Logarithms of energies (frames, bands) in triangles on the mel scale, 1127 ln(1 + f/700)."""
    size = 1 << (window - 1).bit_length()
    starts = range(0, len(sound) - window + 1, hop)
    frames = np.stack([sound[s : s + window] for s in starts]) * np.hanning(window)
    power = np.abs(np.fft.rfft(frames, size)) ** 2
    first, last = 1127 * np.log1p(np.array([low, high]) / 700)
    edges = np.linspace(first, last, bands + 2)
    mel = 1127 * np.log1p(np.arange(size // 2 + 1) * RATE / size / 700)
    width = edges[1] - edges[0]
    triangles = np.maximum(0, 1 - np.abs(mel - edges[1:-1, None]) / width)
    return np.log(power @ triangles.T + 1e-6).astype(np.float32)


def pink(samples: int, seed: int) -> NDArray[np.float32]:
    """Noise of power 1/f, as of the resting brain, with bursts of an oscillation at 13 Hz or 3 Hz
    for 250 samples a second."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.normal(0, 1, samples))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    noise = np.fft.irfft(spectrum, samples)
    time = np.arange(samples) / 250
    for start in rng.uniform(0, time[-1], samples // 2000 + 1):
        burst = np.exp(-(((time - start - 0.5) / 0.4) ** 2))
        frequency = rng.choice([3.0, 13.0])
        noise += rng.uniform(1, 4) * noise.std() * burst * np.sin(2 * np.pi * frequency * time)
    return ((noise - noise.mean()) / noise.std()).astype(np.float32)
