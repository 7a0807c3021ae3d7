"""What a site has of the uris of the videos. The command line reads this module, which imports no heavy library."""

from enum import StrEnum


class Media(StrEnum):
    """Links to the videos, and players that load one when it is asked for; or no uri at all."""

    URIS = "uris"
    NONE = "none"
