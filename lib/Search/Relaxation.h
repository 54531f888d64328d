//===- Relaxation.h - Fractions of blocks under a memory limit --*- C++ -*-===//

#ifndef GALVATRON_LIB_SEARCH_RELAXATION_H
#define GALVATRON_LIB_SEARCH_RELAXATION_H

#include "llvm/ADT/ArrayRef.h"

#include <vector>

namespace galvatron::search {

/// A point of the plane of memory and cost.
struct Point {
  double memory = 0, cost = 0;
};

/// The least cost of a number of blocks by the memory that there is, where blocks may be divided between choices: convex, and a lower bound of
/// what whole blocks cost. It starts at the least memory, and goes along the lower hull of the choices.
class Relaxation {
public:
  Relaxation() = default;
  /// Of one block, whose choices are any points.
  explicit Relaxation(std::vector<Point> choices);

  /// Of `count` such blocks and of what `other` is of.
  Relaxation with(const Relaxation &other, double count) const;
  /// Of `count` such blocks beside `other`; infinite if they need more than `capacity`.
  double evaluate(double count, const Relaxation &other, double capacity) const;
  double evaluate(double capacity) const;
  double getLeastMemory() const { return least.memory; }

private:
  struct Segment {
    double memory, cost; ///< more memory, less cost (negative)
    bool operator<(const Segment &other) const { return cost * other.memory < other.cost * memory; } // steeper
  };
  Point least;
  std::vector<Segment> segments; ///< the steepest first
};

} // namespace galvatron::search

#endif
