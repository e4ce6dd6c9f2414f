"""Which tests run where, in one place: for every commit, on an installed wheel, and without torch."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]

SLOW = frozenset(
    {
        "test_arseg.py",
        "test_arseg_trained.py",
        "test_c_locale.py",
        "test_checkpoints.py",
        "test_compare.py",
        "test_convert.py",
        "test_demo.py",
        "test_docs.py",
        "test_engine_memory.py",
        "test_engines.py",
        "test_goldens.py",
        "test_gst.py",
        "test_heads.py",
        "test_heads_refused.py",
        "test_html_reports.py",
        "test_kinds.py",
        "test_label.py",
        "test_label_killed.py",
        "test_label_ray.py",
        "test_live.py",
        "test_lmanet.py",
        "test_lmanet_networks.py",
        "test_local_attention.py",
        "test_losses.py",
        "test_metadata.py",
        "test_mit.py",
        "test_model_cases.py",
        "test_motion_vectors.py",
        "test_mpvss.py",
        "test_mpvss_engines.py",
        "test_mpvss_networks.py",
        "test_mpvss_trained.py",
        "test_pictures.py",
        "test_quantize.py",
        "test_readers.py",
        "test_readers_artifacts.py",
        "test_readers_refused.py",
        "test_seeking.py",
        "test_shown_times.py",
        "test_rtsp.py",
        "test_sample.py",
        "test_serve.py",
        "test_serve_background.py",
        "test_serve_browser.py",
        "test_serve_keeping.py",
        "test_serve_safety.py",
        "test_smp_folders.py",
        "test_soak.py",
        "test_streetnet.py",
        "test_swin.py",
        "test_target_onnx.py",
        "test_target_openvino.py",
        "test_target_tflite.py",
        "test_telemetry.py",
        "test_tflite_rewrites.py",
        "test_transformers_folders.py",
        "test_tv3s.py",
        "test_tv3s_network.py",
        "test_udp_losses.py",
        "test_verify.py",
        "test_video_file_looks.py",
    }
)
"""Files whose tests get the marker ``slow``: they convert, train or wait. `make check` leaves them out."""

SLOW_TESTS = frozenset(
    {
        "test_adaptive_beats_a_fixed_interval_at_the_same_number_of_key_frames",
        "test_auto_on_fast_objects",
        "test_carried_labels_on_real_streams",
        "test_memory_does_not_grow",
        "test_run_goes_on_from_a_file",
    }
)
"""Single tests of other files, which are as slow."""

LONG = {
    "test_lmanet.py": ("test_psp101_converts_too",),
    "test_mpvss_engines.py": ("test_a_rollout_equals_torchs[tflite]", "alike[tflite-tflite]"),
    "test_mpvss_trained.py": ("test_it_keeps", "test_vectors_carry", "test_both_ways"),
    "test_tv3s.py": ("test_other_encoders_convert",),
}
"""Parts of the names of tests that take a minute or more each: only `make soak` runs them. Each is one more
case of what other tests of its file look at."""

INSTALLED = (
    "test_cli.py",
    "test_convert.py",
    "test_demo.py",
    "test_doctor.py",
    "test_examples.py",
    "test_layers.py",
    "test_segmenter.py",
)
"""What an installation can break: modules and data that are not packed, plugins that are not found, the
program, the public names. `tests/installed/wheel.py` runs these against the wheel."""

HEAVY = ("torch", "onnx", "onnxscript", "edge_vss.converters")
"""What a device does not have."""


def is_long(file: str, test: str) -> bool:
    """Whether only `make soak` runs a test."""
    return any(part in test for part in LONG.get(file, ()))


@cache
def needs_torch(path: Path) -> bool:
    """Whether a test file, or a helper that it imports at once, imports the converters' half at once."""
    for name in _imported(path):
        if any(name == heavy or name.startswith(f"{heavy}.") for heavy in HEAVY):
            return True
        if name.startswith("tests."):
            helper = TESTS.parent.joinpath(*name.split(".")).with_suffix(".py")
            if helper.is_file() and helper != path and needs_torch(helper):
                return True
    return False


def _imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names
