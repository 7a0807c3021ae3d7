"""The files of a network: finding them, fetching them, and telling one network from another by their bytes.

TensorFlow is not imported here.
"""

import contextlib
import hashlib
import http.client
import lzma
import os
import shutil
import tarfile
import tempfile
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, Self

from yt8m_pipeline import files
from yt8m_pipeline.config import IMAGENET, GraphModel, HubModel, KerasModel, Model, RandomModel, SavedModel
from yt8m_pipeline.errors import UsageError

ARCHIVES = (".tar.gz", ".tgz", ".tar")
"""The endings of the names of archives that may hold a SavedModel."""

SAVED_MODEL_FILE = "saved_model.pb"
"""The file that makes a folder a SavedModel."""

IMAGENET_FILE = "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"
IMAGENET_URL = f"https://storage.googleapis.com/tensorflow/keras-applications/inception_v3/{IMAGENET_FILE}"
IMAGENET_MD5 = "bcbd6486424b2319ff4ef7d526e38f63"
"""The weights that `keras: imagenet` means, with the name, address and MD5 that Keras itself uses for them.

They are those of tf.keras.applications.InceptionV3(include_top=False).
"""

MAX_UNPACKED_BYTES = 16 << 30
"""The files in an archive may have this many bytes together. The largest image feature vectors that TensorFlow Hub
offers have 3.7 GB (BiT-M R152x4; Kolesnikov et al. 2020, Big Transfer, Table 4: 937 million parameters of 4 bytes)."""

MAX_MEMBERS = 10_000
"""An archive may have this many files and folders, since tarfile holds a record of each; a SavedModel has a dozen."""

MAX_NAME_BYTES = 1 << 20
"""The extended header of a member, which tarfile reads into memory as a whole, may have this many bytes."""

SPARSE = "it has a sparse file, whose map has no limit"

EXTENDED_HEADERS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, b"L", b"K")
"""The types of the headers that hold long names (POSIX.1-2001, pax, and GNU tar's L and K)."""

DOWNLOAD_TIMEOUT_SECONDS = 30.0
"""How long a server may stay silent during a download before it counts as unreachable."""

UNREADABLE = (OSError, EOFError, ValueError, http.client.HTTPException, tarfile.TarError, zlib.error, lzma.LZMAError)
"""The exceptions that reading a file, a URL or an archive raises when it is missing, unreachable or damaged."""


def named(model: Model) -> str:
    """Names a model as the config does: the source and its value.

    >>> named(SavedModel(saved_model="models/inception"))
    'saved_model: models/inception'
    """
    source = next(iter(type(model).model_fields))
    return f"{source}: {getattr(model, source)}"


def is_program(model: Model) -> bool:
    """Whether the file of a model holds operations that will run, which may read and write files, and not weights only.

    A .keras file holds the layers of a network; Keras' safe mode refuses Python code among them, and no more is known.
    (TensorFlow, "Using TensorFlow Securely": models are programs.)

    >>> is_program(SavedModel(saved_model="models/inception")), is_program(KerasModel(keras="imagenet"))
    (True, False)
    """
    return not isinstance(model, RandomModel | KerasModel) or (
        isinstance(model, KerasModel) and model.keras.endswith(".keras")
    )


def identity(model: Model) -> dict[str, Any]:
    """Describes what a network is: its source and the SHA-256 of its bytes, but not the place where they are.

    Raises:
        UsageError: as `locate`.
    """
    if isinstance(model, RandomModel):
        return {"source": "random", "network": "InceptionV3", "weights": "he_normal", "seed": model.random}
    architecture = {"architecture": model.architecture} if isinstance(model, KerasModel) else {}
    source = next(iter(type(model).model_fields))
    return {"source": source, **architecture, "sha256": model_sha256(locate(model))}


def locate(model: Model) -> str:
    """Returns the local file or folder of a model, and fetches it first where it is not local.

    Unpacked archives and files from a bucket are kept in the user's cache (`$XDG_CACHE_HOME/yt8m_pipeline`), in a
    folder that is named by the SHA-256 of its content. For a model without a file, `random`, the path is empty.

    Raises:
        UsageError: if the model is missing, cannot be fetched, or does not have the SHA-256 that the config names.
    """
    match model:
        case RandomModel():
            return ""
        case KerasModel(keras=path) if path == IMAGENET:
            found = _imagenet_weights()
        case KerasModel(keras=path):
            found = _file(path, "give an .h5 file of weights, a .keras file, or `imagenet`")
        case GraphModel(graph=path):
            found = _file(path, "give the file classify_image_graph_def.pb")
        case SavedModel(saved_model=place):
            found = _folder(place)
        case HubModel(tfhub=handle):
            found = _hub_folder(handle) if handle.startswith(("http://", "https://")) else _folder(handle)
    return _checked(found, model.sha256)


def _checked(path: str, expected: str | None) -> str:
    if expected and (found := model_sha256(path)) != expected:
        raise UsageError(
            what="The model is not the one that the config names",
            where=path,
            why=f"its SHA-256 is {found}, not {expected}",
            fix="give the right model, or correct inception.model.sha256",
        )
    return path


def model_sha256(path: str) -> str:
    """The SHA-256 of a file, or of the list that `sha256sum` prints for the files of a folder, sorted by name."""
    if files.exists(path):
        return files.sha256(path)
    listing = "".join(f"{files.sha256(files.join(path, name))}  {name}\n" for name in files.list_files(path))
    return hashlib.sha256(listing.encode()).hexdigest()


def _file(uri: str, fix: str) -> str:
    _require(uri, uri, fix)
    if files.is_local(uri):
        return files.resolve(uri)[1]
    with _scratch(uri) as folder:
        name = PurePosixPath(uri).name
        _copy(uri, folder / name)
        return files.join(_keep(folder), name)


def _folder(place: str) -> str:
    """The local folder of a SavedModel, which is fetched from a bucket or unpacked from an archive where need be."""
    fix = "give the folder that holds saved_model.pb, or a .tar.gz of it"
    if place.endswith(ARCHIVES):
        _require(place, place, fix)
        return _unpacked(place)
    _require(place, files.join(place, SAVED_MODEL_FILE), fix)
    if files.is_local(place):
        return files.resolve(place)[1]
    with _scratch(place) as folder:
        for name in files.list_files(place):
            _copy(files.join(place, name), folder / name)
        return _keep(folder)


def _require(path: str, needed: str, fix: str) -> None:
    with _fetching("The model cannot be read", needed, "check the path, the network and the permissions"):
        present = files.exists(needed)
    if not present:
        raise UsageError(what="The model does not exist", where=path, why=f"there is no file {needed}", fix=fix)


def _unpacked(archive: str) -> str:
    with _scratch(archive) as folder:
        with files.open_read(archive) as stream:
            _unpack(stream, folder)
        found = [path.parent for path in folder.rglob(SAVED_MODEL_FILE)]
        if len(found) != 1:
            raise UsageError(
                what="The archive does not hold one SavedModel",
                where=archive,
                why=f"it has {len(found)} files named {SAVED_MODEL_FILE}",
                fix="give a .tar.gz of the folder that holds saved_model.pb",
            )
        return _keep(found[0])


class _Member(tarfile.TarInfo):
    """A member of an archive, of whose headers none takes much memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        if member.type in EXTENDED_HEADERS and member.size > MAX_NAME_BYTES:
            raise tarfile.ReadError(f"it has a header of {member.size:,} bytes; {MAX_NAME_BYTES:,} are the most")
        if member.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError(SPARSE)
        return member

    def _proc_gnusparse_10(self, *_: object) -> None:
        """What tarfile calls for a map that stands before the file's bytes, as pax archives of GNU tar have it."""
        raise tarfile.ReadError(SPARSE)


def _unpack(stream: IO[bytes], folder: Path) -> None:
    """Unpacks an archive, of which nothing gets outside of the folder and no more than MAX_UNPACKED_BYTES in it.

    Raises:
        tarfile.TarError: if it would.
    """
    unpacked = members = 0

    def within_limits(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
        nonlocal unpacked, members
        unpacked, members = unpacked + abs(member.size), members + 1
        if unpacked > MAX_UNPACKED_BYTES or members > MAX_MEMBERS:
            limits = f"{MAX_UNPACKED_BYTES:,} bytes in {MAX_MEMBERS:,} files"
            raise tarfile.ReadError(f"it has {unpacked:,} bytes in {members:,} files or more; {limits} are the most")
        return tarfile.data_filter(member, path)

    with tarfile.open(fileobj=stream, mode="r|*", tarinfo=_Member) as archive:
        archive.extractall(folder, filter=within_limits)  # noqa: S202  it calls tarfile.data_filter


def _copy(uri: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.open_read(uri) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target)


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(home, "yt8m_pipeline", "models")


@contextlib.contextmanager
def _scratch(source: str) -> Iterator[Path]:
    """An empty folder in the cache, to put into it what is fetched from a source. It is deleted after the block."""
    fix = "check the file and its permissions, free space, or set XDG_CACHE_HOME to a folder with space"
    with _fetching("The model cannot be fetched", source, fix):
        _cache().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_cache()) as temporary:
            folder = Path(temporary, "model")
            folder.mkdir()
            yield folder


def _keep(folder: Path) -> str:
    """Moves a folder into the cache, where its name is the SHA-256 of what is in it, and returns its path.

    A folder that is there already is replaced if it is damaged: a power failure may have cut its files short.
    """
    place = _cache() / model_sha256(str(folder))
    if place.is_dir() and model_sha256(str(place)) != place.name:
        shutil.rmtree(place)
    _move(folder, place)
    return str(place)


def _move(folder: Path, place: Path) -> None:
    """Renames a folder, so that its new name holds all of it or nothing. Another process may have done so first."""
    try:
        folder.rename(place)
    except OSError:
        if not place.is_dir():
            raise


def _imagenet_weights() -> str:
    """The file in Keras' own cache, which is downloaded there if it is missing."""
    home = os.environ.get("KERAS_HOME") or str(Path("~/.keras").expanduser())
    path = files.join(home, "models", IMAGENET_FILE)
    if not files.exists(path):
        with _download(IMAGENET_URL, f"fetch it elsewhere and put it at {path}, or set KERAS_HOME") as response:
            files.write_bytes(path, response.read())
    md5 = hashlib.md5(files.read_bytes(path), usedforsecurity=False).hexdigest()
    if md5 != IMAGENET_MD5:
        raise UsageError(
            what="The ImageNet weights are not the published ones",
            where=path,
            why=f"MD5 {md5}, not {IMAGENET_MD5}",
            fix="delete the file",
        )
    return path


def _hub_folder(handle: str) -> str:
    """The folder in which tensorflow_hub caches a handle. It is filled as that library does, from a .tar.gz."""
    cache = os.environ.get("TFHUB_CACHE_DIR") or files.join(tempfile.gettempdir(), "tfhub_modules")
    folder = Path(cache, hashlib.sha1(handle.encode(), usedforsecurity=False).hexdigest())
    needed = str(folder / SAVED_MODEL_FILE)
    fix = f"unpack the model into {folder} (TFHUB_CACHE_DIR and the handle's SHA-1), or write `tfhub: FOLDER`"
    if not files.exists(needed):
        with _download(f"{handle}?tf-hub-format=compressed", fix) as response:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
                unpacked = Path(temporary, "model")
                _unpack(response, unpacked)
                _move(unpacked, folder)
    _require(str(folder), needed, fix)
    return str(folder)


@contextlib.contextmanager
def _download(url: str, fix: str) -> Iterator[IO[bytes]]:
    with (
        _fetching("The model cannot be downloaded", url, fix),
        urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT_SECONDS) as response,  # noqa: S310
    ):
        yield response


@contextlib.contextmanager
def _fetching(what: str, where: str, fix: str) -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        raise UsageError(
            what=what, where=where, why=f"{type(error).__name__}: {' '.join(str(error).split())}", fix=fix
        ) from error
