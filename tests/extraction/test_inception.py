import gc
import hashlib
import http.server
import io
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from yt8m_pipeline.config import HubModel, Inception, KerasModel, Model, RandomModel, SavedModel
from yt8m_pipeline.data_model import UInt8Array
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.extraction import model_files, networks
from yt8m_pipeline.extraction.inception import FeatureExtractor, describe, load

SEED, SIZE, BATCH = 7, 75, 4
ORANGE = np.array([255, 102, 0], np.uint8)


def config(model: Model, size: int = 16, batch: int = BATCH) -> Inception:
    return Inception(model=model, image_size=size, batch_size=batch)


def images(count: int, size: int = SIZE) -> UInt8Array:
    """Coarse coloured patterns, each unlike the others."""
    coarse = np.random.default_rng(count).integers(0, 256, (count, 5, 5, 3), np.uint8)
    return coarse.repeat(size // 5, axis=1).repeat(size // 5, axis=2)


@pytest.fixture(scope="session")
def tf() -> Any:
    return networks.tensorflow()


@pytest.fixture(scope="module")
def keras_inception() -> Any:
    """Keras' own network of random weights; tests that change them put them back."""
    return networks._random_inception(SIZE, SEED).func  # type: ignore[attr-defined]


@pytest.fixture
def built(keras_inception: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The same, given out in place of building it anew, which takes seconds."""
    monkeypatch.setattr(networks, "_keras_inception", lambda _: keras_inception)
    weights = keras_inception.get_weights()
    yield keras_inception
    keras_inception.set_weights(weights)


@pytest.fixture(scope="module")
def random_inception(keras_inception: Any) -> FeatureExtractor:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "_keras_inception", lambda _: keras_inception)
        return load(config(RandomModel(random=SEED), SIZE))


Save = Callable[..., str]


@pytest.fixture
def save(tf: Any, tmp_path: Path) -> Save:
    """Saves a function of images as a SavedModel with a variable, with or without a serving signature."""

    def saved(function: Callable[[Any], Any], *, signature: bool = True, batch: int | None = None) -> str:
        module = tf.Module()
        module.one = tf.Variable(1.0)
        spec = tf.TensorSpec((batch, None, None, 3), tf.float32)
        module.__call__ = tf.function(lambda images: function(module.one * images), input_signature=[spec])
        folder = str(tmp_path / "saved")
        tf.saved_model.save(module, folder, signatures=module.__call__ if signature else {})
        return folder

    return saved


@pytest.fixture
def mean_colour(save: Save, tf: Any) -> str:
    return save(lambda images: tf.reduce_mean(images, (1, 2)))


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The address of a server in this process, and what it serves by path and query."""
    pages: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path in pages else 404)
            self.end_headers()
            self.wfile.write(pages.get(self.path, b""))

        def log_message(self, *_: Any) -> None:
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", pages
        server.shutdown()


NOWHERE = "http://127.0.0.1:9"


# The network


def test_random_weights_are_numpys_he_normal_in_layer_order(tf: Any, keras_inception: Any) -> None:
    rng = np.random.default_rng(SEED)
    convolutions = 0
    for layer in keras_inception.layers:
        if isinstance(layer, tf.keras.layers.Conv2D):
            (kernel,) = layer.get_weights()
            scale = np.float32(np.sqrt(2 / np.prod(kernel.shape[:3])))
            np.testing.assert_allclose(kernel, rng.standard_normal(kernel.shape, np.float32) * scale, rtol=1e-6)
            convolutions += 1
        elif layer.weights:
            beta, mean, variance = layer.get_weights()
            assert (beta == 0).all()
            assert (mean == 0).all()
            assert (variance == 1).all()
    assert convolutions == 94


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


def test_the_network_is_traced_once_whatever_the_number_of_frames(mean_colour: str) -> None:
    extractor = load(config(SavedModel(saved_model=mean_colour)))
    for count in (1, BATCH, BATCH + 1, 3 * BATCH):
        assert extractor(images(count, 16 - 1)[:, :1].repeat(16, 1)[:, :, :1].repeat(16, 2)).shape == (count, 3)
    assert extractor.network.experimental_get_tracing_count() == 1  # type: ignore[attr-defined]


def test_no_frames_have_no_features(random_inception: FeatureExtractor) -> None:
    assert random_inception(images(1)[:0]).shape == (0, 2048)


@pytest.mark.parametrize("wrong", [images(2).astype(np.float32), images(2)[:, 1:], images(2)[0], images(2)[..., :1]])
def test_frames_of_another_shape_or_type_are_refused(random_inception: FeatureExtractor, wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"frames are uint8 \(frames, \(75, 75, 3\)\), got"):
        random_inception(wrong)


# The sources


def test_a_saved_model_sees_rgb_from_zero_to_one(mean_colour: str) -> None:
    extractor = load(config(SavedModel(saved_model=mean_colour)))
    gc.collect()
    assert extractor.dimensions == 3
    np.testing.assert_allclose(extractor(np.full((5, 16, 16, 3), ORANGE)), [[1, 0.4, 0]] * 5, atol=1e-6)


def test_a_saved_model_without_signature_is_called(save: Save, tf: Any) -> None:
    folder = save(lambda images: tf.reduce_mean(images, (1, 2)), signature=False)
    extractor = load(config(SavedModel(saved_model=folder)))
    np.testing.assert_allclose(extractor(np.full((1, 16, 16, 3), ORANGE)), [[1, 0.4, 0]], atol=1e-6)


def test_a_keras_model_sees_what_preprocess_input_makes(tf: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "model.keras")
    layers = tf.keras.layers
    tf.keras.Sequential([layers.Input((None, None, 3)), layers.GlobalAveragePooling2D()]).save(path)
    extractor = load(config(KerasModel(keras=path)))
    expected = tf.keras.applications.inception_v3.preprocess_input(ORANGE.astype(np.float32))
    np.testing.assert_allclose(extractor(np.full((1, 16, 16, 3), ORANGE)), [expected], atol=1e-6)


@pytest.fixture(scope="module")
def weights_file(keras_inception: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "inception.weights.h5"
    keras_inception.save_weights(path)
    return str(path)


@pytest.mark.parametrize("format_of", ["Keras 3", "Keras 2, as the ImageNet weights"])
def test_inception_weights_are_read_from_an_h5_file(
    built: Any, weights_file: str, tmp_path: Path, format_of: str
) -> None:
    weights, path = built.get_weights(), weights_file
    if format_of != "Keras 3":
        path = str(tmp_path / "inception.h5")
        built.save(path)
    built.set_weights([np.full_like(weight, 0.5) for weight in weights])
    assert networks._keras_network(SIZE, path).func is built  # type: ignore[attr-defined]
    for read, written in zip(built.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(read, written)


def test_a_hub_model_may_be_a_folder(mean_colour: str) -> None:
    assert load(config(HubModel(tfhub=mean_colour))).dimensions == 3


def test_a_hub_handle_is_found_where_tensorflow_hub_caches_it(
    mean_colour: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow_hub

    handle = f"{NOWHERE}/inception_v3/feature_vector/5"
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    Path(mean_colour).rename(tmp_path / hashlib.sha1(handle.encode()).hexdigest())
    assert model_files.locate(HubModel(tfhub=handle)) == tensorflow_hub.resolve(handle)
    assert load(config(HubModel(tfhub=handle))).dimensions == 3


def test_a_hub_handle_is_downloaded_once(
    mean_colour: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: tuple[str, dict[str, bytes]]
) -> None:
    address, pages = web
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(mean_colour, ".")
    pages["/vector/1?tf-hub-format=compressed"] = buffer.getvalue()
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    model = HubModel(tfhub=f"{address}/vector/1")
    folder = model_files.locate(model)
    pages.clear()
    assert model_files.locate(model) == folder
    assert model_files._sha256(folder) == model_files._sha256(mean_colour)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [Path(folder).name]


def test_imagenet_weights_are_downloaded_into_keras_own_cache_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: tuple[str, dict[str, bytes]]
) -> None:
    address, pages = web
    pages["/weights"] = b"weights"
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(model_files, "IMAGENET_URL", f"{address}/weights")
    monkeypatch.setattr(model_files, "IMAGENET_MD5", hashlib.md5(b"weights").hexdigest())
    path = model_files.locate(KerasModel(keras="imagenet"))
    pages.clear()
    assert model_files.locate(KerasModel(keras="imagenet")) == path
    assert Path(path).read_bytes() == b"weights"
    assert Path(path).parent == tmp_path / "models"


def test_imagenet_is_the_file_that_keras_names(tf: Any) -> None:
    source = Path(sys.modules[tf.keras.applications.InceptionV3.__module__].__file__ or "").read_text()
    assert f'file_hash="{model_files.IMAGENET_MD5}"' in source
    assert model_files.IMAGENET_FILE in source


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
    assert describe(Inception(model=RandomModel(random=3))) == {
        "model": {"source": "random", "network": "InceptionV3", "weights": "he_normal", "seed": 3},
        "image_size": 299,
        "preprocessing": "RGB in [-1, 1]",
        "dtype": "float32",
    }


def test_a_file_is_described_by_its_bytes_and_not_by_its_name(tmp_path: Path) -> None:
    one, two = tmp_path / "one.h5", tmp_path / "two.h5"
    one.write_bytes(b"weights")
    two.write_bytes(b"weights")
    described = describe(config(KerasModel(keras=str(one))))
    assert described["model"] == {"source": "keras", "sha256": hashlib.sha256(b"weights").hexdigest()}
    assert describe(config(KerasModel(keras=str(two)))) == described
    two.write_bytes(b"weightz")
    assert describe(config(KerasModel(keras=str(two)))) != described


def test_a_folder_is_described_by_the_sha256sum_list_of_its_files(tmp_path: Path) -> None:
    for name in ("variables/b", "saved_model.pb", "variables/a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    command = "find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
    listed = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True).stdout[:64]
    described = describe(config(SavedModel(saved_model=str(tmp_path))))
    assert described["model"] == {"source": "saved_model", "sha256": listed}
    assert described["preprocessing"] == "RGB in [0, 1]"


@pytest.mark.parametrize("change", [{"image_size": 300}, {"dtype": "float16"}, {"model": RandomModel(random=2)}])
def test_what_changes_the_features_changes_the_description(change: dict[str, Any]) -> None:
    settings = Inception(model=RandomModel(random=1))
    assert describe(settings.model_copy(update=change)) != describe(settings)


def test_the_batch_size_is_no_part_of_the_description() -> None:
    one, two = (Inception(model=RandomModel(random=1), batch_size=size) for size in (1, 2))
    assert describe(one) == describe(two)


# Errors


@pytest.mark.parametrize("act", [describe, load])
@pytest.mark.parametrize(
    ("model", "needed"),
    [
        (KerasModel(keras="/none/w.h5"), "/none/w.h5"),
        (SavedModel(saved_model="/none"), "/none/saved_model.pb"),
        (HubModel(tfhub="/none"), "/none/saved_model.pb"),
    ],
)
def test_a_missing_model_is_named(act: Callable[[Inception], Any], model: Model, needed: str) -> None:
    with pytest.raises(UsageError, match=rf"(?s)The model does not exist.*there is no file {needed}.*fix: +give"):
        act(config(model))


def test_an_unreachable_hub_says_how_to_fill_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    folder = tmp_path / hashlib.sha1(f"{NOWHERE}/v/1".encode()).hexdigest()
    with pytest.raises(UsageError, match=rf"(?s)cannot be downloaded.*refused.*unpack the model into {folder}"):
        describe(config(HubModel(tfhub=f"{NOWHERE}/v/1")))


def test_unreachable_imagenet_weights_say_where_to_put_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(model_files, "IMAGENET_URL", NOWHERE)
    path = tmp_path / "models" / model_files.IMAGENET_FILE
    with pytest.raises(UsageError, match=rf"(?s)cannot be downloaded.*refused.*put it at {path}, or set KERAS_HOME"):
        describe(config(KerasModel(keras="imagenet")))


def test_wrong_imagenet_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / model_files.IMAGENET_FILE).write_bytes(b"an old download")
    with pytest.raises(UsageError, match=r"(?s)not the published ones.*MD5 .*not bcbd6486.*delete the file"):
        load(config(KerasModel(keras="imagenet")))


@pytest.mark.parametrize("page", [b"", b"<html>please log in</html>", b"\x1f\x8b\x08\x00\x00\x00\x00\x00"])
def test_a_download_that_is_no_archive_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: tuple[str, dict[str, bytes]], page: bytes
) -> None:
    address, pages = web
    pages["/v?tf-hub-format=compressed"] = page
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    with pytest.raises(UsageError, match=r"(?s)The model cannot be downloaded.*(ReadError|EOFError)"):
        describe(config(HubModel(tfhub=f"{address}/v")))
    assert list(tmp_path.iterdir()) == []


def test_a_hub_archive_without_a_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: tuple[str, dict[str, bytes]]
) -> None:
    address, pages = web
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("readme"))
    pages["/v?tf-hub-format=compressed"] = buffer.getvalue()
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    with pytest.raises(UsageError, match=r"(?s)The model does not exist.*there is no file .*saved_model.pb"):
        describe(config(HubModel(tfhub=f"{address}/v")))


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
    with pytest.raises(UsageError, match=rf"(?s)one vector per image.*for 4 images its output has shape {shape}"):
        load(config(SavedModel(saved_model=folder)))


def test_a_model_of_another_batch_size_is_refused(save: Save, tf: Any) -> None:
    folder = save(lambda images: tf.reduce_mean(images, (1, 2)), batch=1)
    with pytest.raises(UsageError, match=r"(?s)cannot be loaded and run.*takes float32 images \(4, 16, 16, 3\)"):
        load(config(SavedModel(saved_model=folder)))


def test_a_signature_with_two_outputs_is_refused(save: Save, tf: Any) -> None:
    folder = save(lambda images: {"maps": images, "vectors": tf.reduce_mean(images, (1, 2))})
    with pytest.raises(UsageError, match=r"(?s)not one batch.*takes \['images'\] and returns \['maps', 'vectors'\]"):
        load(config(SavedModel(saved_model=folder)))


def test_a_saved_model_with_nothing_to_call_is_refused(tf: Any, tmp_path: Path) -> None:
    tf.saved_model.save(tf.Module(), str(tmp_path))
    with pytest.raises(UsageError, match=r"(?s)nothing to call.*signatures are \[\].*serving_default"):
        load(config(SavedModel(saved_model=str(tmp_path))))


def test_a_damaged_saved_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"\xffnot a protocol buffer")
    with pytest.raises(UsageError, match=r"(?s)cannot be loaded and run.*inception.model: saved_model: /"):
        load(config(SavedModel(saved_model=str(tmp_path))))


def test_a_saved_model_without_its_variables_is_refused(mean_colour: str) -> None:
    Path(mean_colour, "variables", "variables.index").unlink()
    with pytest.raises(UsageError, match=r"(?s)cannot be loaded and run.*variables"):
        load(config(SavedModel(saved_model=mean_colour)))


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("name", ["text.h5", "text.weights.h5", "text.keras", "text.txt"])
def test_a_weights_file_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("not weights")
    with pytest.raises(UsageError, match=r"(?s)cannot be loaded and run.*inception.model: keras: /"):
        load(config(KerasModel(keras=str(path)), SIZE))


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("name", ["other.h5", "other.weights.h5", "other.keras"])
def test_weights_of_another_network_are_refused_in_one_error_without_warnings(
    tf: Any, tmp_path: Path, name: str, recwarn: pytest.WarningsRecorder
) -> None:
    path = str(tmp_path / name)
    other = tf.keras.Sequential([tf.keras.layers.Input((4,)), tf.keras.layers.Dense(2)])
    other.save_weights(path) if name == "other.weights.h5" else other.save(path)
    with pytest.raises(UsageError, match=r"(?s)cannot be loaded and run.*(ValueError|UserWarning)"):
        load(config(KerasModel(keras=path), SIZE))
    assert not [warning for warning in recwarn if warning.category is UserWarning]


@pytest.mark.usefixtures("built")
def test_weights_that_lack_one_layer_are_refused(weights_file: str, tmp_path: Path) -> None:
    path = shutil.copy(weights_file, tmp_path / "lacking.weights.h5")
    with pytest.importorskip("h5py").File(path, "a") as weights:
        del weights["layers"]["conv2d_93"]
    with pytest.raises(UsageError, match=r"(?s)cannot be loaded and run.*(ValueError|UserWarning)"):
        load(config(KerasModel(keras=str(path)), SIZE))


def test_images_too_small_for_inception_are_refused() -> None:
    with pytest.raises(UsageError, match=r"(?s)cannot be loaded and run.*at least 75x75"):
        load(config(RandomModel(random=1), 74))
