"""What a coded picture depends on, and when that cannot be told.

A picture reads *slots* and writes slots; it depends on the pictures that last wrote what it reads. Only AV1 names its
eight slots; for the others one slot is the chain of all reference pictures.
"""

from dataclasses import dataclass
from typing import Protocol, TypeAlias

Slots: TypeAlias = frozenset[int]

NO_SLOT: Slots = frozenset()
ALL_SLOTS: Slots = frozenset(range(8))


class Unplannable(Exception):
    """The film must be decoded plainly, from its start: its packets do not tell what can be left out."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A coded picture among the others.

    Attributes:
        reads: The slots that it depends on.
        writes: The slots that hold it afterwards; none: no other picture depends on it.
        is_entry: Decoding can begin here: it depends on nothing, and so do, but for itself and each other, all
            pictures that follow it in decoding order and in presentation order.
        is_shown: Whether it is ever on screen.
    """

    reads: Slots
    writes: Slots
    is_entry: bool = False
    is_shown: bool = True


ENTRY = Picture(NO_SLOT, ALL_SLOTS, is_entry=True)
REFERENCE = Picture(ALL_SLOTS, ALL_SLOTS)
DISPOSABLE = Picture(ALL_SLOTS, NO_SLOT)
HIDDEN = Picture(ALL_SLOTS, ALL_SLOTS, is_shown=False)
ALONE = Picture(NO_SLOT, NO_SLOT)


class Coding(Protocol):
    """Reads the pictures of one stream, in decoding order."""

    def read(self, data: bytes, *, is_keyframe: bool) -> Picture:
        """The picture (or, of AV1, all pictures) in one packet.

        Args:
            data: The packet's bytes.
            is_keyframe: What the container says of it.

        Raises:
            Unplannable: if its kind is one for which nothing can be left out.
        """


class ParameterSets:
    """What a stream's headers say for all pictures that follow. One that comes later than the first picture must be
    the one in force: a change would be lost with a picture that is left out."""

    def __init__(self) -> None:
        self._in_force: dict[tuple[int, int], bytes] = {}
        self._is_closed = False

    def close(self) -> None:
        """The first picture has come."""
        self._is_closed = True

    def note(self, parameters: bytes, kind: int = 0, number: int = 0) -> None:
        """Takes parameters up, in place of those of the same kind and number.

        Raises:
            Unplannable: if they are others, and pictures have come before.
        """
        if self._is_closed and self._in_force.get((kind, number)) != parameters:
            raise Unplannable("its parameters change")
        self._in_force[kind, number] = parameters


def refuse_unannounced_bidirectional(*, is_reordered: bool) -> None:
    """Is called at a picture that others follow in decoding order and precede on screen, as a rule.

    Raises:
        Unplannable: if the decoder does not know that: it shows pictures as they come until it meets this one.
    """
    if not is_reordered:
        raise Unplannable("it has B-pictures, of which its headers do not tell")
