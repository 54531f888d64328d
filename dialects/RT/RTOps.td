//===- RTOps.td - The ops of the rt dialect -------------------------------===//

#ifndef GALVATRON_DIALECTS_RT_RTOPS_TD
#define GALVATRON_DIALECTS_RT_RTOPS_TD

include "dialects/RT/RTDialect.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def RT_Tensor : StaticShapeTensorOf<[F32, I64, I1]>;
def RT_Bytes : ConfinedAttr<I64Attr, [IntNonNegative]>;

class RT_Op<string mnemonic, list<Trait> traits = []> : Op<RT_Dialect, mnemonic, traits>;
class RT_SymbolUse<string mnemonic, list<Trait> traits = []> : RT_Op<mnemonic,
    !listconcat([DeclareOpInterfaceMethods<SymbolUserOpInterface>], traits)>;

// Kernels -----------------------------------------------------------------===//

def RT_LaunchOp : RT_SymbolUse<"launch", [Pure]> {
  let summary = "calls a kernel on tensors";
  let description = [{
    What `--rt-form-kernels` makes of the ops between two library calls: a call of a function with the
    attribute `rt.kernel`. `--rt-lower` turns it into an `rt.parallel_for` on buffers.

    ```mlir
    %y = rt.launch @kernel_7(%x, %scale) : (tensor<256x64xf32>, tensor<64xf32>) -> tensor<256x64xf32>
    ```
    C1: the callee has the attribute `rt.kernel`. C2: its type, while it is on tensors, is that of the call.
  }];
  let arguments = (ins FlatSymbolRefAttr:$kernel, Variadic<RT_Tensor>:$inputs);
  let results = (outs Variadic<RT_Tensor>:$outputs);
  let assemblyFormat = "$kernel `(` $inputs `)` attr-dict `:` functional-type($inputs, $outputs)";
}

def RT_ParallelForOp : RT_SymbolUse<"parallel_for", [MemoryEffects<[MemRead, MemWrite]>, AttrSizedOperandSegments]> {
  let summary = "galvatron_rt_parallel_for: runs a kernel over its rows, split over the threads";
  let description = [{
    The kernel's own attributes say how many rows there are (`rt.rows`) and by how many they may be split
    (`rt.grain`).

    ```mlir
    rt.parallel_for @kernel_7 ins(%x, %scale : ...) outs(%y : ...)
    ```
    C1: the callee has the attribute `rt.kernel`.
  }];
  let arguments = (ins FlatSymbolRefAttr:$kernel, Variadic<RT_BufferType>:$inputs, Variadic<RT_BufferType>:$outputs);
  let assemblyFormat = [{
    $kernel (`ins` `(` $inputs^ `:` type($inputs) `)`)? (`outs` `(` $outputs^ `:` type($outputs) `)`)? attr-dict
  }];
}

// Memory ------------------------------------------------------------------===//

def RT_TemporaryOp : RT_Op<"temporary", [MemoryEffects<[MemAlloc]>]> {
  let summary = "memory inside the frame of a stage function";
  let description = [{
    ```mlir
    %t = rt.temporary at 4096 : <256x64xf32>
    ```
  }];
  let arguments = (ins OptionalAttr<RT_Bytes>:$offset);
  let results = (outs RT_BufferType:$result);
  let assemblyFormat = "(`at` $offset^)? attr-dict `:` type($result)";
}

def RT_ViewOp : RT_Op<"view", [Pure]> {
  let summary = "the same memory, or a contiguous piece of it, under another shape";
  let description = [{
    A rank may have a piece of its own: the offset grows by `strides` bytes with the rank's coordinate along each of `axes`.

    ```mlir
    %half = rt.view %ids at 1024 : <8x32xi64> to <4x32xi64>
    %own = rt.view %ids at 1024 axes [0, 1] strides [512, 256] : <8x32xi64> to <1x32xi64>
    ```
    C1: the piece lies inside the source, the offset (bytes) at an element of the result. C2: each axis has a stride, which is not
    negative.
  }];
  let arguments = (ins RT_BufferType:$source, DefaultValuedAttr<RT_Bytes, "0">:$offset,
                       DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$axes, DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$strides);
  let results = (outs RT_BufferType:$result);
  let assemblyFormat = [{
    $source (`at` $offset^)? (`axes` $axes^ `strides` $strides)? attr-dict `:` type($source) `to` type($result)
  }];
  let builders = [OpBuilder<(ins "BufferType":$type, "::mlir::Value":$source, "int64_t":$offset), [{
    build($_builder, $_state, type, source, offset, ::llvm::ArrayRef<int64_t>(), ::llvm::ArrayRef<int64_t>());
  }]>];
  let hasVerifier = 1;
}

def RT_ZeroOp : RT_Op<"zero", [MemoryEffects<[MemWrite]>]> {
  let summary = "galvatron_rt_zero: fills a buffer with zero bytes";
  let arguments = (ins RT_BufferType:$buffer);
  let assemblyFormat = "$buffer attr-dict `:` type($buffer)";
}

def RT_CopyOp : RT_Op<"copy", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "galvatron_rt_copy: copies one buffer to another that does not overlap it";
  let description = [{ C1: both have the same number of bytes. }];
  let arguments = (ins RT_BufferType:$source, RT_BufferType:$dest);
  let assemblyFormat = "$source `to` $dest attr-dict `:` type($source) `to` type($dest)";
  let hasVerifier = 1;
}

// Library calls -----------------------------------------------------------===//

def RT_MatmulDescOp : RT_Op<"matmul_desc", [Symbol]> {
  let summary = "the shape and strides of a matrix product";
  let description = [{
    A `galvatron_rt_matmul_record`: out[b.., m, n] = Σk lhs[b.., m, k] · rhs[b.., k, n]. Strides count
    elements: first those of the batch dimensions, then (m, k) of lhs, (k, n) of rhs, (m, n) of out.
    `bias` adds a vector of n, `accumulate` adds to what out holds. `scratch` is what the library needs.

    ```mlir
    rt.matmul_desc @m0 batch [] m 256 n 192 k 64 lhs [] [64, 1] rhs [] [192, 1] out [] [192, 1] bias
    ```
    C1: at most 4 batch dimensions, each with a stride in every operand. C2: sizes are positive.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, DenseI64ArrayAttr:$batch, I64Attr:$m, I64Attr:$n, I64Attr:$k,
      DenseI64ArrayAttr:$lhs_batch, DenseI64ArrayAttr:$lhs, DenseI64ArrayAttr:$rhs_batch, DenseI64ArrayAttr:$rhs,
      DenseI64ArrayAttr:$out_batch, DenseI64ArrayAttr:$out, UnitAttr:$bias, UnitAttr:$accumulate,
      OptionalAttr<RT_Bytes>:$scratch);
  let assemblyFormat = [{
    $sym_name `batch` $batch `m` $m `n` $n `k` $k `lhs` $lhs_batch $lhs `rhs` $rhs_batch $rhs `out` $out_batch $out
    (`bias` $bias^)? (`accumulate` $accumulate^)? (`scratch` $scratch^)? attr-dict
  }];
  let hasVerifier = 1;
}

def RT_MatmulOp : RT_SymbolUse<"matmul", [MemoryEffects<[MemRead, MemWrite]>, AttrSizedOperandSegments]> {
  let summary = "galvatron_rt_matmul: a matrix product by the library";
  let description = [{
    ```mlir
    rt.matmul @m0(%x, %w) bias %b : !rt.buffer<192xf32> into %y : <256x64xf32>, <64x192xf32>, <256x192xf32>
    ```
    C1: the descriptor is an `rt.matmul_desc`. C2: what it reads and writes lies inside the buffers.
    C3: there is a bias if and only if the descriptor has one.
  }];
  let arguments = (ins FlatSymbolRefAttr:$descriptor, RT_BufferType:$lhs, RT_BufferType:$rhs,
      Optional<RT_BufferType>:$bias, RT_BufferType:$out, Optional<RT_BufferType>:$scratch);
  let assemblyFormat = [{
    $descriptor `(` $lhs `,` $rhs `)` (`bias` $bias^ `:` type($bias))? `into` $out
    (`scratch` $scratch^ `:` type($scratch))? attr-dict `:` type($lhs) `,` type($rhs) `,` type($out)
  }];
}

def RT_ConvDescOp : RT_Op<"conv_desc", [Symbol]> {
  let summary = "the sizes of a convolution";
  let description = [{
    A `galvatron_rt_conv_record`. `src`, `kernel` and `dst` are the spatial sizes.

    ```mlir
    rt.conv_desc @c0 forward batch 8 channels 3 to 16 groups 1 src [16, 16] kernel [4, 4] dst [4, 4]
      strides [4, 4] dilations [1, 1] pads [0, 0] [0, 0] bias
    ```
    C1: 1 to 3 spatial dimensions, with one number each in every array.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, RT_DirectionAttr:$direction, I64Attr:$batch, I64Attr:$in_channels,
      I64Attr:$out_channels, I64Attr:$groups, DenseI64ArrayAttr:$src, DenseI64ArrayAttr:$kernel,
      DenseI64ArrayAttr:$dst, DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$dilations,
      DenseI64ArrayAttr:$pads_begin, DenseI64ArrayAttr:$pads_end, UnitAttr:$bias, OptionalAttr<RT_Bytes>:$scratch);
  let assemblyFormat = [{
    $sym_name $direction `batch` $batch `channels` $in_channels `to` $out_channels `groups` $groups `src` $src
    `kernel` $kernel `dst` $dst `strides` $strides `dilations` $dilations `pads` $pads_begin $pads_end
    (`bias` $bias^)? (`scratch` $scratch^)? attr-dict
  }];
  let hasVerifier = 1;
}

def RT_ConvOp : RT_SymbolUse<"conv", [MemoryEffects<[MemRead, MemWrite]>, AttrSizedOperandSegments]> {
  let summary = "galvatron_rt_conv: a convolution by the library";
  let description = [{
    Computes dst (`forward`), src (`backward_data`) or weights and bias (`backward_weights`) from the others.
    C1: the descriptor is an `rt.conv_desc`. C2: there is a bias if and only if the descriptor has one.
  }];
  let arguments = (ins FlatSymbolRefAttr:$descriptor, RT_BufferType:$src, RT_BufferType:$weights,
      Optional<RT_BufferType>:$bias, RT_BufferType:$dst, Optional<RT_BufferType>:$scratch);
  let assemblyFormat = [{
    $descriptor `src` $src `weights` $weights (`bias` $bias^ `:` type($bias))? `dst` $dst
    (`scratch` $scratch^ `:` type($scratch))? attr-dict `:` type($src) `,` type($weights) `,` type($dst)
  }];
}

def RT_ScatterAddRowsOp : RT_Op<"scatter_add_rows", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "galvatron_rt_scatter_add_rows: adds rows to the rows of a table";
  let description = [{
    table[ids[i]] += source[i], in the order of i; an id of -1 is passed over. C1: the source has one row of the table's width per id.

    ```mlir
    rt.scatter_add_rows %dy by %ids into %dw : <256x64xf32>, <256xi64>, <211x64xf32>
    ```
  }];
  let arguments = (ins RT_BufferType:$source, RT_BufferType:$ids, RT_BufferType:$table);
  let assemblyFormat = "$source `by` $ids `into` $table attr-dict `:` type($source) `,` type($ids) `,` type($table)";
  let hasVerifier = 1;
}

def RT_CheckRangeOp : RT_Op<"check_range", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "galvatron_rt_check_range: an error unless all ids are in range";
  let description = [{
    Each id must be in [low, high), or equal to `ignore`. On tensors until `--rt-lower`, then on buffers.

    ```mlir
    rt.check_range %labels in [0, 211) or -100 "labels" : tensor<8x32xi64>
    ```
  }];
  let arguments = (ins AnyType:$ids, I64Attr:$low, I64Attr:$high, OptionalAttr<I64Attr>:$ignore, StrAttr:$name);
  let assemblyFormat = "$ids `in` `[` $low `,` $high `)` (`or` $ignore^)? $name attr-dict `:` type($ids)";
  let hasVerifier = 1;
}

// The program -------------------------------------------------------------===//

def RT_ProgramOp : RT_Op<"program", [Symbol, NoTerminator, SingleBlock, NoRegionArguments]> {
  let summary = "the tables that the runtime walks";
  let description = [{
    Declares the tensors of the arena that the runtime knows (`rt.parameter`, `rt.tensor`) and
    one `rt.table` per mode. `arena_bytes` is what each rank allocates, no more and no less. `mesh` names the axes that
    the ranks fill, outermost first, and their sizes. Parameters that ranks have pieces of are saved through `staging`. With pipeline
    stages there is a program for each: they share functions, parameters that several of them read, and the mesh.
    C1: as many names as sizes, each at least 2. C2: the stage is below the number of stages, which divides the ranks.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$threads, StrAttr:$cpu, StrAttr:$optimizer,
      I64Attr:$micro_batches, DefaultValuedAttr<StrArrayAttr, "{}">:$axis_names, DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$axis_sizes,
      OptionalAttr<RT_Bytes>:$arena_bytes, OptionalAttr<RT_Bytes>:$staging_bytes, OptionalAttr<RT_Bytes>:$staging_offset,
      DefaultValuedAttr<RT_Bytes, "0">:$stage, DefaultValuedAttr<I64Attr, "1">:$stages);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $sym_name (`stage` $stage^)? (`of` $stages^)? `threads` $threads `cpu` $cpu `optimizer` $optimizer `micro_batches` $micro_batches
    (`mesh` $axis_names^ $axis_sizes)? (`arena` $arena_bytes^)?
    (`staging` $staging_bytes^ `at` $staging_offset)? attr-dict-with-keyword $body
  }];
  let hasVerifier = 1;
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins "::llvm::StringRef":$name, "int64_t":$threads, "::llvm::StringRef":$cpu,
                                 "::llvm::StringRef":$optimizer, "int64_t":$microBatches,
                                 "::mlir::ArrayAttr":$axisNames, "::llvm::ArrayRef<int64_t>":$axisSizes)>];
  let extraClassDeclaration = [{
    /// The ranks of the job.
    int64_t getRanks();
  }];
}

def RT_ParameterOp : RT_SymbolUse<"parameter", [HasParent<"ProgramOp">]> {
  let summary = "the home of an nn.parameter in the arena";
  let description = [{
    ```mlir
    %w = rt.parameter @h_0_qkv at 8192 : <64x3x4x16xf32>
    ```
    C1: the symbol is an `nn.parameter` of this shape.
  }];
  let arguments = (ins FlatSymbolRefAttr:$parameter, OptionalAttr<RT_Bytes>:$offset);
  let results = (outs RT_BufferType:$result);
  let assemblyFormat = "$parameter (`at` $offset^)? attr-dict `:` type($result)";
}

def RT_TensorOp : RT_Op<"tensor", [HasParent<"ProgramOp">]> {
  let summary = "a tensor that the runtime fills before, or reads after, a step";
  let description = [{
    ```mlir
    %ids = rt.tensor input "input_ids" at 0 : <8x32xi64>
    ```
  }];
  let arguments = (ins RT_RoleAttr:$role, StrAttr:$name, OptionalAttr<RT_Bytes>:$offset);
  let results = (outs RT_BufferType:$result);
  let assemblyFormat = "$role $name (`at` $offset^)? attr-dict `:` type($result)";
}

def RT_TableOp : RT_Op<"table", [HasParent<"ProgramOp">, NoTerminator, SingleBlock, NoRegionArguments]> {
  let summary = "the rows of one step, in the order in which they run";
  let arguments = (ins RT_ModeAttr:$mode);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$mode attr-dict-with-keyword $body";
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins "Mode":$mode)>];
}

def RT_SlotOp : RT_Op<"slot", [HasParent<"TableOp">]> {
  let summary = "memory that lives across rows of a table";
  let description = [{
    It is occupied from the first row that uses it to the last; the name is for people.

    ```mlir
    %h = rt.slot "block0.forward#0" at 65536 : <4x32x64xf32>
    ```
  }];
  let arguments = (ins StrAttr:$name, OptionalAttr<RT_Bytes>:$offset);
  let results = (outs RT_BufferType:$result);
  let assemblyFormat = "$name (`at` $offset^)? attr-dict `:` type($result)";
}

def RT_RunOp : RT_SymbolUse<"run", [HasParent<"TableOp">, AttrSizedOperandSegments]> {
  let summary = "a row: runs a stage function";
  let description = [{
    ```mlir
    rt.run @block0.forward micro_batch 0 ins(%h0, %w : ...) outs(%h1 : ...) frame 131072
    ```
    C1: the callee is a function; while it is on buffers, its arguments are these.
    C2: a buffer is in `outs` twice, or in `ins` and `outs`, only where the callee's `rt.aliases` says so.
  }];
  let arguments = (ins FlatSymbolRefAttr:$callee, OptionalAttr<I64Attr>:$micro_batch, Variadic<RT_BufferType>:$inputs,
      Variadic<RT_BufferType>:$outputs, OptionalAttr<RT_Bytes>:$frame);
  let assemblyFormat = [{
    $callee (`micro_batch` $micro_batch^)? (`ins` `(` $inputs^ `:` type($inputs) `)`)?
    (`outs` `(` $outputs^ `:` type($outputs) `)`)? (`frame` $frame^)? attr-dict
  }];
}

// An enum of another dialect: its .td would generate it a second time here.
def RT_MonoidAttr : Attr<CPred<"::llvm::isa<::galvatron::dist::MonoidAttr>($_self)">, "how partial results combine"> {
  let storageType = "::galvatron::dist::MonoidAttr";
  let returnType = "::galvatron::dist::Monoid";
  let convertFromStorage = "$_self.getValue()";
}

def RT_AllReduceOp : RT_Op<"all_reduce", [HasParent<"TableOp">]> {
  let summary = "a row: the ranks along some axes begin to combine what each of them has";
  let description = [{
    Both buffers may be the same. Until the `rt.complete` of the output they belong to the collective.

    ```mlir
    rt.all_reduce sum %g into %g axes [0] : <64x64xf32>, <64x64xf32>
    ```
    C1: axes ascend. C2: the elements are f32 or i64.
  }];
  let arguments = (ins RT_MonoidAttr:$monoid, RT_BufferType:$input, RT_BufferType:$output, DenseI64ArrayAttr:$axes,
                       OptionalAttr<I64Attr>:$micro_batch);
  let assemblyFormat = [{
    custom<Monoid>($monoid) $input `into` $output `axes` $axes (`micro_batch` $micro_batch^)? attr-dict `:` type($input) `,` type($output)
  }];
  let hasVerifier = 1;
}

def RT_AllGatherOp : RT_Op<"all_gather", [HasParent<"TableOp">]> {
  let summary = "a row: the ranks along some axes begin to get the pieces of all of them, one after the other";
  let description = [{
    Until the `rt.complete` of the output both buffers belong to the collective.

    ```mlir
    rt.all_gather %piece into %whole axes [0] : <4x64xf32>, <8x64xf32>
    ```
    C1: axes ascend. C2: the buffers differ. C3: the output is a multiple of the input.
  }];
  let arguments = (ins RT_BufferType:$input, RT_BufferType:$output, DenseI64ArrayAttr:$axes, OptionalAttr<I64Attr>:$micro_batch);
  let assemblyFormat = [{
    $input `into` $output `axes` $axes (`micro_batch` $micro_batch^)? attr-dict `:` type($input) `,` type($output)
  }];
  let hasVerifier = 1;
}

def RT_CompleteOp : RT_Op<"complete", [HasParent<"TableOp">]> {
  let summary = "a row: waits until a collective is done";
  let description = [{
    ```mlir
    rt.complete %g of %part : <64x64xf32>, <64x64xf32>
    ```
    C1: the last row before it that begins a collective into the output reads the input.
  }];
  let arguments = (ins RT_BufferType:$output, RT_BufferType:$input);
  let assemblyFormat = "$output `of` $input attr-dict `:` type($output) `,` type($input)";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The row that begins what this one waits for.
    ::mlir::Operation *getCollective();
  }];
}

class RT_MessageOp<string mnemonic> : RT_Op<mnemonic, [HasParent<"TableOp">]> {
  let arguments = (ins RT_BufferType:$value, RT_Bytes:$peer, OptionalAttr<I64Attr>:$micro_batch);
  let hasVerifier = 1;
}

def RT_SendOp : RT_MessageOp<"send"> {
  let summary = "a row: begins to send a buffer to the rank with the same place in another stage";
  let description = [{
    The buffer stays as it is until the `rt.wait_sent` that belongs to it: the first one to that stage waits for the first message,
    the second one for the second.

    ```mlir
    rt.send %h to 1 micro_batch 0 : <4x32x64xf32>
    rt.wait_sent %h to 1 micro_batch 0 : <4x32x64xf32>
    ```
    C1: there is such a stage, and it is another one.
  }];
  let assemblyFormat = "$value `to` $peer (`micro_batch` $micro_batch^)? attr-dict `:` type($value)";
}

def RT_WaitSentOp : RT_MessageOp<"wait_sent"> {
  let summary = "a row: waits until the other stage has what was sent to it";
  let description = [{ C1: there is such a stage, and it is another one. }];
  let assemblyFormat = "$value `to` $peer (`micro_batch` $micro_batch^)? attr-dict `:` type($value)";
}

def RT_ReceiveOp : RT_MessageOp<"receive"> {
  let summary = "a row: waits for the next message of another stage";
  let description = [{
    ```mlir
    rt.receive %h from 0 micro_batch 0 : <4x32x64xf32>
    ```
    C1: there is such a stage, and it is another one.
  }];
  let assemblyFormat = "$value `from` $peer (`micro_batch` $micro_batch^)? attr-dict `:` type($value)";
}

def RT_PublishOutputOp : RT_Op<"publish_output", [HasParent<"TableOp">]> {
  let summary = "a row: one micro-batch's piece of an output of the model is there";
  let description = [{ `along` is the dimension that the pieces fill; without it, the output is the same in each. }];
  let arguments = (ins StrAttr:$name, RT_BufferType:$value, OptionalAttr<I64Attr>:$batch_dim, I64Attr:$micro_batch);
  let assemblyFormat = "$name $value (`along` $batch_dim^)? `micro_batch` $micro_batch attr-dict `:` type($value)";
}

def RT_GradientOp : RT_SymbolUse<"gradient", [HasParent<"TableOp">]> {
  let summary = "says which buffer holds a parameter's gradient at the next publish_gradients";
  let description = [{ C1: the symbol is an `nn.parameter` of this shape. }];
  let arguments = (ins FlatSymbolRefAttr:$parameter, RT_BufferType:$value);
  let assemblyFormat = "$parameter `,` $value attr-dict `:` type($value)";
}

def RT_PublishGradientsOp : RT_Op<"publish_gradients", [HasParent<"TableOp">]> {
  let summary = "a row: all gradients are whole and not clipped yet";
  let assemblyFormat = "attr-dict";
}

#endif
