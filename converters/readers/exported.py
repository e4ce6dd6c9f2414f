"""Exported programs: what ``torch.export.save`` writes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_unflatten

from edge_vss.converters.conversion import Conversion
from edge_vss.converters.readers import Head, ReaderDescription, ReadModel
from edge_vss.converters.readers._artifact import check_size
from edge_vss.converters.readers._checks import MADE_ON_A_GPU, changes_buffers
from edge_vss.converters.readers._program import checked_copy
from edge_vss.converters.silence import quiet
from edge_vss.errors import ModelError, one_line

_PROGRAMS = frozenset({"models/model.json", "serialized_exported_program.json"})


def _recognises(head: Head) -> bool:
    compiled = any(name.startswith("data/aotinductor/") for name in head.names)
    return bool(_PROGRAMS & head.names) and not head.is_folder and not compiled


DESCRIPTION = ReaderDescription("exported program", _recognises, ends=(".pt2",))


def read(path: Path, conversion: Conversion) -> ReadModel:
    """The module of an exported program, and the size it was exported for.

    Raises ModelError for a file that holds more than tensors and operators, that is damaged, or that does not
    take one picture, float32 (1, 3, H, W).
    """
    with tempfile.TemporaryDirectory(prefix="edge-vss-model-") as scratch:
        checked = Path(scratch) / "model.pt2"
        try:
            checked_copy(path, checked)
            with quiet():
                program = torch.export.load(checked)
                signature = program.run_decompositions({}).graph_signature
        except ModelError:
            raise
        except Exception as error:  # a damaged file, or a newer torch: JSON, zip and torch errors
            raise ModelError(
                f"{path} cannot be loaded as an exported program ({one_line(error)}): "
                f"{MADE_ON_A_GPU if 'cuda' in str(error).lower() else 'export it again'}"
            ) from None
    if changed := [*signature.buffers_to_mutate.values(), *signature.user_inputs_to_mutate.values()]:
        raise ModelError(changes_buffers(path, changed))
    nodes = {node.name: node for node in program.graph.nodes}
    inputs = [nodes[name] for name in program.graph_signature.user_inputs if name in nodes]
    shapes = [node.meta["val"] for node in inputs if isinstance(node.meta.get("val"), Tensor)]
    if len(shapes) != 1 or shapes[0].dim() != 4 or shapes[0].dtype != torch.float32:
        have = ", ".join(
            f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}" for value in shapes
        )
        raise ModelError(f"{path} takes ({have}): it has to take one picture, float32 (1, 3, H, W)")
    extents = [extent if isinstance(extent, int) else None for extent in shapes[0].shape]
    if extents[0] not in (None, 1) or extents[1] not in (None, 3):
        raise ModelError(
            f"{path} was exported for {tuple(shapes[0].shape)}: export it with a picture (1, 3, H, W)"
        )
    name = _given_by_name(path, program)
    size = conversion.size
    if size is not None or None not in extents[2:]:
        size = check_size(path, (extents[2], extents[3]), size)
    try:
        with quiet():
            module = program.module() if name is None else _ByName(program.module(), name)
    except Exception as error:  # torch writes Python code for the graph here
        raise ModelError(
            f"{path} cannot be loaded as an exported program ({one_line(error)}): export it again"
        ) from None
    return ReadModel(module, DESCRIPTION.title, size, has_mode=False, exportable=False)


class _ByName(torch.nn.Module):
    """A program that wants its picture by name, as those of Hugging Face do."""

    def __init__(self, program: torch.nn.Module, name: str) -> None:
        super().__init__()
        self.program, self.name = program, name

    def forward(self, picture: Tensor) -> Any:
        return self.program(**{self.name: picture})


def _given_by_name(path: Path, program: torch.export.ExportedProgram) -> str | None:
    """The name by which a program wants its picture; None where it takes it as its only argument.

    Raises ModelError where it takes anything else besides, or the picture inside something.
    """
    spec = program.call_spec.in_spec
    positional, named = tree_unflatten([None] * spec.num_leaves, spec)
    arguments = [*positional, *named.values()]
    if arguments == [None]:
        return next(iter(named), None)
    raise ModelError(
        f"{path} is called with {len(arguments)} arguments, or with its picture in a list or dict: export a "
        "module whose forward takes one picture, float32 (1, 3, H, W)"
    )
