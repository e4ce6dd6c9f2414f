"""``edge-vss compare``: models and bundles on every engine and precision that is here, side by side."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from edge_vss.errors import OptionError
from edge_vss.files import MANIFEST
from edge_vss.terminal import emit, say, table, writable


def compare(
    paths: list[Path],
    json: str | None,
    *,
    precisions: str,
    policy: str | None,
    motion: str,
    threads: int,
    frames: int,
    **options: Any,
) -> None:
    """The last of ``paths`` is the video; without any, the packaged sample's."""
    from edge_vss.runtimes import compare as work

    writable(json)
    if len(paths) == 1:
        raise OptionError(f"{paths[0]} alone is nothing to compare on: give a video as the last argument")
    given = {name: value for name, value in options.items() if value is not None}
    with tempfile.TemporaryDirectory(prefix="edge-vss-compare-") as name:
        folder = Path(name)
        models, source = paths[:-1], paths[-1] if paths else folder / "streets.mp4"
        if not paths:
            from edge_vss.demo import sample_model
            from edge_vss.sample.encode import write

            model, given = sample_model(given.get("family", "propagate"))
            say("drawing a street, encoding it as H.264")
            write(source, frames=frames, seed=7)
            models = [model]
        chosen: list[work.Candidate] = []
        problems: list[str] = []
        for index, path in enumerate(models):
            if (path / MANIFEST).is_file():
                chosen += work.candidates(path)
                continue
            from edge_vss.converters.every import every

            made, missing = every(path, folder / str(index), precisions.split(","), source, say, **given)
            chosen += [candidate for made_bundle in made for candidate in work.candidates(made_bundle)]
            problems += missing
        found = work.compare(
            chosen, source, policy=policy, motion=motion, threads=threads, frames=frames, tell=say
        )
    found["left_out"] = problems
    emit(found, json)
    running = [row for row in found["rows"] if "problem" not in row]
    table(
        ("", "fps", "p95 ms", "key ms", "memory MB", "start s", "labels equal %"),
        [
            (
                row["name"],
                row["fps"],
                row["latency_ms"]["p95"],
                row["graphs_ms"]["key"],
                row["memory_mb"],
                row["start_seconds"],
                None if row["agreement"] is None else 100 * row["agreement"],
            )
            for row in running
        ],
    )
    for row in found["rows"]:
        if "problem" in row:
            say(f"{row['name']}: {row['problem']}")
    for line in (*problems, *work.quantised_is_slower(found["rows"])):
        say(line)
    say(found["recommendation"])
