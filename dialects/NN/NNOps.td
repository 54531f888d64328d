//===- NNOps.td - The ops of the nn dialect -------------------------------===//

#ifndef GALVATRON_DIALECTS_NN_NNOPS_TD
#define GALVATRON_DIALECTS_NN_NNOPS_TD

include "dialects/NN/NNDialect.td"
include "dialects/NN/NNInterfaces.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"

// Types -------------------------------------------------------------------===//

def NN_Float : StaticShapeTensorOf<[F32]>;
def NN_Int : StaticShapeTensorOf<[I64]>;
def NN_Bool : StaticShapeTensorOf<[I1]>;
def NN_Number : StaticShapeTensorOf<[F32, I64]>;
def NN_Tensor : StaticShapeTensorOf<[F32, I64, I1]>;
def NN_Scalar : Type<And<[NN_Float.predicate, HasAnyRankOfPred<[0]>]>, "f32 scalar tensor", "::mlir::RankedTensorType">,
    BuildableType<"::mlir::RankedTensorType::get({}, $_builder.getF32Type())">;
// GALVATRON_RT_HYPER_COUNT of them
def NN_Hyper : Type<And<[NN_Float.predicate, HasAnyRankOfPred<[1]>,
    CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).getNumElements() == 16">]>,
    "f32 tensor of the 16 scalars of a step", "::mlir::RankedTensorType">;

class NN_Op<string mnemonic, list<Trait> traits = []> : Op<NN_Dialect, mnemonic, traits>;

/// An op whose meaning is a function of its operands alone.
class NN_PureOp<string mnemonic, list<Trait> traits = []>
    : NN_Op<mnemonic, !listconcat([Pure, DeclareOpInterfaceMethods<NN_ShardingRuleInterface>], traits)>;

defvar NN_Grad = DeclareOpInterfaceMethods<NN_GradientInterface>;
defvar NN_Element = DeclareOpInterfaceMethods<NN_ElementOpInterface, ["emitElement"]>;
defvar NN_Infer = InferTypeOpAdaptor;
defvar NN_Counted = DeclareOpInterfaceMethods<NN_CountedLoopInterface>;

// Elementwise -------------------------------------------------------------===//

/// Elementwise ops implement `emitScalar` (NNElementwise.cpp); everything else follows from it.
/// `linear` lists the sets of operands in which the op is jointly linear (ShardingRule::linearIn).
class NN_ElementwiseOp<string mnemonic, int cost, list<Trait> traits = [], string linear = "">
    : NN_PureOp<mnemonic, !listconcat([Elementwise, SameOperandsAndResultShape,
        DeclareOpInterfaceMethods<NN_ElementOpInterface, ["emitElement", "getElementCost"]>], traits)> {
  code elementwiseDeclaration = [{
    /// The scalar function of this op, in arith and math ops.
    ::mlir::Value emitScalar(::mlir::OpBuilder &builder, ::mlir::ValueRange operands);
  }];
  let extraClassDeclaration = elementwiseDeclaration;
  let extraClassDefinition = [{
    ::mlir::Value $cppClass::emitElement(::mlir::OpBuilder &builder, ::mlir::ValueRange indices,
                                         ::galvatron::nn::ElementFn element) {
      ::llvm::SmallVector<::mlir::Value> operands;
      for (unsigned i = 0, n = getOperation()->getNumOperands(); i < n; ++i)
        operands.push_back(element(i, indices));
      return emitScalar(builder, operands);
    }
    unsigned $cppClass::getElementCost() { return }] # cost # [{; }
    ::galvatron::nn::ShardingRule $cppClass::getShardingRule() {
      ::galvatron::nn::ShardingRule rule = ::galvatron::nn::ShardingRule::elementwise(getOperation());
      rule.linearIn = ::llvm::SmallVector<::llvm::SmallVector<int64_t>>{ }] # linear # [{ };
      return rule;
    }
  }];
}

class NN_UnaryOp<string mnemonic, int cost, Type type = NN_Float, string linear = "">
    : NN_ElementwiseOp<mnemonic, cost, [SameOperandsAndResultType, NN_Grad], linear> {
  let arguments = (ins type:$operand);
  let results = (outs type:$result);
  let assemblyFormat = "$operand attr-dict `:` type($result)";
  let hasFolder = 1;
}

class NN_BinaryOp<string mnemonic, int cost, Type type = NN_Number, list<Trait> traits = [], string linear = "">
    : NN_ElementwiseOp<mnemonic, cost, !listconcat([SameOperandsAndResultType, NN_Grad], traits), linear> {
  let arguments = (ins type:$lhs, type:$rhs);
  let results = (outs type:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($result)";
  let hasFolder = 1;
}

def NN_NegOp : NN_UnaryOp<"neg", 1, NN_Number, "{0}"> { let summary = "-x"; }
def NN_AbsOp : NN_UnaryOp<"abs", 1, NN_Number> { let summary = "|x|; the gradient at 0 is 0"; }
def NN_SignOp : NN_UnaryOp<"sign", 1, NN_Number> { let summary = "-1, 0 or 1"; }
def NN_FloorOp : NN_UnaryOp<"floor", 1> { let summary = "the largest integer not above x"; }
def NN_CeilOp : NN_UnaryOp<"ceil", 1> { let summary = "the smallest integer not below x"; }
def NN_RoundOp : NN_UnaryOp<"round", 1> { let summary = "the nearest integer, halves to even"; }
def NN_ReciprocalOp : NN_UnaryOp<"reciprocal", 2> { let summary = "1 / x"; }
def NN_SqrtOp : NN_UnaryOp<"sqrt", 2> { let summary = "square root"; }
def NN_RsqrtOp : NN_UnaryOp<"rsqrt", 2> { let summary = "1 / sqrt(x)"; }
def NN_ExpOp : NN_UnaryOp<"exp", 2> { let summary = "e to the x"; }
def NN_LogOp : NN_UnaryOp<"log", 2> { let summary = "natural logarithm"; }
def NN_SinOp : NN_UnaryOp<"sin", 2> { let summary = "sine, x in radians"; }
def NN_CosOp : NN_UnaryOp<"cos", 2> { let summary = "cosine, x in radians"; }
def NN_TanhOp : NN_UnaryOp<"tanh", 2> { let summary = "hyperbolic tangent"; }
def NN_ErfOp : NN_UnaryOp<"erf", 2> { let summary = "the error function"; }
def NN_SigmoidOp : NN_UnaryOp<"sigmoid", 2> { let summary = "1 / (1 + e^-x)"; }
def NN_SiluOp : NN_UnaryOp<"silu", 2> { let summary = "x * sigmoid(x)"; }
def NN_ReluOp : NN_UnaryOp<"relu", 1> { let summary = "max(x, 0); the gradient at 0 is 0"; }
def NN_SoftplusOp : NN_UnaryOp<"softplus", 2> { let summary = "log(1 + e^x), without overflow"; }

def NN_GeluOp : NN_ElementwiseOp<"gelu", 2, [SameOperandsAndResultType, NN_Grad]> {
  let summary = "Gaussian error linear unit";
  let description = [{
    `erf`: x/2 (1 + erf(x/√2)). `tanh`: x/2 (1 + tanh(√(2/π) (x + 0.044715 x³))). (Hendrycks & Gimpel, 2016.)

    ```mlir
    %y = nn.gelu %x tanh : tensor<8x32x256xf32>
    ```
  }];
  let arguments = (ins NN_Float:$operand, NN_GeluKindAttr:$approximation);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$operand $approximation attr-dict `:` type($result)";
}

def NN_GeluGradOp : NN_ElementwiseOp<"gelu_grad", 2, [SameOperandsAndResultType], "{1}"> {
  let summary = "dy * gelu'(x)";
  let arguments = (ins NN_Float:$operand, NN_Float:$gradient, NN_GeluKindAttr:$approximation);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$operand `,` $gradient $approximation attr-dict `:` type($result)";
}

def NN_NotOp : NN_ElementwiseOp<"not", 1, [SameOperandsAndResultType]> {
  let summary = "logical negation";
  let arguments = (ins NN_Bool:$operand);
  let results = (outs NN_Bool:$result);
  let assemblyFormat = "$operand attr-dict `:` type($result)";
  let hasFolder = 1;
}

def NN_IsNanOp : NN_ElementwiseOp<"is_nan", 1, [NN_Infer]> {
  let summary = "true where x is not a number";
  let arguments = (ins NN_Float:$operand);
  let results = (outs NN_Bool:$result);
  let assemblyFormat = "$operand attr-dict `:` type($operand)";
}

def NN_CastOp : NN_ElementwiseOp<"cast", 1, [NN_Grad]> {
  let summary = "converts the element type";
  let description = [{
    Float to integer truncates towards zero; anything to i1 is `!= 0`; i1 gives 0 or 1. Only a cast from
    float to float has a gradient.

    ```mlir
    %f = nn.cast %i : tensor<8xi64> to tensor<8xf32>
    ```
  }];
  let arguments = (ins NN_Tensor:$operand);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$operand attr-dict `:` type($operand) `to` type($result)";
  let hasFolder = 1;
}

def NN_AddOp : NN_BinaryOp<"add", 1, NN_Number, [Commutative, NN_Sum], "{0, 1}"> { let summary = "a + b"; }
def NN_SubOp : NN_BinaryOp<"sub", 1, NN_Number, [], "{0, 1}"> { let summary = "a - b"; }
def NN_MulOp : NN_BinaryOp<"mul", 1, NN_Number, [Commutative], "{0}, {1}"> { let summary = "a * b"; }
// Integer division truncates, so only that of floats is linear in its dividend.
defvar NN_LinearInDividend = "::mlir::isa<::mlir::FloatType>(getType().getElementType()) ? decltype(rule.linearIn){{0}} : decltype(rule.linearIn){}";
def NN_DivOp : NN_BinaryOp<"div", 2, NN_Number, [], NN_LinearInDividend> { let summary = "a / b; integers truncate, and a / 0 is 0"; }
def NN_MaximumOp : NN_BinaryOp<"maximum", 1, NN_Number, [Commutative]> {
  let summary = "the larger; NaN wins; equal operands share the gradient";
}
def NN_MinimumOp : NN_BinaryOp<"minimum", 1, NN_Number, [Commutative]> {
  let summary = "the smaller; NaN wins; equal operands share the gradient";
}
def NN_PowOp : NN_BinaryOp<"pow", 2, NN_Float> { let summary = "a to the power b"; }
def NN_ModOp : NN_BinaryOp<"mod", 2> { let summary = "a - b floor(a / b), of the sign of b; a mod 0 is 0 for integers"; }
def NN_AndOp : NN_BinaryOp<"and", 1, NN_Bool, [Commutative]> { let summary = "both"; }
def NN_OrOp : NN_BinaryOp<"or", 1, NN_Bool, [Commutative]> { let summary = "either or both"; }
def NN_XorOp : NN_BinaryOp<"xor", 1, NN_Bool, [Commutative]> { let summary = "one and not the other"; }

def NN_CompareOp : NN_ElementwiseOp<"compare", 1, [SameTypeOperands, NN_Infer]> {
  let summary = "compares element by element";
  let description = [{
    ```mlir
    %m = nn.compare le %j, %i : tensor<32x32xi64>
    ```
  }];
  let arguments = (ins NN_PredicateAttr:$predicate, NN_Tensor:$lhs, NN_Tensor:$rhs);
  let results = (outs NN_Bool:$result);
  let assemblyFormat = "$predicate $lhs `,` $rhs attr-dict `:` type($lhs)";
  let hasFolder = 1;
}

def NN_SelectOp : NN_ElementwiseOp<"select", 1,
    [AllTypesMatch<["on_true", "on_false", "result"]>,
     TypesMatchWith<"condition has the shape of the result", "result", "condition",
       "::mlir::cast<::mlir::RankedTensorType>($_self).clone(::mlir::IntegerType::get($_self.getContext(), 1))">,
     NN_Grad], "{1, 2}"> {
  let summary = "on_true where the condition holds, else on_false";
  let arguments = (ins NN_Bool:$condition, NN_Tensor:$on_true, NN_Tensor:$on_false);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$condition `,` $on_true `,` $on_false attr-dict `:` type($result)";
  let hasFolder = 1;
}

// Sources -----------------------------------------------------------------===//

def NN_ConstantOp : NN_PureOp<"constant", [ConstantLike, AllTypesMatch<["value", "result"]>, NN_Element,
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let summary = "a constant of at most 1 MiB, or one value repeated";
  let description = [{
    ```mlir
    %half = nn.constant dense<5.0e-1> : tensor<8x32x64xf32>
    ```
    C1: a constant that is not a splat has at most 1 MiB; larger tables are `nn.parameter` symbols.
  }];
  let arguments = (ins ElementsAttr:$value);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "attr-dict $value";
  let hasFolder = 1;
  let hasVerifier = 1;
}

def NN_IotaOp : NN_PureOp<"iota", [NN_Element]> {
  let summary = "each element is its index along one dimension";
  let description = [{
    ```mlir
    %i = nn.iota 0 : tensor<32xi64>
    ```
    C1: the dimension exists.
  }];
  let arguments = (ins ConfinedAttr<I64Attr, [IntNonNegative]>:$dim);
  let results = (outs NN_Int:$result);
  let assemblyFormat = "$dim attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def NN_ParameterOp : NN_Op<"parameter", [Symbol]> {
  let summary = "a tensor that outlives a step";
  let description = [{
    Declares a parameter, a constant table, or optimizer state. The value lives in a file or starts at
    zero; it is never an attribute. `saved` is the tensor of the PyTorch model that it is part of, and
    `view` says how: element (i, j, ...) of this tensor is element offset + i*stride_0 + j*stride_1 + ... of
    the row-major saved tensor. A transposed, reshaped or sliced weight is a view. `aliases` are further
    names under which the saved tensor is known (tied weights).

    ```mlir
    nn.parameter @h_0_qkv trainable : tensor<64x3x4x16xf32>, view strided<[192, 64, 16, 1]> of
      "transformer.h.0.attn.c_attn.weight" [64, 192] from #nn.source<...>
    ```
    C1: the view has the rank of the type and stays inside the saved tensor.
    C2: only `state` has no saved tensor; others have a source unless weights are random.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, OptionalAttr<StrAttr>:$sym_visibility,
      NN_ParameterKindAttr:$kind, TypeAttrOf<NN_Tensor>:$type,
      StridedLayoutAttr:$view, StrAttr:$saved, DenseI64ArrayAttr:$saved_shape,
      OptionalAttr<NN_SourceAttr>:$source, DefaultValuedAttr<NN_InitKindAttr, "InitKind::Zero">:$init,
      DefaultValuedAttr<StrArrayAttr, "{}">:$aliases);
  let assemblyFormat = [{
    $sym_name $kind `:` $type `,` `view` $view `of` $saved $saved_shape (`from` $source^)? `init` $init
    (`aliases` $aliases^)? attr-dict
  }];
  let hasVerifier = 1;
}

class NN_SymbolUse<string mnemonic, list<Trait> traits> : NN_Op<mnemonic,
    !listconcat([DeclareOpInterfaceMethods<SymbolUserOpInterface>], traits)>;

def NN_GetParameterOp : NN_SymbolUse<"get_parameter",
    [MemoryEffects<[MemRead]>, DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let summary = "the present value of a parameter";
  let description = [{ C1: the symbol is an `nn.parameter` of the result's type. }];
  let arguments = (ins FlatSymbolRefAttr:$parameter);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$parameter attr-dict `:` type($result)";
}

def NN_SetParameterOp : NN_SymbolUse<"set_parameter", [MemoryEffects<[MemWrite]>, NN_ParameterSinkInterface]> {
  let summary = "gives a parameter its next value";
  let description = [{ C1: the symbol is an `nn.parameter` of the operand's type. }];
  let arguments = (ins FlatSymbolRefAttr:$parameter, NN_Tensor:$value);
  let assemblyFormat = "$parameter `,` $value attr-dict `:` type($value)";
}

// Reductions and moves ----------------------------------------------------===//

def NN_ReduceOp : NN_PureOp<"reduce", [NN_Infer, NN_Grad]> {
  let summary = "reduces over dimensions, which disappear";
  let description = [{
    ```mlir
    %s = nn.reduce sum %x [0, 1] : tensor<8x32x64xf32> -> tensor<64xf32>
    ```
    C1: dims are distinct, ascending, and inside the operand's rank. A max or min shares the gradient
    equally between equal elements.
  }];
  let arguments = (ins NN_ReduceKindAttr:$kind, NN_Number:$operand, DenseI64ArrayAttr:$dims);
  let results = (outs NN_Number:$result);
  let assemblyFormat = "$kind $operand $dims attr-dict `:` type($operand) `->` type($result)";
  let hasFolder = 1;
}

def NN_CumsumOp : NN_PureOp<"cumsum", [SameOperandsAndResultType, NN_Grad]> {
  let summary = "running sum along one dimension";
  let description = [{ C1: the dimension exists. `exclusive` leaves out the element itself; `reverse` runs from the end. }];
  let arguments = (ins NN_Number:$operand, I64Attr:$dim, UnitAttr:$exclusive, UnitAttr:$reverse);
  let results = (outs NN_Number:$result);
  let assemblyFormat = "$operand $dim (`exclusive` $exclusive^)? (`reverse` $reverse^)? attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def NN_BroadcastOp : NN_PureOp<"broadcast", [NN_Grad, NN_Element]> {
  let summary = "repeats a tensor along new dimensions";
  let description = [{
    Dimension i of the operand is dimension `dims[i]` of the result; the others are new.

    ```mlir
    %b = nn.broadcast %bias [2] : tensor<64xf32> -> tensor<8x32x64xf32>
    ```
    C1: dims are ascending, one per operand dimension, with equal sizes.
  }];
  let arguments = (ins NN_Tensor:$operand, DenseI64ArrayAttr:$dims);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$operand $dims attr-dict `:` type($operand) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
  let hasCanonicalizeMethod = 1;
}

def NN_ReshapeOp : NN_PureOp<"reshape", [NN_Grad, NN_Element, NN_View]> {
  let summary = "the same row-major elements under another shape";
  let description = [{ C1: the numbers of elements are equal. }];
  let arguments = (ins NN_Tensor:$operand);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$operand attr-dict `:` type($operand) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def NN_TransposeOp : NN_PureOp<"transpose", [NN_Infer, NN_Grad, NN_Element]> {
  let summary = "permutes dimensions";
  let description = [{
    Dimension i of the result is dimension `permutation[i]` of the operand.
    C1: the permutation is one.
  }];
  let arguments = (ins NN_Tensor:$operand, DenseI64ArrayAttr:$permutation);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$operand $permutation attr-dict `:` type($operand) `->` type($result)";
  let hasFolder = 1;
}

def NN_SliceOp : NN_PureOp<"slice", [NN_Grad, NN_Element]> {
  let summary = "a box of a tensor";
  let description = [{
    Element i of the result is element `offsets + i * steps` of the operand, in each dimension.
    C1: the box is inside the operand; steps are not zero (negative steps walk backwards).

    ```mlir
    %q = nn.slice %qkv [0, 0, 0] steps [1, 1, 1] : tensor<8x32x192xf32> -> tensor<8x32x64xf32>
    ```
  }];
  let arguments = (ins NN_Tensor:$operand, DenseI64ArrayAttr:$offsets, DenseI64ArrayAttr:$steps);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$operand $offsets `steps` $steps attr-dict `:` type($operand) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def NN_PadOp : NN_PureOp<"pad", [NN_Grad, NN_Element]> {
  let summary = "puts a tensor into a larger one";
  let description = [{
    Element i of the operand becomes element `low + i * steps` of the result; the rest is `value`.
    The adjoint of `nn.slice`. C1: every element lands inside the result, steps are not zero.
  }];
  let arguments = (ins NN_Tensor:$operand, DenseI64ArrayAttr:$low, DenseI64ArrayAttr:$steps, F64Attr:$value);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$operand $low `steps` $steps `value` $value attr-dict `:` type($operand) `->` type($result)";
  let hasVerifier = 1;
}

def NN_ConcatOp : NN_PureOp<"concat", [NN_Infer, NN_Grad, NN_Element]> {
  let summary = "joins tensors along one dimension";
  let description = [{ C1: at least one operand; all agree in every other dimension and in type. }];
  let arguments = (ins Variadic<NN_Tensor>:$inputs, I64Attr:$dim);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$dim $inputs attr-dict `:` type($inputs) `->` type($result)";
  let hasFolder = 1;
}

// Contractions and the like -----------------------------------------------===//

def NN_ContractOp : NN_PureOp<"contract", [NN_Infer, NN_Grad]> {
  let summary = "a product of two tensors summed over shared loops";
  let description = [{
    Einstein summation. Each dimension of an operand or of the result is a loop, written as a letter; a
    loop that the result lacks is summed. Matrix products, batched or not, are all this op.

    ```mlir
    %y = nn.contract %x, %w "abc,cdef->abdef" : (tensor<8x32x64xf32>, tensor<64x3x4x16xf32>) -> tensor<8x32x3x4x16xf32>
    ```
    C1: no letter twice in one tensor. C2: every letter is in at least two of the three tensors.
    C3: sizes of a letter agree.
  }];
  let arguments = (ins NN_Float:$lhs, NN_Float:$rhs, StrAttr:$subscripts);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$lhs `,` $rhs $subscripts attr-dict `:` `(` type($lhs) `,` type($rhs) `)` `->` type($result)";
  let extraClassDeclaration = [{
    /// The letters of lhs, rhs and result, one per dimension.
    struct Subscripts { ::llvm::StringRef lhs, rhs, result; };
    static ::mlir::FailureOr<Subscripts> parseSubscripts(::llvm::StringRef text);
    Subscripts getParsedSubscripts();
  }];
}

class NN_ConvBase<string mnemonic, list<Trait> traits = []> : NN_PureOp<mnemonic, traits> {
  dag window = (ins DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$pads_begin,
                    DenseI64ArrayAttr:$pads_end, DenseI64ArrayAttr:$dilations, I64Attr:$groups);
}

def NN_ConvOp : NN_ConvBase<"conv", [NN_Infer, NN_Grad]> {
  let summary = "convolution over one to three spatial dimensions";
  let description = [{
    Input [batch, channel, spatial...], weight [out channel, channel / groups, kernel...], both as ONNX has
    them. Padding is with zeros.
    C1: 1 to 3 spatial dimensions, one stride, dilation (at least 1) and pad (at least 0) for each.
    C2: groups divide both channel counts. C3: the padded input is at least as large as the dilated kernel.
  }];
  let arguments = !con((ins NN_Float:$input, NN_Float:$weight), window);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$input `,` $weight `strides` $strides `pads` $pads_begin $pads_end `dilations` $dilations `groups` $groups attr-dict `:` `(` type($input) `,` type($weight) `)` `->` type($result)";
}

def NN_ConvInputGradOp : NN_ConvBase<"conv_input_grad"> {
  let summary = "the cotangent of a convolution's input";
  let description = [{ C1: the gradient has the shape of the result of such a convolution, whose input this result is. }];
  let arguments = !con((ins NN_Float:$gradient, NN_Float:$weight), window);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$gradient `,` $weight `strides` $strides `pads` $pads_begin $pads_end `dilations` $dilations `groups` $groups attr-dict `:` `(` type($gradient) `,` type($weight) `)` `->` type($result)";
  let hasVerifier = 1;
}

def NN_ConvWeightGradOp : NN_ConvBase<"conv_weight_grad"> {
  let summary = "the cotangent of a convolution's weight";
  let description = [{ C1: the gradient has the shape of the result of such a convolution, whose weight this result is. }];
  let arguments = !con((ins NN_Float:$input, NN_Float:$gradient), window);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$input `,` $gradient `strides` $strides `pads` $pads_begin $pads_end `dilations` $dilations `groups` $groups attr-dict `:` `(` type($input) `,` type($gradient) `)` `->` type($result)";
  let hasVerifier = 1;
}

def NN_EmbeddingOp : NN_PureOp<"embedding", [NN_Infer, NN_Grad, NN_Element, NN_Counted]> {
  let summary = "rows of a table";
  let description = [{
    Table [rows, ...], ids of any shape; the result's shape is the ids' followed by the row's. An id
    outside [0, rows) is an error when the program runs.

    With `rows`, consecutive numbers of the table's rows, ids are such numbers, and an id that no row has gives zeros: a piece of the table
    gives a summand of the result.

    ```mlir
    %x = nn.embedding %table, %ids : (tensor<211x64xf32>, tensor<8x32xi64>) -> tensor<8x32x64xf32>
    %x = nn.embedding %table, %ids rows %rows : tensor<211xi64> : (tensor<211x64xf32>, tensor<8x32xi64>) -> tensor<8x32x64xf32>
    ```
    C1: rows has one number for each row of the table.
  }];
  let arguments = (ins NN_Tensor:$table, NN_Int:$ids, Optional<NN_Int>:$rows);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$table `,` $ids (`rows` $rows^ `:` type($rows))? attr-dict `:` `(` type($table) `,` type($ids) `)` `->` type($result)";
  let hasCanonicalizer = 1;
}

def NN_EmbeddingGradOp : NN_PureOp<"embedding_grad", [NN_Counted]> {
  let summary = "the cotangent of an embedding's table: rows of the gradient added up by id";
  let description = [{
    An id of -1 is passed over. With `rows`, the numbers of the table's rows, ids that no row has are. C1: the gradient has a row for each id. C2: rows has
    one number for each row of the table.
  }];
  let arguments = (ins NN_Int:$ids, NN_Float:$gradient, Optional<NN_Int>:$rows);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$ids `,` $gradient (`rows` $rows^ `:` type($rows))? attr-dict `:` `(` type($ids) `,` type($gradient) `)` `->` type($result)";
  let hasVerifier = 1;
}

def NN_InRangeOp : NN_PureOp<"in_range", [SameOperandsAndResultType]> {
  let summary = "ids as they are; one that is out of range is an error when the program runs";
  let description = [{
    What counts to `size` in pieces cannot see from a piece whether an id is in range: this says it of all. `ignored` is allowed besides; `name`
    is what the error calls them.

    ```mlir
    %checked = nn.in_range %labels below 211 or -100 "labels" : tensor<8x32xi64>
    ```
  }];
  let arguments = (ins NN_Int:$operand, I64Attr:$size, OptionalAttr<I64Attr>:$ignored, StrAttr:$name);
  let results = (outs NN_Int:$result);
  let assemblyFormat = "$operand `below` $size (`or` $ignored^)? $name attr-dict `:` type($result)";
}

def NN_TakeAlongOp : NN_PureOp<"take_along", [NN_Infer, NN_Grad, NN_Element]> {
  let summary = "picks one element per index along a dimension";
  let description = [{
    result[..., i, ...] = operand[..., indices[..., i, ...], ...] (ONNX GatherElements). C1: same rank, and equal
    sizes but for `dim`. An index out of range is an error when the program runs.
  }];
  let arguments = (ins NN_Tensor:$operand, NN_Int:$indices, I64Attr:$dim);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$operand `,` $indices $dim attr-dict `:` `(` type($operand) `,` type($indices) `)` `->` type($result)";
}

// Normalisation and attention ---------------------------------------------===//

def NN_SoftmaxOp : NN_PureOp<"softmax", [SameOperandsAndResultType, NN_Grad]> {
  let summary = "exp(x) / sum exp(x) along one dimension, computed from x - max x";
  let description = [{ C1: the dimension exists. A row of -inf alone gives NaN, as in PyTorch. }];
  let arguments = (ins NN_Float:$operand, I64Attr:$dim);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$operand $dim attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def NN_LogSoftmaxOp : NN_PureOp<"log_softmax", [SameOperandsAndResultType, NN_Grad]> {
  let summary = "the logarithm of softmax along one dimension";
  let description = [{ C1: the dimension exists. }];
  let arguments = (ins NN_Float:$operand, I64Attr:$dim);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$operand $dim attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def NN_LayerNormOp : NN_PureOp<"layer_norm", [AllTypesMatch<["input", "result"]>, NN_Grad]> {
  let summary = "layer normalisation over the trailing dimensions";
  let description = [{
    (x - mean) / sqrt(var + epsilon) * scale + bias, mean and (biased) variance over the last dimensions,
    as many as scale has. (Ba et al., 2016.) C1: scale and bias have the shape of those dimensions.

    ```mlir
    %y = nn.layer_norm %x, %scale, %bias epsilon 1.0e-5 : tensor<8x32x64xf32>, tensor<64xf32>
    ```
  }];
  let arguments = (ins NN_Float:$input, NN_Float:$scale, Optional<NN_Float>:$bias, F64Attr:$epsilon);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$input `,` $scale (`,` $bias^ `:` type($bias))? `epsilon` $epsilon attr-dict `:` type($input) `,` type($scale)";
  let hasVerifier = 1;
}

def NN_LayerNormGradOp : NN_PureOp<"layer_norm_grad", [AllTypesMatch<["input", "gradient", "input_gradient"]>,
    AllTypesMatch<["scale", "scale_gradient", "bias_gradient"]>]> {
  let summary = "the cotangents of a layer normalisation; mean and variance are computed again from the input";
  let description = [{ C1: scale has the shape of the normalised dimensions. }];
  let arguments = (ins NN_Float:$input, NN_Float:$scale, NN_Float:$gradient, F64Attr:$epsilon);
  let results = (outs NN_Float:$input_gradient, NN_Float:$scale_gradient, NN_Float:$bias_gradient);
  let assemblyFormat = "$input `,` $scale `,` $gradient `epsilon` $epsilon attr-dict `:` type($input) `,` type($scale)";
  let hasVerifier = 1;
}

def NN_RmsNormOp : NN_PureOp<"rms_norm", [AllTypesMatch<["input", "result"]>, NN_Grad]> {
  let summary = "root-mean-square normalisation over the trailing dimensions";
  let description = [{
    x / sqrt(mean(x²) + epsilon) * scale. (Zhang & Sennrich, 2019.) C1: scale has the shape of the normalised dimensions.
  }];
  let arguments = (ins NN_Float:$input, NN_Float:$scale, F64Attr:$epsilon);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$input `,` $scale `epsilon` $epsilon attr-dict `:` type($input) `,` type($scale)";
  let hasVerifier = 1;
}

def NN_RmsNormGradOp : NN_PureOp<"rms_norm_grad", [AllTypesMatch<["input", "gradient", "input_gradient"]>,
    AllTypesMatch<["scale", "scale_gradient"]>]> {
  let summary = "the cotangents of a root-mean-square normalisation";
  let description = [{ C1: scale has the shape of the normalised dimensions. }];
  let arguments = (ins NN_Float:$input, NN_Float:$scale, NN_Float:$gradient, F64Attr:$epsilon);
  let results = (outs NN_Float:$input_gradient, NN_Float:$scale_gradient);
  let assemblyFormat = "$input `,` $scale `,` $gradient `epsilon` $epsilon attr-dict `:` type($input) `,` type($scale)";
  let hasVerifier = 1;
}

def NN_RotaryOp : NN_PureOp<"rotary", [AllTypesMatch<["input", "result"]>, NN_Grad, NN_Element]> {
  let summary = "rotary position embedding";
  let description = [{
    Rotates pairs of the last dimension (size D) by the angle whose cosine and sine are given: halves
    (x[i], x[i + D/2]), or neighbours (x[2i], x[2i+1]) if `interleaved`. `cos` and `sin` have shape
    [sequence, D/2] or [batch, sequence, D/2]; `seq_dim` is the dimension of `input` that is the sequence,
    dimension 0 is the batch. `inverse` rotates back (its gradient). (Su et al., 2021.)
    C1: D is even. C2: cos and sin agree with input.
  }];
  let arguments = (ins NN_Float:$input, NN_Float:$cos, NN_Float:$sin, I64Attr:$seq_dim, UnitAttr:$interleaved, UnitAttr:$inverse);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$input `,` $cos `,` $sin `sequence` $seq_dim (`interleaved` $interleaved^)? (`inverse` $inverse^)? attr-dict `:` type($input) `,` type($cos) `,` type($sin)";
  let hasVerifier = 1;
}

def NN_AttentionOp : NN_PureOp<"attention", [AttrSizedOperandSegments, NN_Grad]> {
  let summary = "scaled dot-product attention, grouped queries included";
  let description = [{
    query [batch, q, kv_heads, group, d], key [batch, k, kv_heads, d], value [batch, k, kv_heads, dv]; result
    [batch, q, kv_heads, group, dv], and the probabilities [batch, kv_heads, group, q, k] (kept for the gradient, or not).

    softmax over k of scale * q·k (+ bias), where only pairs (i, j) with lower <= j - i <= upper and a true
    `key_mask[batch, j]` take part. `upper = 0` is the causal mask, `lower = 1 - w` a window of w. `bias` is
    a float tensor [batch or 1, kv_heads or 1, group or 1, q, k] that is added (the mask that has no such form).
    A row in which nothing takes part gives zeros; with `finite_mask` it gives the mean of all values (pairs that
    do not take part have the lowest float as score then, as the additive masks of many models have). `softcap` c > 0 makes the score c tanh(score / c) before masks.
    (Vaswani et al., 2017; grouped queries: Ainslie et al., 2023.)
    C1: sizes agree. C2: bias, key_mask have those shapes.
  }];
  let arguments = (ins NN_Float:$query, NN_Float:$key, NN_Float:$value, Optional<NN_Bool>:$key_mask,
      Optional<NN_Float>:$bias, F64Attr:$scale, OptionalAttr<I64Attr>:$lower, OptionalAttr<I64Attr>:$upper,
      DefaultValuedAttr<F64Attr, "0.0">:$softcap, UnitAttr:$finite_mask);
  let results = (outs NN_Float:$result, NN_Float:$probabilities);
  let assemblyFormat = [{
    $query `,` $key `,` $value (`key_mask` $key_mask^ `:` type($key_mask))? (`bias` $bias^ `:` type($bias))?
    `scale` $scale (`lower` $lower^)? (`upper` $upper^)? (`finite_mask` $finite_mask^)? attr-dict
    `:` type($query) `,` type($key) `,` type($value) `->` type($result) `,` type($probabilities)
  }];
  let hasVerifier = 1;
}

def NN_AttentionGradOp : NN_PureOp<"attention_grad", [AllTypesMatch<["query", "query_gradient"]>,
    AllTypesMatch<["key", "key_gradient"]>, AllTypesMatch<["value", "value_gradient"]>]> {
  let summary = "the cotangents of attention's query, key, value and (if it has one) bias";
  let description = [{ Masked pairs have probability zero, so the masks are not needed again. With a softcap the scores are. C1: sizes agree. C2: the bias has a shape that attention takes, and its gradient has the type of it. }];
  let arguments = (ins NN_Float:$query, NN_Float:$key, NN_Float:$value, NN_Float:$probabilities,
      NN_Float:$gradient, Optional<NN_Float>:$bias, F64Attr:$scale, DefaultValuedAttr<F64Attr, "0.0">:$softcap);
  let results = (outs NN_Float:$query_gradient, NN_Float:$key_gradient, NN_Float:$value_gradient,
      Optional<NN_Float>:$bias_gradient);
  let assemblyFormat = [{
    $query `,` $key `,` $value `,` $probabilities `,` $gradient (`bias` $bias^ `:` type($bias) `->` type($bias_gradient))?
    `scale` $scale attr-dict `:` type($query) `,` type($key) `,` type($value) `,` type($probabilities) `,` type($gradient)
    `->` type($query_gradient) `,` type($key_gradient) `,` type($value_gradient)
  }];
  let hasVerifier = 1;
}

// Training ----------------------------------------------------------------===//

def NN_CrossEntropyOp : NN_PureOp<"cross_entropy", [NN_Infer, NN_Grad, NN_Counted]> {
  let summary = "minus the log-probability of each label, zero where the label is not counted";
  let description = [{
    Logits [..., classes], labels [...]; one value per label, and the logarithm of the sum of the exponentials of its logits, which the
    gradient reads. A label equal to `ignore_index` is not counted.
    C1: labels have the shape of the logits without the last dimension.

    ```mlir
    %loss, %log_sum = nn.cross_entropy %logits, %labels ignore -100 : tensor<8x32x211xf32>, tensor<8x32xi64>
    ```
  }];
  let arguments = (ins NN_Float:$logits, NN_Int:$labels, I64Attr:$ignore_index);
  let results = (outs NN_Float:$result, NN_Float:$log_sum);
  let assemblyFormat = "$logits `,` $labels `ignore` $ignore_index attr-dict `:` type($logits) `,` type($labels)";
}

def NN_CrossEntropyGradOp : NN_PureOp<"cross_entropy_grad", [AllTypesMatch<["logits", "result"]>,
    AllTypesMatch<["log_sum", "gradient"]>, NN_Counted]> {
  let summary = "(exp(logits - log_sum) - one_hot(labels)) * gradient, zero where the label is not counted";
  let description = [{ C1: labels have the shape of the logits without the last dimension, and so has the gradient. }];
  let arguments = (ins NN_Float:$logits, NN_Int:$labels, NN_Float:$log_sum, NN_Float:$gradient, I64Attr:$ignore_index);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$logits `,` $labels `,` $log_sum `,` $gradient `ignore` $ignore_index attr-dict `:` type($logits) `,` type($labels) `,` type($gradient)";
  let hasVerifier = 1;
}

def NN_BackwardBeginOp : NN_Op<"backward_begin", []> {
  let summary = "the marker between the forward and the backward of a joint function";
  let assemblyFormat = "attr-dict";
}

def NN_ForwardOp : NN_SymbolUse<"forward", []> {
  let summary = "runs the forward half of a joint function";
  let description = [{
    ```mlir
    %y, %r = nn.forward @block0(%x, %w) : (tensor<8x32x64xf32>, tensor<64x64xf32>) -> (tensor<8x32x64xf32>, !nn.residuals)
    ```
    C1: the callee has an `nn.joint` attribute and these input and result types.
  }];
  let arguments = (ins FlatSymbolRefAttr:$callee, Variadic<NN_Tensor>:$inputs);
  let results = (outs Variadic<NN_Tensor>:$outputs, NN_ResidualsType:$residuals);
  let assemblyFormat = "$callee `(` $inputs `)` attr-dict `:` functional-type($inputs, results)";
}

def NN_BackwardOp : NN_SymbolUse<"backward", []> {
  let summary = "runs the backward half of a joint function for one forward call";
  let description = [{
    C1: the residuals come from an `nn.forward` of the same callee. C2: cotangents and results have the types
    that the callee's `nn.joint` attribute says.
  }];
  let arguments = (ins FlatSymbolRefAttr:$callee, NN_ResidualsType:$residuals, Variadic<NN_Float>:$cotangents);
  let results = (outs Variadic<NN_Float>:$gradients);
  let assemblyFormat = "$callee $residuals `(` $cotangents `)` attr-dict `:` functional-type($cotangents, $gradients)";
}

def NN_GradientOp : NN_SymbolUse<"gradient", [NN_ParameterSinkInterface]> {
  let summary = "says that a value is the gradient of a parameter, before clipping";
  let description = [{
    Stands in the step function, where the optimizer and `--save-gradients` find it.
    C1: the symbol is an `nn.parameter` of the operand's type.
  }];
  let arguments = (ins FlatSymbolRefAttr:$parameter, NN_Float:$value);
  let assemblyFormat = "$parameter `,` $value attr-dict `:` type($value)";
}

def NN_AdamWOp : NN_PureOp<"adamw", [AllTypesMatch<["parameter", "gradient", "exp_avg", "exp_avg_sq",
    "new_parameter", "new_exp_avg", "new_exp_avg_sq"]>]> {
  let summary = "one AdamW update, as torch.optim.AdamW";
  let description = [{
    g = gradient * clip_scale; p *= 1 - lr * weight_decay (if `decay`); m = β1 m + (1 - β1) g; v = β2 v + (1 - β2) g²;
    p -= lr / (1 - β1^t) * m / (sqrt(v) / sqrt(1 - β2^t) + ε), where 0 / 0 (ε = 0) is 0. `hyper` holds the scalars of the step in the order of
    `galvatron_rt_hyper` (galvatron_rt.h). (Loshchilov & Hutter, 2019.)
  }];
  let arguments = (ins NN_Float:$parameter, NN_Float:$gradient, NN_Float:$exp_avg, NN_Float:$exp_avg_sq,
      NN_Hyper:$hyper, NN_Scalar:$clip_scale, UnitAttr:$decay);
  let results = (outs NN_Float:$new_parameter, NN_Float:$new_exp_avg, NN_Float:$new_exp_avg_sq);
  let assemblyFormat = "$parameter `,` $gradient `,` $exp_avg `,` $exp_avg_sq `,` $hyper `,` $clip_scale (`decay` $decay^)? attr-dict `:` type($parameter) `,` type($hyper)";
}

def NN_SgdOp : NN_PureOp<"sgd", [AllTypesMatch<["parameter", "gradient", "momentum_buffer", "new_parameter", "new_momentum_buffer"]>]> {
  let summary = "one SGD update with momentum, as torch.optim.SGD";
  let description = [{
    g = gradient * clip_scale + weight_decay * p (if `decay`); b = momentum * b + g (b = g at the first step); p -= lr * b.
  }];
  let arguments = (ins NN_Float:$parameter, NN_Float:$gradient, NN_Float:$momentum_buffer, NN_Hyper:$hyper,
      NN_Scalar:$clip_scale, UnitAttr:$decay);
  let results = (outs NN_Float:$new_parameter, NN_Float:$new_momentum_buffer);
  let assemblyFormat = "$parameter `,` $gradient `,` $momentum_buffer `,` $hyper `,` $clip_scale (`decay` $decay^)? attr-dict `:` type($parameter) `,` type($hyper)";
}

#endif
