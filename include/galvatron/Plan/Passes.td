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

    A plan comes from a file (`plan`, docs/PlanFormat.md) or from the other options, which give every block one strategy. The batch is
    the first dimension of the first input, "hyper" apart, that has more than one row; ranks and micro-batches divide it.
    Ranks are a mesh whose axes are `mesh`, or the prime factors of the degrees: stages take the outermost, then come those over which the
    batch is split, innermost those that share each block (`tensor`). Stages have nearly equal numbers of blocks, earlier ones more, if the
    plan does not say where each begins; the embedding is on the first, the head on the last. What these split is what a block's inputs and results do not have: heads,
    the hidden size of an MLP, words of a vocabulary. Where they do not divide it, it is padded, by a sixteenth at most. Where two such dimensions meet in one op (KV heads, and the groups of query heads on each), an axis splits that
    which more parameters have, if its size allows. An op that a file names (`dist.op`) splits what the file says.
  }];
  let options = [
    Option<"plan", "plan", "std::string", "", "A plan file; it says all that the other options say.">,
    Option<"ranks", "ranks", "int64_t", "1", "Ranks that run the step together; not given, those of the mesh, or stages times tensor.">,
    Option<"stages", "stages", "int64_t", "1", "Stages of the pipeline; they divide the ranks.">,
    Option<"tensor", "tensor", "int64_t", "1", "Ranks that share each block (tensor parallelism); they divide those of a stage.">,
    Option<"mesh", "mesh", "std::string", "", "Sizes of the axes, slowest link first, like 2x2x3.">,
    Option<"microBatches", "micro-batches", "int64_t", "0",
           "Micro-batches in a step; default: the fewest that are at least the stages and divide the batch.">,
    Option<"schedule", "schedule", "std::string", "\"1f1b\"", "1f1b or gpipe.">
  ];
  let dependentDialects = ["::galvatron::dist::DistDialect"];
}

def DistPrintPlanPass : Pass<"dist-print-plan", "::mlir::ModuleOp"> {
  let summary = "prints what a plan means: mesh, strategies, what is split where, bytes and rows of each rank";
  let description = [{
    Works on what `--dist-apply-plan` makes; `galvatron-compile --explain-plan` prints the same.
  }];
}

def VerifyPlannedPass : Pass<"verify-planned", "::mlir::ModuleOp"> {
  let summary = "checks what holds from --dist-apply-plan on";
  let description = [{
    There is one mesh; every call of a step function has a stage; every `nn.forward` and `nn.backward` has a
    strategy that exists, and a backward has the strategy and the stage of its forward.
  }];
}

#endif
