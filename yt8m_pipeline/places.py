"""The places that a row of a table may name. A row is a stranger's word, and this program reads with its user's rights.

A row names a local path, or an object in a bucket by `gs://bucket/object` or `s3://bucket/object`, and nothing else.
Every other URI is refused by its text alone: pyarrow and Beam take the address of a server from a URI's query, user
part or port, and would send it their user's credentials; some of their clients start other programs or end the process.
The options of a filesystem come from the config or the environment. (OWASP, Server-Side Request Forgery Prevention
Cheat Sheet: a list of what is allowed, not of what is forbidden.)

The decoding child process imports this module, which therefore imports no heavy library.

>>> places = Places("corpus", schemes=("gs",))
>>> places.absolute("videos/park-01.mp4")
'corpus/videos/park-01.mp4'
>>> places.refusal("gs://bucket/park-01.mp4?endpoint_override=192.0.2.1")
"an object's name has a '?': no row gives a query, a fragment or an escape"
"""

import os
import re
import unicodedata
from dataclasses import dataclass

SCHEMES = ("gs", "s3")
"""The schemes of the object stores that a config may allow rows to name."""

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""The control characters (Unicode category Cc). They end, split or hide a name in a log, a request or a C library."""

BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
"""The name of a bucket: 3 to 222 small letters, digits, dots, hyphens and underscores, as Google Cloud Storage and
Amazon S3 have it ("Bucket names"). No user part, port or foreign letter fits it."""

QUERY = re.compile(r"[?#%\\]")
"""The characters of an object's name that a URI would read as a query, a fragment or an escape, or turn round."""

SYSTEM_FOLDERS = ("/proc", "/sys")
"""The folders whose files are the kernel's: what they hold is about processes and the machine, such as passwords in the
environment of a program, and reading some of them changes something."""


VIDEO_ENDINGS = frozenset(
    f".{ending}"
    for endings in (
        "3g2 3gp f4v m4v mov mp4 qt",
        "mkv webm",
        "flv",
        "avi divx",
        "m2ts mts ts",
        "mpe mpeg mpg vob",
        "ogg ogm ogv",
        "asf wmv",
    )
    for ending in endings.split()
)
"""The endings of the names of video files, in small letters, for the containers in `decoding.demuxers`. They decide
only which files of a folder are taken for videos; what a file holds is told by its bytes."""


def has_video_ending(name: str) -> bool:
    """Whether a name has the ending of a video.

    >>> has_video_ending("park/Dog.MP4"), has_video_ending("mp4")
    (True, False)
    """
    return os.path.splitext(name)[1].lower() in VIDEO_ENDINGS


def without_video_ending(name: str) -> str:
    """A name without the ending of a video, if it has one.

    >>> without_video_ending("park/Dog.MP4"), without_video_ending("v1.5")
    ('park/Dog', 'v1.5')
    """
    return os.path.splitext(name)[0] if has_video_ending(name) else name


TABLE_ENDINGS = frozenset((".csv", ".json", ".jsonl", ".ndjson", ".parquet", ".tsv", ".txt"))
"""The endings of the names of tables and annotation files, in small letters; `.gz` or `.gzip` may follow."""


def has_table_ending(name: str) -> bool:
    """Whether a name has the ending of a table or an annotation file.

    >>> has_table_ending("videos.CSV.gz"), has_table_ending("videos/dog.mp4")
    (True, False)
    """
    plain = name.lower().removesuffix(".gz").removesuffix(".gzip")
    return os.path.splitext(plain)[1] in TABLE_ENDINGS


@dataclass(frozen=True, slots=True)
class Places:
    """What the rows of one videos table may name.

    Attributes:
        root: The folder that relative paths are relative to, local or a URI that the config names.
        schemes: The schemes that rows may name; some of SCHEMES.
        outside_root: Whether rows may name what is not in the root folder.
    """

    root: str = "."
    schemes: tuple[str, ...] = SCHEMES
    outside_root: bool = True

    def absolute(self, uri: str) -> str:
        """The place that a row names: the uri as it is, or below the root where it is a relative path.

        Raises:
            ValueError: if the uri is refused. Rows are divided by `refusal` when they are read.
        """
        why = self.refusal(uri)
        if why:
            raise ValueError(f"{uri!r} is a place that no row may name: {why}")
        is_whole = "://" in uri or uri.startswith("/")
        return uri if is_whole else f"{self.root.rstrip('/')}/{uri}"

    def refusal(self, uri: str) -> str | None:
        """Why a row may not name a place, from the text of its uri alone; None where it may.

        The answer is the same for a uri and for what `absolute` makes of it.
        """
        if CONTROL.search(uri):
            return "it has a control character"
        if "://" not in uri:
            return self._refusal_of_path(uri)
        inside = self._within_root(uri)
        if inside is not None:
            return _refusal_of_name(inside)
        return self._refusal_of_object(uri)

    def encloses(self, real_path: str) -> bool:
        """Whether a local path without symbolic links may be read: it is in the root folder, or need not be."""
        return self.outside_root or is_below(real_path, os.path.realpath(self.root))

    def _refusal_of_path(self, path: str) -> str | None:
        if "://" in unicodedata.normalize("NFKC", path):
            return "it has letters that look like those of a URI"
        if "://" not in self.root:
            return None
        if path.startswith("/"):
            return None if self.outside_root else "it is outside tables.root"
        return _refusal_of_name(path)

    def _within_root(self, uri: str) -> str | None:
        root = self.root.rstrip("/") + "/"
        return uri.removeprefix(root) if "://" in root and uri.startswith(root) else None

    def _refusal_of_object(self, uri: str) -> str | None:
        scheme, _, rest = uri.partition("://")
        bucket, _, name = rest.partition("/")
        if scheme not in self.schemes:
            allowed = " or ".join(["a path", *(f"{scheme}://" for scheme in self.schemes)])
            return f"a row may name {allowed}, and nothing else (tables.uri_schemes)"
        if not BUCKET.fullmatch(bucket):
            return "between :// and the next / there is not the name of a bucket alone"
        if not self.outside_root:
            return "it is outside tables.root"
        return _refusal_of_name(name)


ANYWHERE = Places()
"""Every place that some config lets a row name."""


def _refusal_of_name(name: str) -> str | None:
    """Why a text is not accepted as the name of an object; None where it is."""
    sign = QUERY.search(name)
    if sign:
        return f"an object's name has a {sign.group()!r}: no row gives a query, a fragment or an escape"
    if "://" in unicodedata.normalize("NFKC", name):
        return "an object's name has a URI in it"
    if name.startswith("/") or not name or {".", ".."} & set(name.split("/")):
        return "an object's name is empty or has an empty first part, '.' or '..'"
    return None


def is_below(path: str, folder: str) -> bool:
    """Whether a path is a folder or in it, by their texts; both are absolute.

    >>> is_below("/proc/self/environ", "/proc"), is_below("/process/a.mp4", "/proc")
    (True, False)
    """
    return path == folder or path.startswith(folder.rstrip("/") + "/")
