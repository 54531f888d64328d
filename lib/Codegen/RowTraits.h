//===- RowTraits.h - Which ops keep the rows of a tensor apart ------------===//
//
// With N rows, a tensor whose leading dimensions multiply to N is a stack of N
// pieces. An op keeps rows apart if row r of its result needs only row r of an
// operand; then both fit into one kernel with a loop over the rows.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_LIB_CODEGEN_ROWTRAITS_H
#define GALVATRON_LIB_CODEGEN_ROWTRAITS_H

#include "dialects/NN/NN.h"

namespace galvatron {

/// How many leading dimensions multiply to `rows`, if some do. Dimensions of size one at the end are not counted.
std::optional<unsigned> rowPrefix(llvm::ArrayRef<int64_t> shape, int64_t rows);

/// All numbers of rows that `shape` can be cut into, ascending, from 1 to its number of elements.
llvm::SmallVector<int64_t> rowCandidates(llvm::ArrayRef<int64_t> shape);

/// Whether row r of the result depends on row r alone of that operand, for this number of rows.
bool keepsRows(mlir::OpOperand &operand, int64_t rows);

} // namespace galvatron

#endif
