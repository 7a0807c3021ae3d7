"""The networks of every source, with weights made on the spot, and what they see of a frame."""

import gc
import shutil
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from tests.extraction.conftest import Save
from tests.extraction.models import BATCH, ORANGE, SEED, SIZE, Graph2015, config, images
from yt8m_pipeline.config import (
    Architecture,
    GraphModel,
    HubModel,
    Inception,
    KerasModel,
    Model,
    RandomModel,
    SavedModel,
)
from yt8m_pipeline.data_model import Float32Array, UInt8Array
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.extraction import networks
from yt8m_pipeline.extraction.inception import load
from yt8m_pipeline.extraction.network_input import ARCHITECTURES, SOURCES, preprocessing_of
from yt8m_pipeline.extraction.networks import network_of, prepared

# What a network sees


def noise(*shape: int) -> UInt8Array:
    return np.random.default_rng(len(shape)).integers(0, 256, shape, np.uint8)


def test_every_architecture_is_one_of_keras_and_has_a_row(tf: Any) -> None:
    assert set(get_args(Architecture)) == ARCHITECTURES.keys()
    assert all(hasattr(tf.keras.applications, name) for name in ARCHITECTURES)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_each_architecture_sees_what_its_family_s_preprocess_input_makes(tf: Any, architecture: Architecture) -> None:
    family = sys.modules[getattr(tf.keras.applications, architecture).__module__]
    frames = noise(2, 16, 16, 3)
    expected = family.preprocess_input(frames.astype(np.float32))
    seen = prepared(config(KerasModel(keras="w.h5", architecture=architecture)), frames)
    np.testing.assert_allclose(seen, expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "low", "high"),
    [
        (RandomModel(random=1), -1, 1),
        (SavedModel(saved_model="m"), 0, 1),
        (HubModel(tfhub="m"), 0, 1),
        (GraphModel(graph="m"), 0, 255),
    ],
)
def test_each_other_source_has_its_value_range(model: Model, low: int, high: int) -> None:
    black_and_white = np.stack([np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)])
    black, white = prepared(config(model), black_and_white)
    np.testing.assert_allclose(black, np.full((16, 16, 3), low), atol=1e-6)
    np.testing.assert_allclose(white, np.full((16, 16, 3), high), atol=1e-6)


def test_every_source_has_a_row() -> None:
    models = {RandomModel, SavedModel, HubModel, GraphModel}
    assert SOURCES.keys() == models


@pytest.mark.parametrize("model", [RandomModel(random=1), KerasModel(keras="w.h5", architecture="VGG16")])
def test_frames_of_another_size_are_resized_with_half_pixel_centers_before_their_values_change(
    tf: Any, model: Model
) -> None:
    frames = noise(3, 40, 64, 3)
    row = preprocessing_of(model)
    expected = row(tf.image.resize(frames.astype(np.float32), (16, 16), "bilinear", antialias=False))
    np.testing.assert_allclose(prepared(config(model), frames), expected, rtol=1e-6)
    assert row.resize == "bilinear, half-pixel centers"


def test_frames_of_the_right_size_are_not_resized() -> None:
    frames = noise(3, 16, 16, 3)
    np.testing.assert_array_equal(prepared(config(SavedModel(saved_model="m")), frames), frames / np.float32(255))


def test_the_graph_of_2015_gets_frames_in_their_own_size() -> None:
    frames = noise(3, 40, 64, 3)
    np.testing.assert_array_equal(prepared(config(GraphModel(graph="m")), frames), frames.astype(np.float32))
    assert preprocessing_of(GraphModel(graph="m")).resize == "bilinear, by the network itself"


# The graph of 2015


def written(folder: Path, graph: Graph2015) -> GraphModel:
    path = folder / "classify_image_graph_def.pb"
    path.write_bytes(graph.graph.SerializeToString())
    return GraphModel(graph=str(path))


def run(inception: Inception, path: str, frames: UInt8Array) -> Float32Array:
    features: Float32Array = network_of(inception, path)(prepared(inception, frames)).numpy()
    return features


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(("height", "width"), [(299, 299), (120, 213), (360, 640)])
def test_a_batch_in_the_graph_of_2015_gives_what_single_images_at_its_jpeg_decoder_give(
    tf: Any, tmp_path: Path, scaled: bool, height: int, width: int
) -> None:
    graph = Graph2015(tf, scaled=scaled)
    model = written(tmp_path, graph)
    frames = noise(5, height, width, 3)
    alone = graph.session(list(frames))
    assert alone.shape == (5, Graph2015.CHANNELS)
    assert np.ptp(alone, axis=0).min() > 0
    np.testing.assert_allclose(run(config(model, 299), model.graph, frames), alone, rtol=1e-5, atol=1e-5)


def test_the_graph_of_2015_is_loaded_as_an_extractor(tf: Any, tmp_path: Path) -> None:
    graph = Graph2015(tf)
    frames = noise(BATCH + 1, 299, 299, 3)
    extractor = load(config(written(tmp_path, graph), 299))
    assert extractor.dimensions == Graph2015.CHANNELS
    np.testing.assert_allclose(extractor(frames), graph.session(list(frames)), rtol=1e-5, atol=1e-5)


def test_infinite_activations_do_not_stop_the_graph_of_2015_and_infinite_weights_are_refused(
    tf: Any, tmp_path: Path
) -> None:
    graph = Graph2015(tf)
    graph.node("conv/batchnorm/beta").attr["value"].tensor.CopyFrom(tf.make_tensor_proto([np.inf] * 5, tf.float32))
    frames = noise(1, 299, 299, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="NaN"):
        graph.session(list(frames))
    model = written(tmp_path, graph)
    assert run(config(model, 299), model.graph, frames).shape == (1, Graph2015.CHANNELS)
    with pytest.raises(UsageError, match=r"(?s)weights are not finite.*conv/batchnorm.*5 of 5 numbers.*fix: +train"):
        load(config(model, 299))


@pytest.mark.parametrize("missing", [["pool_3"], ["ExpandDims"], ["ExpandDims", "pool_3"], ["conv_1/conv2d_params"]])
def test_a_graph_without_the_nodes_of_2015_is_refused_and_they_are_named(
    tf: Any, tmp_path: Path, missing: list[str]
) -> None:
    graph = Graph2015(tf)
    for name in missing:
        graph.node(name).name = f"other/{name}"
    with pytest.raises(
        UsageError, match=rf"(?s)not the Inception graph of 2015.*none named {', '.join(missing)}\n.*fix"
    ):
        load(config(written(tmp_path, graph)))


def test_a_graph_whose_pool_3_is_a_map_is_refused(tf: Any, tmp_path: Path) -> None:
    graph = Graph2015(tf)
    graph.node("pool_3").attr["ksize"].list.i[:] = [1, 2, 2, 1]
    with pytest.raises(UsageError, match=r"(?s)cannot be loaded and run.*squeeze"):
        load(config(written(tmp_path, graph)))


@pytest.mark.parametrize("data", [b"not a graph at all", b"\x1f\x8b\x08\x00an archive"])
def test_a_file_that_is_no_graph_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"(?s)not a TensorFlow graph.*where: /.*inception-2015-12-05.tgz"):
        load(config(GraphModel(graph=str(path))))


def test_an_empty_graph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    path.touch()
    with pytest.raises(UsageError, match=r"has 0 nodes, but none named ExpandDims, pool_3"):
        load(config(GraphModel(graph=str(path))))


# Keras


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
    network = networks.network_of(config(KerasModel(keras=path, architecture="InceptionV3"), SIZE), path)
    assert network.func is built  # type: ignore[attr-defined]
    for read, written in zip(built.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(read, written)


def test_weights_of_another_architecture_give_its_own_features(tf: Any, tmp_path: Path) -> None:
    """VGG16: 512 features, blue before red."""
    tf.keras.utils.set_random_seed(1)
    network = tf.keras.applications.VGG16(include_top=False, weights=None, pooling="avg", input_shape=(32, 32, 3))
    path = str(tmp_path / "vgg.weights.h5")
    network.save_weights(path)
    extractor, frames = load(config(KerasModel(keras=path, architecture="VGG16"), 32)), images(3, 30)
    frames = np.pad(frames, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = network(tf.keras.applications.vgg16.preprocess_input(frames.astype(np.float32)), training=False)
    assert extractor.dimensions == 512
    np.testing.assert_allclose(extractor(frames), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


# SavedModels


def test_a_saved_model_sees_rgb_from_zero_to_one(mean_colour: str) -> None:
    extractor = load(config(SavedModel(saved_model=mean_colour)))
    gc.collect()
    assert extractor.dimensions == 3
    np.testing.assert_allclose(extractor(np.full((5, 16, 16, 3), ORANGE)), [[1, 0.4, 0]] * 5, atol=1e-6)


def test_a_saved_model_without_signature_is_called(save: Save, tf: Any) -> None:
    folder = save(lambda images: tf.reduce_mean(images, (1, 2)), signature=False)
    extractor = load(config(SavedModel(saved_model=folder)))
    np.testing.assert_allclose(extractor(np.full((1, 16, 16, 3), ORANGE)), [[1, 0.4, 0]], atol=1e-6)


@pytest.fixture
def first_format(tf: Any, tmp_path: Path) -> str:
    """A module in the first TF-Hub format: without tags, as others read it, and once more for training."""
    folder = tmp_path / "hub"
    builder = tf.compat.v1.saved_model.Builder(str(folder))
    for tags in ([], ["train"]):
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            images = tf.compat.v1.placeholder(tf.float32, (None, 16, 16, 3), "images")
            scale = tf.compat.v1.get_variable("scale", initializer=-1.0 if tags else 2.0, use_resource=False)
            vectors = scale * tf.reduce_mean(images, (1, 2))
            session.run(tf.compat.v1.global_variables_initializer())
            signatures = {
                "default": predicts({"images": images}, {"default": vectors}),
                "image_feature_vector": predicts({"images": images}, {"default": vectors, "layer": images}),
            }
            if tags:
                builder.add_meta_graph(tags, signatures)
            else:
                builder.add_meta_graph_and_variables(session, tags, signatures)
    builder.save()
    (folder / "tfhub_module.pb").write_bytes(b"\x08\x03")
    return str(folder)


def predicts(inputs: dict[str, Any], outputs: dict[str, Any]) -> Any:
    import tensorflow as tf

    return tf.compat.v1.saved_model.predict_signature_def(inputs, outputs)


def test_a_module_of_the_first_hub_format_is_used_as_it_infers(first_format: str) -> None:
    extractor = load(config(HubModel(tfhub=first_format)))
    np.testing.assert_allclose(extractor(np.full((5, 16, 16, 3), ORANGE)), [[2, 0.8, 0]] * 5, atol=1e-5)


def test_of_several_outputs_the_default_one_is_the_vector(save: Save, tf: Any) -> None:
    folder = save(lambda images: {"maps": images, "default": tf.reduce_mean(images, (1, 2))})
    assert load(config(HubModel(tfhub=folder))).dimensions == 3


# Errors


@pytest.mark.parametrize("shape", [(1, None, None, 3), (None, 32, 32, 3), (None, 3, 16, 16), (None, 768)])
def test_a_saved_model_that_does_not_take_the_images_of_the_config_is_refused(
    save: Save, tf: Any, shape: tuple[int | None, ...]
) -> None:
    folder = save(lambda images: tf.reshape(images, (-1, 3)), shape=shape)
    wanted = r"its input is \(.*\), not \(None, 16, 16, 3\)\n.*set inception.image_size"
    with pytest.raises(UsageError, match=rf"(?s)does not take batches of such images.*{wanted}"):
        load(config(SavedModel(saved_model=folder)))


@pytest.mark.parametrize("shape", [(32, 32, 3), (16, 16, 1), (768,)])
def test_a_keras_model_that_does_not_take_the_images_of_the_config_is_refused(
    tf: Any, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    path = str(tmp_path / "model.keras")
    tf.keras.Sequential([tf.keras.layers.Input(shape), tf.keras.layers.Flatten()]).save(path)
    with pytest.raises(UsageError, match=r"(?s)does not take batches of such images.*not \(None, 16, 16, 3\)"):
        load(config(KerasModel(keras=path)))


def test_the_defaults_of_the_users_keras_change_no_feature(tf: Any, tmp_path: Path) -> None:
    application, path = networks.keras_application("MobileNetV3Small", 32), str(tmp_path / "model.weights.h5")
    application.save_weights(path)
    model, frames = KerasModel(keras=path, architecture="MobileNetV3Small"), noise(2, 32, 32, 3)
    features = load(config(model, 32))(frames)
    tf.keras.config.set_floatx("float16")
    tf.keras.config.set_image_data_format("channels_first")
    np.testing.assert_array_equal(load(config(model, 32))(frames), features)


def test_a_keras_model_that_takes_bytes_is_refused(tf: Any, tmp_path: Path) -> None:
    """Keras would cast what the preprocessing makes, −1 to 1, to bytes."""
    path, layers = str(tmp_path / "model.keras"), tf.keras.layers
    images = layers.Input((16, 16, 3), dtype="uint8")
    tf.keras.Model(images, layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 255)(images))).save(path)
    with pytest.raises(UsageError, match=r"(?s)does not take floating-point images.*its input is uint8"):
        load(config(KerasModel(keras=path)))


def test_what_tensorflow_says_of_a_model_is_told_without_its_stack(save: Save, tf: Any) -> None:
    folder = save(lambda images: tf.strings.as_string(tf.reduce_mean(images, (1, 2))))
    with pytest.raises(UsageError, match="cannot be loaded and run") as caught:
        load(config(SavedModel(saved_model=folder)))
    assert caught.value.why == "UnimplementedError: Cast string to float is not supported"


def test_a_keras_model_that_was_never_built_is_refused(tf: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "model.keras")
    tf.keras.Sequential([tf.keras.layers.GlobalAveragePooling2D()]).save(path)
    with pytest.raises(UsageError, match="cannot be loaded and run"):
        load(config(KerasModel(keras=path)))


def test_a_maximum_may_begin_with_minus_infinity(save: Save, tf: Any) -> None:
    def largest(images: Any) -> Any:
        padded = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=-np.inf)
        return tf.reduce_mean(tf.nn.max_pool2d(padded, 3, 2, "VALID"), (1, 2))

    features = load(config(SavedModel(saved_model=save(largest))))(noise(3, 16, 16, 3))
    assert np.isfinite(features).all()


def test_a_keras_model_with_code_in_it_is_refused_and_the_code_does_not_run(tf: Any, tmp_path: Path) -> None:
    path, ran = str(tmp_path / "model.keras"), tmp_path / "ran"
    layers = tf.keras.layers
    code = eval(f"lambda x: open({str(ran)!r}, 'w') and x")
    images = layers.Input((16, 16, 3))
    tf.keras.Model(images, layers.Flatten()(layers.Lambda(code, output_shape=(16, 16, 3))(images))).save(path)
    ran.unlink(missing_ok=True)
    with pytest.raises(UsageError, match=r"(?s)cannot be loaded and run.*Lambda"):
        load(config(KerasModel(keras=path)))
    assert not ran.exists()


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
@pytest.mark.parametrize("name", ["other.h5", "other.weights.h5"])
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
