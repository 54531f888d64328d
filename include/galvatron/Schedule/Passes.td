//===- Passes.td - From a partitioned program to a scheduled one ----------===//

#ifndef GALVATRON_SCHEDULE_PASSES_TD
#define GALVATRON_SCHEDULE_PASSES_TD

include "mlir/Pass/PassBase.td"

def PipeSplitPass : Pass<"pipe-split", "::mlir::ModuleOp"> {
  let summary = "makes the steps lists of calls, on stages, numbered and with a phase";
  let description = [{
    A function with moves between ranks inside is cut there: its parts run one after the other, as one call, and the moves
    stand between them. Arithmetic between the calls of a step moves into functions, and every call gets `pipe.call` (its number; a
    backward has the number of its forward) and `pipe.phase`: prepare and finish run once a step, forward and
    backward for each micro-batch.

    With several stages every op gets a stage (`dist.stage`); calls with a strategy have one. Others run where their results are
    needed, or once and their results are sent, whatever sends fewer bytes. What one stage makes and another reads is a `pipe.transfer`.

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
  let summary = "writes each step as tables of rows in the order of execution";
  let description = [{
    `@step` becomes the table `@train` and `@infer` the table `@forward`; with several stages each has one of each
    (`@train.stage0`, ...). What is prepared comes first; then the micro-batches in the order of the schedule: all forwards
    and then all backwards (`gpipe`), or a backward as soon as it can be (`1f1b`), which on the last stage, or the only one,
    means that each micro-batch runs its forwards and its backwards before the next begins, so that what is kept dies early;
    then the updates. A transfer becomes a `pipe.send` on one stage, which does not wait, and a `pipe.receive` on the other; a
    `pipe.wait` stands where the next value would be sent the same way. What sums over the micro-batches accumulates in place: the first contribution is written by the
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
  let options = [Option<"schedule", "schedule", "std::string", "", "Order of the micro-batches: gpipe or 1f1b; default: that of the plan.">];
  let dependentDialects = ["::galvatron::pipe::PipeDialect"];
}

def PipeOverlapPass : Pass<"pipe-overlap", "::mlir::ModuleOp"> {
  let summary = "lets ranks compute while they reduce";
  let description = [{
    An all-reduce whose operand nobody else reads later begins when the operand is there, and a `pipe.complete` waits for it
    where its result is first read, if a function runs in between. So the gradients of a block are reduced while those of the
    blocks before it are computed.

    ```mlir
    // before
    %g1, %d = pipe.run @block.backward(...) backward(2) micro_batch(0) : ...
    %g0 = pipe.run @block.backward(..., %d) backward(1) micro_batch(0) : ...
    %s1 = pipe.all_reduce sum %g1 over @mesh ["a"] : tensor<4x4xf32>
    // after
    %g1, %d = pipe.run @block.backward(...) backward(2) micro_batch(0) : ...
    %0 = pipe.all_reduce async sum %g1 over @mesh ["a"] : tensor<4x4xf32>
    %g0 = pipe.run @block.backward(..., %d) backward(1) micro_batch(0) : ...
    %s1 = pipe.complete %0 : tensor<4x4xf32>
    ```
  }];
}

def PipeVerifySchedulePass : Pass<"pipe-verify-schedule", "::mlir::ModuleOp"> {
  let summary = "checks what relates several rows of a table";
  let description = [{
    Each call runs exactly once for each micro-batch, or once a step; backwards come after the forwards of the
    same call and micro-batch; every result is used, by a row or by an output; a value that is accumulated into is not used
    by a later row; a running sum that is read once a step has a contribution of every micro-batch; a
    parameter is stored once, after its last read.

    The tables of all stages of a step fit together: each message is received, in the order of sending, and waited for; no
    stages wait for each other in a circle, even if a message takes no memory on its way.
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
