"""Keeping back what torch and the exporters log and warn about while they work.

Only their own loggers are made quieter, and only for the time of the block. What libraries print, the command
line holds back: standard output and standard error belong to the program, not to a library.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LIBRARIES = (
    *("torch", "torchao", "onnx", "onnxscript", "onnxruntime", "onnx_ir", "openvino", "nncf", "transformers"),
    *("litert_torch", "ai_edge_litert", "ai_edge_quantizer", "absl", "jax", "tensorflow", "flax"),
)
"""Names of loggers; a message of ``torch.export`` belongs to ``torch`` too."""


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back warnings, and what the libraries of a conversion log below an error: a conversion says what
    matters itself."""
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    held = _Held()
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(max(logger.level, logging.ERROR))
        # Some of them log without a logger of their own.
        logging.root.addFilter(held)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.root.removeFilter(held)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class _Held(logging.Filter):
    """Keeps back messages that come out of the libraries' own files."""

    def filter(self, record: logging.LogRecord) -> bool:
        folders = record.pathname.replace("\\", "/").split("/")
        return record.levelno >= logging.ERROR or not set(LIBRARIES) & set(folders)
