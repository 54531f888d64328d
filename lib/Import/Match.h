//===- Match.h - Small questions that the raising patterns share ----------===//

#ifndef GALVATRON_LIB_IMPORT_MATCH_H
#define GALVATRON_LIB_IMPORT_MATCH_H

#include "dialects/NN/NN.h"

#include <cmath>

namespace galvatron {

/// Constants of a file are float32, printed and folded in various ways.
inline bool isNear(double found, double wanted, double tolerance = 1e-4) {
  return std::fabs(found - wanted) <= tolerance * std::max(1e-30, std::fabs(wanted));
}

inline bool isSplatNear(mlir::Value value, double wanted) {
  std::optional<double> splat = nn::getSplat(value);
  return splat && isNear(*splat, wanted);
}

/// A value times a number.
struct Scaled {
  mlir::Value value;
  double factor;
};

/// x * c and x / c, repeatedly; a value that is neither is itself times one.
inline Scaled stripScale(mlir::Value value) {
  double factor = 1;
  while (true) {
    if (auto mul = value.getDefiningOp<nn::MulOp>()) {
      if (std::optional<double> c = nn::getSplat(mul.getRhs())) {
        factor *= *c;
        value = mul.getLhs();
        continue;
      }
      if (std::optional<double> c = nn::getSplat(mul.getLhs())) {
        factor *= *c;
        value = mul.getRhs();
        continue;
      }
    } else if (auto div = value.getDefiningOp<nn::DivOp>()) {
      std::optional<double> c = nn::getSplat(div.getRhs());
      if (c && *c != 0 && mlir::isa<mlir::FloatType>(div.getType().getElementType())) {
        factor /= *c;
        value = div.getLhs();
        continue;
      }
    }
    return {value, factor};
  }
}

/// x + c with a number c, either way round.
inline std::optional<std::pair<mlir::Value, double>> matchAddSplat(mlir::Value value) {
  auto add = value.getDefiningOp<nn::AddOp>();
  if (!add)
    return std::nullopt;
  if (std::optional<double> c = nn::getSplat(add.getRhs()))
    return std::pair(add.getLhs(), *c);
  if (std::optional<double> c = nn::getSplat(add.getLhs()))
    return std::pair(add.getRhs(), *c);
  return std::nullopt;
}

/// The n dimensions of a tensor of rank r that are its last ones: are `dims` those?
inline bool areTrailing(llvm::ArrayRef<int64_t> dims, int64_t rank) {
  for (auto [i, dim] : llvm::enumerate(dims))
    if (dim != rank - int64_t(dims.size()) + int64_t(i))
      return false;
  return !dims.empty();
}

} // namespace galvatron

#endif
