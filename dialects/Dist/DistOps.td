//===- DistOps.td - The dist dialect: how values are laid out and move ----===//

#ifndef GALVATRON_DIALECTS_DIST_DISTOPS_TD
#define GALVATRON_DIALECTS_DIST_DISTOPS_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Dist_Dialect : Dialect {
  let name = "dist";
  let cppNamespace = "::galvatron::dist";
  let summary = "How values are laid out over a machine and over time, and how they move";
  let description = [{
    `dist` says where the pieces of a value are, never what it means:

        nn: training -> [dist: planned -> partitioned] -> pipe -> rt -> program

    A mesh has named axes in space, and one in time: the micro-batches of a step. A value is split along a
    dimension over some axes, a partial result (waiting to be summed) over others, and equal everywhere
    over the rest. `"time"` obeys the same rules as the others: a dimension split over it is a micro-batch,
    a partial sum over it is an accumulated gradient.

    Some attributes on other dialects' ops belong to this one: `dist.strategy` and `dist.stage` on the calls
    of a step, `dist.op` on the ops that a strategy names, `dist.call` and `dist.backward_of` (a forward's number) on those that were cut out of joint functions, and the layouts that `--dist-propagate-layouts` finds: `dist.layout` on arguments and results
    of functions, `dist.layouts` (one per result) on ops. A parameter that is stored in pieces has a `dist.layout`, too, and its `dist.whole_shape`.
  }];
  let useDefaultAttributePrinterParser = 1;
}

def Dist_Tensor : StaticShapeTensorOf<[F32, I64, I1]>;

// Layouts -----------------------------------------------------------------===//

def Dist_Monoid : I32EnumAttr<"Monoid", "how partial results combine", [
  I32EnumAttrCase<"Sum", 0, "sum">, I32EnumAttrCase<"Max", 1, "max">, I32EnumAttrCase<"Min", 2, "min">]> {
  let cppNamespace = "::galvatron::dist";
  let genSpecializedAttr = 0;
}
def Dist_MonoidAttr : EnumAttr<Dist_Dialect, Dist_Monoid, "monoid">;

class Dist_Attr<string name, string attrMnemonic> : AttrDef<Dist_Dialect, name> {
  let mnemonic = attrMnemonic;
}

def Dist_PartialAttr : Dist_Attr<"Partial", "partial"> {
  let summary = "an axis over which a value is a partial result";
  let parameters = (ins "::galvatron::dist::Monoid":$monoid, "::mlir::StringAttr":$axis);
  let assemblyFormat = "`<` $monoid `over` $axis `>`";
}

def Dist_LayoutAttr : Dist_Attr<"Layout", "layout"> {
  let summary = "which axes split each dimension, and over which the value is partial";
  let description = [{
    For each dimension the axes that split it, outermost first; over axes that are named nowhere the value
    is whole.

    ```mlir
    #dist.layout<@mesh, [["time"], []]>                        // rows are split over the micro-batches
    #dist.layout<@mesh, [[], []], partial <sum over "time">>   // each micro-batch has a summand
    ```
    C1: dims is a list of lists of axis names. C2: no axis is named twice.
  }];
  let parameters = (ins "::mlir::FlatSymbolRefAttr":$mesh, "::mlir::ArrayAttr":$dims,
                        OptionalArrayRefParameter<"::galvatron::dist::PartialAttr">:$partial);
  let assemblyFormat = "`<` $mesh `,` $dims (`,` `partial` $partial^)? `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// The dimension that `axis` splits, or -1.
    int64_t getSplitDim(::llvm::StringRef axis);
    /// The monoid that waits over `axis`, if any does.
    std::optional<::galvatron::dist::Monoid> getPartialOver(::llvm::StringRef axis);
    /// Whether every device has all of the value at every time.
    bool isWhole();
  }];
}

def Dist_SplitAttr : Dist_Attr<"Split", "split"> {
  let summary = "which axes split a dimension of an input of a block";
  let description = [{
    ```mlir
    #dist.split<input 3, dim 2, ["b"]>   // the block's fourth input, its third dimension
    ```
    C1: axes is a list of names.
  }];
  let parameters = (ins "int64_t":$input, "int64_t":$dim, "::mlir::ArrayAttr":$axes);
  let assemblyFormat = "`<` `input` $input `,` `dim` $dim `,` $axes `>`";
  let genVerifyDecl = 1;
}
def Dist_SplitArrayAttr : TypedArrayAttrBase<Dist_SplitAttr, "list of splits">;

def Dist_OpAttr : Dist_Attr<"Op", "op"> {
  let summary = "what one op of a block splits, instead of what follows from the block's splits";
  let description = [{
    The op is the one in the block whose `dist.op` is the name; `input` is its operand. Over axes of the role tensor that
    no split has, the op is whole.

    ```mlir
    #dist.op<"mlp.down.weight", [#dist.split<input 1, dim 1, ["b"]>]>   // columns instead of rows
    #dist.op<"mlp.up.weight", []>                                        // not split
    ```
    C1: splits is a list of splits.
  }];
  let parameters = (ins "::mlir::StringAttr":$name, "::mlir::ArrayAttr":$splits);
  let assemblyFormat = "`<` $name `,` $splits `>`";
  let genVerifyDecl = 1;
}
def Dist_OpArrayAttr : TypedArrayAttrBase<Dist_OpAttr, "list of ops">;

// Symbols -----------------------------------------------------------------===//

class Dist_SymbolUse<string mnemonic, list<Trait> traits = []> : Op<Dist_Dialect, mnemonic,
    !listconcat([DeclareOpInterfaceMethods<SymbolUserOpInterface>], traits)>;

def Dist_MeshOp : Op<Dist_Dialect, "mesh", [Symbol]> {
  let summary = "the devices as a grid, and the micro-batches of a step";
  let description = [{
    Axes in space are small (a node of 8 is 2 × 2 × 2), slowest link first; one rank has none. The axis
    `"time"` always exists and has as many points as there are micro-batches. The outermost axes may be those of
    pipeline stages: what ranks along them have are not pieces of one value, but other parts of the step.

    ```mlir
    dist.mesh @mesh() micro_batches(4)                             // one rank
    dist.mesh @mesh("a" = 2, "b" = 2) micro_batches(4)             // four
    dist.mesh @mesh("a" = 2, "b" = 2) stages(2) micro_batches(4)   // two stages ("a") of two
    ```
    C1: names are distinct, not empty and not "time". C2: sizes are at least 2. C3: there is at least one micro-batch.
    C4: stages are the product of the sizes of the outermost axes.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrArrayAttr:$axis_names, DenseI64ArrayAttr:$axis_sizes,
                       I64Attr:$micro_batches, DefaultValuedAttr<I64Attr, "1">:$stages);
  let assemblyFormat = [{
    $sym_name `(` custom<Axes>($axis_names, $axis_sizes) `)` (`stages` `(` $stages^ `)`)?
    `micro_batches` `(` $micro_batches `)` attr-dict
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// How many of the axes, from the outermost on, are those of stages.
    int64_t getNumStageAxes();
    /// The number of points along an axis ("time" too), or 0 if the mesh has no such axis.
    int64_t getAxisSize(::llvm::StringRef axis);
    /// The product of the sizes of the axes, which exist.
    int64_t getAxesSize(::mlir::ArrayAttr axes);
  }];
}

def Dist_StrategyOp : Dist_SymbolUse<"strategy", [Symbol]> {
  let summary = "what each axis is for, in the calls that name this strategy";
  let description = [{
    Roles say what an axis is for: `batch` splits dimension 0 of the model's inputs, `tensor` what is inside a block.
    `splits` says which inputs of the block it splits, parameters above all: propagation finds the layouts of everything
    else from these. `ops` says what single ops split instead. A call without a strategy runs once a step.

    ```mlir
    dist.strategy @s0 on @mesh {batch = ["time", "a"]}
    dist.strategy @s1 on @mesh {batch = ["time", "a"], tensor = ["b"]} splits [#dist.split<input 3, dim 2, ["b"]>]
    ```
    C1: the mesh exists. C2: each role is a list of axes of the mesh. C3: roles are known. C4: no axis has two roles.
    C5: splits are over axes of the role tensor. C6: no axis splits an input, or a named op, twice.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, FlatSymbolRefAttr:$mesh, DictionaryAttr:$roles,
                       OptionalAttr<Dist_SplitArrayAttr>:$splits, OptionalAttr<Dist_OpArrayAttr>:$ops);
  let assemblyFormat = "$sym_name `on` $mesh $roles (`splits` $splits^)? (`ops` $ops^)? attr-dict";
  let extraClassDeclaration = [{
    /// The axes of a role, outermost first.
    ::llvm::SmallVector<::mlir::StringAttr> getRole(::llvm::StringRef role);
  }];
}

// Moves -------------------------------------------------------------------===//
//
// Pure, because all points of the mesh run the same code: who takes part never depends on data.

def Dist_ReshardOp : Op<Dist_Dialect, "reshard", [Pure, AllTypesMatch<["value", "result"]>]> {
  let summary = "the same value in another layout";
  let description = [{
    Exists where the layout of a value differs from the one that a use needs, and only there.

    ```mlir
    %1 = dist.reshard %0 to <@mesh, [["time"], []]> : tensor<8x32xi1>
    ```
    C1: the layout has the rank of the type. *Lives* from `--dist-propagate-layouts` to `--dist-partition`.
  }];
  let arguments = (ins Dist_Tensor:$value, Dist_LayoutAttr:$layout);
  let results = (outs Dist_Tensor:$result);
  let assemblyFormat = "$value `to` $layout attr-dict `:` type($value)";
  let hasVerifier = 1;
}

def Dist_SliceOp : Dist_SymbolUse<"slice", [Pure]> {
  let summary = "this point's piece of a value that is whole";
  let description = [{
    ```mlir
    %mine = dist.slice %mask dim 0 over @mesh ["time"] : tensor<8x32xi1> -> tensor<4x32xi1>
    ```
    C1: the dimension exists. C2: the mesh has the axes. C3: the result's dimension is the operand's divided by their sizes.
  }];
  let arguments = (ins Dist_Tensor:$value, I64Attr:$dim, FlatSymbolRefAttr:$mesh, StrArrayAttr:$axes);
  let results = (outs Dist_Tensor:$result);
  let assemblyFormat = "$value `dim` $dim `over` $mesh $axes attr-dict `:` type($value) `->` type($result)";
}

def Dist_AllReduceOp : Dist_SymbolUse<"all_reduce", [Pure, AllTypesMatch<["value", "result"]>]> {
  let summary = "combines the partial results of all points along the axes; each gets the whole";
  let description = [{
    Over `"time"` it is accumulation: the result exists after the last micro-batch.

    ```mlir
    %g = dist.all_reduce sum %part over @mesh ["time"] : tensor<64x64xf32>
    ```
    C1: the mesh has the axes.
  }];
  let arguments = (ins Dist_MonoidAttr:$monoid, Dist_Tensor:$value, FlatSymbolRefAttr:$mesh, StrArrayAttr:$axes);
  let results = (outs Dist_Tensor:$result);
  let assemblyFormat = "$monoid $value `over` $mesh $axes attr-dict `:` type($value)";
}

def Dist_AllGatherOp : Dist_SymbolUse<"all_gather", [Pure]> {
  let summary = "the whole of a value of which each point along the axes has a piece; each gets it";
  let description = [{
    Over `"time"` the whole exists after the last micro-batch.

    ```mlir
    %all = dist.all_gather %mine dim 0 over @mesh ["time"] : tensor<4x32xf32> -> tensor<8x32xf32>
    ```
    C1: the dimension exists. C2: the mesh has the axes. C3: the operand's dimension is the result's divided by their sizes.
  }];
  let arguments = (ins Dist_Tensor:$value, I64Attr:$dim, FlatSymbolRefAttr:$mesh, StrArrayAttr:$axes);
  let results = (outs Dist_Tensor:$result);
  let assemblyFormat = "$value `dim` $dim `over` $mesh $axes attr-dict `:` type($value) `->` type($result)";
}

#endif
