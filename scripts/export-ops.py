#!/usr/bin/env python3
"""Exports one tiny model per operator and form, with the loss and the gradients that PyTorch computes for it in float64.

  export-ops.py OUT [CASE...]      (OUT is test/Inputs/ops; with cases, only those are made anew)
  export-ops.py list

Every tensor of interest is a parameter; the output `loss` is a weighted sum of squares of the operator's result (the weights are a buffer: different ones
everywhere, so that a permuted or a wrongly broadcast result shows). Operands are parameters times the input `x`, which is 1: an expression in parameters alone
would be folded by the exporter. Parameters named in `direct` are used as they are, as a layer uses its weights.

  OUT/<case>.onnx                  with the weights inside
  OUT/ops-reference.json           case -> {loss, opset, types: the ONNX operators of the file}
  OUT/ops-reference.safetensors    <case>/input/<name> and <case>/gradient/<parameter>

`pip install torch onnx onnxscript onnxruntime safetensors numpy` first (made with torch 2.15.0, onnx 1.23.2, onnxscript 0.7.2). onnxruntime checks that the
file computes the loss. scripts/check-ops reads the result.
"""
import dataclasses
import json
import logging
import math
import os
import sys
import warnings
from typing import Callable

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import numpy as np
import onnx
import onnx.reference
import onnxruntime
import safetensors.numpy
import torch
import torch.nn.functional as F

Shape = tuple
CASES = {}


@dataclasses.dataclass
class Case:
    parameters: dict             # name -> shape, or (shape, "positive") for values in [0.5, 2], or (shape, "quarters") for multiples of 0.25
    compute: Callable            # called with the parameters and the inputs
    direct: tuple = ()
    inputs: dict = dataclasses.field(default_factory=dict)    # name -> tensor, besides `x`
    opset: int = 20
    is_loss: bool = False        # the result is the loss itself
    reference: Callable = None   # another way to compute the same, where PyTorch cannot differentiate `compute`

    def all_inputs(self):
        """All inputs have the same first dimension, the batch; a model whose parameters are all direct has no x."""
        batch = next(iter(self.inputs.values())).shape[0] if self.inputs else 1
        return dict(self.inputs) if set(self.parameters) <= set(self.direct) else dict(self.inputs, x=torch.ones(batch))


def case(name, parameters, compute, **options):
    assert name not in CASES, name
    CASES[name] = Case(parameters, compute, **options)


# --- the cases --------------------------------------------------------------------------------------------------------------------------------

def elementwise_cases():
    shape, positive = (3, 4, 5), ((3, 4, 5), "positive")
    broadcasts = dict(same=shape, row=(5,), column=(4, 1), outer=(3, 1, 5), one=(1,), longer=(2, 3, 1, 1))
    for name, other in broadcasts.items():
        case(f"add_{name}", dict(a=shape, b=other), lambda a, b: a + b)
        case(f"mul_{name}", dict(a=shape, b=other), lambda a, b: a * b)
    for name in ("row", "column", "longer"):
        case(f"sub_{name}", dict(a=shape, b=broadcasts[name]), lambda a, b: a - b)
        case(f"div_{name}", dict(a=shape, b=(broadcasts[name], "positive")), lambda a, b: a / b)
    case("sub_from_constant", dict(a=shape), lambda a: 1.5 - a)
    case("div_of_constant", dict(a=positive), lambda a: 1.5 / a)
    case("scalar_parameter", dict(a=shape, s=()), lambda a, s: a * s.exp())
    case("layer_scale", dict(a=shape, w=(5,)), lambda a, w: a + w * a.tanh(), direct=("w",))
    case("used_twice", dict(a=shape), lambda a: a * a + a.sum(0, keepdim=True) * a)
    case("minimum_column", dict(a=shape, b=(4, 1)), torch.minimum)
    case("maximum_same", dict(a=shape, b=shape), torch.maximum)
    case("clamp", dict(a=shape), lambda a: a.clamp(-0.7, 0.6))
    case("clamp_min", dict(a=shape), lambda a: a.clamp(min=-0.3))
    case("clamp_at_bounds", dict(a=(shape, "quarters")), lambda a: a.clamp(-0.5, 0.5))    # the gradient at a bound is zero
    case("arange_halves", dict(a=shape), lambda a: a * torch.arange(0.5, 5.0, 1.0) + torch.arange(4, dtype=torch.float32)[:, None] / 4)
    for name, function in dict(exp=torch.exp, tanh=torch.tanh, sigmoid=torch.sigmoid, erf=torch.erf, gelu=F.gelu, silu=F.silu, relu=F.relu, softplus=F.softplus,
                               abs=torch.abs, neg=torch.neg, sin=torch.sin, cos=torch.cos, logsigmoid=F.logsigmoid, mish=F.mish, elu=F.elu,
                               leaky_relu=lambda a: F.leaky_relu(a, 0.1), hardswish=lambda a: F.hardswish(3 * a),
                               gelu_tanh=lambda a: F.gelu(a, approximate="tanh"), gelu_quick=lambda a: a * torch.sigmoid(1.702 * a),
                               gelu_written=lambda a: 0.5 * a * (1 + torch.tanh(math.sqrt(2 / math.pi) * (a + 0.044715 * a ** 3))),
                               gelu_erf_written=lambda a: a * 0.5 * (1 + torch.erf(a / math.sqrt(2))),
                               relu_squared=lambda a: F.relu(a).square(), soft_cap=lambda a: 3 * torch.tanh(a / 3)).items():
        case(name, dict(a=shape), lambda a, function=function: function(a))
    for name, function in dict(log=torch.log, sqrt=torch.sqrt, rsqrt=torch.rsqrt, reciprocal=torch.reciprocal).items():
        case(name, dict(a=positive), function)
    for name, exponent in dict(square=2.0, cube=3.0, root=0.5, inverse=-1.0, inverse_root=-0.5).items():
        case(f"pow_{name}", dict(a=positive), lambda a, exponent=exponent: a ** exponent)
    case("pow_cube_signed", dict(a=shape), lambda a: a ** 3)
    case("pow_tensor", dict(a=positive, b=(5,)), torch.pow)
    checkered = (torch.arange(60).reshape(shape) % 3 == 0)
    case("where_constant", dict(a=shape, b=(5,)), lambda a, b: torch.where(checkered, a, b))
    case("where_compared", dict(a=shape, b=shape), lambda a, b: torch.where(a > b, a, 0.5 * b))
    case("masked_fill", dict(a=shape), lambda a: a.masked_fill(checkered, 0.25))


def reduction_cases():
    shape = (3, 4, 5)
    for name, function in dict(sum=torch.sum, mean=torch.mean, max=torch.amax, min=torch.amin).items():
        for suffix, axes, keep in (("last", (-1,), False), ("first_kept", (0,), True), ("outer", (0, 2), False), ("inner_kept", (1, 2), True)):
            case(f"{name}_{suffix}", dict(a=shape), lambda a, function=function, axes=axes, keep=keep: function(a, dim=axes, keepdim=keep))
    case("sum_all", dict(a=shape), lambda a: a.sum())
    case("mean_all", dict(a=shape), lambda a: a.mean())
    case("logsumexp_last", dict(a=shape), lambda a: a.logsumexp(-1))
    case("variance_last", dict(a=shape), lambda a: a.var(-1, unbiased=False))
    case("norm_last", dict(a=shape), lambda a: torch.linalg.vector_norm(a, dim=-1, keepdim=True))
    case("normalize_last", dict(a=shape), lambda a: F.normalize(a, dim=-1))
    for name, axis in dict(last=-1, middle=1, first=0).items():
        case(f"softmax_{name}", dict(a=shape), lambda a, axis=axis: a.softmax(axis))
        case(f"log_softmax_{name}", dict(a=shape), lambda a, axis=axis: a.log_softmax(axis))
    for name, axis in dict(last=-1, middle=1).items():
        case(f"cumsum_{name}", dict(a=shape), lambda a, axis=axis: a.cumsum(axis))


def writing_cases():
    def written(a, b, *places):
        result = a + 0.0
        result[places] = b
        return result
    every = slice(None)
    case("write_rows", dict(a=(4, 5, 6), b=(2, 5, 6)), lambda a, b: written(a, b, slice(1, 3)))
    case("write_last", dict(a=(3, 4, 6), b=(3, 4, 2)), lambda a, b: written(a, b, every, every, slice(4, 6)))
    case("write_one", dict(a=(3, 4, 6), b=(3, 6)), lambda a, b: written(a, b, every, 2))
    case("write_every_second", dict(a=(3, 4, 6), b=(3, 4, 3)), lambda a, b: written(a, b, every, every, slice(1, None, 2)))
    case("write_box", dict(a=(4, 5, 6), b=(2, 3, 6)), lambda a, b: written(a, b, slice(2, 4), slice(0, 3)))
    chosen = torch.tensor([[2, 0], [4, 1], [3, 2]])
    for name in ("scatter", "scatter_add"):
        case(f"{name}_chosen", dict(a=(5,), b=(2,)), lambda a, b, chosen, name=name: getattr(a.expand(3, 5), name)(-1, chosen, b.expand(3, 2)),
             inputs=dict(chosen=chosen))
    case("largest_two", dict(a=(3, 4, 6)), lambda a: a.topk(2, -1).values)
    case("smallest_two_of_middle", dict(a=(3, 5, 4)), lambda a: a.topk(2, 1, largest=False).values)
    case("route_to_best", dict(a=(3, 4, 6), b=(6, 5)), lambda a, b: torch.zeros_like(a).scatter(-1, a.topk(2, -1).indices, a.topk(2, -1).values.softmax(-1)) @ b)
    case("as_strided", dict(a=(3, 4, 5)), lambda a: a.as_strided((3, 5, 2), (20, 1, 10)))


def norm_cases():
    rms = lambda a, w: a * torch.rsqrt(a.pow(2).mean(-1, keepdim=True) + 1e-5) * w
    weights = dict(direct=("w", "b"))
    case("layer_norm", dict(a=(3, 4, 5), w=(5,), b=(5,)), lambda a, w, b: F.layer_norm(a, (5,), w, b, 1e-5), **weights)
    case("layer_norm_two_axes", dict(a=(3, 4, 5), w=(4, 5), b=(4, 5)), lambda a, w, b: F.layer_norm(a, (4, 5), w, b, 1e-5), **weights)
    case("layer_norm_no_bias", dict(a=(3, 4, 5), w=(5,)), lambda a, w: F.layer_norm(a, (5,), w, None, 1e-5), **weights)
    case("layer_norm_plain", dict(a=(3, 4, 5)), lambda a: F.layer_norm(a, (5,)))
    def centred(a, w, b):
        c = a - a.mean(-1, keepdim=True)
        return c * torch.rsqrt(c.pow(2).mean(-1, keepdim=True) + 1e-5) * w + b
    case("layer_norm_written", dict(a=(3, 4, 5), w=(5,), b=(5,)), centred, **weights)
    case("rms_norm_written", dict(a=(3, 4, 5), w=(5,)), rms, **weights)
    case("rms_norm_one_plus", dict(a=(3, 4, 5), w=(5,)), lambda a, w: rms(a, 1 + w))
    case("rms_norm", dict(a=(3, 4, 5), w=(5,)), lambda a, w: F.rms_norm(a, (5,), w, 1e-5), opset=23, **weights)
    case("group_norm", dict(a=(2, 6, 3, 2), w=(6,), b=(6,)), lambda a, w, b: F.group_norm(a, 3, w, b))


def contraction_cases():
    for name, left, right in (("2d", (4, 5), (5, 6)), ("batched", (3, 2, 4, 5), (3, 2, 5, 6)), ("matrix_left", (4, 5), (3, 2, 5, 6)), ("matrix_right", (3, 2, 4, 5), (5, 6)),
                              ("broadcast", (3, 1, 4, 5), (2, 5, 6)), ("vector_left", (5,), (3, 5, 6)), ("vector_right", (3, 4, 5), (5,)), ("dot", (5,), (5,))):
        case(f"matmul_{name}", dict(a=left, b=right), torch.matmul)
    case("matmul_transposed", dict(a=(3, 5, 4), b=(3, 6, 5)), lambda a, b: a.transpose(1, 2) @ b.transpose(1, 2))
    for name, equation, left, right in (("scores", "bqhd,bkhd->bhqk", (2, 3, 2, 4), (2, 5, 2, 4)), ("heads", "bshd,hde->bse", (2, 3, 2, 4), (2, 4, 5)),
                                        ("outer", "bi,bj->bij", (3, 4), (3, 5)), ("reduced", "bij,bjk->ik", (2, 3, 4), (2, 4, 5))):
        case(f"einsum_{name}", dict(a=left, b=right), lambda a, b, equation=equation: torch.einsum(equation, a, b))
    weights = dict(direct=("w", "b"))
    case("linear_2d", dict(a=(3, 4), w=(5, 4), b=(5,)), F.linear, **weights)
    case("linear_3d", dict(a=(2, 3, 4), w=(5, 4), b=(5,)), F.linear, **weights)
    case("linear_no_bias", dict(a=(2, 3, 4), w=(5, 4)), F.linear, **weights)
    case("linear_square", dict(a=(2, 3, 4), w=(4, 4)), lambda a, w: F.linear(F.linear(a, w), w), **weights)
    case("linear_conv1d", dict(a=(2, 3, 4), w=(4, 6), b=(6,)), lambda a, w, b: torch.addmm(b, a.view(-1, 4), w).view(2, 3, 6), **weights)
    case("addmm_scaled", dict(a=(3, 4), w=(4, 5), b=(5,)), lambda a, w, b: torch.addmm(b, a, w, beta=0.5, alpha=2.0))
    case("baddbmm", dict(a=(3, 4, 5), b=(3, 5, 6), c=(3, 1, 6)), lambda a, b, c: torch.baddbmm(c, a, b, alpha=0.5))
    # Additions that the library does with a product: of one number, and of something computed that a kernel reads as well.
    case("bias_scalar_outer", dict(a=(3, 4), b=(5, 4, 2), s=()), lambda a, b, s: torch.einsum("ik,jkl->jil", a, b) + s)
    case("bias_computed", dict(q=(3, 4), w=(4, 5), v=(6,), u=(6, 5)), lambda q, w, v, u: (v @ u + q @ w) * (v @ u).tanh())


def convolution_cases():
    weights = dict(direct=("w", "b"))
    for name, image, kernel, bias, settings in (
            ("plain", (2, 3, 7), (4, 3, 3), True, {}), ("strided", (2, 3, 9), (4, 3, 3), True, dict(stride=2, padding=1)),
            ("grouped", (2, 4, 7), (6, 2, 3), False, dict(groups=2, padding=2, dilation=2))):
        case(f"conv1d_{name}", dict(a=image, w=kernel, **(dict(b=kernel[:1]) if bias else {})),
             lambda a, w, b=None, settings=settings: F.conv1d(a, w, b, **settings), **weights)
    for name, image, kernel, bias, settings in (
            ("patches", (2, 3, 4, 6), (5, 3, 2, 2), True, dict(stride=2)), ("padded", (2, 3, 5, 4), (4, 3, 3, 3), False, dict(padding=1)),
            ("uneven", (2, 2, 7, 6), (3, 2, 3, 2), True, dict(stride=(2, 1), padding=(1, 0))), ("dilated", (1, 2, 7, 7), (3, 2, 3, 3), True, dict(dilation=2)),
            ("grouped", (2, 4, 5, 5), (6, 2, 3, 3), True, dict(groups=2)), ("depthwise", (2, 4, 5, 5), (4, 1, 3, 3), True, dict(groups=4, padding=1)),
            ("same", (1, 2, 5, 5), (3, 2, 2, 3), True, dict(padding="same")), ("pointwise", (2, 3, 4, 3), (5, 3, 1, 1), True, {})):
        case(f"conv2d_{name}", dict(a=image, w=kernel, **(dict(b=kernel[:1]) if bias else {})),
             lambda a, w, b=None, settings=settings: F.conv2d(a, w, b, **settings), **weights)
    case("global_average_pool", dict(a=(2, 3, 4, 5)), lambda a: F.adaptive_avg_pool2d(a, 1))
    for name, image, settings in (
            ("nearest_twice", (2, 3, 4, 5), dict(scale_factor=2)), ("nearest_uneven", (2, 3, 4, 5), dict(size=(7, 3))),
            ("bilinear", (2, 3, 4, 5), dict(size=(7, 3), mode="bilinear")), ("bilinear_corners", (2, 3, 4, 5), dict(size=(7, 10), mode="bilinear", align_corners=True)),
            ("bicubic", (2, 3, 4, 5), dict(scale_factor=2, mode="bicubic")), ("linear", (2, 3, 5), dict(scale_factor=1.7, mode="linear"))):
        case(f"resize_{name}", dict(a=image), lambda a, settings=settings: F.interpolate(a, **settings))


def indexing_cases():
    shape = (3, 4, 5)
    ids = torch.tensor([[1, 4, 1], [0, 6, 1]])
    table = dict(inputs=dict(ids=ids), direct=("w",))
    case("embedding", dict(w=(7, 4)), lambda w, ids: F.embedding(ids, w), **table)
    case("embedding_scaled", dict(w=(7, 4)), lambda w, ids: F.embedding(ids, w) * 2.0, **table)
    case("embedding_tied", dict(w=(7, 4)), lambda w, ids: F.embedding(ids, w).tanh() @ w.t(), **table)
    case("embedding_plus_positions", dict(w=(7, 4), p=(5, 4)), lambda w, p, ids: F.embedding(ids, w) + F.embedding(ids.cumsum(-1) % 5, p), inputs=table["inputs"],
         direct=("w", "p"))
    case("index_select", dict(a=shape), lambda a: a.index_select(1, torch.tensor([3, 0, 3])))
    case("index_ends", dict(a=shape), lambda a: a[:, [0, -1]])
    rows = dict(inputs=dict(last=torch.tensor([2, 0, 3])))
    case("gather_row_of_each", dict(a=shape), lambda a, last: a[torch.arange(3), last], **rows)
    case("gather_cell_of_each", dict(a=(3, 4, 2, 5)), lambda a, last: a[torch.arange(3), last, last % 2], **rows)
    case("gather_elements", dict(a=(3, 5)), lambda a: a.gather(1, torch.tensor([[0, 4], [1, 1], [2, 0]])))
    case("gather_labels", dict(w=(2, 3, 7)), lambda w, ids: w.log_softmax(-1).gather(-1, ids.unsqueeze(-1)).squeeze(-1), inputs=table["inputs"])
    case("bias_table", dict(a=(2, 3, 4, 4), w=(7, 3)), lambda a, w: a + w[(torch.arange(4)[:, None] - torch.arange(4)[None]) + 3].permute(2, 0, 1))
    case("select_first", dict(a=shape), lambda a: a[:, 0])
    case("select_last", dict(a=shape), lambda a: a[:, :, -1])
    case("slice_middle", dict(a=shape), lambda a: a[:, 1:3, :4])
    case("slice_from_end", dict(a=shape), lambda a: a[..., -3:-1])
    case("slice_step", dict(a=shape), lambda a: a[:, ::2, 1::2])
    case("flip", dict(a=shape), lambda a: a.flip(1))
    case("roll", dict(a=shape), lambda a: a.roll((1, -2), (0, 2)))
    for name, axis, others in (("first", 0, dict(b=(2, 4, 5))), ("middle", 1, dict(b=(3, 1, 5), c=(3, 2, 5))), ("last", -1, dict(b=(3, 4, 2)))):
        case(f"concat_{name}", dict(a=shape, **others), lambda *parts, axis=axis: torch.cat(parts, axis))
    case("concat_token", dict(t=(1, 1, 5), a=shape), lambda t, a: torch.cat([t.expand(3, -1, -1), a], 1))
    case("stack", dict(a=shape, b=shape), lambda a, b: torch.stack([a, b], 2))
    case("split_equal", dict(a=(3, 4, 6)), lambda a: a.split(2, -1)[0] * a.split(2, -1)[1] + a.split(2, -1)[2])
    case("split_uneven", dict(a=(3, 4, 6)), lambda a: torch.cat([part.tanh() for part in reversed(a.split([1, 3, 2], -1))], -1))
    case("chunk_gate", dict(a=(3, 4, 6)), lambda a: F.silu(a.chunk(2, -1)[0]) * a.chunk(2, -1)[1])
    case("unbind", dict(a=(3, 2, 5)), lambda a: a.unbind(1)[0] * a.unbind(1)[1])
    case("pad_last", dict(a=shape), lambda a: F.pad(a, (1, 2)))
    case("pad_two_axes", dict(a=shape), lambda a: F.pad(a, (0, 1, 2, 0), value=0.5))
    case("transpose", dict(a=shape), lambda a: a.transpose(1, 2))
    case("permute", dict(a=(2, 3, 4, 5)), lambda a: a.permute(0, 2, 1, 3))
    case("reshape_merge", dict(a=shape), lambda a: a.reshape(12, 5))
    case("reshape_split", dict(a=(3, 4, 6)), lambda a: a.reshape(3, 4, 2, 3))
    case("reshape_regroup", dict(a=(3, 4, 6)), lambda a: a.reshape(6, 12))
    case("heads_split_merge", dict(a=(2, 3, 8)), lambda a: (a.view(2, 3, 2, 4).transpose(1, 2).tanh()).transpose(1, 2).reshape(2, 3, 8))
    case("windows", dict(a=(2, 4, 6, 3)), lambda a: a.view(2, 2, 2, 2, 3, 3).transpose(2, 3).reshape(8, 6, 3).softmax(1))
    case("squeeze_unsqueeze", dict(a=(3, 1, 5)), lambda a: a.squeeze(1).unsqueeze(0))
    case("expand", dict(a=(3, 1, 5)), lambda a: a.expand(2, 3, 4, 5))
    case("repeat", dict(a=(3, 5)), lambda a: a.repeat(2, 3))
    case("repeat_interleave", dict(a=(3, 5)), lambda a: a.repeat_interleave(2, 1))
    case("repeat_kv", dict(a=(2, 2, 3, 4)), lambda a: a[:, :, None].expand(2, 2, 3, 3, 4).reshape(2, 6, 3, 4))
    case("tril", dict(a=(3, 5, 5)), lambda a: a.tril())
    case("triu_shifted", dict(a=(3, 4, 5)), lambda a: a.triu(1))


def attention_cases():
    q, k, v = (2, 4, 5, 4), (2, 4, 6, 4), (2, 4, 6, 3)
    lower = torch.arange(6)[None] <= torch.arange(5)[:, None] + 1
    distance = -(torch.arange(6)[None] - torch.arange(5)[:, None]).abs() * torch.tensor([0.5, 0.25, 0.125, 0.0625])[:, None, None]
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])
    attend = F.scaled_dot_product_attention
    for opset, suffix in ((20, ""), (23, "_op")):
        at = dict(opset=opset)
        case("attention" + suffix, dict(q=q, k=k, v=v), attend, **at)
        case("attention_causal" + suffix, dict(q=q, k=q, v=q), lambda q, k, v: attend(q, k, v, is_causal=True), **at)
        case("attention_bool_mask" + suffix, dict(q=q, k=k, v=v), lambda q, k, v: attend(q, k, v, attn_mask=lower), **at)
        case("attention_float_mask" + suffix, dict(q=q, k=k, v=v), lambda q, k, v: attend(q, k, v, attn_mask=distance[None].to(q.dtype)), **at)
        case("attention_padding" + suffix, dict(q=q, k=k, v=v), lambda q, k, v, mask: attend(q, k, v, attn_mask=(mask != 0)[:, None, None, :]), inputs=dict(mask=mask), **at)
        case("attention_scaled" + suffix, dict(q=q, k=k, v=v), lambda q, k, v: attend(q, k, v, scale=0.3), **at)
        case("attention_grouped" + suffix, dict(q=q, k=(2, 2, 6, 4), v=(2, 2, 6, 3)), lambda q, k, v: attend(q, k, v, enable_gqa=True), **at)
    def eager(q, k, v):
        scores = (q @ k.transpose(2, 3)) * 0.5 + torch.where(lower, 0.0, torch.finfo(torch.float32).min)
        return scores.softmax(-1) @ v
    case("attention_eager", dict(q=q, k=k, v=v), eager)
    case("attention_capped", dict(q=q, k=k, v=v), lambda q, k, v: (2 * torch.tanh(q @ k.transpose(2, 3) / 4)).softmax(-1) @ v)
    case("attention_trained_bias", dict(q=q, k=k, v=v, bias=(4, 5, 6)), lambda q, k, v, bias: (q @ k.transpose(2, 3) + bias).softmax(-1) @ v)
    case("attention_merged_heads", dict(a=(2, 3, 24)), lambda a: F.scaled_dot_product_attention(
        *a.view(2, 3, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0), is_causal=True).transpose(1, 2).reshape(2, 3, 8))

    angles = torch.arange(5)[:, None] * torch.tensor([1.0, 0.1])[None]
    cos, sin = angles.cos(), angles.sin()
    def half(a):
        turned = torch.cat([-a[..., 2:], a[..., :2]], -1)
        return a * torch.cat([cos, cos], -1).to(a.dtype) + turned * torch.cat([sin, sin], -1).to(a.dtype)
    def interleaved(a):
        turned = torch.stack([-a[..., 1::2], a[..., ::2]], -1).flatten(-2)
        return a * cos.repeat_interleave(2, -1).to(a.dtype) + turned * sin.repeat_interleave(2, -1).to(a.dtype)
    case("rotary_half", dict(a=(2, 3, 5, 4)), half)
    case("rotary_interleaved", dict(a=(2, 3, 5, 4)), interleaved)
    case("rotary_partial", dict(a=(2, 3, 5, 7)), lambda a: torch.cat([half(a[..., :4]), a[..., 4:]], -1))
    for name, options in dict(half={}, interleaved=dict(interleaved=True)).items():
        case(f"rotary_{name}_op", dict(a=(2, 3, 5, 4)), lambda a, options=options: torch.onnx.ops.rotary_embedding(
            a, cos[None].expand(2, 5, 2), sin[None].expand(2, 5, 2), **options), opset=23, reference=interleaved if options else half)


def loss_cases():
    labels = torch.tensor([2, -100, 6, 0, -100, 3])
    given = dict(inputs=dict(target=labels), is_loss=True)
    case("cross_entropy", dict(a=(6, 7)), lambda a, target: F.cross_entropy(a, target), **given)
    case("cross_entropy_sum", dict(a=(6, 7)), lambda a, target: F.cross_entropy(a, target, reduction="sum"), **given)
    case("cross_entropy_each", dict(a=(6, 7)), lambda a, target: F.cross_entropy(a, target, reduction="none"), inputs=given["inputs"])
    case("cross_entropy_classes_second", dict(a=(2, 7, 3)), lambda a, target: F.cross_entropy(a, target.view(2, 3)), **given)
    case("nll", dict(a=(6, 7)), lambda a, target: F.nll_loss(a.log_softmax(-1), target), **given)
    case("mse", dict(a=(3, 4, 5), b=(3, 4, 5)), lambda a, b: F.mse_loss(a, b), is_loss=True)
    case("bce_with_logits", dict(a=(6,)), lambda a, target: F.binary_cross_entropy_with_logits(a, (target > 1).to(a.dtype)), **given)


for add_cases in (elementwise_cases, reduction_cases, writing_cases, norm_cases, contraction_cases, convolution_cases, indexing_cases, attention_cases, loss_cases):
    add_cases()


# --- export and reference -----------------------------------------------------------------------------------------------------------------------

class Model(torch.nn.Module):
    def __init__(self, spec, gen):
        super().__init__()
        self.spec, self.compute = spec, spec.reference or spec.compute
        for name, shape in spec.parameters.items():
            if len(shape) == 2 and shape[1] == "positive":
                value = 0.5 + 1.5 * torch.rand(shape[0], generator=gen)
            elif len(shape) == 2 and shape[1] == "quarters":
                value = (4 * torch.randn(shape[0], generator=gen)).round() / 4
            else:
                value = torch.randn(shape, generator=gen)
            self.register_parameter(name, torch.nn.Parameter(value))
        if not spec.is_loss:
            with torch.no_grad():
                result = self.compute(*self.parameters(), *spec.inputs.values())
            self.register_buffer("weights", 0.25 + torch.rand(result.shape, generator=gen))

    def forward(self, **inputs):
        x = inputs.pop("x", None)
        scale = x if self.spec.inputs == {} or x is None else x.mean()
        operands = [p if name in self.spec.direct else p * (scale if p.dim() else x[0]) for name, p in self.named_parameters()]
        result = self.compute(*operands, *inputs.values())
        return result if self.spec.is_loss else (result.square() * self.weights).sum()


def export(model, inputs, path, opset):
    with open(os.devnull, "w") as quiet:
        stdout, sys.stdout = sys.stdout, quiet
        try:
            torch.onnx.export(model, (), path, kwargs=inputs, dynamo=True, opset_version=opset, input_names=list(inputs), output_names=["loss"], verbose=False,
                              external_data=False)
        finally:
            sys.stdout = stdout
    proto = onnx.load(path)
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    with open(path, "wb") as f:
        f.write(proto.SerializeToString())
    return proto


def untrained(proto, model):
    """Parameters that the file holds neither as they are nor as one transpose: their gradient could not be compared."""
    held = {i.name for i in proto.graph.initializer}
    folded = {p.value for v in proto.graph.value_info if v.name in held for p in v.metadata_props if p.key == "pkg.onnxscript.optimizer.folded_from"}
    return [n for n, p in model.named_parameters() if n not in held and not (p.dim() == 2 and f"['{n}']" in folded)]


def loss_of_file(path, inputs):
    """By onnxruntime; by ONNX's own evaluator where that refuses a valid file (it wants no broadcast in Attention's mask)."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(None, inputs)[0]
    except Exception:
        return onnx.reference.ReferenceEvaluator(path).run(None, inputs)[0]


def run_case(name, spec, folder):
    gen = torch.Generator().manual_seed(sum(name.encode()))
    model = Model(spec, gen)
    inputs = spec.all_inputs()
    path = os.path.join(folder, name + ".onnx")
    model.compute = spec.compute
    proto = export(model, inputs, path, spec.opset)
    model.compute = spec.reference or spec.compute
    lost = untrained(proto, model)
    assert not lost, f"the exporter folded {lost} away"
    loss32 = model(**inputs)
    loss32.backward()
    gradients32 = {n: p.grad.clone() for n, p in model.named_parameters()}
    model = model.double()
    model.zero_grad(set_to_none=True)
    loss = model(**{k: v.double() if v.is_floating_point() else v for k, v in inputs.items()})
    loss.backward()
    gradients = {n: p.grad for n, p in model.named_parameters()}
    by_graph = loss_of_file(path, {k: v.numpy() for k, v in inputs.items()})
    assert abs(by_graph - float(loss)) <= 2e-5 * abs(float(loss)), f"the file computes {by_graph}, PyTorch {float(loss)}"
    worst = max(float((gradients32[n] - g).abs().max() / g.abs().max()) for n, g in gradients.items())
    entry = dict(loss=float(loss), opset=spec.opset, types=sorted({n.op_type for n in proto.graph.node}))
    tensors = {f"{name}/input/{k}": v.numpy() for k, v in inputs.items()}
    tensors.update({f"{name}/gradient/{k}": g.float().numpy() for k, g in gradients.items()})
    return entry, tensors, worst


def previous(folder):
    """What an earlier run recorded, as far as the cases still exist."""
    path = os.path.join(folder, "ops-reference.json")
    if not os.path.exists(path):
        return {}, {}
    with open(path) as f:
        record = json.load(f)
    arrays = safetensors.numpy.load_file(path.replace(".json", ".safetensors"))
    return {k: v for k, v in record.items() if k in CASES}, {k: v for k, v in arrays.items() if k.split("/")[0] in CASES}


def main(argv):
    if argv[1:] == ["list"]:
        print(*CASES, sep="\n")
        return 0
    if len(argv) < 2:
        print(__doc__)
        return 2
    folder, names = argv[1], argv[2:] or list(CASES)
    os.makedirs(folder, exist_ok=True)
    record, arrays = previous(folder) if argv[2:] else ({}, {})
    failed, worst = [], {}
    for name in names:
        try:
            record[name], tensors, worst[name] = run_case(name, CASES[name], folder)
            arrays.update(tensors)
        except Exception as error:                 # go on: the others are worth having
            failed.append(name)
            if os.path.exists(os.path.join(folder, name + ".onnx")):
                os.remove(os.path.join(folder, name + ".onnx"))
            print(f"{name}: {type(error).__name__}: {str(error)[:400]}", flush=True)
    with open(os.path.join(folder, "ops-reference.json"), "w") as f:
        json.dump(record, f, indent=1, sort_keys=True)
    safetensors.numpy.save_file({k: np.require(v, requirements="C") for k, v in arrays.items()}, os.path.join(folder, "ops-reference.safetensors"))
    if not worst:
        return 1
    largest = max(worst, key=worst.get)
    print(f"{len(worst)} cases, {len(failed)} failed; PyTorch's float32 gradients are off by at most {worst[largest]:.1e} of the largest element ({largest})")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
