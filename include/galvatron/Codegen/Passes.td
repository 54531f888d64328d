//===- Passes.td - From scheduled functions to LLVM -----------------------===//

#ifndef GALVATRON_CODEGEN_PASSES_TD
#define GALVATRON_CODEGEN_PASSES_TD

include "mlir/Pass/PassBase.td"

// What lies between two library calls --------------------------------------===//

def DecomposePass : Pass<"nn-decompose", "::mlir::ModuleOp"> {
  let summary = "Rewrites normalisation, softmax, attention, loss and update ops into small ones";
  let description = [{
    Afterwards there are only contractions, convolutions, `nn.embedding_grad`, reshapes, ops that say how
    an element is computed (`ElementOpInterface`), reductions and running sums.

    ```mlir
    before  %p = nn.softmax %s 1 : tensor<8x16xf32>
    after   %m = nn.reduce max %s [1] : tensor<8x16xf32> -> tensor<8xf32>
            %d = nn.sub %s, (%m broadcast) ...  %e = nn.exp %d ...  %z = nn.reduce sum %e [1] ...
            %r = nn.reciprocal %z ...  %p = nn.mul %e, (%r broadcast) : tensor<8x16xf32>
    ```
  }];
  let dependentDialects = ["::galvatron::nn::NNDialect"];
}

def FormKernelsPass : Pass<"rt-form-kernels", "::mlir::ModuleOp"> {
  let summary = "Groups the ops between library calls into kernels";
  let description = [{
    Elementwise ops and reductions that agree on a number of rows become one function with the attribute
    `rt.kernel`, called by `rt.launch`; equal kernels are shared in the whole module. What only moves data (broadcasts,
    slices, transpositions, iotas) is done again in each kernel that reads through it. Contractions,
    convolutions, `nn.embedding_grad` and reshapes (views) stay, and so do additions that the library does together with a product:
    of a bias, or of a running sum. `rt.inplace` lists pairs [result, input] that may be the same memory.

    ```mlir
    before  %e = nn.exp %x : tensor<8x16xf32>  %s = nn.reduce sum %e [1] : tensor<8x16xf32> -> tensor<8xf32>
    after   %s = rt.launch @kernel(%x) : (tensor<8x16xf32>) -> tensor<8xf32>
    ```
  }];
  // Loops because each kernel is tried out.
  let dependentDialects = ["::galvatron::nn::NNDialect", "::galvatron::rt::RTDialect", "::mlir::func::FuncDialect",
                           "::mlir::scf::SCFDialect", "::mlir::memref::MemRefDialect", "::mlir::arith::ArithDialect",
                           "::mlir::math::MathDialect"];
}

def LowerKernelsPass : Pass<"rt-lower-kernels", "::mlir::ModuleOp"> {
  let summary = "Turns kernels from functions of nn ops into loops over rows";
  let description = [{
    A kernel (a `func.func` with the attribute `rt.kernel`) gets flat memrefs for its arguments and results
    and the rows `[begin, end)` that it is to compute; `rt.rows` and `rt.grain` say how many rows there are and how
    many are worth a thread. Inside a row, each phase is one loop over the columns.

    ```mlir
    before  func.func private @k(%x: tensor<8x16xf32>) -> tensor<8xf32> attributes {rt.kernel}
    after   func.func private @k(%x: memref<128xf32>, %y: memref<8xf32>, %begin: index, %end: index)
                attributes {rt.kernel, rt.rows = 8 : i64, rt.grain = 8 : i64}
    ```
  }];
  let dependentDialects = ["::mlir::func::FuncDialect", "::mlir::scf::SCFDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
}

def ConvertKernelsPass : Pass<"rt-convert-kernels", "::mlir::ModuleOp"> {
  let summary = "Turns lowered kernels into LLVM functions that the runtime can call";
  let description = [{
    exp, tanh and the like become polynomials that LLVM's loop vectoriser understands, loops become branches, memrefs bare
    pointers. The kernel's name goes to `void kernel(void **args, int64_t begin, int64_t end)`, which loads
    the pointers (inputs, then outputs) and calls the body.

    ```mlir
    before  func.func private @k(%x: memref<128xf32>, %y: memref<8xf32>, %begin: index, %end: index)
    after   llvm.func internal @k_body(!llvm.ptr, !llvm.ptr, i64, i64)
            llvm.func @k(%args: !llvm.ptr, %begin: i64, %end: i64)
    ```
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::cf::ControlFlowDialect"];
}

#endif
