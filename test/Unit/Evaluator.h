//===- Evaluator.h - What a function of nn ops computes, in double --------===//
//
// Written from the ops' descriptions and for clarity alone, so that rules,
// gradients and generated code have something to be compared with. Integers and
// booleans are doubles too.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_TEST_UNIT_EVALUATOR_H
#define GALVATRON_TEST_UNIT_EVALUATOR_H

#include "dialects/NN/NN.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <functional>
#include <vector>

namespace galvatron::test {

using Index = std::vector<int64_t>;

/// A row-major tensor.
struct Tensor {
  Index shape;
  std::vector<double> data;

  Tensor() = default;
  explicit Tensor(Index shape, double value = 0);
  /// Zeros of an MLIR type's shape.
  explicit Tensor(mlir::Type type);

  int64_t rank() const { return shape.size(); }
  double &at(const Index &index);
  double at(const Index &index) const;
};

/// Calls `visit` for every index of a shape, the last dimension fastest.
void forEach(const Index &shape, llvm::function_ref<void(const Index &)> visit);

class Evaluator {
public:
  /// The results of a function, whose body is a straight line of nn ops.
  std::vector<Tensor> evaluate(mlir::func::FuncOp function, const std::vector<Tensor> &arguments);

  /// The results of one op.
  std::vector<Tensor> evaluate(mlir::Operation *op, const std::vector<Tensor> &operands);
};

} // namespace galvatron::test

#endif
