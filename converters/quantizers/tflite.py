"""A TFLite file in fp16 weights, or int8 by LiteRT's own quantiser."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from edge_vss.bundle import GraphSpec
from edge_vss.converters.quantizers import QuantizerDescription, Reduced, Samples, quantised_already
from edge_vss.converters.silence import quiet
from edge_vss.converters.targets import _flatbuffer as flatbuffer
from edge_vss.errors import MissingExtra, ModelError, one_line

LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D_TRANSPOSE", "FULLY_CONNECTED")

DESCRIPTION = QuantizerDescription(
    "LiteRT's quantiser", modules=("ai_edge_quantizer",), extra="convert-tflite"
)


def reduce(folder: Path, graphs: Sequence[GraphSpec], precision: str, samples: Samples) -> Reduced:
    """Prepare the one file of ``graphs`` in ``folder`` for fp16 weights or int8.

    ``samples`` are the inputs of real calls by role. Everything but convolutions and linear layers stays
    float. Raises MissingExtra without ai-edge-quantizer, ModelError where it cannot be written so.
    """
    try:
        with quiet():
            from ai_edge_quantizer import quantizer
    except ImportError:
        raise MissingExtra("ai-edge-quantizer", "convert-tflite", f"{precision} for TFLite") from None
    file = folder / graphs[0].file
    before = file.read_bytes()
    layers, products, found = {}, list[str](), None
    try:
        model = flatbuffer.read(file)
        if flatbuffer.is_quantised(model):
            raise quantised_already("the network", precision)
        products = flatbuffer.products(model)
        if precision == "int8":
            layers = flatbuffer.layers(model)
            data = {
                graph.role: [{s.name: sample[s.name] for s in graph.inputs} for sample in samples[graph.role]]
                for graph in graphs
                if samples.get(graph.role)
            }
            with quiet():
                work = quantizer.Quantizer(before)
                _recipe(work, precision, products)
                found = work.calibrate(data, num_threads=2)
    except ModelError:
        raise
    except Exception as error:  # the quantiser's own
        raise _refused(precision, error) from None

    def write(keep: Collection[str]) -> None:
        try:
            with quiet():
                work = quantizer.Quantizer(before)
                _recipe(work, precision, [*products, *(layers[name] for name in keep)])
                result = work.quantize(found)
        except Exception as error:  # the quantiser's own
            raise _refused(precision, error) from None
        file.write_bytes(bytes(result.quantized_model))

    return Reduced(write, tuple(layers))


def _recipe(work: Any, precision: str, keep: Sequence[str]) -> None:
    """Tell a quantiser which operators become what; those whose outputs are called as in ``keep`` stay."""
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    for layer in LAYERS:
        operation = qtyping.TFLOperationName(layer)
        if precision == "int8":
            work.add_static_config(".*", operation, activation_num_bits=8, weight_num_bits=8)
        else:
            half = qtyping.TensorQuantizationConfig(16, dtype=qtyping.TensorDataType.FLOAT)
            config = qtyping.OpQuantizationConfig(
                weight_tensor_config=half,
                compute_precision=qtyping.ComputePrecision.FLOAT,
                explicit_dequantize=True,
            )
            work.update_quantization_recipe(".*", operation, config, AlgorithmName.FLOAT_CASTING)
    for name in keep:
        # Later entries win.
        work.update_quantization_recipe(
            f"^{re.escape(name)};$",
            qtyping.TFLOperationName.ALL_SUPPORTED,
            algorithm_key=AlgorithmName.NO_QUANTIZE,
        )


def _refused(precision: str, error: Exception) -> ModelError:
    return ModelError(f"TFLite cannot be written in {precision} ({one_line(error)})")
