//===- Emitter.h - Builds nn ops for imported values ----------------------===//
//
// Moves (reshape, broadcast, slice, ...) work on every kind of value: known ones
// stay known if they can, the others become nn ops.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_LIB_IMPORT_EMITTER_H
#define GALVATRON_LIB_IMPORT_EMITTER_H

#include "ImportValue.h"
#include "dialects/NN/NN.h"

namespace galvatron {

class Emitter {
public:
  Emitter(mlir::MLIRContext *context) : builder(context), loc(mlir::UnknownLoc::get(context)) {}

  mlir::OpBuilder builder;
  mlir::Location loc;
  mlir::Block *body = nullptr;

  mlir::RankedTensorType type(ElementKind element, llvm::ArrayRef<int64_t> shape);

  // SSA values.
  template <typename Op, typename... Args> mlir::Value make(Args &&...args) {
    return builder.createOrFold<Op>(loc, std::forward<Args>(args)...);
  }
  mlir::Value number(mlir::RankedTensorType type, double value);
  mlir::Value numberLike(mlir::Value like, double value) { return number(nn::tensorType(like), value); }
  mlir::Value reshape(mlir::Value value, llvm::ArrayRef<int64_t> shape);
  mlir::Value transpose(mlir::Value value, llvm::ArrayRef<int64_t> permutation);
  /// Repeats a value as numpy does; the shapes must agree.
  mlir::Value broadcast(mlir::Value value, llvm::ArrayRef<int64_t> shape);
  mlir::Value broadcastDims(mlir::Value value, llvm::ArrayRef<int64_t> dims, llvm::ArrayRef<int64_t> shape);
  mlir::Value slice(mlir::Value value, llvm::ArrayRef<int64_t> offsets, llvm::ArrayRef<int64_t> sizes,
                    llvm::ArrayRef<int64_t> steps);
  mlir::Value reduce(nn::ReduceKind kind, mlir::Value value, llvm::ArrayRef<int64_t> dims, bool keepDims);
  mlir::Value mean(mlir::Value value, llvm::ArrayRef<int64_t> dims, bool keepDims);
  mlir::Value concat(llvm::ArrayRef<mlir::Value> values, int64_t dim);
  mlir::Value contract(mlir::Value lhs, mlir::Value rhs, const llvm::Twine &subscripts);

  /// Builds at the start of the function, where many ops can share the result.
  mlir::Value atStart(llvm::function_ref<mlir::Value()> build);

  /// The value as a tensor of nn.
  mlir::Value materialize(const ImportValue &value);

  // Values of any kind.
  ImportValue reshape(const ImportValue &value, llvm::ArrayRef<int64_t> shape);
  ImportValue transpose(const ImportValue &value, llvm::ArrayRef<int64_t> permutation);
  ImportValue broadcast(const ImportValue &value, llvm::ArrayRef<int64_t> shape);
  ImportValue slice(const ImportValue &value, llvm::ArrayRef<int64_t> offsets, llvm::ArrayRef<int64_t> sizes,
                    llvm::ArrayRef<int64_t> steps);
  ImportValue concat(llvm::ArrayRef<ImportValue> values, int64_t dim);
  /// result[i...] = value[indices(i...)]. Fails if a tensor would need more than slice, transpose, broadcast.
  std::optional<ImportValue> gather(const ImportValue &value, llvm::ArrayRef<Affine> indices,
                                    llvm::ArrayRef<int64_t> shape);

private:
  mlir::Value materializeSymbolic(const ImportValue &value);
  mlir::Value buildSymbolic(const ImportValue &value);
  mlir::Value buildCondition(const ImportValue &value);
  mlir::Value buildAffine(const Affine &affine, ElementKind element, llvm::ArrayRef<int64_t> shape,
                          llvm::ArrayRef<int64_t> dims);

  /// Where index tensors and masks go: the start of the function, because many ops share them.
  mlir::Operation *lastInPrologue = nullptr;
};

/// The shape that numpy's broadcasting gives, or nothing if the shapes do not agree.
std::optional<Shape> broadcastShapes(llvm::ArrayRef<int64_t> a, llvm::ArrayRef<int64_t> b);

} // namespace galvatron

#endif
