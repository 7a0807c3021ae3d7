"""What a coded picture depends on, and when that cannot be told.

A picture reads *slots* and writes slots; it depends on the pictures that last wrote what it reads. Only AV1 names its
eight slots. In the other codecs all reference pictures form one chain: each reads and writes all slots. A B-frame that
is no reference reads all slots and writes none, so nothing depends on it and it can be left out.
"""

from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

Slots: TypeAlias = frozenset[int]

NO_SLOT: Slots = frozenset()
ALL_SLOTS: Slots = frozenset(range(8))


class Unplannable(Exception):
    """The packets of a video do not tell what can be left out: it must be decoded plainly, from its start."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A coded picture among the others.

    Attributes:
        reads: The slots that the picture depends on.
        writes: The slots that hold the picture afterwards; none: no other picture depends on it.
        is_entry: Whether decoding can begin here. An entry depends on nothing, and the pictures that follow it both in
            decoding order and in presentation order depend on nothing but the entry and each other.
        is_shown: Whether the picture is ever on screen.
        order: Where the picture stands in the order in which a decoder puts pictures out: the number of its coded
            sequence and its picture order count; None where its headers do not tell.
    """

    reads: Slots
    writes: Slots
    is_entry: bool = False
    is_shown: bool = True
    order: tuple[int, int] | None = field(default=None, compare=False)

    def at(self, order: tuple[int, int] | None) -> "Picture":
        """The same picture with an order."""
        return self if order is None else Picture(self.reads, self.writes, self.is_entry, self.is_shown, order)


ENTRY = Picture(NO_SLOT, ALL_SLOTS, is_entry=True)
"""A keyframe at which decoding can begin."""

REFERENCE = Picture(ALL_SLOTS, ALL_SLOTS)
"""A picture on which the later ones depend: a P-frame, or a B-frame that is a reference. It is the safe guess."""

DISPOSABLE = Picture(ALL_SLOTS, NO_SLOT)
"""A B-frame, or another picture, on which no other picture depends."""

HIDDEN = Picture(ALL_SLOTS, ALL_SLOTS, is_shown=False)
"""A reference picture that is never on screen."""

ALONE = Picture(NO_SLOT, NO_SLOT)
"""A picture that neither depends on others nor is depended on."""


class Coding(Protocol):
    """Reads the pictures of one stream, in decoding order."""

    def read(self, data: bytes, *, is_keyframe: bool) -> Picture:
        """Reads the picture (or, in AV1, all pictures) of one packet.

        Args:
            data: The packet's bytes.
            is_keyframe: Whether the container says that the packet is a keyframe.

        Raises:
            Unplannable: if the picture is of a kind for which nothing can be left out.
        """


class ParameterSets:
    """The headers of a stream that hold for all pictures that follow.

    A header that comes later than the first picture must be equal to the one in force: a change would be lost with a
    picture that is left out.
    """

    def __init__(self) -> None:
        self._in_force: dict[tuple[int, int], bytes] = {}
        self._is_closed = False

    def close(self) -> None:
        """Is called at each picture: from the first one on, parameters may not change."""
        self._is_closed = True

    def note(self, parameters: bytes, kind: int = 0, number: int = 0) -> None:
        """Takes parameters up, in place of those of the same kind and number.

        Raises:
            Unplannable: if they differ from those in force, and pictures have come before.
        """
        if self._is_closed and self._in_force.get((kind, number)) != parameters:
            raise Unplannable("its parameters change")
        self._in_force[kind, number] = parameters


def refuse_unannounced_bidirectional(*, is_reordered: bool) -> None:
    """Is called at a B-frame (a B-picture or picture of B-slices), which as a rule is shown before others that precede
    it in decoding order.

    Raises:
        Unplannable: if the decoder does not know that pictures are reordered. It shows them as they come until it
            meets the first B-frame, so leaving that one out would change what is shown.
    """
    if not is_reordered:
        raise Unplannable("it has B-pictures, of which its headers do not tell")
