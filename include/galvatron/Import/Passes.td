//===- Passes.td - Passes of the import stage: exporters' idioms to ops ---===//
//
// All of them go from nn to nn and keep what the model computes. What is not
// recognised stays as it is and still works.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_IMPORT_PASSES_TD
#define GALVATRON_IMPORT_PASSES_TD

include "mlir/Pass/PassBase.td"

def NNExpandAttention : Pass<"nn-expand-attention", "::mlir::func::FuncOp"> {
  let summary = "Write attention out as contractions and a softmax";
  let description = [{
    The `Attention` of newer opsets says less than what surrounds it: that key heads are shared by a group of
    queries, that a float mask is one of [batch, key]. Written out it is recognised together with that
    (`nn-raise-attention`), like the attention of older opsets.
  }];
}

def NNDropUnitDims : Pass<"nn-drop-unit-dims", "::mlir::ModuleOp"> {
  let summary = "Remove dimensions of size one";
  let description = [{
    Kept dimensions of reductions, unsqueezed masks and tables: inside a function no value has a dimension
    of size one after this, unless an op needs it. Inputs and results of functions keep their shapes.

    ```mlir
    %m = nn.reshape %mean : tensor<8x32xf32> -> tensor<8x32x1xf32>
    %r = nn.rsqrt %m : tensor<8x32x1xf32>
    // becomes
    %r = nn.rsqrt %mean : tensor<8x32xf32>
    ```
  }];
}

def NNSplitDims : Pass<"nn-split-dims", "::mlir::ModuleOp"> {
  let summary = "Give every logical dimension a tensor dimension of its own";
  let description = [{
    A reshape that splits or merges dimensions says what a dimension is made of. This carries it to every
    value that runs over the same loop, parameters included, and rewrites all of them; those reshapes are gone
    then. Slices that cut a dimension into equal pieces split it as well (Q, K and V of a fused projection).
    A parameter becomes another view of the same saved tensor.

    ```mlir
    nn.parameter @w trainable : tensor<64x192xf32>, view strided<[192, 1]> of "w" [64, 192] init normal
    %y = nn.contract %x, %w "abc,cd->abd" : (tensor<8x32x64xf32>, tensor<64x192xf32>) -> tensor<8x32x192xf32>
    %q = nn.slice %y [0, 0, 0] steps [1, 1, 1] : tensor<8x32x192xf32> -> tensor<8x32x64xf32>   // and two more
    %h = nn.reshape %q : tensor<8x32x64xf32> -> tensor<8x32x4x16xf32>
    // becomes
    nn.parameter @w trainable : tensor<64x3x4x16xf32>, view strided<[192, 64, 16, 1]> of "w" [64, 192] init normal
    %y = nn.contract %x, %w "abc,cdef->abdef" : (tensor<8x32x64xf32>, tensor<64x3x4x16xf32>) -> tensor<8x32x3x4x16xf32>
    %s = nn.slice %y [0, 0, 0, 0, 0] steps [1, 1, 1, 1, 1] : tensor<8x32x3x4x16xf32> -> tensor<8x32x1x4x16xf32>
    %h = nn.reshape %s : tensor<8x32x1x4x16xf32> -> tensor<8x32x4x16xf32>
    ```
  }];
}

def NNSinkBroadcasts : Pass<"nn-sink-broadcasts", "::mlir::func::FuncOp"> {
  let summary = "Compute before repeating";
  let description = [{
    An elementwise op whose operands are all repeated along some dimension is computed once and its result
    repeated: masks are [query, key] and rotary tables [sequence, head] until they meet an activation.
  }];
}

def NNRaiseActivations : Pass<"nn-raise-activations", "::mlir::func::FuncOp"> {
  let summary = "Recognise silu, gelu, relu, softplus and rsqrt";
  let description = [{
    A function of x and one tanh, erf or sigmoid of it is compared as polynomials, so the order of factors and
    whether a cube is a power or two products do not matter.
  }];
}

def NNRaiseNorms : Pass<"nn-raise-norms", "::mlir::func::FuncOp"> {
  let summary = "Recognise layer, RMS and L2 normalisation";
  let description = [{
    x * rsqrt(mean(x²) + ε) over trailing dimensions is `nn.rms_norm` with a scale of ones; a product with
    something of those dimensions alone (a parameter, 1 + w, a constant) becomes the scale; an RMS norm of
    x - mean(x) is `nn.layer_norm`, and a sum with something of those dimensions its bias.
  }];
}

def NNRaiseRotary : Pass<"nn-raise-rotary", "::mlir::func::FuncOp"> {
  let summary = "Recognise rotary position embedding";
  let description = [{
    x * cos + rotated(x) * sin, where rotated takes halves or neighbours of the last dimension, becomes
    `nn.rotary` with tables of half that size. Tables that are computed twice over (concat(f, f)) are computed once.
  }];
}

def NNHoistTransposes : Pass<"nn-hoist-transposes", "::mlir::func::FuncOp"> {
  let summary = "Move transposes to where they cost nothing";
  let description = [{
    A transpose moves towards the op that made its operand, as long as that does not make two of it; at a
    contraction it only renames the loops of the result, at a parameter it is another order of reading.
  }];
}

def NNFoldProjections : Pass<"nn-fold-projections", "::mlir::ModuleOp"> {
  let summary = "Let contractions take their operands as they are stored";
  let description = [{
    Transposes and broadcasts of operands become subscripts. A projection whose result is only used in uneven
    slices (32 query heads, 8 key heads, 8 value heads) becomes one contraction for each, and its parameters
    become several, each a view of a part of the saved tensor.

    ```mlir
    %t = nn.transpose %w [1, 0] : tensor<211x64xf32> -> tensor<64x211xf32>
    %y = nn.contract %x, %t "abc,cd->abd" : ...
    // becomes
    %y = nn.contract %x, %w "abc,dc->abd" : ...
    ```
  }];
}

def NNRaiseAttention : Pass<"nn-raise-attention", "::mlir::func::FuncOp"> {
  let summary = "Recognise attention and what its mask says";
  let description = [{
    contract(softmax(contract(q, k) * scale + masks), v), with the scale anywhere and the guard against NaN,
    becomes `nn.attention`. Masks that compare indices become `lower` and `upper`, masks of [batch, key] the key
    mask, masks that are always true nothing; what has no such form is the bias. A mask by a large finite number
    (not an infinity) averages rows in which nothing takes part: with a key mask that is `finite_mask`, and a
    band of which no row is empty needs nothing.
  }];
}

#endif
