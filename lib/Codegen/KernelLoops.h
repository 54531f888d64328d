//===- KernelLoops.h - The emission of one kernel -------------------------===//
//
// A kernel is emitted twice. The first time every dimension has a loop of its
// own; from the indices that come out it is seen which neighbouring loops always
// move together (they are merged, so that the innermost loop is as long as
// memory allows), where a loop should be cut because a slice, pad or concat
// changes its mind there, and which expensive elements several phases of a row
// need. The second emission is the result.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_LIB_CODEGEN_KERNELLOOPS_H
#define GALVATRON_LIB_CODEGEN_KERNELLOOPS_H

#include "KernelEmitter.h"

namespace galvatron {

/// What the first emission learned, for one nest.
struct NestChoice {
  llvm::SmallVector<int64_t> sizes;
  llvm::SmallVector<llvm::SmallVector<int64_t>> cuts; ///< per loop: where it is cut, ascending
};

class KernelLoops {
public:
  KernelLoops(mlir::func::FuncOp kernel, KernelShape shape)
      : kernel(kernel), shape(std::move(shape)), b(kernel.getContext()), loc(kernel.getLoc()) {}

  mlir::FailureOr<LoweredKernel> run();

private:
  using Values = llvm::SmallVector<mlir::Value>;

  mlir::LogicalResult emit();
  void emitRows();
  void emitRow();
  void emitNest(unsigned phase, unsigned space);
  Values emitLoops(unsigned space, unsigned loop, llvm::SmallVector<IndexForm> at, Values accumulators);
  Values emitBody(unsigned space, llvm::ArrayRef<IndexForm> at, Values accumulators);
  void emitColumns();
  void emitColumnsOnce();
  void emitColumnBlock(mlir::Value first, mlir::Value count, llvm::ArrayRef<int64_t> sizes, llvm::ArrayRef<bool> kept);
  void emitScan();

  llvm::SmallVector<IndexForm> indicesOf(mlir::Value value, unsigned space, llvm::ArrayRef<IndexForm> at);
  mlir::Value keepElement(mlir::Operation *op, const IndexForm &linear);
  void learn();
  void mergeLoops(NestChoice &choice, llvm::ArrayRef<llvm::SmallVector<unsigned>> nests);
  void mergeColumnLoops();
  void chooseRows();
  int64_t grain();

  mlir::Value constant(int64_t value) { return b.create<mlir::arith::ConstantIndexOp>(loc, value); }
  mlir::Value identity(nn::ReduceOp op);
  mlir::Value combine(nn::ReduceOp op, mlir::Value accumulator, mlir::Value element);

  /// Opens a loop (with values carried round it) and makes it the innermost scope.
  mlir::scf::ForOp openLoop(mlir::Value begin, mlir::Value end, mlir::ValueRange carried = {});
  mlir::scf::ForOp openLoop(int64_t begin, int64_t end, mlir::ValueRange carried, IndexForm &index);
  Values closeLoop(mlir::scf::ForOp loop, mlir::ValueRange carried);

  mlir::func::FuncOp kernel;
  KernelShape shape;
  mlir::OpBuilder b;
  mlir::Location loc;

  bool final = false;
  std::unique_ptr<ElementPuller> puller;
  mlir::OwningOpRef<mlir::func::FuncOp> function;
  llvm::SmallVector<mlir::Value> outputs;
  mlir::Value begin, end;
  IndexForm row;
  unsigned space = 0; ///< whose nest is being emitted

  llvm::SmallVector<NestChoice> choices; ///< per column space
  /// First emission: the loop variables of each nest, by column space.
  llvm::SmallVector<llvm::SmallVector<llvm::SmallVector<unsigned>>> variables;
  /// First emission: the phases in which an expensive element is needed at the columns at hand.
  llvm::MapVector<mlir::Operation *, llvm::SmallVector<unsigned, 2>> phasesOf;
  /// Elements to keep in a row buffer, with the phase that writes it.
  llvm::DenseMap<mlir::Operation *, unsigned> kept;
  llvm::DenseMap<mlir::Operation *, mlir::Value> buffers;
  /// Column reductions: loops over the operand, and which are kept; the reduced ones are loops in a block.
  llvm::SmallVector<int64_t> columnSizes;
  llvm::SmallVector<bool> columnKept;
};

} // namespace galvatron

#endif
