import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.extraction.conftest import Save
from tests.extraction.models import BATCH, SEED, SIZE, config, images
from yt8m_pipeline.config import Inception, RandomModel, SavedModel
from yt8m_pipeline.data_model import Float32Array, UInt8Array
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.extraction import execution, networks
from yt8m_pipeline.extraction import inception as inception_module
from yt8m_pipeline.extraction.inception import FeatureExtractor, describe, load


@pytest.fixture(scope="module")
def random_inception(keras_inception: Any) -> FeatureExtractor:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "keras_application", lambda *_: keras_inception)
        return load(config(RandomModel(random=SEED), SIZE))


def test_random_features_have_2048_dimensions_of_a_sane_scale(random_inception: FeatureExtractor) -> None:
    features = random_inception(images(12))
    assert features.shape == (12, 2048)
    assert features.min() >= 0
    assert features.dtype == np.float32
    assert random_inception.dimensions == 2048
    assert 0.01 < features.std(axis=0).max() < 10


def test_features_depend_neither_on_padding_nor_on_the_batch(random_inception: FeatureExtractor) -> None:
    frames = images(2 * BATCH + 1)
    together = random_inception(frames)
    scale = np.abs(together).max()
    for selection in ([0], [8], [3, 4, 5], [8, 7, 6, 5, 4, 3, 2, 1, 0], [2, 2, 2, 2]):
        np.testing.assert_allclose(random_inception(frames[selection]), together[selection], 1e-5, 1e-5 * scale)
    assert np.abs(together[0] - together[1]).max() > 0.01 * scale


def test_the_same_frames_give_the_same_bits(random_inception: FeatureExtractor) -> None:
    frames = images(BATCH + 1)
    assert random_inception(frames).tobytes() == random_inception(frames).tobytes()


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The shapes that networks were traced for."""
    seen = []

    def counted(inception: Inception, frames: Any) -> Any:
        seen.append(frames.shape)
        return networks.prepared(inception, frames)

    monkeypatch.setattr(execution, "prepared", counted)
    return seen


def test_the_network_is_traced_once_whatever_the_number_of_frames(mean_colour: str, traces: list[Any]) -> None:
    extractor = load(config(SavedModel(saved_model=mean_colour)))
    for count in (1, BATCH, BATCH + 1, 3 * BATCH):
        assert extractor(np.zeros((count, 16, 16, 3), np.uint8)).shape == (count, 3)
    assert len(traces) == 1


def test_frames_of_any_size_are_resized_by_the_model_in_one_trace(tf: Any, mean_colour: str, traces: list[Any]) -> None:
    source = SavedModel(saved_model=mean_colour)
    fixed, free = load(config(source)), load(config(source).model_copy(update={"resize": "model"}))
    rng = np.random.default_rng(0)
    for count, height, width in ((1, 9, 40), (BATCH, 33, 7), (2 * BATCH + 1, 16, 16)):
        frames = rng.integers(0, 256, (count, height, width, 3), np.uint8)
        resized = tf.image.resize(frames, (16, 16)).numpy()
        np.testing.assert_allclose(free(frames), resized.mean(axis=(1, 2)) / 255, rtol=1e-5)
    np.testing.assert_allclose(free(frames), fixed(frames), rtol=1e-5)
    assert free(frames[:0]).shape == (0, 3)
    assert len(traces) == 2


def test_freezing_changes_no_feature(random_inception: FeatureExtractor, keras_inception: Any) -> None:
    frames = images(BATCH)
    expected = keras_inception(frames / np.float32(127.5) - 1, training=False)
    np.testing.assert_allclose(random_inception(frames), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_no_frames_have_no_features(random_inception: FeatureExtractor) -> None:
    assert random_inception(images(1)[:0]).shape == (0, 2048)


@pytest.mark.parametrize("wrong", [images(2).astype(np.float32), images(2)[:, 1:], images(2)[0], images(2)[..., :1]])
def test_frames_of_another_shape_or_type_are_refused(random_inception: FeatureExtractor, wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"frames are uint8 \(frames, \(75, 75, 3\)\), got"):
        random_inception(wrong)


# The memory


class Limited:
    """A network of mean colours that has memory for few frames, and notes how many it was given."""

    def __init__(self, tf: Any, most: int) -> None:
        self.tf, self.most, self.calls = tf, most, list[int]()

    def __call__(self, frames: UInt8Array) -> Float32Array:
        self.calls.append(len(frames))
        if len(frames) > self.most:
            raise self.tf.errors.ResourceExhaustedError(None, None, f"OOM when allocating tensor[{len(frames)}]")
        means: Float32Array = frames.mean(axis=(1, 2), dtype=np.float32)
        return means


def test_the_tail_is_padded_to_a_power_of_two_or_the_whole_batch(tf: Any) -> None:
    network = Limited(tf, 6)
    extractor = FeatureExtractor(network, 6, SIZE, 3)
    for frames in map(images, (1, 2, 3, 5, 9)):
        np.testing.assert_array_equal(extractor(frames), frames.mean(axis=(1, 2), dtype=np.float32))
    assert network.calls == [1, 2, 4, 6, 6, 4]


@pytest.mark.parametrize("image_size", [SIZE, None])
def test_batches_too_large_for_the_memory_halve_and_give_the_same(
    tf: Any, caplog: pytest.LogCaptureFixture, image_size: int | None
) -> None:
    network, frames = Limited(tf, 3), images(20)
    extractor = FeatureExtractor(network, 16, image_size, 3)
    np.testing.assert_array_equal(extractor(frames), frames.mean(axis=(1, 2), dtype=np.float32))
    assert network.calls == [16, 8, 4, *[2] * 10]
    assert [record.getMessage() for record in caplog.records] == [
        f"batches of {size} frames are too large for the memory; they become {size // 2}" for size in (16, 8, 4)
    ]


def test_a_network_too_large_for_one_frame_is_an_error(tf: Any) -> None:
    with pytest.raises(DataError, match=r"(?s)does not fit into the memory.*batch_size.*OOM when.*fix: +end other"):
        FeatureExtractor(Limited(tf, 0), 4, SIZE, 3)(images(4))


def test_a_model_is_loaded_with_as_large_batches_as_there_is_memory_for(
    tf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inception_module, "compiled", lambda *_: Limited(tf, 1))
    extractor = load(config(RandomModel(random=1), SIZE))
    assert (extractor.batch_size, extractor.dimensions) == (1, 3)


# The device


@pytest.mark.parametrize(("field", "value"), [("device", "gpu"), ("precision", "mixed")])
def test_a_gpu_that_tensorflow_does_not_see_is_an_error(tf: Any, field: str, value: str) -> None:
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("TensorFlow sees a GPU")
    with pytest.raises(UsageError, match=rf"(?s)sees none.*inception.{field}: {value}.*sees /physical_device:CPU:0"):
        load(config(RandomModel(random=1)).model_copy(update={field: value}))


def test_a_gpu_that_tensorflow_cannot_use_is_said(
    tf: Any, mean_colour: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("TensorFlow sees a GPU")
    (tmp_path / "nvidia-smi").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    for device, warnings in (("auto", 1), ("cpu", 0)):
        caplog.clear()
        load(config(SavedModel(saved_model=mean_colour)).model_copy(update={"device": device}))
        assert len([record for record in caplog.records if "sees no GPU" in record.getMessage()]) == warnings


@pytest.mark.parametrize("precision", ["mixed", "float32"])
def test_the_precision_is_what_tensorflow_is_told(tf: Any, monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    """TensorFlow rewrites no graph for float16 without a GPU. The usual precision comes last, and stays."""
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda _: ["a GPU"])
    execution.use_device(config(RandomModel(random=1)).model_copy(update={"precision": precision}))
    is_mixed = precision == "mixed"
    assert tf.config.optimizer.get_experimental_options()["auto_mixed_precision"] == is_mixed
    assert tf.config.experimental.tensor_float_32_execution_enabled() == is_mixed


# The fingerprint


def test_describing_and_importing_do_not_import_tensorflow() -> None:
    code = (
        "import sys\n"
        "from yt8m_pipeline.config import Inception, RandomModel\n"
        "from yt8m_pipeline.extraction.inception import describe\n"
        "describe(Inception(model=RandomModel(random=1)))\n"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_random_model_is_described_by_its_seed() -> None:
    assert describe(Inception(model=RandomModel(random=3), dtype="float32")) == {
        "model": {"source": "random", "network": "InceptionV3", "weights": "he_normal", "seed": 3},
        "image_size": 299,
        "preprocessing": "(RGB - (127.5, 127.5, 127.5)) / (127.5, 127.5, 127.5)",
        "precision": "float32",
        "dtype": "float32",
    }


@pytest.mark.parametrize(
    "change", [{"image_size": 300}, {"precision": "mixed"}, {"dtype": "float16"}, {"model": RandomModel(random=2)}]
)
def test_what_changes_the_features_changes_the_description(change: dict[str, Any]) -> None:
    settings = Inception(model=RandomModel(random=1), dtype="float32")
    assert describe(settings.model_copy(update=change)) != describe(settings)


def test_the_batch_size_and_the_device_are_no_part_of_the_description() -> None:
    one = Inception(model=RandomModel(random=1), batch_size=1)
    two = Inception(model=RandomModel(random=1), batch_size=2, device="cpu")
    assert describe(one) == describe(two)


# Errors


def test_a_model_that_gives_one_image_alone_something_else_is_refused(save: Save, tf: Any) -> None:
    folder = save(lambda images: tf.squeeze(tf.nn.avg_pool2d(images, 16, 16, "VALID")))
    with pytest.raises(UsageError, match=r"(?s)one vector per image.*a batch of 1 its output has shape \(3,\)"):
        load(config(SavedModel(saved_model=folder)))


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        ("images", r"\(4, 16, 16, 3\)"),
        ("tf.reduce_mean(images, (1, 2, 3))", r"\(4,\)"),
        ("tf.reduce_mean(images, (0, 1))", r"\(16, 3\)"),
    ],
)
def test_a_model_without_one_vector_per_image_is_refused(save: Save, tf: Any, function: str, shape: str) -> None:
    folder = save(eval(f"lambda images: {function}", {"tf": tf}))
    with pytest.raises(UsageError, match=rf"(?s)one vector per image.*a batch of 4 its output has shape {shape}"):
        load(config(SavedModel(saved_model=folder)))
