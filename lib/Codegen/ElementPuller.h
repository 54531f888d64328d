//===- ElementPuller.h - Emits one element of a tensor value --------------===//
//
// Computes elements of the values of a kernel (a function of nn ops) inside a
// nest of loops that somebody else builds. An element is pulled: an op's element
// asks for the elements of its operands, down to loads of the kernel's inputs.
// Whatever does not depend on the inner loops lands outside them, and nothing is
// computed twice at one index.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_LIB_CODEGEN_ELEMENTPULLER_H
#define GALVATRON_LIB_CODEGEN_ELEMENTPULLER_H

#include "IndexForm.h"
#include "dialects/NN/NN.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringMap.h"

namespace galvatron {

class ElementPuller {
public:
  ElementPuller(mlir::OpBuilder &builder, mlir::Location loc, std::string tablePrefix)
      : b(builder), loc(loc), tablePrefix(std::move(tablePrefix)) {}

  /// Opens a scope: code that needs nothing from deeper scopes is emitted in `block`. The operation that holds the
  /// block becomes the anchor of the scope around it: code that is moved out lands before it.
  void pushScope(mlir::Block *block);
  void popScope();
  unsigned getDepth() const { return scopes.size() - 1; }

  /// Emits the element of `value` at `indices`; in the innermost scope if it depends on it.
  mlir::Value pull(mlir::Value value, llvm::ArrayRef<IndexForm> indices);

  /// Emits a form as a value of index type.
  mlir::Value materialize(const IndexForm &form);

  /// Loads and stores of flat memrefs. Booleans are bytes in memory.
  mlir::Value load(mlir::Value memref, const IndexForm &index, bool isBool);
  void store(mlir::Value memref, const IndexForm &index, mlir::Value value);

  /// The type of a tensor in memory.
  static mlir::MemRefType flatType(mlir::RankedTensorType type);

  /// A kernel input.
  void bindInput(mlir::Value input, mlir::Value memref) { inputs[input] = memref; }

  /// The result of a reduction, for the row at hand.
  void bindScalar(mlir::Value reduced, mlir::Value scalar) { scalars[reduced] = scalar; }

  /// The result of a reduction, held in `memref` from `base` on.
  struct Accumulator {
    mlir::Value memref;
    IndexForm base;
  };
  void bindAccumulator(mlir::Value reduced, Accumulator accumulator) { accumulators[reduced] = accumulator; }

  /// A value whose row was written in an earlier phase: read it there. `columns` is what a row of it has; a buffer
  /// holds one row only.
  struct StoredRow {
    mlir::Value memref;
    int64_t columns;
    unsigned phase;
    bool isBuffer;
  };
  void bindStored(mlir::Value value, StoredRow row) { stored[value] = row; }

  /// The row being computed (linear), and the phase: values stored in earlier phases can be read.
  void setRow(const IndexForm &form) { row = form; }
  void setPhase(unsigned number) { phase = number; }
  unsigned getPhase() const { return phase; }

  /// Called for each element op that is computed (not found), with its linear index; returns the row buffer to keep
  /// the element in, having bound it as stored, or null.
  std::function<mlir::Value(mlir::Operation *, const IndexForm &)> onElement;

  IndexSpace space;
  /// Every index that was used in an access or a comparison, and each comparison's difference.
  llvm::SmallVector<IndexForm> uses;
  llvm::SmallVector<std::pair<mlir::arith::CmpIPredicate, IndexForm>> comparisons;
  /// Of loads: the linear index.
  llvm::SmallVector<IndexForm> loads;
  /// Constant tables that the kernel reads: name and contents.
  llvm::MapVector<mlir::Attribute, std::string> tables;
  /// Not empty when a value could not be computed.
  std::string error;

  mlir::OpBuilder &b;
  mlir::Location loc;

private:
  struct Scope {
    mlir::Block *block;
    mlir::Operation *anchor = nullptr;
    llvm::StringMap<mlir::Value> memo;
  };

  unsigned depthOf(mlir::Value value) const;
  unsigned depthOf(const IndexForm &form) const;
  void moveTo(unsigned depth);
  mlir::Value emit(mlir::Operation *op, llvm::ArrayRef<IndexForm> indices, unsigned depth);
  mlir::Value table(galvatron::nn::ConstantOp op, const IndexForm &index);
  mlir::Value simplify(mlir::Value value);
  mlir::Value fail(mlir::Value value, llvm::StringRef why);
  void recordComparisons(mlir::Value value);
  /// Clamped indices hide what they are clamped from: loops that it tells apart must not be merged.
  void recordClamps(mlir::Value index);

  std::string tablePrefix;
  llvm::SmallVector<Scope> scopes;
  llvm::DenseMap<mlir::Value, mlir::Value> inputs, scalars;
  llvm::DenseMap<mlir::Value, Accumulator> accumulators;
  llvm::DenseMap<mlir::Value, StoredRow> stored;
  IndexForm row;
  unsigned phase = 0;
};

} // namespace galvatron

#endif
