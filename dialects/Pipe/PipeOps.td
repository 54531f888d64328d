//===- PipeOps.td - The pipe dialect: where and when ----------------------===//

#ifndef GALVATRON_DIALECTS_PIPE_PIPEOPS_TD
#define GALVATRON_DIALECTS_PIPE_PIPEOPS_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Pipe_Dialect : Dialect {
  let name = "pipe";
  let cppNamespace = "::galvatron::pipe";
  let dependentDialects = ["::galvatron::dist::DistDialect"];
  let summary = "Where and when: the order in which a stage runs its functions on its micro-batches";
  let description = [{
    `pipe` holds schedules as data:

        nn -> dist: partitioned -> [pipe: scheduled] -> rt -> program

    A `pipe.table` is what one stage does in one step, row by row, in the order of execution. Values are
    the slots: a row's results are named where they are made and die at their last use, so that liveness,
    and from it memory, is read off the table. What a row computes is a function of `nn` ops; a table
    holds no arithmetic of its own.
  }];
  let useDefaultAttributePrinterParser = 1;
}

def Pipe_Tensor : StaticShapeTensorOf<[F32, I64, I1]>;

def Pipe_Phase : I32EnumAttr<"Phase", "what a run is for", [
  I32EnumAttrCase<"Prepare", 0, "prepare">,   // once a step, before the first micro-batch
  I32EnumAttrCase<"Forward", 1, "forward">,   // once for each micro-batch
  I32EnumAttrCase<"Backward", 2, "backward">, // once for each micro-batch, after the forward of the same call
  I32EnumAttrCase<"Finish", 3, "finish">]> {  // once a step, after the last micro-batch
  let cppNamespace = "::galvatron::pipe";
  let genSpecializedAttr = 0;
}
def Pipe_PhaseAttr : EnumAttr<Pipe_Dialect, Pipe_Phase, "phase">;

// An enum of another dialect: its .td would generate it a second time here.
def Pipe_MonoidAttr : Attr<CPred<"::llvm::isa<::galvatron::dist::MonoidAttr>($_self)">, "how partial results combine"> {
  let storageType = "::galvatron::dist::MonoidAttr";
  let returnType = "::galvatron::dist::Monoid";
  let convertFromStorage = "$_self.getValue()";
}

def Pipe_MicroBatch : ConfinedAttr<I64Attr, [IntNonNegative]>;

// The table ---------------------------------------------------------------===//

def Pipe_TableOp : Op<Pipe_Dialect, "table", [Symbol, IsolatedFromAbove, SingleBlock, NoTerminator, NoRegionArguments]> {
  let summary = "one step of one stage, row by row";
  let description = [{
    `@train` is a training step; `@forward` computes the loss and the outputs and changes nothing.

    ```mlir
    pipe.table @train stage(0) micro_batches(2) {
      %w = pipe.parameter @w : tensor<4x4xf32>
      %x = pipe.input "x" micro_batch(0) : tensor<2x4xf32>
      %y = pipe.run @block.forward(%x, %w) forward(0) micro_batch(0) : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
      pipe.output "y" micro_batch(0), %y : tensor<2x4xf32>
    }
    ```
    C1: every row is an op of this dialect. C2: a row's micro-batch is below the table's `micro_batches`.
    What relates several rows (each micro-batch once, accumulators complete) is checked by
    `--pipe-verify-schedule`. *Lives* from `--pipe-schedule` to `--rt-lower`.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, Pipe_MicroBatch:$stage,
                       ConfinedAttr<I64Attr, [IntPositive]>:$micro_batches);
  let regions = (region SizedRegion<1>:$rows);
  let assemblyFormat = [{
    $sym_name `stage` `(` $stage `)` `micro_batches` `(` $micro_batches `)` attr-dict-with-keyword $rows
  }];
  let hasRegionVerifier = 1;
}

// Rows --------------------------------------------------------------------===//

class Pipe_Row<string mnemonic, list<Trait> traits = []>
    : Op<Pipe_Dialect, mnemonic, !listconcat([HasParent<"TableOp">], traits)>;

/// A row that names a symbol.
class Pipe_SymbolRow<string mnemonic, list<Trait> traits = []>
    : Pipe_Row<mnemonic, !listconcat([DeclareOpInterfaceMethods<SymbolUserOpInterface>], traits)>;

def Pipe_RunOp : Pipe_SymbolRow<"run"> {
  let summary = "runs a function, on a micro-batch or once a step";
  let description = [{
    `forward(3)` says that this is the forward of call 3 of the step: calls are counted once for all
    micro-batches, and a backward has the number of its forward. Where the function's `nn.accumulates`
    attribute holds the pair [r, a], result r is argument a with this row's contribution added to it: the two
    share a slot, and the value given for a must not be used by a later row.

    ```mlir
    %h1, %k = pipe.run @block0.forward(%h0, %w) forward(1) micro_batch(0) : (tensor<2x4xf32>, tensor<4x4xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>)
    ```
    C1: the callee is a function of these types. C2: forward and backward have a micro-batch; prepare and
    finish have none.
  }];
  let arguments = (ins FlatSymbolRefAttr:$callee, Variadic<Pipe_Tensor>:$inputs, Pipe_PhaseAttr:$phase,
                       Pipe_MicroBatch:$call, OptionalAttr<Pipe_MicroBatch>:$micro_batch);
  let results = (outs Variadic<Pipe_Tensor>:$outputs);
  let assemblyFormat = [{
    $callee `(` $inputs `)` $phase `(` $call `)` (`micro_batch` `(` $micro_batch^ `)`)? attr-dict
    `:` functional-type($inputs, $outputs)
  }];
  let hasVerifier = 1;
}

def Pipe_ParameterOp : Pipe_SymbolRow<"parameter",
    [MemoryEffects<[MemRead]>, DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let summary = "the value that a parameter has at the start of the step";
  let description = [{ C1: the symbol is an `nn.parameter` of the result's type. }];
  let arguments = (ins FlatSymbolRefAttr:$parameter);
  let results = (outs Pipe_Tensor:$result);
  let assemblyFormat = "$parameter attr-dict `:` type($result)";
}

def Pipe_StoreOp : Pipe_SymbolRow<"store", [MemoryEffects<[MemWrite]>]> {
  let summary = "the value that a parameter has from the next step on";
  let description = [{ C1: the symbol is an `nn.parameter` of the operand's type. }];
  let arguments = (ins FlatSymbolRefAttr:$parameter, Pipe_Tensor:$value);
  let assemblyFormat = "$parameter `,` $value attr-dict `:` type($value)";
}

def Pipe_InputOp : Pipe_SymbolRow<"input", [Pure]> {
  let summary = "an input of the step, or rows of it: those of a micro-batch, or of a rank";
  let description = [{
    Rows are in the order of (micro-batch, place along the axes, row of the piece).

    ```mlir
    %all = pipe.input "labels" : tensor<8x32xi64>
    %two = pipe.input "input_ids" micro_batch(1) : tensor<4x32xi64>
    %own = pipe.input "input_ids" micro_batch(1) over @mesh ["a"] : tensor<2x32xi64>
    ```
    C1: the mesh has the axes.
  }];
  let arguments = (ins StrAttr:$input, OptionalAttr<Pipe_MicroBatch>:$micro_batch,
                       OptionalAttr<FlatSymbolRefAttr>:$mesh, OptionalAttr<StrArrayAttr>:$axes);
  let results = (outs Pipe_Tensor:$result);
  let assemblyFormat = [{
    $input (`micro_batch` `(` $micro_batch^ `)`)? (`over` $mesh^ $axes)? attr-dict `:` type($result)
  }];
}

def Pipe_OutputOp : Pipe_Row<"output"> {
  let summary = "hands a value out: the loss, the gradient's norm, or a micro-batch's piece of an output";
  let description = [{
    Pieces follow each other along dimension `dim`.

    ```mlir
    pipe.output "y" micro_batch(1), %y : tensor<2x4xf32>
    pipe.output "y_transposed" micro_batch(1) dim(1), %z : tensor<4x2xf32>
    ```
    C1: a piece has the dimension.
  }];
  let arguments = (ins StrAttr:$output, OptionalAttr<Pipe_MicroBatch>:$micro_batch,
                       DefaultValuedAttr<Pipe_MicroBatch, "0">:$dim, Pipe_Tensor:$value);
  let assemblyFormat = [{
    $output (`micro_batch` `(` $micro_batch^ `)`)? (`dim` `(` $dim^ `)`)? `,` $value attr-dict `:` type($value)
  }];
  let hasVerifier = 1;
}

def Pipe_GradientOp : Pipe_SymbolRow<"gradient"> {
  let summary = "hands out the whole gradient of a parameter, before clipping";
  let description = [{ C1: the symbol is an `nn.parameter` of the operand's type. }];
  let arguments = (ins FlatSymbolRefAttr:$parameter, Pipe_Tensor:$value);
  let assemblyFormat = "$parameter `,` $value attr-dict `:` type($value)";
}

def Pipe_PieceOp : Pipe_SymbolRow<"piece", [Pure]> {
  let summary = "rows of a value that is whole: those of a micro-batch, or of a rank";
  let description = [{
    Rows p * n to (p + 1) * n of the operand, n the rows of the result and p the number of the piece, which counts
    (micro-batch, place along the axes): contiguous, so no copy. Rows are the first dimension, or a later one if those before
    it have size one.

    ```mlir
    %mask1 = pipe.piece %mask micro_batch(1) : tensor<8x32xi1> -> tensor<4x32xi1>
    %own = pipe.piece %mask micro_batch(1) over @mesh ["a"] : tensor<8x32xi1> -> tensor<2x32xi1>
    ```
    C1: the types differ in one dimension, or none. C2: dimensions before it have size one. C3: the rows are inside the operand.
    C4: the mesh has the axes.
  }];
  let arguments = (ins Pipe_Tensor:$value, OptionalAttr<Pipe_MicroBatch>:$micro_batch,
                       OptionalAttr<FlatSymbolRefAttr>:$mesh, OptionalAttr<StrArrayAttr>:$axes);
  let results = (outs Pipe_Tensor:$result);
  let assemblyFormat = [{
    $value (`micro_batch` `(` $micro_batch^ `)`)? (`over` $mesh^ $axes)? attr-dict `:` type($value) `->` type($result)
  }];
}

def Pipe_PlaceOp : Pipe_Row<"place",
    [Pure, OptionalTypesMatchWith<"the value so far has the type of the result", "result", "whole", "$_self">]> {
  let summary = "a value that is made piece by piece, with a micro-batch's rows in their place";
  let description = [{
    The other way round from `pipe.piece`. The first piece begins a new value, whose other rows are undefined; each later one is
    written into the value so far, which no later row may read.

    ```mlir
    %all0 = pipe.place %first micro_batch(0) : tensor<4x32xf32> -> tensor<8x32xf32>
    %all1 = pipe.place %second into %all0 micro_batch(1) : tensor<4x32xf32> -> tensor<8x32xf32>
    ```
    C1: the types differ in one dimension, or none. C2: dimensions before it have size one. C3: the rows are inside the result.
  }];
  let arguments = (ins Pipe_Tensor:$value, Optional<Pipe_Tensor>:$whole, Pipe_MicroBatch:$micro_batch);
  let results = (outs Pipe_Tensor:$result);
  let assemblyFormat = [{
    $value (`into` $whole^)? `micro_batch` `(` $micro_batch `)` attr-dict `:` type($value) `->` type($result)
  }];
  let hasVerifier = 1;
}

// Collectives: what all ranks along some axes of the mesh make together. Pure, as in dist: all of them run this table. One that is
// `async` only begins: its result may be used from the pipe.complete on that waits for it, and its operand stays as it is until then.

def Pipe_AllReduceOp : Pipe_SymbolRow<"all_reduce", [Pure, AllTypesMatch<["value", "result"]>]> {
  let summary = "combines the partial results of all ranks along the axes; each gets the whole";
  let description = [{
    ```mlir
    %g = pipe.all_reduce sum %part over @mesh ["a"] : tensor<64x64xf32>
    %y = pipe.all_reduce sum %part over @mesh ["b"] micro_batch(0) : tensor<4x32x64xf32>
    ```
    C1: the mesh has the axes, none of which is time or of stages. C2: the elements are numbers. C3: the one user of a result that is
    `async` is a `pipe.complete`.
  }];
  let arguments = (ins UnitAttr:$async, Pipe_MonoidAttr:$monoid, Pipe_Tensor:$value, FlatSymbolRefAttr:$mesh, StrArrayAttr:$axes,
                       OptionalAttr<Pipe_MicroBatch>:$micro_batch);
  let results = (outs Pipe_Tensor:$result);
  let assemblyFormat = [{
    (`async` $async^)? custom<Monoid>($monoid) $value `over` $mesh $axes (`micro_batch` `(` $micro_batch^ `)`)? attr-dict
    `:` type($value)
  }];
}

def Pipe_AllGatherOp : Pipe_SymbolRow<"all_gather", [Pure]> {
  let summary = "the pieces of all ranks along the axes, one after the other; each gets the whole";
  let description = [{
    Pieces are rows of the whole: of the first dimension, or of a later one if those before it have size one.

    ```mlir
    %all = pipe.all_gather %mine over @mesh ["a"] micro_batch(0) : tensor<4x32xf32> -> tensor<8x32xf32>
    ```
    C1: the mesh has the axes, none of which is time or of stages. C2: the types differ in one dimension, by their sizes. C3: dimensions before
    it have size one. C4: the one user of a result that is `async` is a `pipe.complete`.
  }];
  let arguments = (ins UnitAttr:$async, Pipe_Tensor:$value, FlatSymbolRefAttr:$mesh, StrArrayAttr:$axes,
                       OptionalAttr<Pipe_MicroBatch>:$micro_batch);
  let results = (outs Pipe_Tensor:$result);
  let assemblyFormat = [{
    (`async` $async^)? $value `over` $mesh $axes (`micro_batch` `(` $micro_batch^ `)`)? attr-dict
    `:` type($value) `->` type($result)
  }];
}

def Pipe_CompleteOp : Pipe_Row<"complete", [Pure, AllTypesMatch<["value", "result"]>]> {
  let summary = "waits for a collective that is async";
  let description = [{
    The result is the value itself.

    ```mlir
    %g0 = pipe.all_reduce async sum %part over @mesh ["a"] : tensor<64x64xf32>
    %h:2 = pipe.run @block.backward(%x, %w, %d) backward(1) micro_batch(0) : ...
    %g = pipe.complete %g0 : tensor<64x64xf32>
    ```
    C1: the value is what a collective that is `async` makes.
  }];
  let arguments = (ins Pipe_Tensor:$value);
  let results = (outs Pipe_Tensor:$result);
  let assemblyFormat = "$value attr-dict `:` type($value)";
  let hasVerifier = 1;
}

// Messages between stages: each rank of one talks to the rank with the same place in the other.

def Pipe_Channel : ConfinedAttr<I64Attr, [IntNonNegative]>;

def Pipe_TransferOp : Op<Pipe_Dialect, "transfer", [Pure, AllTypesMatch<["value", "result"]>]> {
  let summary = "a value of one stage, as another one has it";
  let description = [{
    Stands in a step from `--pipe-split` to `--pipe-schedule`, which makes a `pipe.send` and a `pipe.receive` of it. Transfers have
    numbers, so that both can be told to belong together.

    ```mlir
    %h = pipe.transfer %h0 number(0) from(0) to(1) : tensor<4x32x64xf32>
    ```
    C1: the stages differ.
  }];
  let arguments = (ins Pipe_Tensor:$value, Pipe_Channel:$number, Pipe_Channel:$from, Pipe_Channel:$to);
  let results = (outs Pipe_Tensor:$result);
  let assemblyFormat = "$value `number` `(` $number `)` `from` `(` $from `)` `to` `(` $to `)` attr-dict `:` type($value)";
  let hasVerifier = 1;
}

def Pipe_SendOp : Pipe_Row<"send"> {
  let summary = "begins to send a value to another stage, without waiting for it";
  let description = [{
    The value stays as it is until the `pipe.wait` of the same transfer and micro-batch. Between two stages messages are received in
    the order in which they are sent.

    ```mlir
    pipe.send %h transfer(0) to(1) micro_batch(0) : tensor<4x32x64xf32>
    ```
  }];
  let arguments = (ins Pipe_Tensor:$value, Pipe_Channel:$transfer, Pipe_Channel:$to, OptionalAttr<Pipe_MicroBatch>:$micro_batch);
  let assemblyFormat = [{
    $value `transfer` `(` $transfer `)` `to` `(` $to `)` (`micro_batch` `(` $micro_batch^ `)`)? attr-dict `:` type($value)
  }];
}

def Pipe_WaitOp : Pipe_Row<"wait"> {
  let summary = "waits until the other stage has received what was sent";
  let description = [{
    ```mlir
    pipe.wait %h transfer(0) to(1) micro_batch(0) : tensor<4x32x64xf32>
    ```
    C1: an earlier `pipe.send` has the same operand, transfer, stage and micro-batch (`--pipe-verify-schedule`).
  }];
  let arguments = (ins Pipe_Tensor:$value, Pipe_Channel:$transfer, Pipe_Channel:$to, OptionalAttr<Pipe_MicroBatch>:$micro_batch);
  let assemblyFormat = [{
    $value `transfer` `(` $transfer `)` `to` `(` $to `)` (`micro_batch` `(` $micro_batch^ `)`)? attr-dict `:` type($value)
  }];
}

def Pipe_ReceiveOp : Pipe_Row<"receive"> {
  let summary = "a value that another stage sends; waits for it";
  let description = [{
    ```mlir
    %h = pipe.receive transfer(0) from(0) micro_batch(0) : tensor<4x32x64xf32>
    ```
  }];
  let arguments = (ins Pipe_Channel:$transfer, Pipe_Channel:$from, OptionalAttr<Pipe_MicroBatch>:$micro_batch);
  let results = (outs Pipe_Tensor:$result);
  let assemblyFormat = [{
    `transfer` `(` $transfer `)` `from` `(` $from `)` (`micro_batch` `(` $micro_batch^ `)`)? attr-dict `:` type($result)
  }];
}

def Pipe_ZeroOp : Pipe_Row<"zero", [Pure]> {
  let summary = "zeros: an accumulator that nothing has been added to";
  let results = (outs Pipe_Tensor:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

#endif
