//===- Passes.td - From a partitioned program to a scheduled one ----------===//

#ifndef GALVATRON_SCHEDULE_PASSES_TD
#define GALVATRON_SCHEDULE_PASSES_TD

include "mlir/Pass/PassBase.td"

def PipeSplitPass : Pass<"pipe-split", "::mlir::ModuleOp"> {
  let summary = "makes the steps of one stage lists of calls, numbered and with a phase";
  let description = [{
    A function with moves between ranks inside is cut there: its parts run one after the other, as one call, and the moves
    stand between them. Arithmetic between the calls of a step moves into functions, and every call gets `pipe.call` (its number; a
    backward has the number of its forward) and `pipe.phase`: prepare and finish run once a step, forward and
    backward for each micro-batch. All calls have stage 0 as yet.

    ```mlir
    // before
    %y, %k = func.call @block.forward(%x, %w) {dist.stage = 0 : i64, dist.strategy = @s0} : ...
    // after
    %y, %k = func.call @block.forward(%x, %w) {..., pipe.call = 3 : i64, pipe.phase = #pipe<phase forward>} : ...
    ```
  }];
  let dependentDialects = ["::galvatron::pipe::PipeDialect", "::mlir::func::FuncDialect"];
}

def PipeSchedulePass : Pass<"pipe-schedule", "::mlir::ModuleOp"> {
  let summary = "writes each step as a table of rows in the order of execution";
  let description = [{
    `@step` becomes the table `@train` and `@forward` the table `@forward`. What is prepared comes first; then each
    micro-batch runs its forwards and its backwards before the next begins, so that what is kept dies early; then
    the updates. What sums over the micro-batches accumulates in place: the first contribution is written by the
    function as it is, the others by a variant that takes the running sum as an argument (`nn.accumulates`).

    ```mlir
    // before
    %0 = dist.slice %x dim 0 over @mesh ["time"] : tensor<4x4xf32> -> tensor<2x4xf32>
    %1 = func.call @block.backward(%0) ... : (tensor<2x4xf32>) -> tensor<4x4xf32>
    %2 = dist.all_reduce sum %1 over @mesh ["time"] : tensor<4x4xf32>
    // after
    %x0 = pipe.input "x" micro_batch(0) : tensor<2x4xf32>
    %g0 = pipe.run @block.backward(%x0) backward(0) micro_batch(0) : (tensor<2x4xf32>) -> tensor<4x4xf32>
    %x1 = pipe.input "x" micro_batch(1) : tensor<2x4xf32>
    %g1 = pipe.run @block.backward.accumulate(%x1, %g0) backward(0) micro_batch(1) : ...
    ```
  }];
  let dependentDialects = ["::galvatron::pipe::PipeDialect"];
}

def PipeVerifySchedulePass : Pass<"pipe-verify-schedule", "::mlir::ModuleOp"> {
  let summary = "checks what relates several rows of a table";
  let description = [{
    Each call runs exactly once for each micro-batch, or once a step; backwards come after the forwards of the
    same call and micro-batch; every result is used, by a row or by an output; a value that is accumulated into is not used
    by a later row; a running sum that is read once a step has a contribution of every micro-batch; a
    parameter is stored once, after its last read.
  }];
}

def VerifyScheduledPass : Pass<"verify-scheduled", "::mlir::ModuleOp"> {
  let summary = "checks what holds from --pipe-schedule on";
  let description = [{
    There is a table, no step function is left, and every function that tables run is private, has a body and
    holds no move between ranks.
  }];
}

#endif
