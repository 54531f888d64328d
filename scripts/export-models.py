#!/usr/bin/env python3
"""Exports the small models that tests and examples train, and records what PyTorch computes with them in float64.

  export-models.py main    OUT [FAMILY...]    the four main families in four export variants each   (test/Inputs)
  export-models.py extra   OUT [FAMILY...]    other architectures, one export each                  (test/Inputs/extra)
  export-models.py example OUT                a character-level GPT-2                               (examples/tiny-gpt2)
  export-models.py pages   OUT                two blocks of width 4                                 (examples/two-blocks)
  export-models.py wide    OUT [BLOCKS [WIDTH VOCABULARY]]   two blocks as wide as GPT-2's smallest, no weights    (test/Inputs/wide-gpt2)
  export-models.py list

Made with torch 2.15.0, transformers 5.23.0, onnx 1.23.2, onnxscript 0.7.2 and safetensors; onnxruntime, where it is installed, checks that each
file computes the logits of the reference. Nothing is downloaded: the weights are random and the data is a small language with something to learn.

Per model:

  model.onnx            free batch and sequence, opset 20          model-attention.onnx   the same, opset 23 (Attention, RMSNormalization, ...)
  model-raw.onnx        the same, not optimised by the exporter    model-static.onnx      shapes baked in
  data/*.npy            [step, batch, ...]: one file per model input, and labels.npy (already shifted; -100 is not counted)
  reference.json        losses and gradient norms of each run, and how far PyTorch's own float32 runs (1, 2 and 4 micro-batches) end from them;
                        parameters that model.onnx does not hold as such are left out and do not train
  reference.safetensors logits of the first batch, gradients of the first step (before clipping), parameters after the last step
"""
import dataclasses
import json
import logging
import os
import sys
import warnings
from typing import Callable

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import numpy as np
import onnx
import safetensors.numpy
import torch
import transformers as hf
from torch.overrides import TorchFunctionMode

BATCH, STEPS, SEQUENCE = 8, 6, 12
VOCABULARY = 61                  # prime, so that nothing divides it
IMAGE, PATCH, CLASSES = 12, 4, 7
ADAMW = dict(lr=3e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
SGD = dict(lr=0.05, momentum=0.9, weight_decay=0.1)
RUNS = {"plain": ("adamw", None), "clip": ("adamw", 1.0), "sgd": ("sgd", None)}
VARIANTS = {"model.onnx": {}, "model-attention.onnx": dict(opset_version=23), "model-raw.onnx": dict(optimize=False), "model-static.onnx": dict(static=True)}
KEPT_NODE_METADATA = {"pkg.torch.onnx.name_scopes"}


@dataclasses.dataclass
class Family:
    task: str                    # causal | masked | tokens | image | seq2seq: which data it is trained on
    make: Callable[[], torch.nn.Module]
    shortest: int = SEQUENCE // 2    # tokens that are not padding, where there is padding


# --- the models -----------------------------------------------------------------------------------------------------------------------------

NO_DROPOUT = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
ENCODER = dict(num_hidden_layers=4, hidden_size=16, intermediate_size=32, num_attention_heads=4, **NO_DROPOUT)
TEXT_ENCODER = dict(ENCODER, vocab_size=VOCABULARY, max_position_embeddings=24)
IMAGE_ENCODER = dict(ENCODER, image_size=IMAGE, patch_size=PATCH, num_labels=CLASSES)
DECODER = dict(num_hidden_layers=4, hidden_size=16, intermediate_size=40, num_attention_heads=4, vocab_size=VOCABULARY, max_position_embeddings=24,
               use_cache=False)


def gpt2(vocabulary=VOCABULARY, positions=SEQUENCE, width=16, layers=4):
    return hf.GPT2LMHeadModel(hf.GPT2Config(
        n_layer=layers, n_embd=width, n_head=4, vocab_size=vocabulary, n_positions=positions, use_cache=False, resid_pdrop=0.0, embd_pdrop=0.0,
        attn_pdrop=0.0, bos_token_id=0, eos_token_id=0))


def main_families():
    return {
        "gpt2": Family("causal", gpt2),
        "llama": Family("causal", lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**DECODER, num_key_value_heads=2))),
        "bert": Family("masked", lambda: hf.BertForMaskedLM(hf.BertConfig(**TEXT_ENCODER))),
        "vit": Family("image", lambda: hf.ViTForImageClassification(hf.ViTConfig(**IMAGE_ENCODER))),
    }


def extra_families():
    """Two layers each: these are here for their idioms, not for their depth."""
    two, text, image = dict(DECODER, num_hidden_layers=2), dict(TEXT_ENCODER, num_hidden_layers=2), dict(IMAGE_ENCODER, num_hidden_layers=2)
    tokens = dict(bos_token_id=0, eos_token_id=0, pad_token_id=0)

    def decoder(name, **options):
        config = getattr(hf, name + "Config")(**dict(two, **options))
        return Family("causal", lambda: getattr(hf, name + "ForCausalLM")(config))

    def vision(name, **options):
        config = getattr(hf, name + "Config")(**options)
        return Family("image", lambda: getattr(hf, name + "ForImageClassification")(config))

    eager = dict(attn_implementation="eager")      # attention written out; the exporter cannot decompose the fused one where its mask is trained

    return {
        # Fused QKV per head, rotary on half of each head, parallel residual.
        "gpt_neox": decoder("GPTNeoX", rotary_pct=0.5, hidden_act="gelu"),
        # Interleaved rotary, parallel residual without a second norm, a bias on the head.
        "gptj": Family("causal", lambda: hf.GPTJForCausalLM(hf.GPTJConfig(
            n_layer=2, n_embd=16, n_head=4, n_positions=24, rotary_dim=2, vocab_size=VOCABULARY, use_cache=False, resid_pdrop=0.0, embd_pdrop=0.0,
            attn_pdrop=0.0, **dict(bos_token_id=0, eos_token_id=0)))),
        # Partial rotary, biases everywhere, tanh GELU.
        "phi": decoder("Phi", partial_rotary_factor=0.5),
        # One projection for gate and up, one for Q, K and V of unequal sizes.
        "phi3": decoder("Phi3", num_key_value_heads=2, **tokens),
        # A window of 4 tokens.
        "mistral": decoder("Mistral", num_key_value_heads=2, sliding_window=4, **tokens),
        # Attention as MatMul, scale, mask, Softmax, MatMul; the KV heads expanded by hand.
        "llama_eager": decoder("Llama", num_key_value_heads=2, **eager),
        # Biases on Q, K and V only; tied head.
        "qwen2": decoder("Qwen2", num_key_value_heads=2, tie_word_embeddings=True),
        # RMSNorm of every head of Q and K; heads wider than hidden / heads.
        "qwen3": decoder("Qwen3", num_key_value_heads=2, head_dim=8),
        # 1 + weight in every norm, scaled embedding, GELU gate.
        "gemma": decoder("Gemma", num_key_value_heads=1, head_dim=8, **tokens),
        # The same with tanh-capped scores and logits, norms after each sublayer, windows in every other layer.
        "gemma2": decoder("Gemma2", num_key_value_heads=2, head_dim=4, sliding_window=4, query_pre_attn_scalar=4, **tokens),
        # Norms after the sublayer, over all of Q and K at once.
        "olmo2": decoder("Olmo2", num_key_value_heads=2),
        # LayerNorm without bias, interleaved rotary, parallel residual, scaled logits.
        "cohere": decoder("Cohere", num_key_value_heads=2, use_qk_norm=False, **tokens),
        # Multi-query, fused.
        "falcon": Family("causal", lambda: hf.FalconForCausalLM(hf.FalconConfig(
            num_hidden_layers=2, hidden_size=16, num_attention_heads=4, vocab_size=VOCABULARY, max_position_embeddings=24, use_cache=False,
            hidden_dropout=0.0, attention_dropout=0.0, bos_token_id=0, eos_token_id=0))),
        # Positions counted from a mask and looked up with an offset of 2, ReLU.
        "opt": Family("causal", lambda: hf.OPTForCausalLM(hf.OPTConfig(
            num_hidden_layers=2, hidden_size=16, ffn_dim=32, num_attention_heads=4, vocab_size=VOCABULARY, max_position_embeddings=24, word_embed_proj_dim=16,
            use_cache=False, dropout=0.0, bos_token_id=0, eos_token_id=0, pad_token_id=1))),
        # ALiBi: a slope per head times the distance, added to the scores.
        "bloom": Family("causal", lambda: hf.BloomForCausalLM(hf.BloomConfig(
            n_layer=2, hidden_size=16, n_head=4, vocab_size=VOCABULARY, use_cache=False, hidden_dropout=0.0, attention_dropout=0.0, **tokens))),
        # ALiBi as a constant table, sliced from its end; the mask is a Cast of the additive one; LayerNorm without bias.
        "mpt": Family("causal", lambda: hf.MptForCausalLM(hf.MptConfig(
            d_model=16, n_heads=4, n_layers=2, max_seq_len=24, vocab_size=VOCABULARY, expansion_ratio=2, use_cache=False))),
        # Scores without a scale; a window that is a constant table, in every other layer.
        "gpt_neo": Family("causal", lambda: hf.GPTNeoForCausalLM(hf.GPTNeoConfig(
            num_layers=2, hidden_size=16, num_heads=4, vocab_size=VOCABULARY, max_position_embeddings=24, attention_types=[[["global", "local"], 1]], window_size=4,
            use_cache=False, resid_dropout=0.0, embed_dropout=0.0, attention_dropout=0.0, bos_token_id=0, eos_token_id=0))),
        "distilbert": Family("masked", lambda: hf.DistilBertForMaskedLM(hf.DistilBertConfig(
            n_layers=2, dim=16, hidden_dim=32, n_heads=4, vocab_size=VOCABULARY, max_position_embeddings=24, dropout=0.0, attention_dropout=0.0))),
        # Positions counted from the padding tokens in input_ids: data-dependent.
        "roberta": Family("masked", lambda: hf.RobertaForMaskedLM(hf.RobertaConfig(**text, pad_token_id=1))),
        # Windows to both sides, one rotary base for them and another for the rest. A window of padding only would mean one thing in PyTorch, another in ONNX.
        "modernbert": Family("masked", lambda: hf.ModernBertForMaskedLM(hf.ModernBertConfig(
            num_hidden_layers=2, hidden_size=16, intermediate_size=32, num_attention_heads=4, vocab_size=VOCABULARY, max_position_embeddings=24, local_attention=4,
            global_attn_every_n_layers=2, **tokens)), shortest=SEQUENCE - 2),
        # One set of weights, applied by every layer.
        "albert": Family("masked", lambda: hf.AlbertForMaskedLM(hf.AlbertConfig(**text, embedding_size=8))),
        # A head per token.
        "electra": Family("tokens", lambda: hf.ElectraForTokenClassification(hf.ElectraConfig(**text, embedding_size=8, num_labels=CLASSES))),
        # Encoder and decoder, cross attention, relative position buckets, RMSNorm.
        "t5": Family("seq2seq", lambda: hf.T5ForConditionalGeneration(hf.T5Config(
            num_layers=2, d_model=16, d_ff=32, d_kv=4, num_heads=4, vocab_size=VOCABULARY, relative_attention_num_buckets=8, relative_attention_max_distance=16,
            dropout_rate=0.0, use_cache=False, decoder_start_token_id=0, pad_token_id=0, eos_token_id=0, **eager))),
        "bart": Family("seq2seq", lambda: hf.BartForConditionalGeneration(hf.BartConfig(
            encoder_layers=2, decoder_layers=2, d_model=16, encoder_ffn_dim=32, decoder_ffn_dim=32, encoder_attention_heads=4, decoder_attention_heads=4,
            vocab_size=VOCABULARY, max_position_embeddings=24, dropout=0.0, use_cache=False, decoder_start_token_id=0, **tokens))),
        # A distillation token beside the class token.
        "deit": vision("DeiT", **image),
        # Layer scale.
        "dinov2": vision("Dinov2", **{k: v for k, v in image.items() if k != "intermediate_size"}, mlp_ratio=2),
        # Windows, cyclic shifts, a relative position table, patch merging.
        "swin": vision("Swin", image_size=16, patch_size=2, embed_dim=8, depths=[2, 1], num_heads=[2, 4], window_size=4, num_labels=CLASSES, **NO_DROPOUT,
                       drop_path_rate=0.0, **eager),
        # Depth-wise convolutions, channels last and first in turn.
        "convnext": vision("ConvNext", image_size=16, num_channels=3, patch_size=2, hidden_sizes=[8, 12], depths=[1, 2], num_stages=2, num_labels=CLASSES,
                           drop_path_rate=0.0),
    }


# --- the data -------------------------------------------------------------------------------------------------------------------------------

def language(shape, vocabulary, gen):
    """Seven of eight tokens follow from the one before: there is something to learn, and it cannot be learnt completely."""
    ids = torch.randint(0, vocabulary, shape, generator=gen)
    for t in range(1, shape[-1]):
        follows = torch.rand(shape[:-1], generator=gen) < 7 / 8
        ids[..., t] = torch.where(follows, (ids[..., t - 1] * 5 + 3) % 13, ids[..., t])
    return ids


def next_token_labels(ids):
    """The last position has none, and in every third row the first quarter is a prompt: the number of counted labels differs between rows, so a mean of
    micro-batch means is not the mean."""
    labels = torch.cat([ids[..., 1:], torch.full_like(ids[..., :1], -100)], dim=-1)
    labels[:, ::3, : ids.shape[-1] // 4] = -100
    return labels


def make_data(family, model, gen):
    shape = (STEPS, BATCH, SEQUENCE)
    if family.task == "image":
        size = getattr(model.config, "image_size", IMAGE)
        labels = torch.randint(0, CLASSES, shape[:2], generator=gen)
        noise = torch.randn((*shape[:2], 3, size, size), generator=gen)
        return dict(pixel_values=noise + 0.3 * labels[..., None, None, None]), labels
    ids = language(shape, VOCABULARY, gen)
    if family.task == "causal":
        return dict(input_ids=ids), next_token_labels(ids)
    if family.task == "seq2seq":                  # the decoder reads the source backwards, shifted by a start token
        target = ids.flip(-1)
        start = torch.zeros_like(target[..., :1])
        labels = target.clone()
        labels[:, ::3, : SEQUENCE // 4] = -100
        return dict(input_ids=ids, decoder_input_ids=torch.cat([start, target[..., :-1]], dim=-1)), labels
    lengths = torch.randint(family.shortest, SEQUENCE + 1, (*shape[:2], 1), generator=gen)
    mask = (torch.arange(SEQUENCE) < lengths).long()
    if family.task == "tokens":
        return dict(input_ids=ids, attention_mask=mask), torch.where(mask > 0, ids % CLASSES, -100)
    chosen = (torch.rand(shape, generator=gen) < 0.2) & (mask > 0)
    padding = model.config.pad_token_id if isinstance(model, hf.RobertaForMaskedLM) else 0
    inputs = torch.where(chosen, 3, ids.clamp(min=2))
    return dict(input_ids=torch.where(mask > 0, inputs, padding), attention_mask=mask), torch.where(chosen, ids, -100)


# --- export ---------------------------------------------------------------------------------------------------------------------------------

def free_dimensions(name, tensor):
    return {d: torch.export.Dim.DYNAMIC for d in ((0,) if name == "pixel_values" else range(tensor.dim()))}


def export(model, inputs, path, static=False, **options):
    shapes = None if static else {n: free_dimensions(n, t) for n, t in inputs.items()}
    settings = dict(dynamo=True, opset_version=20, input_names=list(inputs), output_names=["logits"], verbose=False, dynamic_shapes=shapes)
    with open(os.devnull, "w") as quiet:
        stdout, sys.stdout = sys.stdout, quiet
        try:
            torch.onnx.export(model, (), path, kwargs=inputs, **dict(settings, **options))
        finally:
            sys.stdout = stdout
    strip_node_metadata(path)


def strip_node_metadata(path):
    """Most of a file is the exporter's account of where each node came from; stack traces name files of the exporting machine besides."""
    proto = onnx.load(path, load_external_data=False)
    for node in proto.graph.node:
        kept = [p for p in node.metadata_props if p.key in KEPT_NODE_METADATA]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
        node.doc_string = ""
    with open(path, "wb") as f:
        f.write(proto.SerializeToString())


def parameters_in(path, model):
    """Which initializer is which parameter, whether it is stored transposed, and which parameters the file does not hold as such."""
    first_name = {id(p): n for n, p in model.named_parameters()}
    names = {n: first_name[id(p)] for n, p in model.named_parameters(remove_duplicate=False)}
    values = {n: p.detach().numpy() for n, p in model.named_parameters()}
    graph = onnx.load(path).graph
    folded = {v.name: p.value for v in graph.value_info for p in v.metadata_props if p.key == "pkg.onnxscript.optimizer.folded_from"}
    found = {}
    for initializer in graph.initializer:
        name = initializer.name
        origin = name if name in names else next((n for n in names if folded.get(name) == f"['{n}']"), None)
        if origin:
            stored, parameter = onnx.numpy_helper.to_array(initializer), values[names[origin]]
            transposed = name != origin and parameter.ndim == 2
            if np.array_equal(stored, parameter.T if transposed else parameter):
                found[name] = dict(parameter=names[origin], transposed=transposed)
    held = {entry["parameter"] for entry in found.values()}
    return found, [n for n in first_name.values() if n not in held]


def check_against_runtime(path, inputs, logits):
    """The largest difference between the exported file's logits and the reference's, or why there is none: onnxruntime does not run every valid file
    (it wants the batch of RotaryEmbedding's caches to be that of its input, where the exporter writes 1)."""
    try:
        import onnxruntime
    except ImportError:
        return "unknown without onnxruntime"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        wanted = {i.name for i in session.get_inputs()}
        got = session.run(["logits"], {k: v.numpy() for k, v in inputs.items() if k in wanted})[0]
    except Exception as error:
        return "unknown: " + str(error).split("Status Message: ")[-1][:120]
    return float(np.abs(got - logits).max())


# --- the reference --------------------------------------------------------------------------------------------------------------------------

class InDouble(TorchFunctionMode):
    """transformers casts to float32 inside norms, softmax and rotary tables; a float64 reference must not."""

    def __enter__(self):
        torch.set_default_dtype(torch.float64)
        return super().__enter__()

    def __exit__(self, *error):
        torch.set_default_dtype(torch.float32)
        return super().__exit__(*error)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.float:
            func = torch.Tensor.double
        swap = lambda v: torch.float64 if v is torch.float32 else v
        return func(*map(swap, args), **{k: swap(v) for k, v in (kwargs or {}).items()})


def at_step(tensors, step, dtype):
    return {k: v[step].to(dtype) if v.is_floating_point() else v[step] for k, v in tensors.items()}


def train(model, start, inputs, labels, steps, optimizer, clip_norm, dtype, pieces=1):
    """Weight decay on tensors of two or more dimensions only; the mean of the loss is over the counted labels of the whole batch."""
    model.to(dtype).load_state_dict(start)
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    groups = [dict(params=[p for p in parameters.values() if p.dim() >= 2]), dict(params=[p for p in parameters.values() if p.dim() < 2], weight_decay=0.0)]
    stepper = torch.optim.SGD(groups, **SGD) if optimizer == "sgd" else torch.optim.AdamW(groups, **ADAMW)
    losses, norms, first = [], [], {}
    for step in range(steps):
        at = step % len(labels)
        stepper.zero_grad()
        batch, count, total = at_step(inputs, at, dtype), (labels[at] >= 0).sum(), 0.0
        for piece in torch.arange(labels.shape[1]).chunk(pieces):
            logits = model(**{n: t[piece] for n, t in batch.items()}).logits
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, -2), labels[at][piece].flatten(), ignore_index=-100, reduction="sum") / count
            loss.backward()
            total += float(loss)
        gradients = {n: p.grad for n, p in parameters.items() if p.grad is not None}
        norms.append(float(torch.stack([g.square().sum() for g in gradients.values()]).sum().sqrt()))
        if step == 0:
            first = {n: g.clone() for n, g in gradients.items()}
        if clip_norm:
            torch.nn.utils.clip_grad_norm_(parameters.values(), clip_norm)
        stepper.step()
        losses.append(total)
    return losses, norms, first, {n: p.detach().clone() for n, p in parameters.items()}


def reference_runs(model, start, inputs, labels, steps, runs):
    """The runs' record for reference.json and their tensors."""
    record, tensors = {}, {}
    for run in runs:
        optimizer, clip_norm = RUNS[run]
        with InDouble():
            losses, norms, gradients, parameters = train(model, start, inputs, labels, steps, optimizer, clip_norm, torch.float64)
        losses32, error = None, 0.0
        for pieces in (1, 2, 4):                   # three orders of summation: one may be lucky
            result = train(model, start, inputs, labels, steps, optimizer, clip_norm, torch.float32, pieces)
            losses32 = losses32 or result[0]
            error = max(error, *(float((result[3][n].double() - p).abs().max()) for n, p in parameters.items()))
        record[run] = dict(optimizer=optimizer, clip_norm=clip_norm, losses=losses, gradient_norms=norms,
                           torch_float32=dict(losses=losses32, largest_parameter_error=error))
        tensors.update({f"{run}/parameter/{n}": p.float().numpy() for n, p in parameters.items()})
        if run == "plain":
            tensors.update({f"gradient/{n}": g.float().numpy() for n, g in gradients.items()})
    return record, tensors


# --- putting a model's folder together --------------------------------------------------------------------------------------------------------

def prepare(family, seed):
    torch.manual_seed(seed)
    model = family.make().eval()
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            module.padding_idx = None              # a row without a gradient is nothing that ONNX can say
    with torch.no_grad():                          # the exporter merges equal initializers, and equal initial values with them
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return model


def write_folder(folder, model, inputs, labels, variants, steps, runs, with_tensors=True):
    os.makedirs(os.path.join(folder, "data"), exist_ok=True)
    start = {k: v.clone() for k, v in model.state_dict().items()}
    first = at_step(inputs, 0, torch.float32)
    for file, options in variants.items():
        export(model, first, os.path.join(folder, file), **options)
    found, absent = parameters_in(os.path.join(folder, "model.onnx"), model)
    for name in absent:                            # what the exporter folded away (1 + weight, an expanded token) cannot train
        model.get_parameter(name).requires_grad_(False)
    for name, tensor in dict(inputs, labels=labels).items():
        np.save(os.path.join(folder, "data", name + ".npy"), tensor.numpy())
    with InDouble(), torch.no_grad():
        logits = model.double()(**at_step(inputs, 0, torch.float64)).logits.numpy()
    run_records, tensors = reference_runs(model, start, inputs, labels, steps, runs)
    record = dict(loss="mean cross entropy over labels that are not -100",
                  optimizers=dict(adamw=ADAMW, sgd=SGD, weight_decay_on="tensors of two or more dimensions"),
                  global_batch=labels.shape[1], steps=steps, parameters_in_onnx=found, parameters_not_in_onnx=absent, runs=run_records)
    with open(os.path.join(folder, "reference.json"), "w") as f:
        json.dump(record, f, indent=1)
    if with_tensors:
        safetensors.numpy.save_file(dict(tensors, logits=logits.astype(np.float32)), os.path.join(folder, "reference.safetensors"))
    model.config.to_json_file(os.path.join(folder, "config.json"))
    errors = {file: check_against_runtime(os.path.join(folder, file), first, logits) for file in variants}
    losses = run_records["plain"]["losses"]
    sizes = [os.path.getsize(os.path.join(at, f)) for at, _, files in os.walk(folder) for f in files]
    print(f"{os.path.basename(os.path.abspath(folder))}: loss {losses[0]:.4f} -> {losses[-1]:.4f}; {len(found)} initializers are parameters, not in the file: "
          f"{absent}; {sum(sizes) / 1e3:.0f} kB, largest file {max(sizes) / 1e3:.0f} kB; logits off by {errors}", flush=True)


def export_families(out, families, names, variants, runs):
    failed = []
    for name in names or families:
        family = families[name]
        try:
            model = prepare(family, seed=0)
            inputs, labels = make_data(family, model, torch.Generator().manual_seed(1))
            write_folder(os.path.join(out, name), model, inputs, labels, variants, STEPS, runs)
        except Exception as error:                 # one architecture that does not export must not hide the others
            failed.append(name)
            print(f"{name}: {type(error).__name__}: {str(error)[:300]}", flush=True)
    return 1 if failed else 0


# --- the example ------------------------------------------------------------------------------------------------------------------------------

def sentences(count, rng):
    words = dict(article=["a", "the", "my", "every"], adjective=["small", "red", "quick", "happy", "old"], noun=["fox", "cat", "robot", "child", "bird"],
                 verb=["sees", "finds", "likes", "follows"], place=["at night", "in the rain", "on the hill"])
    pick = lambda kind: words[kind][rng.integers(len(words[kind]))]
    thing = lambda: " ".join([pick("article"), pick("adjective"), pick("noun")])
    return " ".join(f"{thing()} {pick('verb')} {thing()} {pick('place')}." for _ in range(count))


def export_example(out):
    """Each row of the data is 32 consecutive characters of such text, each label the next character."""
    steps, sequence = 100, 32
    text = sentences(700, np.random.default_rng(0))
    alphabet = "".join(sorted(set(text)))
    codes = torch.tensor([alphabet.index(c) for c in text])
    starts = torch.randint(0, len(codes) - sequence - 1, (steps, BATCH, 1), generator=torch.Generator().manual_seed(1))
    windows = codes[starts + torch.arange(sequence + 1)]
    inputs, labels = dict(input_ids=windows[..., :-1].contiguous()), windows[..., 1:].contiguous()
    model = prepare(Family("causal", lambda: gpt2(len(alphabet), sequence, width=32, layers=4)), seed=0)
    with open(os.path.join(out, "alphabet.json"), "w") as f:
        json.dump(alphabet, f)
    write_folder(out, model, inputs, labels, {"model.onnx": {}}, steps, ["plain"], with_tensors=False)


class TwoBlocks(torch.nn.Module):
    """An embedding tied to the head, and one block twice: the smallest model that has what the pages on the stages explain."""

    def __init__(self, vocabulary=11, width=4, inner=16):
        super().__init__()
        self.embedding = torch.nn.Embedding(vocabulary, width)
        self.blocks = torch.nn.ModuleList(torch.nn.ModuleDict(dict(norm=torch.nn.RMSNorm(width, eps=1e-5), up=torch.nn.Linear(width, inner, bias=False),
                                                                   down=torch.nn.Linear(inner, width, bias=False))) for _ in range(2))
        self.norm = torch.nn.RMSNorm(width, eps=1e-5)

    def forward(self, input_ids):
        x = self.embedding(input_ids)
        for block in self.blocks:
            x = x + block["down"](torch.nn.functional.gelu(block["up"](block["norm"](x))))
        return self.norm(x) @ self.embedding.weight.T


def export_pages(out):
    torch.manual_seed(0)
    model = TwoBlocks().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    export(model, dict(input_ids=torch.zeros((2, 3), dtype=torch.long)), os.path.join(out, "model.onnx"), opset_version=23, external_data=False)


def export_wide(out, blocks="2", width="768", vocabulary="50257"):
    """For looking at code and at memory: what a model's blocks compile to does not depend on how many there are. The weights file is named, but not left there."""
    torch.manual_seed(0)
    model = hf.GPT2LMHeadModel(hf.GPT2Config(n_layer=int(blocks), n_embd=int(width), vocab_size=int(vocabulary), use_cache=False, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() < 2:
                parameter.normal_()            # equal values would be merged into one
    path = os.path.join(out, "model.onnx")
    export(model, dict(input_ids=torch.zeros((2, 16), dtype=torch.long)), path, external_data=True)
    os.remove(path + ".data")


def main(argv):
    tables = dict(main=main_families, extra=extra_families)
    if argv[1:] == ["list"]:
        for kind, table in tables.items():
            print(kind + ":", *table())
        return 0
    alone = dict(example=export_example, pages=export_pages, wide=export_wide)
    if len(argv) < 3 or argv[1] not in (*tables, *alone):
        print(__doc__)
        return 2
    if argv[1] in alone:
        os.makedirs(argv[2], exist_ok=True)
        alone[argv[1]](*argv[2:])
        return 0
    families = tables[argv[1]]()
    unknown = [name for name in argv[3:] if name not in families]
    if unknown:
        print(f"no such family: {', '.join(unknown)}; there are {', '.join(families)}")
        return 2
    everything = argv[1] == "main"
    return export_families(argv[2], families, argv[3:], VARIANTS if everything else {"model.onnx": {}}, RUNS if everything else ["plain"])


if __name__ == "__main__":
    sys.exit(main(sys.argv))
