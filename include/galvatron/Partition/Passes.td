//===- Passes.td - From a planned program to a partitioned one ------------===//

#ifndef GALVATRON_PARTITION_PASSES_TD
#define GALVATRON_PARTITION_PASSES_TD

include "mlir/Pass/PassBase.td"

def DistCutPass : Pass<"dist-cut", "::mlir::ModuleOp"> {
  let summary = "cuts joint functions into forward and backward functions";
  let description = [{
    What the backward reads of the forward is kept: it becomes a result of the one and an argument of the other.
    Inputs of the block are passed to both, so a parameter is never kept. A value that is cheap to compute
    again from what is kept anyway (a broadcast, a cast, a view, a constant) is computed again. A
    forward whose residuals nobody reads calls `@f.inference`, which keeps nothing.

    ```mlir
    // before
    %y, %r = nn.forward @block(%x, %w) : ...
    %dx, %dw = nn.backward @block %r(%dy) : ...
    // after
    %y, %kept = func.call @block.forward(%x, %w) : ...
    %dx, %dw = func.call @block.backward(%x, %w, %kept, %dy) : ...
    ```
  }];
  let dependentDialects = ["::mlir::func::FuncDialect"];
}

def DistPropagateLayoutsPass : Pass<"dist-propagate-layouts", "::mlir::ModuleOp"> {
  let summary = "finds the layout of every value from the strategies on the calls";
  let description = [{
    Each axis that a strategy gives the role "batch" splits dimension 0 of the model's inputs. From there the
    sharding rules say what else is split, forward and backward through ops and calls until nothing changes;
    what sums over a split loop is partial, and stays so through ops that are linear in it. `splits` of a strategy
    are where axes of the role "tensor" start: from inputs of a block. Functions that
    are called under several strategies are cloned first, one for each. Where a use
    needs another layout than a value has, a `dist.reshard` stands between them. Ops that count along a loop that is split get its numbers
    as an operand. Over time, an op that cannot be computed
    from the pieces is an error that names it.

    Layouts are left as attributes: `dist.layout` on arguments and results of functions, `dist.layouts` on ops.
  }];
  let dependentDialects = ["::galvatron::dist::DistDialect"];
}

def DistPrintLayoutsPass : Pass<"dist-print-layouts", "::mlir::ModuleOp"> {
  let summary = "emits a remark with the layout of each value that is not whole";
}

def DistPrintCommunicationPass : Pass<"dist-print-communication", "::mlir::ModuleOp"> {
  let summary = "emits remarks with the collectives and messages of each step: what, over which axes, bytes, times";
  let description = [{
    Works on what `--dist-partition` makes, and, to count what pipeline stages send each other, on what `--pipe-split` makes of it. Bytes are those that each rank brings. A collective of a function is made in each of
    its calls and for each micro-batch.

        all_reduce sum over ["a"] in @block0.forward: 32768 bytes, 8 times a step
        a step has 17 collectives, to which each rank brings 524292 bytes
        message from stage 0 to stage 1 in @step: 32768 bytes, 4 times a step
  }];
}

def DistPrintShardingRulesPass : Pass<"dist-print-sharding-rules", "::mlir::ModuleOp"> {
  let summary = "emits a remark with the sharding rule of each op";
  let description = [{
    A letter is a loop; `8 sum` says that splitting it leaves partial sums, `whole` that it must not be split.

        ([a b], [b c]) -> ([a c]) {a=8, b=4 sum, c=16} linear in #0 | #1
  }];
}

def DistPartitionPass : Pass<"dist-partition", "::mlir::ModuleOp"> {
  let summary = "gives every value the shape that one device has at one time";
  let description = [{
    Types become those of a piece, as the layouts say, and each `dist.reshard` becomes the move that it stands
    for: `dist.slice` from whole to split, `dist.all_gather` from split to whole, `dist.all_reduce` from partial to whole. Inputs stay
    whole at the step; calls see pieces, and parameters that are read in pieces are stored in pieces.

    Where a dimension does not divide, pieces have one size and the last are padded. Padding holds anything, but is the identity of a reduction before it, and
    zero in what is stored: selects see to that, where it is not so anyway.

    ```mlir
    // before
    %0 = dist.reshard %x to <@mesh, [["time"], []]> : tensor<8x4xf32>
    %y = func.call @block.forward(%0, %w) : (tensor<8x4xf32>, tensor<4x4xf32>) -> tensor<8x4xf32>
    // after, with two micro-batches
    %0 = dist.slice %x dim 0 over @mesh ["time"] : tensor<8x4xf32> -> tensor<4x4xf32>
    %y = func.call @block.forward(%0, %w) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
    ```
  }];
  let dependentDialects = ["::galvatron::dist::DistDialect", "::galvatron::nn::NNDialect"];
}

def VerifyPartitionedPass : Pass<"verify-partitioned", "::mlir::ModuleOp"> {
  let summary = "checks what holds from --dist-partition on";
  let description = [{
    No joint function, `nn.forward`, `nn.backward` or `dist.reshard` is left, and no op has layouts of its own; a parameter
    that is stored in pieces says the shape of the whole.
  }];
}

#endif
