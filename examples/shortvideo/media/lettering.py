"""Letters of five by seven dots, so that a clip's title looks the same on machines with and without fonts."""

from __future__ import annotations

from itertools import product
from typing import Final

WIDE: Final = 5
HIGH: Final = 7
GAP: Final = 1
LINE: Final = HIGH + 3
# One row a letter, two hexadecimal digits a line from the top; the lowest five bits are the dots.
SHAPES: Final = {
    "A": "0E11111F111111",
    "B": "1E11111E11111E",
    "C": "0E11101010110E",
    "D": "1E11111111111E",
    "E": "1F10101E10101F",
    "F": "1F10101E101010",
    "G": "0E11101711110F",
    "H": "1111111F111111",
    "I": "0E04040404040E",
    "J": "0702020202120C",
    "K": "11121418141211",
    "L": "1010101010101F",
    "M": "111B1515111111",
    "N": "11111915131111",
    "O": "0E11111111110E",
    "P": "1E11111E101010",
    "Q": "0E11111115120D",
    "R": "1E11111E141211",
    "S": "0F10100E01011E",
    "T": "1F040404040404",
    "U": "1111111111110E",
    "V": "11111111110A04",
    "W": "1111111515150A",
    "X": "11110A040A1111",
    "Y": "1111110A040404",
    "Z": "1F01020408101F",
}
INK: Final = b"\xff\xff\xff\xff"
EDGE: Final = b"\x00\x00\x00\x99"


def picture(title: str) -> bytes:
    """Return the title, a line a word, white with a dark edge, as a PAM picture of RGB and alpha."""
    words = title.upper().split()
    width = max(map(len, words)) * (WIDE + GAP) + GAP
    height = len(words) * LINE
    dots = {dot for row, word in enumerate(words) for dot in _dots(word, row * LINE + 1, width)}
    edge = {(x + right, y + down) for x, y in dots for right, down in product((-1, 0, 1), repeat=2)}
    head = f"P7\nWIDTH {width}\nHEIGHT {height}\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n"
    points = ((x, y) for y, x in product(range(height), range(width)))
    return head.encode() + b"".join(INK if point in dots else EDGE if point in edge else bytes(4) for point in points)


def _dots(word: str, top: int, width: int) -> list[tuple[int, int]]:
    left = (width - len(word) * (WIDE + GAP) + GAP) // 2
    return [
        (left + place * (WIDE + GAP) + x, top + y)
        for place, letter in enumerate(word)
        for y, line in enumerate(bytes.fromhex(SHAPES[letter]))
        for x in range(WIDE)
        if line >> (WIDE - 1 - x) & 1
    ]
