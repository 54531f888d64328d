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

// From tensors to the arena ------------------------------------------------===//

def InsertChecksPass : Pass<"rt-insert-checks", "::mlir::func::FuncOp"> {
  let summary = "Checks ids that come from data before anything is read where they say";
  let description = [{
    Before each `nn.embedding`, `nn.take_along` and `nn.cross_entropy`, once per tensor of ids and range in a function.

    ```mlir
    before  %x = nn.embedding %table, %ids : (tensor<211x64xf32>, tensor<8xi64>) -> tensor<8x64xf32>
    after   rt.check_range %ids in [0, 211) "the ids of an embedding" : tensor<8xi64>
            %x = nn.embedding %table, %ids : (tensor<211x64xf32>, tensor<8xi64>) -> tensor<8x64xf32>
    ```
  }];
  let dependentDialects = ["::galvatron::rt::RTDialect"];
}

def LegalizeContractsPass : Pass<"rt-legalize-contracts"> {
  let summary = "Transposes the operands of contractions that the library cannot walk";
  let description = [{
    A contraction becomes calls of a batched matrix product, whose dimensions have one stride each and of
    which four may be batch dimensions. One that would take too many calls gets its operands in the order
    batch, rows, columns; the transpositions become kernels.

    ```mlir
    before  %y = nn.contract %x, %w "axbycz,xdyez->axbdye..." ...
    after   %t = nn.transpose %x [0, 2, 4, 1, 3, 5] ...
            %p = nn.contract %t, %w ...
            %y = nn.transpose %p ...
    ```
  }];
  let dependentDialects = ["::galvatron::nn::NNDialect"];
}

def LowerPass : Pass<"rt-lower", "::mlir::ModuleOp"> {
  let summary = "Turns stage functions and the schedule from tensors to buffers";
  let description = [{
    A stage function's arguments become buffers, its results further buffers. Contractions become matrix
    products with descriptors, which take in a bias and an accumulation that follow; convolutions and sums of
    rows become calls of the library, launches of kernels calls of the runtime, reshapes views. The tables
    become one `rt.program`, in which every value has a buffer.

    ```mlir
    before  func.func private @f(%g: tensor<4x4xf32>, %x: tensor<4x4xf32>) -> tensor<4x4xf32> {
              %p = nn.contract %x, %x "ab,bc->ac" : ...
              %s = nn.add %g, %p : tensor<4x4xf32>
              return %s : tensor<4x4xf32>
            }
    after   rt.matmul_desc @m0 batch [] m 4 n 4 k 4 lhs [] [4, 1] rhs [] [4, 1] out [] [4, 1] accumulate
            func.func private @f(%g: !rt.buffer<4x4xf32>, %x: !rt.buffer<4x4xf32>, %out: !rt.buffer<4x4xf32>)
                attributes {rt.outs = 1, rt.aliases = [[0, 0]]} {
              rt.matmul @m0(%x, %x) into %g : ...
              return
            }
    ```
  }];
  let options = [
    Option<"threads", "threads", "int64_t", "1", "Threads of the program; scratch memory depends on them.">,
    Option<"cpu", "cpu", "std::string", "\"native\"", "native, x86-64-v3 or x86-64-v4.">
  ];
  let dependentDialects = ["::galvatron::rt::RTDialect", "::mlir::func::FuncDialect"];
}

def PlanMemoryPass : Pass<"rt-plan-memory", "::mlir::ModuleOp"> {
  let summary = "Gives every buffer of the program its place in one arena";
  let description = [{
    Asks the library how much scratch memory each descriptor needs with the program's threads and CPU level, packs the temporaries
    of each function into its frame, and the tensors, slots and frames of the program into the arena.

    ```mlir
    before  rt.program @program threads 2 cpu "native" ... { rt.table train { %h = rt.slot "h" : <4x4xf32> ... } }
    after   rt.program @program threads 2 cpu "native" ... arena 8192 { rt.table train { %h = rt.slot "h" at 4096 : <4x4xf32> ... } }
    ```
  }];
  let dependentDialects = ["::galvatron::rt::RTDialect"];
}

def ConvertFunctionsPass : Pass<"rt-convert-functions", "::mlir::ModuleOp"> {
  let summary = "Turns stage functions into LLVM functions that call the runtime";
  let description = [{
    ```mlir
    before  func.func private @f(%x: !rt.buffer<4x4xf32>, %y: !rt.buffer<4x4xf32>) attributes {rt.outs = 1, rt.frame_bytes = 64} {...}
    after   llvm.func internal @f(%ctx: !llvm.ptr, %args: !llvm.ptr, %frame: !llvm.ptr) attributes {...} {
              ... llvm.call @galvatron_rt_matmul(%ctx, %0, %x, %x, %null, %y, %scratch) ...
            }
    ```
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

#endif
