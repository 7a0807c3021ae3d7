"""Reading the headers of coded pictures bit by bit."""

from yt8m_pipeline.decoding.codings.picture import Unplannable


class Bits:
    """Reads bit fields, the highest bit of each byte first. The methods have the names of the standards' descriptors.

    >>> bits = Bits(bytes([0b101_00101, 0b1_0000000]))
    >>> bits.u(3), bits.ue(), bits.u(1)
    (5, 4, 1)
    """

    def __init__(self, data: bytes) -> None:
        self._rest, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def u(self, count: int) -> int:
        """An unsigned number of `count` bits.

        Raises:
            Unplannable: at the end of the data.
        """
        left = self._left - count
        if left < 0:
            raise Unplannable("a header ends early")
        number = self._rest >> left
        self._rest, self._left = self._rest - (number << left), left
        return number

    def ue(self) -> int:
        """An unsigned Exp-Golomb number (ITU-T H.264 §9.1)."""
        return self.u(2 * (self._left - self._rest.bit_length()) + 1) - 1

    def se(self) -> int:
        """A signed Exp-Golomb number (ITU-T H.264 §9.1.1)."""
        number = self.ue()
        return (number + 1) // 2 if number % 2 else -(number // 2)

    def skip(self, *fields: int) -> None:
        """Passes over fields of so many bits each."""
        for count in fields:
            self.u(count)

    def skip_ue(self, count: int) -> None:
        """Passes over so many Exp-Golomb numbers."""
        for _ in range(count):
            self.ue()
