//===- DimensionFactors.h - Which logical dimensions a dimension holds ----===//
//
// A dimension of 192 that a reshape splits into 3 x 4 x 16 *is* those three, everywhere it
// goes. Dimensions that an op runs over with one loop form a class; a class has cuts (the
// sizes of its minor parts), and reshapes, slices and concatenations carry cuts from class
// to class until nothing changes. A dimension of size one holds nothing.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_LIB_IMPORT_DIMENSIONFACTORS_H
#define GALVATRON_LIB_IMPORT_DIMENSIONFACTORS_H

#include "dialects/NN/NN.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"

#include <deque>
#include <vector>

namespace galvatron {

class DimensionFactors {
public:
  /// With `unitsOnly` no dimension is split; only those of size one disappear.
  DimensionFactors(mlir::ModuleOp module, bool unitsOnly);

  /// The sizes that dimension `dim` of `value` is made of, most significant first.
  llvm::SmallVector<int64_t> factors(mlir::Value value, int64_t dim);

  /// The type of `value` when each of its dimensions is replaced by its factors.
  mlir::RankedTensorType refined(mlir::Value value);

  /// For each dimension of `value`, where its factors start in the refined type; one more entry ends it.
  llvm::SmallVector<int64_t> starts(mlir::Value value);

private:
  struct Class {
    int64_t size;
    llvm::SmallVector<int64_t, 4> cuts; ///< ascending; each divides the next and the size
    bool frozen = false;
    llvm::SmallVector<int, 4> relations;
  };
  /// Both sides, flattened, hold the same elements; their cuts up to `limit` agree (0: all of them).
  struct Relation {
    llvm::SmallVector<int, 4> sides[2];
    int64_t limit = 0;
    bool broken = false;
  };

  llvm::SmallVector<int> &classesOf(mlir::Value value);
  int find(int id);
  void unify(int a, int b);
  void unifyDims(mlir::Value a, int64_t i, mlir::Value b, int64_t j);
  void freeze(int id);
  void freezeAll(mlir::Operation *op);
  void relate(llvm::ArrayRef<int> left, llvm::ArrayRef<int> right, int64_t limit = 0);

  void constrain(mlir::Operation *op);
  void constrainReshape(nn::ReshapeOp op);
  void constrainSlice(nn::SliceOp op);
  void constrainConcat(nn::ConcatOp op);
  void constrainContract(nn::ContractOp op);
  void proposeCuts(mlir::Value value);
  bool addCut(int id, int64_t cut);
  bool carry(Relation &relation, int from);
  void propagate();

  std::vector<Class> classes;
  std::vector<int> parent;
  std::vector<Relation> relations;
  std::deque<int> worklist;
  llvm::DenseMap<mlir::Value, llvm::SmallVector<int>> valueClasses;
  llvm::StringMap<mlir::Value> parameterValue;
};

/// Rewrites all functions and parameters of the module to the shapes that their dimensions' factors give.
void refineDimensions(mlir::ModuleOp module, bool unitsOnly);

} // namespace galvatron

#endif
