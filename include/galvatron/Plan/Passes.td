//===- Passes.td - From a training program to a planned one ---------------===//

#ifndef GALVATRON_PLAN_PASSES_TD
#define GALVATRON_PLAN_PASSES_TD

include "mlir/Pass/PassBase.td"

def DistApplyPlanPass : Pass<"dist-apply-plan", "::mlir::ModuleOp"> {
  let summary = "gives each call of the step a strategy and a stage";
  let description = [{
    Adds the mesh and the strategies of a plan to the module, and names them on the calls of the step functions
    (the public ones). A call that depends on the rows of a micro-batch gets a strategy; one that depends on the
    model's inputs alone (what is prepared once a step), or on gradients (updates), runs once on whole values
    and gets only a stage. The functions that are called do not change.

    ```mlir
    // before
    %y, %r = nn.forward @block(%x, %w) : ...
    // after, with micro-batches=2
    dist.mesh @mesh() micro_batches(2)
    dist.strategy @s0 on @mesh {batch = ["time"]}
    %y, %r = nn.forward @block(%x, %w) {dist.stage = 0 : i64, dist.strategy = @s0} : ...
    ```

    The batch is the first dimension of the first input, "hyper" apart, that has more than one row; ranks and micro-batches divide it.
    Ranks are a mesh whose axes are prime factors of their number: first those over which the batch is split, then those that
    share each block (`tensor`). What these split is what a block's inputs and results do not have: heads, the hidden size of an
    MLP, words of a vocabulary. Where they do not divide it, it is padded, by a sixteenth at most. Where two such dimensions meet in one op (KV heads, and the groups of query heads on each), an axis splits that which more
    parameters have, if its size allows.
  }];
  let options = [
    Option<"ranks", "ranks", "int64_t", "1", "Ranks that run the step together.">,
    Option<"tensor", "tensor", "int64_t", "1", "Ranks that share each block (tensor parallelism); they divide the ranks.">,
    Option<"microBatches", "micro-batches", "int64_t", "1", "Micro-batches in a step; they divide the batch.">
  ];
  let dependentDialects = ["::galvatron::dist::DistDialect"];
}

def VerifyPlannedPass : Pass<"verify-planned", "::mlir::ModuleOp"> {
  let summary = "checks what holds from --dist-apply-plan on";
  let description = [{
    There is one mesh; every call of a step function has a stage; every `nn.forward` and `nn.backward` has a
    strategy that exists, and a backward has the strategy and the stage of its forward.
  }];
}

#endif
