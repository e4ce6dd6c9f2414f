"""Text that a stranger may have written, or that holds a secret, made safe to show."""

from __future__ import annotations

import re

# Characters that Python calls printable and that show nothing: Unicode's Default_Ignorable_Code_Point
# (DerivedCoreProperties.txt) where its category is a letter or a mark, and the empty Braille pattern.
_INVISIBLE = (
    (0x034F, 0x034F),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x2800, 0x2800),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFFA0, 0xFFA0),
    (0xE0100, 0xE01EF),
)


def printable(text: str) -> str:
    """``text`` with every character escaped that would act on a terminal or not be seen.

    That is: control characters and line ends, bidirectional and other format characters, unusual spaces, what
    stands for a byte that is no UTF-8, and what is invisible by design. They are written as Python writes
    them (``\\x1b``, ``\\u202e``). Visible text stays as it is, in any script.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if _seen(character) else _escaped(character) for character in text)


def without_password(uri: object) -> str:
    """A source's name as it may be shown: a user's name and password in a URL become ``***``."""
    return re.sub(r"(?<=://)[^/?#]*@", "***@", str(uri))


def _seen(character: str) -> bool:
    code = ord(character)
    return character.isprintable() and not any(first <= code <= last for first, last in _INVISIBLE)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def kind_of(value: object) -> str:
    """What a value is, for an error: its type, and shape and numbers where it has them."""
    kind, shape, dtype = type(value), getattr(value, "shape", None), getattr(value, "dtype", None)
    name = kind.__name__ if kind.__module__ in ("builtins", "numpy") else f"{kind.__module__}.{kind.__name__}"
    return name if shape is None or dtype is None else f"{name} of {dtype} {tuple(shape)}"


def whole(name: str) -> str:
    """A file's name as text that can be written to a file: UTF-8, where Python holds bytes as stand-ins.

    It does so for what is not ASCII where the locale is `C`. What is no UTF-8 either becomes U+FFFD.
    """
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return name
