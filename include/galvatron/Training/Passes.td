//===- Passes.td - From an imported model to a training step --------------===//

#ifndef GALVATRON_TRAINING_PASSES_TD
#define GALVATRON_TRAINING_PASSES_TD

include "mlir/Pass/PassBase.td"

def NnOutlineBlocksPass : Pass<"nn-outline-blocks", "::mlir::ModuleOp"> {
  let summary = "turns @forward into a chain of calls, each distinct block a function";
  let description = [{
    Repeats are found by structure, never by name: the ops are put into an order that follows from the
    dataflow alone, runs of equal ops are found in it, and a run counts as a block repeated if its instances
    are isomorphic. A run is cut where the fewest values cross. What lies between runs becomes a function each.

    Parameters are arguments. What depends on no parameter of the model is recomputed inside the block where
    that is cheap (constants, iotas, simple masks of them); otherwise it is a result of `@prepare`, which is called once, and an
    argument of the block (rotary tables, masks made of the model's inputs).

    ```mlir
    // before
    func.func @forward(%ids: tensor<8x32xi64> {nn.name = "input_ids"}) -> (tensor<8x32x211xf32> {nn.name = "logits"}) {
      // 4 layers of 20 ops
    }
    // after
    func.func @forward(%ids: ...) -> ... {
      %0 = call @prologue(%ids, %wte, %wpe) : ...
      %1 = call @block0(%0, %w0, ...) : ...
      %2 = call @block0(%1, %w1, ...) : ...
      %3 = call @block0(%2, %w2, ...) : ...
      %4 = call @block0(%3, %w3, ...) : ...
      %5 = call @epilogue(%4, %ln, %wte) : ...
      return %5
    }
    ```
  }];
  let dependentDialects = ["::mlir::func::FuncDialect"];
}

def NnAddLossPass : Pass<"nn-add-loss", "::mlir::ModuleOp"> {
  let summary = "makes the loss the first result of @forward";
  let description = [{
    `cross-entropy:NAME` takes the output NAME as logits and adds an input "labels" of their shape without the
    last dimension. The loss is the sum over the counted labels divided by their number in the
    whole batch, which `@prepare` computes; with none counted it is NaN, as in PyTorch. The function
    that makes the logits makes the loss. `output:NAME` takes a scalar output of the model.

    ```mlir
    // before
    func.func @forward(%ids) -> (%logits {nn.name = "logits"})
    // after
    func.func @forward(%ids, %labels {nn.name = "labels"}) -> (%loss {nn.name = "loss"}, %logits {nn.name = "logits"})
    ```
  }];
  let options = [
    Option<"loss", "loss", "std::string", "\"\"", "cross-entropy:NAME or output:NAME, where NAME is an output of the model.">,
    Option<"ignoreIndex", "ignore-index", "int64_t", "-100", "Labels of this value are not counted.">
  ];
  let dependentDialects = ["::mlir::func::FuncDialect"];
}

def NnDifferentiatePass : Pass<"nn-differentiate", "::mlir::ModuleOp"> {
  let summary = "makes each block a joint function, and @forward the functions @step and @infer";
  let description = [{
    Each function that @forward calls gets a backward after its forward, with `nn.backward_begin` between the two. It
    has a cotangent argument for each result that leads to the loss, and a cotangent result for each
    input that a trainable parameter leads to. A function with several needs is cloned for results and gets
    the union for inputs. What to keep between the halves is decided later, when they are cut.

    `@step` calls the forwards in order and the backwards in reverse, adds up cotangents of values with
    several uses, and names each parameter's gradient. `@infer` calls the forwards alone.

    ```mlir
    func.func @step(%x, %labels) -> (%loss) {
      %w = nn.get_parameter @w : ...
      %h, %r0 = nn.forward @prologue(%x, %w) : ...
      %loss, %r1 = nn.forward @epilogue(%h, %w, %labels) : ...
      %dh, %dw1 = nn.backward @epilogue %r1() : ...
      %dw0 = nn.backward @prologue %r0(%dh) : ...
      %dw = nn.add %dw1, %dw0 : ...
      nn.gradient @w, %dw : ...
      return %loss
    }
    ```
  }];
  let dependentDialects = ["::mlir::func::FuncDialect"];
}

def NnAddOptimizerPass : Pass<"nn-add-optimizer", "::mlir::ModuleOp"> {
  let summary = "adds the gradient's norm, clipping, and the update of each parameter to @step";
  let description = [{
    Each `nn.gradient` is followed by an update of its parameter. Functions are shared by parameters of equal type and weight
    decay, which goes by the rank of the saved tensor. The optimizer's state are `nn.parameter` symbols of kind `state`
    named after the parameter, as in `@w.exp_avg`. @step gets an input "hyper" (the scalars of the
    step, in the order of `galvatron_rt_hyper`) and a second result, "grad_norm", before clipping.

    A gradient is multiplied by min(1, max_norm / (norm + 1e-6)), as `torch.nn.utils.clip_grad_norm_` does.
  }];
  let options = [
    Option<"optimizer", "optimizer", "std::string", "\"adamw\"", "adamw or sgd, as torch.optim defines them.">
  ];
  let dependentDialects = ["::mlir::func::FuncDialect"];
}

def VerifyTrainingPass : Pass<"verify-training", "::mlir::ModuleOp"> {
  let summary = "checks what holds from --nn-add-optimizer on";
  let description = [{
    `@step` and `@infer` exist and compute nothing themselves: they call functions, read and set parameters, and
    add up cotangents. Functions that they call are private and made of nn ops; a joint
    function has one `nn.backward_begin`, and its forward reads nothing of its backward. Each forward has at most one backward. Every trainable parameter
    that has a gradient is set, once.
  }];
}

#endif
