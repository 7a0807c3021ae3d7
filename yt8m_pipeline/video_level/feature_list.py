"""The list of a set of video-level features, which says what they are.

```
DIR/
  features.json      the list
  COMPLETE           the digest of features.json, written last
  video/train/train-00000-of-00004.tfrecord      one for each shard of the dataset, with its videos in its order
  parquet/train/train-00000-of-00004.parquet     the same: video_id, labels, features
  pca/               the PCA of the vectors, in the files of `Pca.save`
  vocabulary.csv     that of the dataset
```
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from yt8m_pipeline.dataset.file_list import ListedFile, compare_with_list, find_list
from yt8m_pipeline.dataset.steps import PcaFacts
from yt8m_pipeline.dataset.verify import Fault
from yt8m_pipeline.video_level.names import Blocks, Source, Space

LIST = "features.json"
"""The file that lists a feature set."""

FORMAT = 1
"""The number of the format of a feature set. A later one is read by later versions alone, and says so."""

PHI = ".phi"
"""The folder of φ while a feature set is made."""

FEATURE = "features"
"""The name of the float list in the records, and of the column of Parquet."""


@dataclass(frozen=True, slots=True)
class FeatureList:
    """What features.json says.

    Attributes:
        format: The number of the format.
        version: The version of this package that wrote it.
        key: A SHA-256 of everything that the bytes of the vectors depend on.
        build_key: That of the dataset.
        feature_space: The fingerprint of the feature space of the dataset.
        frame_pca: The fingerprint of the dataset's PCA; None where it has none.
        source: What the vectors were computed from.
        space: The features of frames that φ was computed of; None of the states of a model.
        blocks: The parts of φ; None of the states of a model.
        top: The number of largest values of each feature; 0 where φ has none.
        described: The number of values of φ, or of the states.
        dimensions: The number of values of a vector.
        pca: What there is to say of the PCA of φ; None of the states of a model, which have none.
        model: The SHA-256 of the weights of the model whose states these are; None of φ.
        warnings: What who uses the vectors should know.
        files: Every file but features.json and COMPLETE.
        more: What later versions say besides.
    """

    format: int
    version: str
    key: str
    build_key: str
    feature_space: str
    frame_pca: str | None
    source: Source
    space: Space | None
    blocks: Blocks | None
    top: int
    described: int
    dimensions: int
    pca: PcaFacts | None
    model: str | None
    warnings: tuple[str, ...]
    files: tuple[ListedFile, ...]
    more: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def find(cls, folder: str) -> "FeatureList | None":
        """The list of the feature set in a folder, or None.

        Raises:
            DataError: it is damaged, or a later version wrote it.
        """
        return find_list(cls, folder, LIST, FORMAT)

    @property
    def identity(self) -> dict[str, Any]:
        """What a model that was trained on these vectors needs of others: the kind of φ and its PCA.

        Vectors from the store and from codes have one identity where they share a PCA, since they estimate the same.
        """
        return {
            "space": self.space and self.space.value,
            "blocks": self.blocks and self.blocks.value,
            "top": self.top,
            "dimensions": self.dimensions,
            "pca": self.pca and self.pca.fingerprint,
            "model": self.model,
        }


def verify_features(folder: str) -> list[Fault]:
    """Compares a set of video-level features with its list, and says what is damaged, missing or not of it.

    Args:
        folder: The folder, which has a features.json.

    Raises:
        DataError: if the list is damaged, or a later version wrote it.
    """
    found = FeatureList.find(folder)
    listed = found.files if found else ()
    return compare_with_list(folder, LIST, {file.path: (file.bytes, file.sha256) for file in listed})
