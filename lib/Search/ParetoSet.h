//===- ParetoSet.h - Points that no other one is as good as -----*- C++ -*-===//

#ifndef GALVATRON_LIB_SEARCH_PARETOSET_H
#define GALVATRON_LIB_SEARCH_PARETOSET_H

#include "llvm/ADT/ArrayRef.h"

#include <vector>

namespace galvatron::search {

/// Points of which none is at least another one in every coordinate. Points that came one after the other are mostly alike: they are kept
/// together, in boxes, most of which are passed by as a whole.
class ParetoSet {
public:
  explicit ParetoSet(size_t numCoordinates) : numCoordinates(numCoordinates) {}

  /// Whether some point is at most `point` in every coordinate.
  bool isBeaten(llvm::ArrayRef<double> point) const;
  /// Adds a point that is not beaten; those that it beats go. Its slot: the number of what belongs to it, which one that goes had before.
  size_t add(llvm::ArrayRef<double> point);
  /// The slots that are taken, in rising order.
  std::vector<size_t> getSlots() const;
  size_t size() const { return numSlots - unused.size(); }

private:
  struct Box {
    std::vector<double> low, high; ///< no point's coordinates are below, none above
    std::vector<double> points;    ///< one behind the other
    std::vector<size_t> slots;
  };
  llvm::ArrayRef<double> pointOf(const Box &box, size_t index) const {
    return llvm::ArrayRef(box.points).slice(index * numCoordinates, numCoordinates);
  }

  size_t numCoordinates, numSlots = 0;
  std::vector<Box> boxes;
  std::vector<size_t> unused;
};

} // namespace galvatron::search

#endif
