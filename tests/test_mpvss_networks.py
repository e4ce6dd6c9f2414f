"""The networks of MPVSS: sizes as published, and equal to the library's own."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

pytest.importorskip("transformers", reason="the segmentor's modules come from transformers")

from edge_vss.converters.networks import mask2former
from edge_vss.converters.networks.mask2former import Mask2Former, built
from edge_vss.converters.networks.mpvss_flow import Flow, FlowShape, shape_of
from edge_vss.converters.ops.attention import attend, masked, sine_positions
from edge_vss.converters.ops.deformable import deformable_attention, own_places
from edge_vss.converters.ops.segments import labels_of, mixed
from edge_vss.converters.ops.upconv import double_even, even_kernels
from edge_vss.converters.ops.warp_masks import warp_masks
from edge_vss.converters.readers._untrained_weights import fill

PARAMETERS = {"r50": 44.0, "r101": 63.0, "swin-t": 47.4, "swin-s": 68.7, "swin-b": 107.0, "swin-l": 215.0}
"""Millions, of the paper's tables."""


GMAC = {"r50": 110.6, "r101": 141.3, "swin-t": 114.4, "swin-s": 152.2, "swin-b": 223.5, "swin-l": 402.7}
"""Of a key frame, in the paper's tables: 480x853 (padded to 480x864), 124 classes."""
SIZE, CLASSES, QUERIES = (480, 864), 124, 100
WEIGHED = {
    "upsample_bilinear2d": 4,
    "native_layer_norm": 5,
    "native_group_norm": 5,
    "_native_batch_norm_legit_no_training": 2,
}
"""Operator → what the paper's counter (fvcore) takes for each value that it gives, beside products."""


class Weighed(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what is no product."""

    total = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        weight = WEIGHED.get(func._schema.name.removeprefix("aten::"), 0)
        if weight:
            first = result[0] if isinstance(result, tuple) else result
            self.total += weight * first.numel() / 1e9
        return result


def counted(network: torch.nn.Module, *shapes: tuple[int, ...]) -> float:
    """GMAC in the paper's way of counting."""
    fake, products, more = (
        FakeTensorMode(allow_non_fake_inputs=True),
        FlopCounterMode(display=False),
        Weighed(),  # type: ignore[no-untyped-call]
    )
    with fake, products, more, torch.no_grad():
        network(*(torch.empty(shape) for shape in shapes))
    return products.get_total_flops() / 2e9 + more.total


def shown(size: tuple[int, int], classes: int) -> float:
    """GMAC of enlarging masks to the picture and mixing classes there."""
    return (4 + classes) * QUERIES * math.prod(size) / 1e9


@pytest.mark.parametrize("name", GMAC)
def test_a_key_frame_costs_what_the_paper_says(name: str) -> None:
    segmentor = Mask2Former(built(mask2former.VARIANTS[name], CLASSES)).eval().requires_grad_(False)
    cells = [math.prod(SIZE) / 4**level for level in (3, 4, 5)]
    # Nine intermediate masks at a quarter of the size, where here each is as small as it is looked at.
    masks = QUERIES * 256 * (9 * math.prod(SIZE) / 16 - 3 * sum(cells)) / 1e9
    # The paper's counter does not know deformable attention.
    samples = 6 * sum(cells) * 8 * 48 * 32 / 1e9
    found = counted(segmentor, (1, 3, *SIZE)) + masks - samples + shown(SIZE, CLASSES)
    assert found == pytest.approx(GMAC[name], rel=0.01)


@pytest.mark.parametrize(("size", "classes", "wanted"), [(SIZE, CLASSES, 21.0), ((1024, 2048), 19, 84.0)])
def test_a_frame_in_between_costs_what_the_paper_says(
    size: tuple[int, int], classes: int, wanted: float
) -> None:
    half = (1, 3, size[0] // 2, size[1] // 2)
    flow = Flow(FlowShape()).settle()
    assert counted(flow, half, half, (QUERIES, 256)) + shown(size, classes) == pytest.approx(wanted, rel=0.01)


def millions(network: torch.nn.Module) -> float:
    return sum(parameter.numel() for parameter in network.parameters()) / 1e6


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_segmentor_gives_what_transformers_gives(name: str) -> None:
    torch.manual_seed(0)
    model: Any = built(mask2former.VARIANTS[name], 19)
    ours = Mask2Former(model)
    fill(ours)
    ours.eval().requires_grad_(False)
    assert millions(ours) == pytest.approx(PARAMETERS[name], rel=0.01)
    picture = torch.randn(1, 3, 96, 128)
    with torch.inference_mode():
        masks, classes, queries = ours(picture)
        theirs = model(pixel_values=picture, output_hidden_states=True)
        last = model.model(picture, output_hidden_states=True).transformer_decoder_intermediate_states[-1]
    for found, wanted in (
        (masks, theirs.masks_queries_logits),
        (classes, theirs.class_queries_logits),
        (queries, last[:, 0]),
    ):
        assert found.shape == wanted.shape
        assert float((found - wanted).abs().max()) <= 1e-4 * float(wanted.abs().max())
    labels = [
        mixed(m, c.softmax(-1)[..., :-1]).argmax(1)
        for m, c in ((masks, classes), (theirs.masks_queries_logits, theirs.class_queries_logits))
    ]
    assert float((labels[0] == labels[1]).float().mean()) >= 0.999


@pytest.mark.parametrize("name", ["r50", "swin-t"])
def test_a_segmentor_has_the_names_of_detectron2(name: str) -> None:
    keys = set(Mask2Former(built(mask2former.VARIANTS[name], 19)).state_dict())
    layer = "sem_seg_head.pixel_decoder.transformer.encoder.layers.5"
    predictor = "sem_seg_head.predictor"
    backbone = {
        "r50": {
            "backbone.stem.conv1.weight",
            "backbone.stem.conv1.norm.running_var",
            "backbone.res2.0.shortcut.norm.bias",
            "backbone.res5.2.conv3.norm.weight",
        },
        "swin-t": {
            "backbone.patch_embed.proj.weight",
            "backbone.patch_embed.norm.bias",
            "backbone.layers.2.blocks.5.attn.relative_position_bias_table",
            "backbone.layers.0.blocks.1.attn.qkv.bias",
            "backbone.layers.2.downsample.reduction.weight",
            "backbone.norm3.weight",
        },
    }
    assert keys >= backbone[name] | {
        "sem_seg_head.pixel_decoder.input_proj.0.0.bias",
        "sem_seg_head.pixel_decoder.input_proj.2.1.weight",
        "sem_seg_head.pixel_decoder.transformer.level_embed",
        *(
            f"{layer}.self_attn.{part}.weight"
            for part in ("sampling_offsets", "attention_weights", "value_proj")
        ),
        f"{layer}.norm1.weight",
        f"{layer}.linear2.bias",
        "sem_seg_head.pixel_decoder.mask_features.weight",
        "sem_seg_head.pixel_decoder.adapter_1.weight",
        "sem_seg_head.pixel_decoder.adapter_1.norm.weight",
        "sem_seg_head.pixel_decoder.layer_1.norm.bias",
        f"{predictor}.transformer_self_attention_layers.8.self_attn.in_proj_weight",
        f"{predictor}.transformer_self_attention_layers.8.norm.weight",
        f"{predictor}.transformer_cross_attention_layers.0.multihead_attn.in_proj_bias",
        f"{predictor}.transformer_cross_attention_layers.0.multihead_attn.out_proj.weight",
        f"{predictor}.transformer_ffn_layers.4.linear1.weight",
        f"{predictor}.transformer_ffn_layers.4.norm.bias",
        f"{predictor}.decoder_norm.weight",
        f"{predictor}.query_feat.weight",
        f"{predictor}.query_embed.weight",
        f"{predictor}.level_embed.weight",
        f"{predictor}.class_embed.bias",
        f"{predictor}.mask_embed.layers.2.weight",
    }
    assert not any(key.startswith(("net.", "model.", "criterion.", "class_predictor")) for key in keys)


def test_what_is_stacked_in_a_checkpoint_is_in_its_order() -> None:
    model: Any = built(mask2former.VARIANTS["r50"], 19)
    network = Mask2Former(model)
    fill(network)
    own = model.model.transformer_module.decoder.layers[0].self_attn
    name = "sem_seg_head.predictor.transformer_self_attention_layers.0.self_attn.in_proj_weight"
    stacked = torch.cat([own.q_proj.weight, own.k_proj.weight, own.v_proj.weight])
    assert torch.equal(network.state_dict()[name], stacked)


def test_the_flow_has_as_many_parameters_as_published() -> None:
    flow = Flow(FlowShape())
    assert millions(flow.encoder) == pytest.approx(24.051, abs=0.001)
    assert millions(flow.decoder) == pytest.approx(16.034, abs=0.001)
    assert shape_of(flow.state_dict()) == FlowShape()


def test_a_narrow_flow_is_known_by_its_weights() -> None:
    shape = FlowShape((8, 16, 24, 32, 32, 48), 64, 10, 128, 96, 32, 16)
    flow = Flow(shape)
    assert shape_of(flow.state_dict()) == shape
    small = torch.randn(1, 3, 48, 80)
    assert flow(small, small, torch.randn(10, 64)).shape == (10, 2, 12, 20)


@pytest.mark.parametrize("extents", [(1, 1), (3, 4), (8, 5)])
def test_an_enlarging_convolution_is_torchs(extents: tuple[int, int]) -> None:
    x, weight = torch.randn(1, 5, *extents), torch.randn(5, 3, 4, 4)
    wanted = functional.conv_transpose2d(x, weight, stride=2, padding=1)
    torch.testing.assert_close(double_even(x, even_kernels(weight)), wanted, rtol=1e-5, atol=1e-5)


def test_deformable_attention_is_the_librarys_also_outside() -> None:
    from transformers.models.mask2former.modeling_mask2former import multi_scale_deformable_attention

    torch.manual_seed(3)
    sizes, heads, points, channels, queries = [(2, 3), (4, 6), (7, 11)], 2, 4, 8, 50
    cells = sum(height * width for height, width in sizes)
    values = torch.randn(cells, heads, channels)
    places = torch.rand(1, queries, heads, len(sizes), points, 2) * 2 - 0.5  # half of them outside
    places[0, :8] = torch.tensor([-1.0, 1.0, 0.0, 2.0]).reshape(4, 1)  # and on the corners
    weights = torch.rand(1, queries, heads, len(sizes), points)
    wanted = multi_scale_deformable_attention(values[None], sizes, places, weights)[0]
    extents = torch.tensor([[width, height] for height, width in sizes]).reshape(1, 1, len(sizes), 1, 2)
    x, y = (places[0] * extents - 0.5).reshape(queries, heads, -1, 2).unbind(3)
    found = deformable_attention(values, x, y, weights.reshape(queries, heads, -1), sizes)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_cells_lie_where_the_library_puts_them() -> None:
    from transformers.models.mask2former.modeling_mask2former import Mask2FormerPixelDecoderEncoderOnly

    sizes = [(2, 3), (4, 6)]
    points = Mask2FormerPixelDecoderEncoderOnly.get_reference_points(sizes, torch.ones(1, 2, 2), "cpu")
    x, y = own_places(sizes, 1)
    for level, (height, width) in enumerate(sizes):
        torch.testing.assert_close(x[:, 0, level], points[0, :, level, 0] * width - 0.5)
        torch.testing.assert_close(y[:, 0, level], points[0, :, level, 1] * height - 0.5)


def test_positions_are_the_librarys() -> None:
    from transformers.models.mask2former.modeling_mask2former import Mask2FormerSinePositionEmbedding

    theirs = Mask2FormerSinePositionEmbedding(32, normalize=True)(
        torch.Size((1, 64, 3, 5)), "cpu", torch.float32
    )
    torch.testing.assert_close(sine_positions((3, 5), 64), theirs[0].flatten(1).T)


def test_masked_attention_looks_only_at_the_mask_or_everywhere_if_that_is_empty() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 8), torch.randn(6, 8), torch.randn(6, 8)
    logits = torch.randn(3, 6)
    logits[1], logits[2] = -1.0, 0.0  # nothing; and all, because 0 is inside
    blocked = logits < 0
    blocked[blocked.all(1)] = False
    asked, offered, given = (x.reshape(-1, 2, 4).transpose(0, 1) for x in (query, key, value))
    wanted = functional.scaled_dot_product_attention(asked, offered, given, attn_mask=~blocked)
    wanted = wanted.transpose(0, 1).reshape(3, 8)
    torch.testing.assert_close(attend(query, key, value, 2, masked(logits)), wanted, rtol=1e-5, atol=1e-6)


def warped_slowly(mask: Tensor, flow: Tensor, drift: bool) -> Tensor:
    """Position by position, as §3.1.d of the facts says."""
    height, width = mask.shape
    found = torch.empty_like(mask)
    for row in range(height):
        for column in range(width):
            at = [column + float(flow[0, row, column]), row + float(flow[1, row, column])]
            x, y = (
                min(max(p * (extent - 1) / extent if drift else p, 0.0), extent - 1)
                for p, extent in zip(at, (width, height), strict=True)
            )
            left, top = min(int(x), width - 2), min(int(y), height - 2)
            a, b = x - left, y - top
            four = mask[top : top + 2, left : left + 2]
            found[row, column] = (
                four * torch.tensor([[(1 - b) * (1 - a), (1 - b) * a], [b * (1 - a), b * a]])
            ).sum()
    return found


@pytest.mark.parametrize("drift", [True, False])
def test_masks_move_with_their_own_flow(drift: bool) -> None:
    torch.manual_seed(1)
    masks, flow = torch.randn(1, 3, 6, 9), torch.randn(3, 2, 6, 9) * 4
    found = warp_masks(masks, flow, drift=drift)
    for index in range(3):
        wanted = warped_slowly(masks[0, index], flow[index], drift)
        torch.testing.assert_close(found[0, index], wanted, rtol=1e-4, atol=1e-4)
    still = warp_masks(masks, torch.zeros(3, 2, 6, 9), drift=drift)
    assert torch.allclose(still, masks, atol=1e-5) == (not drift)


@pytest.mark.parametrize("rows", [4, 15, 16, 37])
def test_enlarging_some_rows_at_a_time_changes_nothing(rows: int) -> None:
    torch.manual_seed(2)
    masks, classes = torch.randn(1, 5, rows, 6), torch.rand(1, 5, 4)
    larger = functional.interpolate(masks, scale_factor=4, mode="bilinear", align_corners=False)
    wanted = mixed(larger, classes)
    labels, check, scores = labels_of(masks, classes, (4 * rows - 3, 22), whole=True)
    torch.testing.assert_close(scores, wanted)
    assert float(check) == pytest.approx(float(wanted.sum()), rel=1e-5)
    assert torch.equal(labels, wanted.argmax(1).to(torch.uint8)[:, : 4 * rows - 3, :22])
    assert math.prod(labels.shape) == (4 * rows - 3) * 22
