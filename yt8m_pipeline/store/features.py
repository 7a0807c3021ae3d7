"""The features of one video, as the feature store keeps them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from yt8m_pipeline.data_model import Float64Array


@dataclass(frozen=True, slots=True)
class VideoFeatures:
    """The features of one video, as the feature store keeps them.

    Attributes:
        video_id: The video's id.
        features: float32 or float16, (frames, dimensions), finite; row k belongs to grid time k.
        pts_seconds: float64, (frames,), the presentation time of each frame, not decreasing.

    Raises:
        ValueError: if a shape is another.

    >>> import numpy as np
    >>> VideoFeatures("guitar", np.zeros((3, 2048), np.float16), np.array([0.0, 1.0, 2.0]))
    VideoFeatures('guitar', float16[3, 2048])
    """

    video_id: str
    features: npt.NDArray[np.floating]
    pts_seconds: Float64Array

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or len(self.features) == 0:
            raise ValueError(f"{self.video_id}: features are (frames, dimensions), got {self.features.shape}")
        if self.pts_seconds.shape != (len(self.features),):
            raise ValueError(f"{self.video_id}: {len(self.features)} frames, {self.pts_seconds.shape} pts")

    def __repr__(self) -> str:
        return f"VideoFeatures({self.video_id!r}, {self.features.dtype}{list(self.features.shape)})"
