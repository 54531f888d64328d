//===- NNDialect.td - The nn dialect: what a model computes ---------------===//
//
// Whole tensors on one device. Nothing here mentions ranks, layouts or memory.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_DIALECTS_NN_NNDIALECT_TD
#define GALVATRON_DIALECTS_NN_NNDIALECT_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"

def NN_Dialect : Dialect {
  let name = "nn";
  let cppNamespace = "::galvatron::nn";
  let summary = "What is computed: the ops a person would write a model in";
  let description = [{
    `nn` holds a model and its training step as mathematics over whole tensors:

        model.onnx -> [nn: imported] -> [nn: training] -> dist -> pipe -> rt -> program

    Shapes are static and global. Broadcasting is explicit (`nn.broadcast`), so elementwise ops have
    operands of one shape. Every logical dimension is a tensor dimension: heads, groups and the three
    of QKV are dimensions of their own wherever the model allows it.

    Every compute op states a *sharding rule* (which of its dimensions are one loop, and whether that
    loop is parallel, a reduction, or must stay whole), its gradient, and either how one element of its
    result is computed (`ElementOpInterface`) or how it decomposes into ops that say so.
  }];
  let useDefaultAttributePrinterParser = 1;
  let useDefaultTypePrinterParser = 1;
  let hasConstantMaterializer = 1;
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect", "::mlir::tensor::TensorDialect"];
}

class NN_Attr<string name, string attrMnemonic> : AttrDef<NN_Dialect, name> {
  let mnemonic = attrMnemonic;
}

def NN_ResidualsType : TypeDef<NN_Dialect, "Residuals"> {
  let mnemonic = "residuals";
  let summary = "what a forward call leaves for its backward call";
  let description = [{
    The handle that ties an `nn.backward` to its `nn.forward`. What it stands for (everything, or only
    the inputs) is decided when the joint function is cut, not before.
  }];
}

// Enums -------------------------------------------------------------------===//

class NN_I32Enum<string name, string summary, list<I32EnumAttrCase> cases>
    : I32EnumAttr<name, summary, cases> {
  let cppNamespace = "::galvatron::nn";
  let genSpecializedAttr = 0;
}

def NN_ParameterKind : NN_I32Enum<"ParameterKind", "what a parameter symbol is for", [
  I32EnumAttrCase<"Trainable", 0, "trainable">,   // gets a gradient and an update
  I32EnumAttrCase<"Frozen", 1, "frozen">,         // a model parameter that is not trained
  I32EnumAttrCase<"Constant", 2, "constant">,     // a table of the file that is no parameter
  I32EnumAttrCase<"State", 3, "state">]>;         // optimizer state, starts at zero
def NN_ParameterKindAttr : EnumAttr<NN_Dialect, NN_ParameterKind, "parameter_kind">;

def NN_InitKind : NN_I32Enum<"InitKind", "how --random-weights fills a parameter", [
  I32EnumAttrCase<"Zero", 0, "zero">,
  I32EnumAttrCase<"One", 1, "one">,
  I32EnumAttrCase<"Normal", 2, "normal">]>;       // N(0, 0.02)
def NN_InitKindAttr : EnumAttr<NN_Dialect, NN_InitKind, "init_kind">;

def NN_ReduceKind : NN_I32Enum<"ReduceKind", "the monoid of a reduction", [
  I32EnumAttrCase<"Sum", 0, "sum">, I32EnumAttrCase<"Max", 1, "max">,
  I32EnumAttrCase<"Min", 2, "min">, I32EnumAttrCase<"Prod", 3, "prod">]>;
def NN_ReduceKindAttr : EnumAttr<NN_Dialect, NN_ReduceKind, "reduce_kind">;

def NN_Predicate : NN_I32Enum<"Predicate", "a comparison; floats compare ordered, but ne is unordered", [
  I32EnumAttrCase<"EQ", 0, "eq">, I32EnumAttrCase<"NE", 1, "ne">, I32EnumAttrCase<"LT", 2, "lt">,
  I32EnumAttrCase<"LE", 3, "le">, I32EnumAttrCase<"GT", 4, "gt">, I32EnumAttrCase<"GE", 5, "ge">]>;
def NN_PredicateAttr : EnumAttr<NN_Dialect, NN_Predicate, "predicate">;

def NN_GeluKind : NN_I32Enum<"GeluKind", "exact (erf) or the tanh approximation", [
  I32EnumAttrCase<"Erf", 0, "erf">, I32EnumAttrCase<"Tanh", 1, "tanh">]>;
def NN_GeluKindAttr : EnumAttr<NN_Dialect, NN_GeluKind, "gelu_kind">;

// Attributes --------------------------------------------------------------===//

def NN_SourceAttr : NN_Attr<"Source", "source"> {
  let summary = "where the first value of a parameter is read";
  let description = [{
    Either a byte range of an external data file (`file` not empty, path relative to the model), or an
    initializer held inside the ONNX file itself (`initializer` not empty). `transposed` says that the
    file holds the transpose of the saved (two-dimensional) tensor, as exporters fold it.

    ```mlir
    #nn.source<file = "model.onnx.data", offset = 8192, length = 49152, initializer = "val_110", transposed = true>
    ```
  }];
  let parameters = (ins StringRefParameter<"external data file, or empty">:$file, "int64_t":$offset,
                        "int64_t":$length, StringRefParameter<"name of the initializer">:$initializer,
                        "bool":$transposed);
  let assemblyFormat = "`<` struct(params) `>`";
}

def NN_JointAttr : NN_Attr<"Joint", "joint"> {
  let summary = "marks a function that holds a block's forward and backward";
  let description = [{
    Arguments: the `inputs` inputs of the forward, then one cotangent for each of its float results.
    Results: the `results` results of the forward, then one cotangent for each input in
    `differentiated`. `cotangents` lists the results that have a cotangent argument.
  }];
  let parameters = (ins "int64_t":$inputs, "int64_t":$results,
                        ArrayRefParameter<"int64_t">:$cotangents,
                        ArrayRefParameter<"int64_t">:$differentiated);
  let hasCustomAssemblyFormat = 1; // the lists may be empty
}

#endif
