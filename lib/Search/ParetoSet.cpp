//===- ParetoSet.cpp ------------------------------------------------------===//

#include "ParetoSet.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>

using namespace llvm;
using namespace galvatron::search;

static constexpr size_t boxSize = 32;

static bool isAtMost(ArrayRef<double> a, ArrayRef<double> b) {
  for (size_t i = 0; i < a.size(); ++i)
    if (a[i] > b[i])
      return false;
  return true;
}

bool ParetoSet::isBeaten(ArrayRef<double> point) const {
  for (const Box &box : reverse(boxes)) {
    if (!isAtMost(box.low, point))
      continue;
    for (size_t i = 0; i < box.slots.size(); ++i)
      if (isAtMost(pointOf(box, i), point))
        return true;
  }
  return false;
}

size_t ParetoSet::add(ArrayRef<double> point) {
  for (Box &box : boxes) {
    if (!isAtMost(point, box.high))
      continue;
    for (size_t i = box.slots.size(); i-- > 0;) {
      if (!isAtMost(point, pointOf(box, i)))
        continue;
      unused.push_back(box.slots[i]);
      // The last one takes its place.
      for (size_t coordinate = 0; coordinate < numCoordinates; ++coordinate)
        box.points[i * numCoordinates + coordinate] = box.points[box.points.size() - numCoordinates + coordinate];
      box.points.resize(box.points.size() - numCoordinates);
      box.slots[i] = box.slots.back();
      box.slots.pop_back();
    }
  }
  erase_if(boxes, [](const Box &box) { return box.slots.empty(); });
  if (boxes.empty() || boxes.back().slots.size() == boxSize) {
    Box &box = boxes.emplace_back();
    box.low = box.high = point.vec();
  }
  Box &box = boxes.back();
  for (size_t i = 0; i < numCoordinates; ++i) {
    box.low[i] = std::min(box.low[i], point[i]);
    box.high[i] = std::max(box.high[i], point[i]);
  }
  box.points.insert(box.points.end(), point.begin(), point.end());
  size_t slot = numSlots;
  if (unused.empty()) {
    ++numSlots;
  } else {
    slot = unused.back();
    unused.pop_back();
  }
  box.slots.push_back(slot);
  return slot;
}

std::vector<size_t> ParetoSet::getSlots() const {
  std::vector<size_t> slots;
  for (const Box &box : boxes)
    slots.insert(slots.end(), box.slots.begin(), box.slots.end());
  sort(slots);
  return slots;
}
