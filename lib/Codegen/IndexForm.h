//===- IndexForm.h - Index arithmetic as linear forms ---------------------===//
//
// Elements are pulled through chains of reshapes, slices and broadcasts, so an
// index arrives as a heap of additions, divisions and remainders. A linear form
// is its normal form over the loops' variables: two indices are equal if their
// forms are, `(i * 64 + j) div 64` is `i` because j is known to be below 64, and
// merging two loops can be judged by looking at coefficients.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_LIB_CODEGEN_INDEXFORM_H
#define GALVATRON_LIB_CODEGEN_INDEXFORM_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SmallVector.h"

#include <optional>

namespace galvatron {

/// constant + sum of coefficient * atom; atoms ascend and no coefficient is zero.
struct IndexForm {
  int64_t constant = 0;
  llvm::SmallVector<std::pair<unsigned, int64_t>, 3> terms;

  IndexForm() = default;
  explicit IndexForm(int64_t constant) : constant(constant) {}

  bool isConstant() const { return terms.empty(); }
  int64_t coefficient(unsigned atom) const;
  bool operator==(const IndexForm &other) const {
    return constant == other.constant && terms == other.terms;
  }
  bool operator!=(const IndexForm &other) const { return !(*this == other); }
  IndexForm operator+(const IndexForm &other) const;
  IndexForm operator-(const IndexForm &other) const { return *this + other * -1; }
  IndexForm operator*(int64_t factor) const;
};

/// The atoms that forms are made of, and the forms of SSA values.
class IndexSpace {
public:
  struct Range {
    int64_t min, max;
  };

  /// An atom: a loop variable, a value about which nothing is known but its range, or a quotient.
  struct Atom {
    mlir::Value value;     ///< null for a quotient
    IndexForm numerator;   ///< of a quotient
    int64_t divisor = 0;   ///< of a quotient; 0 otherwise
    Range range;
  };

  /// Makes `value` (of index type) an atom with values in [min, max].
  unsigned addVariable(mlir::Value value, int64_t min, int64_t max);

  IndexForm variable(unsigned atom) const;
  IndexForm div(const IndexForm &form, int64_t divisor);
  IndexForm rem(const IndexForm &form, int64_t divisor);

  /// Says that `value` computes `form`.
  void define(mlir::Value value, const IndexForm &form);

  /// The form of an integer SSA value, found by following arith ops.
  IndexForm of(mlir::Value value);

  /// An interval that holds every value of the form.
  Range range(const IndexForm &form) const;

  /// Whether a comparison (or a conjunction or disjunction of some) always has the same outcome.
  std::optional<bool> decide(mlir::Value condition);

  /// The row-major linear form of `indices`, and back.
  IndexForm linearize(llvm::ArrayRef<IndexForm> indices, llvm::ArrayRef<int64_t> shape) const;
  llvm::SmallVector<IndexForm> delinearize(const IndexForm &linear, llvm::ArrayRef<int64_t> shape);

  const Atom &getAtom(unsigned atom) const { return atoms[atom]; }

private:
  Range range(const IndexForm &form, unsigned budget) const;
  unsigned quotient(IndexForm numerator, int64_t divisor);
  IndexForm compute(mlir::Value value);
  IndexForm opaque(mlir::Value value);

  llvm::SmallVector<Atom> atoms;
  llvm::DenseMap<mlir::Value, IndexForm> forms;
};

} // namespace galvatron

#endif
