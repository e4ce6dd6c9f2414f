"""What a second head costs: python -m tests.benchmarks.heads.

BiSeNet-18 is the encoder, with one 1 × 1 classifier for each head. The weights are untrained: speed does not
depend on them. Both bundles run in turn on the same frames.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from edge_vss.cli.terminal import say
from edge_vss.demo.scene.encode import write
from edge_vss.runtimes.segmenter import Segmenter, load
from edge_vss.runtimes.sources import open_source
from edge_vss.video import Frame
from tests.benchmarks.speed import Row, compare, show

SIZE = (360, 480)
HEADS = {"area": 3, "lane": 2}
FRAMES = 10
ROUNDS = 9


def main() -> None:
    """Measure every row."""
    with tempfile.TemporaryDirectory(prefix="edge-vss-bench-") as name:
        folder = Path(name)
        model = save(folder / "model.pt2")
        say("converting twice")
        one, two = (bundle(model, folder, names) for names in (("area",), ("area", "lane")))
        clip = folder / "clip.mp4"
        write(clip, frames=FRAMES, size=SIZE, seed=3)
        with open_source(clip) as source:
            frames = list(source)
        policies = {"every frame": "interval:1", "a key frame each fifth": "interval:5"}
        show([ratio(what, policy, one, two, frames) for what, policy in policies.items()])


def ratio(what: str, policy: str, one: Segmenter, two: Segmenter, frames: Sequence[Frame]) -> Row:
    """Steps of a session, decoded frames in and maps out: two heads against one."""

    def steps(segmenter: Segmenter) -> None:
        session = segmenter.session(policy)
        for frame in frames:
            session.step(frame)

    found, seconds = compare(lambda: steps(two), lambda: steps(one), ROUNDS)
    two_ms, one_ms = (1e3 * each / len(frames) for each in seconds)
    row = Row(
        f"two heads / one head, {what}",
        found,
        "x",
        1.1,
        True,
        f"{two_ms:.1f} against {one_ms:.1f} ms a frame",
    )
    say(f"{row.what}: {row.notes}")
    return row


def bundle(model: Path, folder: Path, names: tuple[str, ...]) -> Segmenter:
    from edge_vss.converters import verify
    from edge_vss.converters.conversion import Conversion
    from edge_vss.converters.convert import convert

    # Numbers are compared elsewhere.
    verify.STEPS = ("start", "nonkey")
    path = folder / f"{'-'.join(names)}.vss"
    classes = {name: HEADS[name] for name in names}
    convert(Conversion(model, output_name=names, classes=classes), path)
    return load(path)


def save(path: Path) -> Path:
    """The network as an exported program."""
    import torch

    from edge_vss.converters.networks.bisenet import BiSeNet18
    from edge_vss.converters.readers import _untrained_weights as untrained_weights

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = BiSeNet18(1)
            channels = self.encoder.channels
            self.heads = torch.nn.ModuleDict(
                {name: torch.nn.Conv2d(channels, classes, 1) for name, classes in HEADS.items()}
            )

        def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
            feature = self.encoder.feature(image)
            return {name: head(feature) for name, head in self.heads.items()}

    network = Network().eval()
    untrained_weights.fill(network)
    torch.export.save(torch.export.export(network, (torch.zeros(1, 3, *SIZE),)), path)
    return path


if __name__ == "__main__":
    main()
