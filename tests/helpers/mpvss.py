"""A narrow MPVSS: a Mask2Former as a folder of Hugging Face, and a flow network's file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from edge_vss.converters.networks.mpvss_flow import Flow, FlowShape
from edge_vss.converters.readers._untrained_weights import fill

NAMES = ("road", "tree", "car", "sky", "pole")
QUERIES = 10
SHAPE = FlowShape((8, 16, 24, 32, 32, 48), dim=32, queries=QUERIES, inner=64, hidden=48, fine=16, finest=8)


def model(classes: int = len(NAMES)) -> Any:
    """A Mask2Former with a tiny Swin, whose answer has several classes."""
    import transformers

    torch.manual_seed(8)
    backbone = transformers.SwinConfig(
        embed_dim=16,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=4,
        dim_feedforward=32,
        num_queries=QUERIES,
        id2label={
            index: f"class {index}" if index >= len(NAMES) else NAMES[index] for index in range(classes)
        },
    )
    made = transformers.Mask2FormerForUniversalSegmentation(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() > 1:
                parameter.add_(torch.randn_like(parameter) * 0.2)
        # A query likes one class most, and each class is liked by two.
        made.class_predictor.weight.mul_(0.2)
        made.class_predictor.bias.zero_()
        for _ in range(3):
            scores = made(torch.randn(1, 3, 64, 96)).class_queries_logits
            made.class_predictor.bias.sub_(scores.mean((0, 1)))
        made.class_predictor.weight.mul_(10)
        made.class_predictor.bias.mul_(10)
    return made


def folder(place: Path, classes: int = len(NAMES)) -> Path:
    """The segmentor's folder."""
    import transformers

    model(classes).save_pretrained(place)
    transformers.Mask2FormerImageProcessorPil().save_pretrained(place)
    return place


def flow(shape: FlowShape = SHAPE) -> Flow:
    """A flow network that moves masks by a pixel or so."""
    network = Flow(shape)
    fill(network)
    network.decoder.fuse_layer.conv.weight.data *= 8
    return network.eval().requires_grad_(False)


def flow_file(place: Path, shape: FlowShape = SHAPE) -> Path:
    """Its file, named as in the published checkpoint."""
    torch.save(
        {"model": {f"motion.{name}": value for name, value in flow(shape).state_dict().items()}}, place
    )
    return place
