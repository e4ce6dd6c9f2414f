"""A TFLite file in fp16 weights, or int8 by LiteRT's own quantiser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_vss.bundle import GraphSpec
from edge_vss.converters.quantizers import QuantizerDescription, Samples
from edge_vss.converters.silence import quiet
from edge_vss.errors import MissingExtra, ModelError, one_line

LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D_TRANSPOSE", "FULLY_CONNECTED")

DESCRIPTION = QuantizerDescription(
    "LiteRT's quantiser", modules=("ai_edge_quantizer",), extra="convert-tflite"
)


def reduce(folder: Path, graphs: Sequence[GraphSpec], precision: str, samples: Samples) -> None:
    """Rewrite the one file of ``graphs`` in ``folder`` in fp16 weights or int8.

    ``samples`` are the inputs of real calls by role. Everything but convolutions and linear layers stays
    float. Raises MissingExtra without ai-edge-quantizer, ModelError where it cannot be written so.
    """
    try:
        with quiet():
            from ai_edge_quantizer import qtyping, quantizer
    except ImportError:
        raise MissingExtra("ai-edge-quantizer", "convert-tflite", f"{precision} for TFLite") from None
    file = folder / graphs[0].file
    try:
        with quiet():
            work = quantizer.Quantizer(str(file))
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
                    work.update_quantization_recipe(".*", operation, config, "float_casting")
            found = None
            if precision == "int8":
                data = {
                    graph.role: [
                        {s.name: sample[s.name] for s in graph.inputs} for sample in samples[graph.role]
                    ]
                    for graph in graphs
                    if samples.get(graph.role)
                }
                found = work.calibrate(data, num_threads=2)
            result = work.quantize(found)
    except Exception as error:  # the quantiser's own
        raise ModelError(f"TFLite cannot be written in {precision} ({one_line(error)})") from None
    file.write_bytes(bytes(result.quantized_model))
