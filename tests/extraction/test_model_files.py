"""Where the files of models are found, what they are known by, and how they come here."""

import gzip
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

import pytest

from tests.extraction.models import config
from tests.faulty_bucket import BUCKET, bucket_of_this_process
from yt8m_pipeline import files
from yt8m_pipeline.config import GraphModel, HubModel, Inception, KerasModel, Model, SavedModel
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.extraction import model_files
from yt8m_pipeline.extraction.inception import describe, load
from yt8m_pipeline.extraction.model_files import identity, locate

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder that looks like a SavedModel from outside."""
    folder = tmp_path / "saved"
    for name in ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "yt8m_pipeline" / "models"


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose files `upload` puts into gs://bucket."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    with bucket_of_this_process(monkeypatch):
        yield folder


def upload(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            files.write_bytes(f"gs://{BUCKET}/{path.relative_to(folder)}", path.read_bytes())


def archive(folder: Path, path: Path, inside: str = ".", mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        tar.add(folder, inside)
    return path


def contents(folder: str) -> dict[str, bytes]:
    paths = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


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


# The hub, and the weights of Keras


def test_a_hub_model_may_be_a_folder(mean_colour: str) -> None:
    assert load(config(HubModel(tfhub=mean_colour))).dimensions == 3


def test_a_hub_handle_is_found_where_tensorflow_hub_caches_it(
    mean_colour: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow_hub

    handle = f"{NOWHERE}/inception_v3/feature_vector/5"
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    Path(mean_colour).rename(tmp_path / hashlib.sha1(handle.encode()).hexdigest())
    assert locate(HubModel(tfhub=handle)) == tensorflow_hub.resolve(handle)
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
    folder = locate(model)
    pages.clear()
    assert locate(model) == folder
    assert model_files.model_sha256(folder) == model_files.model_sha256(mean_colour)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [Path(folder).name]


def test_imagenet_weights_are_downloaded_into_keras_own_cache_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: tuple[str, dict[str, bytes]]
) -> None:
    address, pages = web
    pages["/weights"] = b"weights"
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(model_files, "IMAGENET_URL", f"{address}/weights")
    monkeypatch.setattr(model_files, "IMAGENET_MD5", hashlib.md5(b"weights").hexdigest())
    path = locate(KerasModel(keras="imagenet"))
    pages.clear()
    assert locate(KerasModel(keras="imagenet")) == path
    assert Path(path).read_bytes() == b"weights"
    assert Path(path).parent == tmp_path / "models"


def test_imagenet_is_the_file_that_keras_names(tf: Any) -> None:
    source = Path(sys.modules[tf.keras.applications.InceptionV3.__module__].__file__ or "").read_text()
    assert f'file_hash="{model_files.IMAGENET_MD5}"' in source
    assert model_files.IMAGENET_FILE in source


# Archives and buckets


@pytest.mark.parametrize("source", [SavedModel, HubModel])
@pytest.mark.parametrize("inside", [".", "model", "deep/er"])
@pytest.mark.parametrize(("ending", "mode"), [("tar.gz", "w:gz"), ("tgz", "w:gz"), ("tar", "w")])
def test_an_archive_is_the_folder_in_it(
    saved: Path, tmp_path: Path, cache: Path, *, source: Callable[..., Model], inside: str, ending: str, mode: str
) -> None:
    field = next(iter(source.model_fields))  # type: ignore[attr-defined]
    packed = archive(saved, tmp_path / f"model.{ending}", inside, mode)
    found = locate(source(**{field: str(packed)}))
    assert contents(found) == contents(str(saved))
    assert identity(source(**{field: str(packed)})) == identity(source(**{field: str(saved)}))
    assert [path.name for path in cache.iterdir()] == [Path(found).name]


def test_a_folder_in_a_bucket_is_kept_by_its_content(saved: Path, bucket: Path, cache: Path) -> None:
    shutil.copytree(saved, bucket / "model")
    upload(bucket)
    model = SavedModel(saved_model="gs://bucket/model")
    first = locate(model)
    assert contents(first) == contents(str(saved))
    assert locate(model) == first
    assert identity(model) == identity(SavedModel(saved_model=str(saved)))
    (bucket / "model" / "saved_model.pb").write_text("another")
    upload(bucket)
    assert contents(locate(model)) == contents(str(bucket / "model"))
    assert contents(first) == contents(str(saved))
    assert len(list(cache.iterdir())) == 2


def test_an_archive_in_a_bucket_is_the_folder_in_it(saved: Path, bucket: Path, cache: Path) -> None:
    archive(saved, bucket / "model.tar.gz")
    upload(bucket)
    assert contents(locate(HubModel(tfhub="gs://bucket/model.tar.gz"))) == contents(str(saved))
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("damage", [b"", b"another"])
def test_a_damaged_folder_of_the_cache_is_replaced(saved: Path, bucket: Path, cache: Path, damage: bytes) -> None:
    archive(saved, bucket / "model.tar.gz")
    upload(bucket)
    model = SavedModel(saved_model="gs://bucket/model.tar.gz")
    Path(locate(model), "variables", "variables.index").write_bytes(damage)
    assert contents(locate(model)) == contents(str(saved))
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize(
    "model",
    [
        KerasModel(keras="gs://bucket/w.weights.h5"),
        KerasModel(keras="gs://bucket/w.keras"),
        GraphModel(graph="gs://bucket/w.pb"),
    ],
)
def test_a_file_in_a_bucket_keeps_its_name(bucket: Path, cache: Path, model: Model) -> None:
    name = str(next(iter(model))[1]).rpartition("/")[2]
    (bucket / name).write_bytes(b"weights")
    upload(bucket)
    found = Path(locate(model))
    assert (found.name, found.read_bytes()) == (name, b"weights")
    assert found.is_relative_to(cache)
    assert identity(model)["sha256"] == hashlib.sha256(b"weights").hexdigest()


def test_a_file_uri_is_a_local_path(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    path.touch()
    assert locate(KerasModel(keras=path.as_uri())) == str(path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        gzip.compress(b"text", mtime=0),
        gzip.compress(b"text" * 1000, mtime=0)[:-20],
        b"BZh9text",
        b"\xfd7zXZ\0text",
    ],
)
def test_an_archive_that_is_none_is_refused_and_leaves_nothing(tmp_path: Path, cache: Path, data: bytes) -> None:
    path = tmp_path / "model.tar.gz"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=rf"(?s)model cannot be fetched.*{path}.*Error: .*check the file"):
        locate(SavedModel(saved_model=str(path)))
    assert list(cache.iterdir()) == []


def test_a_truncated_archive_is_refused_and_leaves_nothing(saved: Path, tmp_path: Path, cache: Path) -> None:
    path = archive(saved, tmp_path / "model.tar.gz")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UsageError, match="model cannot be fetched"):
        locate(SavedModel(saved_model=str(path)))
    assert list(cache.iterdir()) == []


@pytest.mark.usefixtures("cache")
def test_an_archive_that_reaches_outside_is_refused(tmp_path: Path) -> None:
    path, member = tmp_path / "model.tar", tarfile.TarInfo("../../../escaped")
    with tarfile.open(path, "w") as tar:
        tar.addfile(member)
    with pytest.raises(UsageError, match=r"(?s)model cannot be fetched.*outside"):
        locate(SavedModel(saved_model=str(path)))
    assert not list(tmp_path.rglob("escaped"))


def many(tar: tarfile.TarFile) -> None:
    for number in range(60):
        tar.addfile(tarfile.TarInfo(f"{number}"))


def large(tar: tarfile.TarFile) -> None:
    member = tarfile.TarInfo("saved_model.pb")
    member.size = 3 << 20
    tar.addfile(member, io.BytesIO(bytes(member.size)))


def long_name(tar: tarfile.TarFile) -> None:
    tar.addfile(tarfile.TarInfo("x" * (2 << 20)))


def sparse(tar: tarfile.TarFile) -> None:
    member = tarfile.TarInfo("saved_model.pb")
    member.type = tarfile.GNUTYPE_SPARSE
    tar.addfile(member)


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize(
    ("add", "why"),
    [
        (many, "files or more"),
        (large, "2,097,152 bytes in 50 files are the most"),
        (long_name, "it has a header of"),
        (sparse, "it has a sparse file"),
    ],
)
def test_an_archive_that_would_unpack_to_too_much_is_refused_and_leaves_nothing(
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    add: Callable[[tarfile.TarFile], None],
    why: str,
    kind: int,
) -> None:
    monkeypatch.setattr(model_files, "MAX_UNPACKED_BYTES", 2 << 20)
    monkeypatch.setattr(model_files, "MAX_MEMBERS", 50)
    path = tmp_path / "model.tar.gz"
    with tarfile.open(path, "w:gz", format=kind) as tar:
        add(tar)
    assert path.stat().st_size < 1 << 14
    with pytest.raises(UsageError, match=rf"(?s)model cannot be fetched.*{why}"):
        locate(SavedModel(saved_model=str(path)))
    assert list(cache.iterdir()) == []


def test_an_archive_with_a_map_of_a_sparse_file_is_refused(tmp_path: Path, cache: Path) -> None:
    """The map stands before the file's bytes, and says itself how long it is."""
    member = tarfile.TarInfo("saved_model.pb")
    member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1"}
    data = b"4000000000\n" + b"0\n" * 10_000
    member.size = len(data)
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(member, io.BytesIO(data))
    with pytest.raises(UsageError, match="it has a sparse file, whose map has no limit"):
        locate(SavedModel(saved_model=str(tmp_path / "model.tar.gz")))
    assert list(cache.iterdir()) == []


def test_an_archive_of_two_models_or_of_none_is_refused(saved: Path, tmp_path: Path, cache: Path) -> None:
    two, none = tmp_path / "two", tmp_path / "none"
    for name in ("a", "b"):
        shutil.copytree(saved, two / name)
    none.mkdir()
    for folder, number in ((two, 2), (none, 0)):
        with pytest.raises(UsageError, match=rf"(?s)not hold one SavedModel.*has {number} files named saved_model.pb"):
            locate(HubModel(tfhub=str(archive(folder, tmp_path / "model.tgz"))))
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named_with_the_setting(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UsageError, match=r"(?s)model cannot be fetched.*Error: .*set XDG_CACHE_HOME to a folder"):
        locate(SavedModel(saved_model=str(archive(saved, tmp_path / "model.tgz"))))


@pytest.mark.parametrize("uri", ["floppy://a/model", "floppy://a/model.tar.gz"])
def test_a_place_of_an_unknown_kind_is_refused(uri: str) -> None:
    with pytest.raises(UsageError, match=r"(?s)model cannot be read.*floppy.*check the path"):
        locate(HubModel(tfhub=uri))


# Digests


def models_of(folder: Path, sha256: str) -> Iterator[Model]:
    weights = folder / "weights"
    weights.write_bytes(b"weights")
    yield KerasModel(keras=str(weights), sha256=sha256)
    yield GraphModel(graph=str(weights), sha256=sha256)


def test_a_file_of_the_named_digest_is_taken_and_another_refused_with_both(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()
    for model in models_of(tmp_path, digest):
        assert locate(model) == str(tmp_path / "weights")
    for model in models_of(tmp_path, "0" * 64):
        with pytest.raises(
            UsageError, match=rf"(?s)not the one that the config names.*is {digest}, not {'0' * 64}\n.*right model"
        ):
            identity(model)


def test_a_folder_and_its_archive_have_one_digest(saved: Path, tmp_path: Path, cache: Path) -> None:
    digest = identity(SavedModel(saved_model=str(saved)))["sha256"]
    packed = str(archive(saved, tmp_path / "model.tgz"))
    for place in (str(saved), packed):
        locate(SavedModel(saved_model=place, sha256=digest))
        locate(HubModel(tfhub=place, sha256=digest))
    (saved / "variables" / "variables.index").write_text("changed")
    with pytest.raises(UsageError, match="not the one that the config names"):
        locate(SavedModel(saved_model=str(saved), sha256=digest))
    assert cache.exists()


@pytest.mark.parametrize("act", [describe, load])
def test_a_wrong_digest_stops_the_plan_and_the_loading(act: Callable[[Inception], Any], saved: Path) -> None:
    with pytest.raises(UsageError, match="not the one that the config names"):
        act(config(SavedModel(saved_model=str(saved), sha256="0" * 64)))


# What a model is known by


def test_a_file_is_described_by_its_bytes_and_not_by_its_name(tmp_path: Path) -> None:
    one, two = tmp_path / "one.h5", tmp_path / "two.h5"
    one.write_bytes(b"weights")
    two.write_bytes(b"weights")
    described = identity(KerasModel(keras=str(one)))
    digest = hashlib.sha256(b"weights").hexdigest()
    assert described == {"source": "keras", "architecture": "InceptionV3", "sha256": digest}
    assert identity(KerasModel(keras=str(two))) == described
    assert identity(KerasModel(keras=str(two), architecture="VGG16")) != described
    two.write_bytes(b"weightz")
    assert identity(KerasModel(keras=str(two))) != described


def test_a_folder_is_described_by_the_sha256sum_list_of_its_files(tmp_path: Path) -> None:
    for name in ("variables/b", "saved_model.pb", "variables/a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    command = "find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
    listed = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True).stdout[:64]
    assert identity(SavedModel(saved_model=str(tmp_path))) == {"source": "saved_model", "sha256": listed}


# Errors


@pytest.mark.parametrize("act", [describe, load])
@pytest.mark.parametrize(
    ("model", "needed"),
    [
        (KerasModel(keras="/none/w.h5"), "/none/w.h5"),
        (SavedModel(saved_model="/none"), "/none/saved_model.pb"),
        (HubModel(tfhub="/none"), "/none/saved_model.pb"),
        (HubModel(tfhub="/none.tar.gz"), "/none.tar.gz"),
        (GraphModel(graph="/none.pb"), "/none.pb"),
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
