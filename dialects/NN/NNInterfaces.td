//===- NNInterfaces.td - What every nn op knows about itself --------------===//

#ifndef GALVATRON_DIALECTS_NN_NNINTERFACES_TD
#define GALVATRON_DIALECTS_NN_NNINTERFACES_TD

include "mlir/IR/OpBase.td"

def NN_ShardingRuleInterface : OpInterface<"ShardingRuleInterface"> {
  let cppNamespace = "::galvatron::nn";
  let description = [{
    The loops (factors) of an op, how the dimensions of its operands and results map to them, and for
    each loop whether it is parallel, a reduction, or must stay whole. See ShardingRule.h.
  }];
  let methods = [
    InterfaceMethod<"The op's sharding rule.", "::galvatron::nn::ShardingRule", "getShardingRule">
  ];
}

def NN_Sum : NativeOpTrait<"IsSum"> { let cppNamespace = "::galvatron::nn"; }
def NN_View : NativeOpTrait<"IsView"> { let cppNamespace = "::galvatron::nn"; }

def NN_ParameterSinkInterface : OpInterface<"ParameterSinkInterface"> {
  let cppNamespace = "::galvatron::nn";
  let description = [{
    An op of a step that hands a value over as belonging to a parameter: its next value, say, or its gradient. The value, the only
    operand, is wanted in the pieces in which the parameter is stored.
  }];
  let methods = [InterfaceMethod<"The parameter.", "::mlir::FlatSymbolRefAttr", "getParameterAttr">];
}

def NN_CountedLoopInterface : OpInterface<"CountedLoopInterface"> {
  let cppNamespace = "::galvatron::nn";
  let description = [{
    An op that needs a loop whole for one reason only: it counts along it (an embedding its rows, a cross entropy its classes). With
    the numbers of the loop as a value, 0, 1, ..., which is split as everything else is, pieces can be computed.
  }];
  let methods = [
    InterfaceMethod<"The factor of the op's sharding rule that is such a loop; -1 if there is none.", "int64_t", "getCountedFactor">,
    InterfaceMethod<[{
      Replaces the op, which has a counted factor, by ops that read the numbers along it from `numbers`, a tensor of one dimension. The builder
      stands at the op.
    }], "void", "takeNumbers", (ins "::mlir::OpBuilder &":$builder, "::mlir::Value":$numbers)>
  ];
}

def NN_GradientInterface : OpInterface<"GradientInterface"> {
  let cppNamespace = "::galvatron::nn";
  let description = [{
    Reverse-mode differentiation. `resultGradients[i]` is the cotangent of result i (null when nothing
    depends on it); the op appends one cotangent per operand to `operandGradients` (null where the
    operand has none, as integers do) and builds whatever ops it needs at the builder's insertion point.
    `wanted[i]` is false for operands whose cotangent nobody will read: null is the right answer then.
  }];
  let methods = [
    InterfaceMethod<"Builds the cotangents of the operands.", "void", "buildGradients",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::ValueRange":$resultGradients,
           "::llvm::ArrayRef<bool>":$wanted,
           "::llvm::SmallVectorImpl<::mlir::Value> &":$operandGradients)>
  ];
}

def NN_ElementOpInterface : OpInterface<"ElementOpInterface"> {
  let cppNamespace = "::galvatron::nn";
  let description = [{
    How one element of the op's only result is computed from elements of its operands. Code generation
    fuses any tree of such ops into one loop nest, by pulling elements.
  }];
  let methods = [
    InterfaceMethod<[{
      Builds the scalar at `indices` (index-typed, one per result dimension). `element(i, idx)` gives the
      scalar of operand i at idx (one index per dimension of that operand).
    }], "::mlir::Value", "emitElement",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::ValueRange":$indices,
           "::galvatron::nn::ElementFn":$element)>,
    InterfaceMethod<[{
      Rough cost of an element, without its operands: 0 moves data only, 1 a few arithmetic instructions,
      2 a polynomial (exp, tanh, erf, log) or a division. Cheap elements may be computed twice.
    }], "unsigned", "getElementCost", (ins), [{}], [{ return 1; }]>
  ];
}

#endif
