"""Reading and changing TFLite files, by the schema that LiteRT brings along."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_vss.errors import MissingExtra, ModelError
from edge_vss.text import told_apart

IDENTIFIER = b"TFL3"


def read(path: Path) -> Any:
    """The file as a tree of plain objects (``ModelT``). Raises ModelError for a damaged one."""
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError:
        raise MissingExtra("ai-edge-litert", "tflite", "reading TFLite") from None
    try:
        model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    except Exception as error:  # struct's, and what comes of offsets that lead nowhere
        raise ModelError(f"{path} is a damaged TFLite file ({error}): copy or download it again") from None
    if not model.subgraphs or model.operatorCodes is None:
        raise ModelError(f"{path} is a damaged TFLite file (no graph in it): copy or download it again")
    return model


def write(path: Path, model: Any) -> None:
    """Write what ``read`` gave."""
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    path.write_bytes(builder.Output())


def name_tensors(model: Any, names: Mapping[str, tuple[Sequence[str], Sequence[str]]]) -> None:
    """Name the inputs and outputs of every signature (``args_0``, ..., ``output_0``, ...) in their order."""
    for signature in model.signatureDefs:
        inputs, outputs = names[_text(signature.signatureKey)]
        for maps, wanted in ((signature.inputs, inputs), (signature.outputs, outputs)):
            for entry in maps:
                entry.name = wanted[int(_text(entry.name).rpartition("_")[2])]


def tell_tensors_apart(model: Any) -> None:
    """Give a name that several tensors of a model have to one of them alone: a quantiser refuses others."""
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    names = told_apart((_text(tensor.name) for tensor in tensors), "_{}")
    for tensor, name in zip(tensors, names, strict=True):
        tensor.name = name


def add_metadata(model: Any, metadata: Mapping[str, str]) -> None:
    """Add entries to a model's metadata."""
    from ai_edge_litert import schema_py_generated as schema

    model.metadata = model.metadata or []
    for key, value in metadata.items():
        buffer = schema.BufferT()
        buffer.data = list(value.encode())
        model.buffers.append(buffer)
        entry = schema.MetadataT()
        entry.name, entry.buffer = key, len(model.buffers) - 1
        model.metadata.append(entry)


def metadata(model: Any) -> dict[str, str]:
    """A model's metadata, name → text."""
    return {
        _text(entry.name): bytes(model.buffers[entry.buffer].data).decode(errors="replace")
        for entry in model.metadata or []
    }


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def custom_operators(path: Path) -> list[str]:
    """The operators of a file that no TFLite runtime brings."""
    return [_text(code.customCode) for code in read(path).operatorCodes if code.customCode]


MODULE = re.compile(r".*\.[A-Z][A-Za-z0-9]*_(.+)")
"""``package.Class_name``, where a name may have dots of its own: ``Sequential_blocks.0``."""
LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")
"""Operators with weights, which are their second input. The last one is the bias, where there is one."""
WITH_BIAS = {"TRANSPOSE_CONV": 4}
"""How many inputs an operator has with its bias; the others have 3."""


def flatten_biases(model: Any) -> None:
    """Give each layer's bias one axis.

    LiteRT's converter leaves four where it has made a BatchNorm the bias of a transposed convolution; then
    int8 has a scale for each channel along an axis of 1.
    """
    for _, graph in _signed(model):
        for operator, kind in _layers(model, graph):
            index = WITH_BIAS.get(kind, 3) - 1
            if len(operator.inputs) > index and operator.inputs[index] >= 0:
                bias = graph.tensors[operator.inputs[index]]
                bias.shape = [math.prod(int(extent) for extent in bias.shape)]


def layers(model: Any) -> dict[str, str]:
    """The layers of all signatures: ``role/name`` → the tensor that it gives.

    Names are as in a state dict, but for lists of modules, which LiteRT's converter leaves out.
    """
    found: dict[str, str] = {}
    for role, graph in _signed(model):
        for operator, _ in _layers(model, graph):
            if not _has_weights(model, graph, operator):
                continue
            tensor = _text(graph.tensors[operator.outputs[0]].name)
            name = f"{role}/{_module(tensor)}"
            found[f"{role}/{tensor}" if name in found else name] = tensor
    return found


def is_quantised(model: Any) -> bool:
    """Whether the weights of a layer are integers already."""
    from ai_edge_litert import schema_py_generated as schema

    integers = (schema.TensorType.INT8, schema.TensorType.UINT8, schema.TensorType.INT4)
    return any(
        graph.tensors[operator.inputs[1]].type in integers
        for _, graph in _signed(model)
        for operator, _ in _layers(model, graph)
    )


def products(model: Any) -> list[str]:
    """The tensors that operators of `LAYERS` give without weights: attention multiplies two tensors that both
    depend on the picture."""
    return [
        _text(graph.tensors[operator.outputs[0]].name)
        for _, graph in _signed(model)
        for operator, _ in _layers(model, graph)
        if not _has_weights(model, graph, operator)
    ]


def _has_weights(model: Any, graph: Any, operator: Any) -> bool:
    buffer = model.buffers[graph.tensors[operator.inputs[1]].buffer]
    return buffer.data is not None and len(buffer.data) > 0


def _module(tensor: str) -> str:
    """The module's name in what LiteRT's converter calls a tensor.

    ``p.Wrapper/p.Sequential_first/p.Conv2d_0;5`` is ``first.0``. Of modules that became one operator, the
    first one counts; it stands last.
    """
    path = tensor.split(";;")[-1].partition(";")[0].split("/")[1:]
    names = [found[1] if (found := MODULE.fullmatch(step)) else "" for step in path]
    return ".".join(names) if names and all(names) else tensor


def _signed(model: Any) -> list[tuple[str, Any]]:
    return [(_text(s.signatureKey), model.subgraphs[s.subgraphIndex]) for s in model.signatureDefs or []]


def _layers(model: Any, graph: Any) -> list[tuple[Any, str]]:
    from ai_edge_litert import schema_py_generated as schema

    numbers = {getattr(schema.BuiltinOperator, kind): kind for kind in LAYERS}
    codes = [code.builtinCode for code in model.operatorCodes]
    return [
        (operator, numbers[codes[operator.opcodeIndex]])
        for operator in graph.operators
        if codes[operator.opcodeIndex] in numbers
    ]


def append(model: Any, other: Any) -> list[int]:
    """Put the subgraphs of ``other`` behind those of ``model``; gives their numbers there."""
    buffers, codes, graphs = len(model.buffers), len(model.operatorCodes), len(model.subgraphs)
    model.buffers.extend(other.buffers)
    model.operatorCodes.extend(other.operatorCodes)
    for graph in other.subgraphs:
        for tensor in graph.tensors:
            # Buffer 0 means none, in every file.
            tensor.buffer = tensor.buffer and tensor.buffer + buffers
        for operator in graph.operators:
            operator.opcodeIndex += codes
        model.subgraphs.append(graph)
    return list(range(graphs, len(model.subgraphs)))


def in_order(model: Any) -> Any:
    """The same model, each subgraph with its inputs and outputs in the order of its signature's numbers."""
    for signature in model.signatureDefs or []:
        graph = model.subgraphs[signature.subgraphIndex]
        for side in ("inputs", "outputs"):
            entries = sorted(
                getattr(signature, side), key=lambda entry: int(_text(entry.name).rpartition("_")[2])
            )
            setattr(graph, side, [entry.tensorIndex for entry in entries])
    return model


def join(model: Any, first: int, second: int) -> None:
    """Make subgraph ``first`` go on with ``second``, whose inputs are ``first``'s outputs; a quantised output
    becomes real numbers in between. ``second`` is left empty."""
    from ai_edge_litert import schema_py_generated as schema

    graph, more = model.subgraphs[first], model.subgraphs[second]
    low = (schema.TensorType.UINT8, schema.TensorType.INT8)
    joined: dict[int, int] = {}
    for result, wanted in zip(graph.outputs, more.inputs, strict=True):
        tensor = graph.tensors[result]
        if tensor.type in low and more.tensors[wanted].type == schema.TensorType.FLOAT32:
            result = _dequantised(model, graph, result)
        elif tensor.quantization is None or tensor.quantization.scale is None:
            tensor.quantization = more.tensors[wanted].quantization
        joined[int(wanted)] = int(result)
    # The inputs of ``second`` are not taken along: a quantiser wants to read every tensor there is.
    kept = [index for index in range(len(more.tensors)) if index not in joined]
    places = joined | {index: place for place, index in enumerate(kept, len(graph.tensors))}

    def moved(index: int) -> int:
        return places[int(index)] if index >= 0 else index

    graph.tensors = [*graph.tensors, *(more.tensors[index] for index in kept)]
    for operator in more.operators:
        operator.inputs = [moved(index) for index in operator.inputs]
        operator.outputs = [moved(index) for index in operator.outputs]
        if operator.intermediates is not None:
            operator.intermediates = [moved(index) for index in operator.intermediates]
    graph.operators = [*graph.operators, *more.operators]
    graph.outputs = [moved(index) for index in more.outputs]


def _dequantised(model: Any, graph: Any, index: int) -> int:
    from ai_edge_litert import schema_py_generated as schema

    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
    code.version = 2
    model.operatorCodes.append(code)
    tensor = schema.TensorT()
    tensor.name, tensor.type = "dequantised", schema.TensorType.FLOAT32
    tensor.shape, tensor.buffer = graph.tensors[index].shape, 0
    graph.tensors = [*graph.tensors, tensor]
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs, operator.outputs = [index], [len(graph.tensors) - 1]
    graph.operators = [*graph.operators, operator]
    return len(graph.tensors) - 1


def sign(model: Any, role: str, subgraph: int) -> None:
    """Give a subgraph a signature, as LiteRT's converter would name its tensors."""
    from ai_edge_litert import schema_py_generated as schema

    graph, signature = model.subgraphs[subgraph], schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = role, subgraph
    signature.inputs, signature.outputs = [], []
    sides = ((signature.inputs, "args", graph.inputs), (signature.outputs, "output", graph.outputs))
    for maps, name, tensors in sides:
        for number, index in enumerate(tensors):
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = f"{name}_{number}", int(index)
            maps.append(entry)
    model.signatureDefs = [*(model.signatureDefs or []), signature]


def only_outputs(model: Any, numbers: Sequence[int]) -> None:
    """Leave the first subgraph some of its outputs, in this order."""
    model.subgraphs[0].outputs = [model.subgraphs[0].outputs[number] for number in numbers]
