"""An array of one's own: where a model needs which II."""

from pathlib import Path

import palspu

HERE = Path(__file__).parent
MODEL = HERE.parent / "verif" / "digits" / "digits.onnx"
wide = palspu.Architecture(
    "wide", ("MmmMmm",) * 3, lanes=8, columns=8, contexts=32, memory_words=64, weight_rows=128
)
for arch in (palspu.architecture(HERE / "mixed.toml"), wide):
    report = palspu.compile(MODEL, arch, "pipeline").report
    print(
        f"{arch.name}: {arch.rows} x {arch.cols} tiles, II {report['ii']}, "
        f"{report['macs_per_cycle']:.0f} of {report['peak_macs_per_cycle']} MACs per cycle"
    )
