"""Where the files of a network are, what is in them, and how they come here: no TensorFlow."""

import contextlib
import hashlib
import http.client
import os
import tarfile
import tempfile
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from yt8m_pipeline import files
from yt8m_pipeline.config import HubModel, KerasModel, Model, RandomModel, SavedModel
from yt8m_pipeline.errors import UsageError

IMAGENET_FILE = "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"
IMAGENET_URL = f"https://storage.googleapis.com/tensorflow/keras-applications/inception_v3/{IMAGENET_FILE}"
IMAGENET_MD5 = "bcbd6486424b2319ff4ef7d526e38f63"
"""The weights behind `keras: imagenet`, as tf.keras.applications.InceptionV3 (include_top=False) names and checks
them."""

DOWNLOAD_TIMEOUT_SECONDS = 30.0


def named(model: Model) -> str:
    ((source, value),) = model
    return f"{source}: {value}"


def identity(model: Model) -> dict[str, Any]:
    if isinstance(model, RandomModel):
        return {"source": "random", "network": "InceptionV3", "weights": "he_normal", "seed": model.random}
    ((source, _),) = model
    return {"source": source, "sha256": _sha256(locate(model))}


def locate(model: Model) -> str:
    """The file or folder of a model, downloaded if need be; empty for a model that has none."""
    match model:
        case RandomModel():
            return ""
        case KerasModel(keras="imagenet"):
            return _imagenet_weights()
        case KerasModel(keras=path):
            return _present(path, path, "give an .h5 file of InceptionV3 weights, a .keras file, or `imagenet`")
        case SavedModel(saved_model=folder):
            return _present_folder(folder)
        case HubModel(tfhub=handle):
            return _hub_folder(handle) if handle.startswith(("http://", "https://")) else _present_folder(handle)


def _sha256(path: str) -> str:
    """Of a file; of a folder, that of the list which `sha256sum` prints for its files, sorted by name."""
    if files.exists(path):
        return files.sha256(path)
    listing = "".join(f"{files.sha256(files.join(path, name))}  {name}\n" for name in files.list_files(path))
    return hashlib.sha256(listing.encode()).hexdigest()


def _present_folder(folder: str) -> str:
    return _present(folder, files.join(folder, "saved_model.pb"), "give the folder that holds saved_model.pb")


def _present(path: str, needed: str, fix: str) -> str:
    if not files.exists(needed):
        raise UsageError("The model does not exist", path, f"there is no file {needed}", fix)
    return path


def _imagenet_weights() -> str:
    """Keras' own cached file, where Keras keeps it."""
    home = os.environ.get("KERAS_HOME") or str(Path("~/.keras").expanduser())
    path = files.join(home, "models", IMAGENET_FILE)
    if not files.exists(path):
        with _download(IMAGENET_URL, f"fetch it elsewhere and put it at {path}, or set KERAS_HOME") as response:
            files.write_bytes(path, response.read())
    md5 = hashlib.md5(files.read_bytes(path), usedforsecurity=False).hexdigest()
    if md5 != IMAGENET_MD5:
        raise UsageError(
            "The ImageNet weights are not the published ones", path, f"MD5 {md5}, not {IMAGENET_MD5}", "delete the file"
        )
    return path


def _hub_folder(handle: str) -> str:
    """The folder where tensorflow_hub keeps a handle, filled from its published .tar.gz as tensorflow_hub does."""
    cache = os.environ.get("TFHUB_CACHE_DIR") or files.join(tempfile.gettempdir(), "tfhub_modules")
    folder = files.join(cache, hashlib.sha1(handle.encode(), usedforsecurity=False).hexdigest())
    fix = f"unpack the model into {folder} (TFHUB_CACHE_DIR and the handle's SHA-1), or write `tfhub: FOLDER`"
    if not files.exists(files.join(folder, "saved_model.pb")):
        with _download(f"{handle}?tf-hub-format=compressed", fix) as response:
            _unpack(response, folder)
    return _present(folder, files.join(folder, "saved_model.pb"), fix)


def _unpack(stream: IO[bytes], folder: str) -> None:
    """Fills a folder, all or nothing."""
    parent = Path(folder).parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as temporary:
        unpacked = Path(temporary, "model")
        with tarfile.open(fileobj=stream, mode="r|*") as archive:
            archive.extractall(unpacked, filter="data")
        with contextlib.suppress(OSError):  # another process was first
            unpacked.rename(folder)


@contextlib.contextmanager
def _download(url: str, fix: str) -> Iterator[IO[bytes]]:
    try:
        with urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT_SECONDS) as response:  # noqa: S310
            yield response
    except (OSError, EOFError, http.client.HTTPException, tarfile.TarError, zlib.error) as error:
        raise UsageError("The model cannot be downloaded", url, f"{type(error).__name__}: {error}", fix) from error
