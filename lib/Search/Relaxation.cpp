//===- Relaxation.cpp -----------------------------------------------------===//

#include "Relaxation.h"

#include "Tolerance.h"

#include <algorithm>
#include <iterator>

using namespace galvatron::search;

Relaxation::Relaxation(std::vector<Point> choices) {
  std::sort(choices.begin(), choices.end(),
            [](const Point &a, const Point &b) { return a.memory < b.memory || (a.memory == b.memory && a.cost < b.cost); });
  std::vector<Point> hull;
  for (const Point &point : choices) {
    if (!hull.empty() && point.cost >= hull.back().cost)
      continue;
    if (!hull.empty() && point.memory == hull.back().memory)
      continue;
    // The last one is above the line from the one before it to this one.
    while (hull.size() > 1) {
      const Point &a = hull[hull.size() - 2], &b = hull.back();
      if ((b.cost - a.cost) * (point.memory - a.memory) < (point.cost - a.cost) * (b.memory - a.memory))
        break;
      hull.pop_back();
    }
    hull.push_back(point);
  }
  least = hull.front();
  for (size_t i = 1; i < hull.size(); ++i)
    segments.push_back({hull[i].memory - hull[i - 1].memory, hull[i].cost - hull[i - 1].cost});
}

Relaxation Relaxation::with(const Relaxation &other, double count) const {
  Relaxation result;
  result.least = {least.memory * count + other.least.memory, least.cost * count + other.least.cost};
  std::vector<Segment> own;
  for (const Segment &segment : segments)
    own.push_back({segment.memory * count, segment.cost * count});
  std::merge(own.begin(), own.end(), other.segments.begin(), other.segments.end(), std::back_inserter(result.segments));
  return result;
}

double Relaxation::evaluate(double count, const Relaxation &other, double capacity) const {
  double need = least.memory * count + other.least.memory;
  if (!isWithin(need, capacity))
    return infinity;
  double slack = capacity - need, cost = least.cost * count + other.least.cost;
  for (auto own = segments.begin(), others = other.segments.begin(); slack > 0;) {
    bool isOwn = own != segments.end() && (others == other.segments.end() || *own < *others);
    if (!isOwn && others == other.segments.end())
      break;
    const Segment &segment = isOwn ? *own++ : *others++;
    double memory = segment.memory * (isOwn ? count : 1), gain = segment.cost * (isOwn ? count : 1);
    if (memory >= slack)
      return cost + gain * (slack / memory);
    cost += gain;
    slack -= memory;
  }
  return cost;
}

double Relaxation::evaluate(double capacity) const { return evaluate(1, Relaxation(), capacity); }
