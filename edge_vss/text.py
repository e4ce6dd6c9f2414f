"""Text that a stranger may have written, or that holds a secret, made safe to show."""

from __future__ import annotations

import re
from collections.abc import Iterable

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


_SECRET = re.compile(
    r"(?<![a-z])((?:[a-z]+[-_])*(?:user(?:-?(?:id|name))?|usr|login|account|pass(?:word|wd|phrase)?|passwd|pwd|psw|pw"
    r"|secret|token|key|key-pair-id|apikey|auth|sig(?:nature)?|credentials?))"
    r"(\s*=\s*)(\"[^\"]*\"|'[^']*'|[^&;\s,!\"']+)|(streamid|cookies?|headers|authorization)(\s*[=:]\s*)([^&]+)",
    re.IGNORECASE,
)
"""A setting of a URL, an FFmpeg option or a pipeline that says who is let in, as in ``passphrase=...``."""


def without_password(uri: object) -> str:
    """A source's name as it may be shown: what lets somebody in becomes ``***``.

    That is the user and the password before an ``@``, and settings such as ``?user=...&password=...``,
    wherever they stand: cameras have them in the path as well.
    """
    return _SECRET.sub(r"\1\4\2\5***", re.sub(r"(?<=://)\S*?[^\s/?#]*@", _user, str(uri)))


def _user(found: re.Match[str]) -> str:
    """``***@``, unless the @ stands in the path of a URL that has no password."""
    before, _, path = found[0].partition("/")
    # A password with a slash in it is no URL, but it is a password all the same: a port has digits alone.
    _, colon, port = re.sub(r"^\[.*\]", "v6", before).partition(":")
    plain = path and "@" not in before and not (colon and not port.isdecimal())
    return found[0] if plain else "***@"


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


def told_apart(names: Iterable[str], number: str = " ({})") -> list[str]:
    """The names, in order. One that was there before gets a number, written as ``number`` says."""
    given: dict[str, None] = {}
    for name in names:
        distinct, count = name, 1
        while distinct in given:
            count += 1
            distinct = name + number.format(count)
        given[distinct] = None
    return list(given)
