"""MediaSequence protos against MediaPipe's own bytes, and every fault that a proto can have."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.data_model import Float32Array
from yt8m_pipeline.dataset.records import MESSAGES, frame_record
from yt8m_pipeline.interop.media_sequence import MediaSequence, media_sequence, parse_media_sequence

GOLDEN = Path(__file__).parent / "golden" / "media_sequence.pb"
"""Written by MediaPipe's media_sequence.py: scripts/make_golden_media_sequence.py."""
SECOND = 1_000_000

coefficients = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=5), elements=st.floats(-100, 100, width=32)
)
texts = st.text(max_size=8)
labelled = st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), texts), max_size=4)


def grid(frames: int) -> "np.ndarray[Any, np.dtype[np.int64]]":
    return SECOND * np.arange(frames, dtype=np.int64)


def integers(*values: int) -> Any:
    return MESSAGES["Feature"](int64_list={"value": values})


def floats(*values: float) -> Any:
    return MESSAGES["Feature"](float_list={"value": values})


def strings(*values: bytes) -> Any:
    return MESSAGES["Feature"](bytes_list={"value": values})


def proto(lists: dict[str, list[Any]], **context: Any) -> bytes:
    """A proto by hand; `__` in a name of the context stands for a slash."""
    message = MESSAGES["SequenceExample"](
        context={"feature": {name.replace("__", "/"): value for name, value in context.items()}},
        feature_lists={"feature_list": {name: {"feature": features} for name, features in lists.items()}},
    )
    data: bytes = message.SerializeToString(deterministic=True)
    return data


def rgb(*frames: Any, times: list[Any] | None = None) -> dict[str, list[Any]]:
    return {"RGB/feature/floats": list(frames), **({"RGB/feature/timestamp": times} if times is not None else {})}


def test_what_mediapipe_wrote_is_read() -> None:
    sequence = parse_media_sequence(GOLDEN.read_bytes())
    assert (sequence.video_id, sequence.labels) == ("golden/video", (7, 3))
    assert sequence.label_names == ("Guitar", "Concert")
    np.testing.assert_array_equal(sequence.coefficients, np.arange(24, dtype=np.float32).reshape(4, 6) / 8 - 0.75)
    np.testing.assert_array_equal(sequence.timestamps, [0, SECOND, 2 * SECOND, 3 * SECOND])
    assert sequence.left_out == ("AUDIO/feature/floats",)


def test_what_is_written_is_mediapipes_proto_without_path_and_sound() -> None:
    theirs = MESSAGES["SequenceExample"].FromString(GOLDEN.read_bytes())
    del theirs.context.feature["clip/data_path"]
    for key in ("dimensions", "rate"):
        del theirs.context.feature[f"AUDIO/feature/{key}"]
    for key in ("floats", "timestamp"):
        del theirs.feature_lists.feature_list[f"AUDIO/feature/{key}"]
    ours = media_sequence(parse_media_sequence(GOLDEN.read_bytes()), 1.0)
    assert MESSAGES["SequenceExample"].FromString(ours) == theirs


@given(texts, labelled, st.booleans(), coefficients, st.booleans())
def test_a_video_reads_back(
    video_id: str, labels: list[tuple[int, str]], is_named: bool, values: Float32Array, is_timed: bool
) -> None:
    names = tuple(name for _, name in labels) if is_named else ()
    times = grid(len(values)) if is_timed else grid(0)
    sequence = MediaSequence(video_id, tuple(label for label, _ in labels), names, values, times)
    data = media_sequence(sequence, 1.0)
    found = parse_media_sequence(data)
    assert (found.video_id, found.labels, found.label_names) == (video_id, sequence.labels, names)
    np.testing.assert_array_equal(found.coefficients, values, strict=True)
    np.testing.assert_array_equal(found.timestamps, times, strict=True)
    assert found.left_out == ()
    assert media_sequence(found, 1.0) == data


def test_a_proto_with_floats_alone_is_enough() -> None:
    sequence = parse_media_sequence(proto(rgb(floats(1, 2), floats(3, 4))))
    assert (sequence.video_id, sequence.labels, sequence.label_names, sequence.timestamps.size) == ("", (), (), 0)


def test_empty_lists_without_a_kind_are_no_labels() -> None:
    nothing = MESSAGES["Feature"]()
    assert parse_media_sequence(proto(rgb(floats(1)), clip__label__index=nothing, clip__label__string=nothing))


@pytest.mark.parametrize("indices", [(), (1,), (1, 2, 3)])
def test_names_that_fit_no_label_are_left_out_and_said(indices: tuple[int, ...]) -> None:
    labels = {"clip__label__index": integers(*indices), "clip__label__string": strings(b"a", b"b")}
    sequence = parse_media_sequence(proto(rgb(floats(1)), **labels))
    assert (sequence.labels, sequence.label_names, sequence.left_out) == (indices, (), ("clip/label/string",))


@pytest.mark.parametrize("dimensions", [(6,), (2, 3), (1, 6, 1)])
def test_declared_dimensions_may_have_several_axes(dimensions: tuple[int, ...]) -> None:
    declared = {"RGB__feature__dimensions": integers(*dimensions)}
    assert parse_media_sequence(proto(rgb(floats(*range(6))), **declared)).coefficients.shape == (1, 6)


FAULTS: list[tuple[bytes, DropReason, str]] = [
    (b"", DropReason.EMPTY_FILE, "no bytes"),
    (GOLDEN.read_bytes()[:-1], DropReason.DAMAGED, "Error parsing message"),
    (proto({}), DropReason.MISSING_VALUE, r"no feature list RGB/feature/floats, only \[\]"),
    (proto({"AUDIO/feature/floats": [floats(1)]}), DropReason.MISSING_VALUE, r"only \['AUDIO/feature/floats'\]"),
    (frame_record("v", [1], np.zeros((2, 3), np.uint8), "rgb"), DropReason.MISSING_VALUE, r"only \['rgb'\]"),
    (proto(rgb()), DropReason.NO_FRAMES, "RGB/feature/floats is empty"),
    (proto(rgb(floats(1, 2), floats(1))), DropReason.WRONG_SHAPE, r"have \[1, 2\] values"),
    (proto(rgb(floats())), DropReason.WRONG_SHAPE, r"have \[0\] values"),
    (
        proto(rgb(MESSAGES["Feature"]())),
        DropReason.WRONG_TYPE,
        "RGB/feature/floats is a float_list, got None",
    ),
    (proto(rgb(strings(b"codes"))), DropReason.WRONG_TYPE, "is a float_list, got bytes_list"),
    (
        proto(rgb(floats(1, 2)), RGB__feature__dimensions=integers(3)),
        DropReason.WRONG_SHAPE,
        r"says \[3\], .* 2",
    ),
    (proto(rgb(floats(1, float("nan")))), DropReason.NON_FINITE_FEATURES, "1 of 2 values .* NaN or infinite"),
    (proto(rgb(floats(float("inf"), float("-inf")))), DropReason.NON_FINITE_FEATURES, "2 of 2 values"),
    (proto(rgb(floats(1), floats(2), times=[integers(0)])), DropReason.WRONG_SHAPE, "1 of .*timestamp, 2 of"),
    (
        proto(rgb(floats(1), floats(2), floats(3), times=[integers(0), integers(5), integers(5)])),
        DropReason.UNORDERED_TIMESTAMPS,
        "after frame 1 at 5 µs comes one at 5 µs",
    ),
    (
        proto(rgb(floats(1), floats(2), times=[integers(2**63 - 1), integers(-(2**63))])),
        DropReason.UNORDERED_TIMESTAMPS,
        "after frame 0 at 9223372036854775807 µs",
    ),
    (proto(rgb(floats(1), times=[floats(0)])), DropReason.WRONG_TYPE, "timestamp is a int64_list, got float_list"),
    (proto(rgb(floats(1)), example__id=integers(1)), DropReason.WRONG_TYPE, "example/id is a bytes_list"),
    (proto(rgb(floats(1)), example__id=strings(b"a", b"b")), DropReason.WRONG_TYPE, "one bytes value, got 2"),
    (proto(rgb(floats(1)), example__id=strings(b"\xff")), DropReason.WRONG_TYPE, "can't decode byte 0xff"),
    (
        proto(rgb(floats(1)), clip__label__index=strings(b"1")),
        DropReason.WRONG_TYPE,
        "label/index is a int64_list",
    ),
    (proto(rgb(floats(1)), clip__label__string=strings(b"\xff")), DropReason.WRONG_TYPE, "can't decode byte 0xff"),
]


@pytest.mark.parametrize(("data", "reason", "detail"), FAULTS)
def test_each_fault_is_a_rejection_with_its_reason(data: bytes, reason: DropReason, detail: str) -> None:
    with pytest.raises(VideoRejected, match=detail) as rejected:
        parse_media_sequence(data)
    assert rejected.value.reason is reason


@given(st.data())
def test_changed_or_cut_bytes_end_in_a_sound_sequence_or_a_rejection(data: st.DataObject) -> None:
    damaged = bytearray(GOLDEN.read_bytes())
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    damaged = damaged[: data.draw(st.integers(0, len(damaged)))]
    try:
        found = parse_media_sequence(bytes(damaged))
    except VideoRejected:
        return
    assert np.isfinite(found.coefficients).all()
    assert (np.diff(found.timestamps) > 0).all()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"coefficients": np.zeros((0, 2), np.float32)}, "coefficients are finite float32"),
        ({"coefficients": np.zeros((2, 2))}, "got float64"),
        ({"coefficients": np.full((2, 2), np.nan, np.float32)}, "coefficients are finite"),
        ({"timestamps": grid(1)}, "one per frame, got int64 \\(1,\\)"),
        ({"label_names": ("a",)}, "1 names of 2 labels"),
    ],
)
def test_a_sequence_checks_itself(change: dict[str, Any], why: str) -> None:
    sound = {"video_id": "v", "labels": (1, 2), "label_names": (), "timestamps": grid(2)}
    with pytest.raises(ValueError, match=why):
        MediaSequence(**{**sound, "coefficients": np.zeros((2, 2), np.float32), **change})


def test_a_repr_shows_shapes_and_no_data() -> None:
    assert repr(parse_media_sequence(GOLDEN.read_bytes())) == (
        "MediaSequence('golden/video', labels=(7, 3), coefficients=(4, 6))"
    )
