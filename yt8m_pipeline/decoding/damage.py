"""How much damage the config allows a video. Builds ask this for stored videos too, so FFmpeg is not imported here."""

from importlib.metadata import version
from typing import Any

from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.places import Places

MEASURING_REVISION = 2
"""The number of the way in which durations are measured; it changes when the same file may get another duration.
1: an AVI was shorter by the packets that only its index has."""


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


def duration_conditions(decoding: Decoding, places: Places) -> dict[str, Any]:
    """Returns what decides how long a video is, and whether it can be measured, as values that JSON knows.

    The limits of time and memory decide only which failures pass by themselves, and those are tried again in any case.

    Args:
        decoding: The policies. How damage is met decides where a damaged video ends.
        places: What rows may name. A video that may lie anywhere is as long for all.
    """
    limits = {"timeout_seconds", "timeout_seconds_per_frame", "memory_limit_mib", "min_decoded_fraction", "sandbox"}
    decoder = {"decoder": f"av {version('av').split('.')[0]}", "revision": MEASURING_REVISION}
    within = {} if places.outside_root else {"within": places.root}
    return {**decoding.model_dump(mode="json", exclude=limits), **decoder, **within}
