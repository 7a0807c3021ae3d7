"""Makes tests/interop/golden/media_sequence.pb with MediaPipe's own MediaSequence functions.

    python scripts/make_golden_media_sequence.py MEDIAPIPE

MEDIAPIPE is the folder of an unpacked `mediapipe` wheel that has `mediapipe/util/sequence` (0.10.14 does); of
MediaPipe nothing else is used, and of this package nothing. Needs TensorFlow. The calls are those of MediaPipe's
generate_input_sequence_example.py, then those of its PackMediaSequenceCalculator on the streams FLOAT_FEATURE_RGB and
FLOAT_FEATURE_AUDIO, and of its ReconcileMetadata.
"""

import argparse
import importlib
import sys
from pathlib import Path
from types import ModuleType

import tensorflow as tf

GOLDEN = Path(__file__).parent.parent / "tests" / "dataset" / "golden" / "media_sequence.pb"
SECOND = 1_000_000
FRAMES, DIMENSIONS = 4, 6
AUDIO_FRAMES, AUDIO_DIMENSIONS = 3, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("mediapipe", type=Path)
    functions = import_functions(parser.parse_args().mediapipe)
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_bytes(sequence(functions).SerializeToString())
    print(f"{GOLDEN}: {GOLDEN.stat().st_size} bytes")


def import_functions(folder: Path) -> ModuleType:
    """Imports media_sequence.py; MediaPipe's own `__init__` would load all of its native code."""
    package = ModuleType("mediapipe")
    package.__path__ = [str(folder / "mediapipe")]
    sys.modules["mediapipe"] = package
    return importlib.import_module("mediapipe.util.sequence.media_sequence")


def sequence(ms: ModuleType) -> "tf.train.SequenceExample":
    """Dimension d of frame k is (6 k + d) / 8 − 0.75; the last value, 2.125, is one that `uniform` clips."""
    example = tf.train.SequenceExample()
    ms.set_example_id(b"golden/video", example)
    ms.set_clip_data_path(b"/videos/golden.mp4", example)
    ms.set_clip_start_timestamp(0, example)
    ms.set_clip_end_timestamp(FRAMES * SECOND, example)
    ms.set_clip_label_index((7, 3), example)
    ms.set_clip_label_string((b"Guitar", b"Concert"), example)
    for k in range(FRAMES):
        ms.add_feature_timestamp(k * SECOND, example, prefix="RGB")
        ms.add_feature_floats([(k * DIMENSIONS + d) / 8 - 0.75 for d in range(DIMENSIONS)], example, prefix="RGB")
    for k in range(AUDIO_FRAMES):
        ms.add_feature_timestamp(k * 960_000, example, prefix="AUDIO")
        ms.add_feature_floats([0.5] * AUDIO_DIMENSIONS, example, prefix="AUDIO")
    for prefix, dimensions, rate in (("RGB", DIMENSIONS, 1.0), ("AUDIO", AUDIO_DIMENSIONS, 1 / 0.96)):
        ms.set_feature_dimensions([dimensions], example, prefix=prefix)
        ms.set_feature_rate(rate, example, prefix=prefix)
    return example


if __name__ == "__main__":
    main()
