"""Writes a model of three blocks with an MLP and a square weight, and data for it, into a folder: square.py FOLDER."""
import random
import struct
import sys

EMBED, HIDDEN, WORDS = 12, 20, 10
X, UP = "tensor<8x5x12xf32>", "tensor<8x5x20xf32>"


def write_npy(path, shape, values):
    header = f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + struct.pack(f"<{len(values)}q", *values))


def model():
    parameters, body = [], []

    def parameter(name, shape, init):
        type_ = f"tensor<{'x'.join(map(str, shape))}xf32>"
        strides = [shape[1], 1] if len(shape) == 2 else [1]
        parameters.append(f'nn.parameter @{name} trainable : {type_}, view strided<{strides}> of "{name}" {list(shape)} init {init}')
        body.append(f"  %{name} = nn.get_parameter @{name} : {type_}")
        return f"%{name}", type_

    def linear(result, x, x_type, name, shape, y_type):
        weight, type_ = parameter(name + ".weight", shape, "normal")
        bias, bias_type = parameter(name + ".bias", shape[:1], "zero")
        body.append(f'  %{result}.m = nn.contract {x}, {weight} "abc,dc->abd" : ({x_type}, {type_}) -> {y_type}')
        body.append(f"  %{result}.b = nn.broadcast {bias} [2] : {bias_type} -> {y_type}")
        body.append(f"  %{result} = nn.add %{result}.m, %{result}.b : {y_type}")

    table, type_ = parameter("table", (WORDS, EMBED), "normal")
    body.append(f"  %x0 = nn.embedding {table}, %ids : ({type_}, tensor<8x5xi64>) -> {X}")
    for i in range(3):
        scale, type_ = parameter(f"l{i}.scale", (EMBED,), "one")
        shift, _ = parameter(f"l{i}.shift", (EMBED,), "zero")
        body.append(f"  %n{i} = nn.layer_norm %x{i}, {scale}, {shift} : {type_} epsilon 1.0e-5 : {X}, {type_}")
        linear(f"u{i}", f"%n{i}", X, f"l{i}.up", (HIDDEN, EMBED), UP)
        body.append(f"  %a{i} = nn.gelu %u{i} erf : {UP}")
        linear(f"d{i}", f"%a{i}", UP, f"l{i}.down", (EMBED, HIDDEN), X)
        body.append(f"  %r{i} = nn.add %d{i}, %x{i} : {X}")
        linear(f"g{i}", f"%r{i}", X, f"l{i}.square", (EMBED, EMBED), X)
        body.append(f"  %t{i} = nn.tanh %g{i} : {X}")
        body.append(f"  %x{i + 1} = nn.add %r{i}, %t{i} : {X}")
    linear("y", "%x3", X, "head", (WORDS, EMBED), "tensor<8x5x10xf32>")
    return "\n".join([*parameters, 'func.func @forward(%ids: tensor<8x5xi64> {nn.name = "ids"}) -> (tensor<8x5x10xf32> {nn.name = "logits"}) {', *body,
                      "  return %y : tensor<8x5x10xf32>", "}", ""])


folder, rng = sys.argv[1], random.Random(0)
with open(folder + "/model.mlir", "w") as file:
    file.write(model())
for name in ("ids", "labels"):
    write_npy(f"{folder}/{name}.npy", (3, 8, 5), [rng.randrange(WORDS) for _ in range(3 * 8 * 5)])
