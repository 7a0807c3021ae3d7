"""How much damage the config allows a video. Builds ask this for stored videos too, so FFmpeg is not imported here."""

from typing import Any

from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.config import Decoding


def conditions(decoding: Decoding) -> dict[str, Any]:
    """Returns the settings that decide whether a video can be decoded, as values that JSON knows."""
    return decoding.model_dump(mode="json", exclude={"min_decoded_fraction"})


def check_damage(decoded_fraction: float, decoding: Decoding) -> None:
    """Rejects a video of which too little is sound.

    Raises:
        VideoRejected: TOO_DAMAGED, if a smaller share of the video's frames is sound than the config asks for.
    """
    if decoded_fraction < decoding.min_decoded_fraction:
        detail = (
            f"{decoded_fraction:g} of its grid times have a sound frame, "
            f"min_decoded_fraction asks for {decoding.min_decoded_fraction:g}"
        )
        raise VideoRejected(DropReason.TOO_DAMAGED, detail, decoded_fraction)
