//===- RTDialect.td - The rt dialect: what the runtime is asked to do -----===//
//
// One op per entry point of the runtime's C ABI, and the program table as ops that can be read.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_DIALECTS_RT_RTDIALECT_TD
#define GALVATRON_DIALECTS_RT_RTDIALECT_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"

def RT_Dialect : Dialect {
  let name = "rt";
  let cppNamespace = "::galvatron::rt";
  let dependentDialects = ["::galvatron::dist::DistDialect"];
  let summary = "The border to the runtime: calls of its C ABI, and the program table";
  let description = [{
    `rt` is the last dialect of the column; from it come LLVM functions and one constant table:

        model.onnx -> nn -> dist -> pipe -> [rt: lowered] -> program

    A *stage function* is a `func.func` whose arguments are buffers: first what it reads, then what it
    writes (`rt.outs` says how many). Its body calls the library (`rt.matmul`, `rt.conv`, ...) and
    generated kernels (`rt.parallel_for`) on its arguments and on `rt.temporary` buffers, which live in
    the frame that the executor hands over. Two arguments that `rt.aliases` pairs are the same memory.

    The *program* (`rt.program`) declares the tensors that the runtime itself reads and writes, and one
    table of rows per mode. A row runs a stage function on tensors, on slots of the arena, and on views
    of these. `--rt-plan-memory` gives every tensor, slot, temporary and frame an offset (`at`); before
    it they have none. The op names and fields are those of `galvatron_rt.h`, which says what they mean.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
}

def RT_BufferType : TypeDef<RT_Dialect, "Buffer"> {
  let mnemonic = "buffer";
  let summary = "memory that holds one row-major tensor";
  let description = [{
    A pointer, to the arena in the end. The shape says how many bytes there are and how they are meant;
    f32, i64, i1 (one byte per element) and i8 (scratch memory).

    ```mlir
    !rt.buffer<8x32x64xf32>
    ```
  }];
  let parameters = (ins ArrayRefParameter<"int64_t">:$shape, "::mlir::Type":$elementType);
  let assemblyFormat = "`<` custom<Shape>($shape, $elementType) `>`";
  let genVerifyDecl = 1;
  let builders = [TypeBuilderWithInferredContext<(ins "::mlir::RankedTensorType":$type), [{
    return $_get(type.getContext(), type.getShape(), type.getElementType());
  }]>];
  let extraClassDeclaration = [{
    int64_t getNumElements() const;
    int64_t getBytes() const;
  }];
}

class RT_I32Enum<string name, string summary, list<I32EnumAttrCase> cases> : I32EnumAttr<name, summary, cases> {
  let cppNamespace = "::galvatron::rt";
  let genSpecializedAttr = 0;
}

// Numbers as in galvatron_rt_tensor_role.
def RT_Role : RT_I32Enum<"Role", "what the runtime does with a tensor of its own", [
  I32EnumAttrCase<"Input", 4, "input">, I32EnumAttrCase<"Labels", 5, "labels">,
  I32EnumAttrCase<"Scalar", 6, "scalar">, I32EnumAttrCase<"Hyper", 7, "hyper">]>;
def RT_RoleAttr : EnumAttr<RT_Dialect, RT_Role, "role">;

// Numbers as in galvatron_rt_conv_direction.
def RT_Direction : RT_I32Enum<"Direction", "which of a convolution's three tensors is computed", [
  I32EnumAttrCase<"Forward", 0, "forward">, I32EnumAttrCase<"BackwardData", 1, "backward_data">,
  I32EnumAttrCase<"BackwardWeights", 2, "backward_weights">]>;
def RT_DirectionAttr : EnumAttr<RT_Dialect, RT_Direction, "direction">;

def RT_Mode : RT_I32Enum<"Mode", "what a table of rows is for", [
  I32EnumAttrCase<"Train", 0, "train">, I32EnumAttrCase<"Forward", 1, "forward">]>;
def RT_ModeAttr : EnumAttr<RT_Dialect, RT_Mode, "mode">;

#endif
