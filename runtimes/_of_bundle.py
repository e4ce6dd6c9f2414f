"""What a session is like, by its bundle and its policy: what it needs of a source, and what it can do."""

from __future__ import annotations

from edge_vss.bundle import Manifest
from edge_vss.decisions import Policy, described
from edge_vss.one_process import OneProcess
from edge_vss.runtimes._runner import Runner


class OfBundle(OneProcess):
    """The part of a session that no frame changes."""

    def __init__(self, manifest: Manifest, runner: Runner, policy: Policy) -> None:
        self.policy = policy
        self._manifest = manifest
        self._runner = runner

    @property
    def trace_mode(self) -> str:
        """How motion is traced back for this bundle: ``grid`` or ``exact``."""
        return self._manifest.motion.trace if self._manifest.motion else "grid"

    @property
    def labels_from_key_frames(self) -> bool:
        """As `Manifest.labels_from_key_frames`."""
        return self._manifest.labels_from_key_frames

    @property
    def looks_for_cuts(self) -> bool:
        """Whether more than the last key frame has to be forgotten at a scene cut."""
        return self._manifest.remembers

    @property
    def wants_motion(self) -> bool:
        """Whether frames need motion. If not, the source may leave it out: the labels are the same.

        Only frames after an anchor are traced back to it, so only graphs of the ``nonkey`` route count, and
        policies that measure.
        """
        measures = described(self.policy).measures
        return measures or (self.leaves_between and self._runner.reads("nonkey", "motion"))

    @property
    def fuses(self) -> bool:
        """Whether labels from both sides are made once, of what is carried from the better one."""
        return self._runner.fusing is not None

    @property
    def twice(self) -> tuple[str, ...]:
        """The graphs that run twice for labels from both sides."""
        fusing = self._runner.fusing
        return self._manifest.routes.get("nonkey", ()) if fusing is None else (fusing.carry,)

    @property
    def leaves_between(self) -> bool:
        """Whether there may be frames between key frames. Labels from both sides need their motion, also
        where no graph reads it: it tells which side follows better."""
        # A session also takes the key route by itself, where a state was restored.
        routes = described(self.policy).routes | {"key"}
        return "nonkey" in {self._present(route) for route in routes}

    @property
    def why_pictures(self) -> str:
        """Why frames that are no I-frames need a picture, in a clause; empty where they do not."""
        if self._runner.reads(self._present("nonkey"), "image"):
            return f"the family {self._manifest.family} looks at every picture"
        if self.looks_for_cuts:
            return "this bundle remembers, and cuts are looked for in every picture"
        if described(self.policy).pictures:
            return f"the policy {self.policy} makes key frames of others than I-frames (take gop)"
        return ""

    def _present(self, route: str) -> str:
        """The route, or the one that is run instead: some families treat every frame after the first alike,
        and have only one of key and nonkey."""
        routes = self._manifest.routes
        return next(name for name in (route, "nonkey", "key", "start") if name in routes)
