"""Damaged HEVC, natively under sanitizers and through WebAssembly: ``python -m tests.fuzzing.hevc_soak``.

200,000 damaged NAL units natively, 20,000 through the runtime; other numbers as arguments. The first part
needs a C compiler with AddressSanitizer.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from edge_vss.runtimes.motion._hevc import build
from edge_vss.runtimes.motion._hevc.parser import Parser
from tests.helpers.hevc import encode_hevc, packets, scene, units

HERE = Path(__file__).parent
SANITIZERS = "-fsanitize=address,undefined"

STREAMS = {
    "b": "bframes=3:ref=3",
    "p": "bframes=0:ref=1:keyint=8:min-keyint=8",
    "slices": "slices=3:ctu=16:wpp=1",
    "open_gop": "keyint=6:min-keyint=6:open-gop=1:bframes=2:b-adapt=0",
    "amp": "rect=1:amp=1:ctu=32",
    "lossless": "lossless=1",
}


def corpus(folder: Path) -> list[list[bytes]]:
    """Good streams as NAL units, each of a different make; also written to files for the native part."""
    streams = []
    for number, (name, parameters) in enumerate(STREAMS.items()):
        size = (64 + 16 * number, 96 + 8 * number)
        path = encode_hevc(folder / f"{name}.mp4", scene(12, (160, 192), number), parameters, size=size)
        extradata, found = packets(path)
        streams.append(units(extradata, [packet for _, packet in found]))
        lengths = b"".join(len(unit).to_bytes(4, "big") + unit for unit in streams[-1])
        (folder / f"{name}.nal").write_bytes(lengths)
    return streams


def compiler() -> str | None:
    """A C compiler whose sanitizers work here."""
    for name in ("cc", "gcc", "clang"):
        found = shutil.which(name)
        if found is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "empty.c"
            source.write_text("int main(void) { return 0; }\n")
            made = [found, SANITIZERS, str(source), "-o", f"{folder}/empty"]
            if subprocess.run(made, capture_output=True).returncode == 0:
                return found
    return None


def native(compiler: str, folder: Path, count: int, seed: int) -> str:
    """Feeds ``count`` damaged units natively and returns what the program says. Raises CalledProcessError
    where a sanitizer finds something."""
    program = folder / "hevc_fuzz"
    sources = [str(HERE / "hevc_fuzz.c"), *map(str, sorted(build.HERE.glob("*.c")))]
    flags = ["-std=c99", "-O1", "-g", SANITIZERS, "-fno-sanitize-recover=all", f"-I{build.HERE}"]
    subprocess.run([compiler, *flags, *sources, "-o", str(program)], check=True)
    files = [str(path) for path in sorted(folder.glob("*.nal"))]
    done = subprocess.run(
        [str(program), str(seed), str(count), *files], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def through_the_runtime(streams: list[list[bytes]], count: int, seed: int) -> tuple[int, int]:
    """Feeds ``count`` damaged units to parsers; returns how many were fed and how many pictures came out."""
    chance = random.Random(seed)
    damaged = fed = pictures = 0
    parser = Parser()
    while damaged < count:
        if chance.random() < 0.02:
            parser = Parser()
        parser.restart()
        stream = chance.choice(streams)
        for unit in stream[: chance.randint(4, len(stream))]:
            if chance.random() < 0.4:
                unit = damage(unit, chance.choice(chance.choice(streams)), chance)
                damaged += 1
            lengths = chance.random() < 0.5
            head = len(unit).to_bytes(4, "big") if lengths else b"\x00\x00\x00\x01"
            pictures += len(parser.read(head + unit))
            fed += 1
    return fed, pictures


def damage(unit: bytes, other: bytes, chance: random.Random) -> bytes:
    """Flipped bits, a missing end, another unit's end, another unit, another type."""
    made = bytearray(unit)
    match chance.randrange(5):
        case 0:
            for _ in range(chance.randint(1, 8)):
                made[chance.randrange(len(made))] ^= 1 << chance.randrange(8)
        case 1:
            del made[chance.randrange(len(made)) :]
        case 2:
            made = made[: chance.randrange(len(made))] + other[chance.randrange(len(other)) :]
        case 3:
            made = bytearray(other)
        case _:
            made[0] = made[0] & 0x81 | chance.randrange(64) << 1
    return bytes(made)


def main() -> None:
    """Both parts, with the numbers given."""
    native_count, runtime_count = (int(value) for value in (sys.argv[1:] or ["200000", "20000"]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        streams = corpus(folder)
        found = compiler()
        print(native(found, folder, native_count, 1) if found else "no compiler with sanitizers: skipped")
        fed, pictures = through_the_runtime(streams, runtime_count, 1)
        print(f"through the runtime: damaged {runtime_count}, fed {fed}, pictures {pictures}")


if __name__ == "__main__":
    main()
