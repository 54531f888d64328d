//===- Routes.cpp ---------------------------------------------------------===//

#include "Routes.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>
#include <map>
#include <tuple>

using namespace llvm;
using namespace galvatron;
using namespace galvatron::search;

bool Route::allows(size_t run, size_t layout) const { return layouts.empty() || is_contained(layouts[run], layout); }

namespace {

/// Lays routes run by run. Of two that allow the same and end in the same layout, the dearer one is dropped.
class RouteMaker {
public:
  RouteMaker(const Problem &problem, size_t stage, const std::vector<std::vector<double>> &moves) : problem(problem), runs(problem.stages[stage]), moves(moves) {}

  std::vector<Route> make() {
    std::vector<Route> routes(1);
    for (const Run &run : runs) {
      std::vector<size_t> layouts;
      for (const Choice &choice : problem.kinds[run.kind])
        layouts.push_back(choice.layout);
      llvm::sort(layouts);
      layouts.erase(std::unique(layouts.begin(), layouts.end()), layouts.end());
      std::map<Key, Route> best;
      for (const Route &route : routes)
        extend(route, layouts, static_cast<size_t>(run.count), {}, route.moves, best);
      routes.clear();
      for (auto &[key, route] : best)
        routes.push_back(std::move(route));
    }
    // How it ends does not matter any more.
    std::map<std::vector<std::vector<size_t>>, Route> best;
    for (Route &route : routes)
      keep(best, sortEach(route.layouts), std::move(route));
    routes.clear();
    for (auto &[key, route] : best)
      routes.push_back(std::move(route));
    llvm::sort(routes, [](const Route &a, const Route &b) { return std::tie(a.moves, a.layouts) < std::tie(b.moves, b.layouts); });
    return routes;
  }

private:
  using Key = std::pair<std::vector<std::vector<size_t>>, size_t>;

  static std::vector<std::vector<size_t>> sortEach(std::vector<std::vector<size_t>> layouts) {
    for (std::vector<size_t> &list : layouts)
      llvm::sort(list);
    return layouts;
  }
  template <typename K> static void keep(std::map<K, Route> &best, K key, Route route) {
    auto [found, isNew] = best.try_emplace(std::move(key), route);
    if (!isNew && route.moves < found->second.moves)
      found->second = std::move(route);
  }
  /// All orders of some of `layouts` in one more run, `begun` already.
  void extend(const Route &route, ArrayRef<size_t> layouts, size_t most, std::vector<size_t> begun, double cost, std::map<Key, Route> &best) {
    if (!begun.empty()) {
      Route longer = route;
      longer.layouts.push_back(begun);
      longer.moves = cost;
      keep(best, Key(sortEach(longer.layouts), begun.back()), std::move(longer));
    }
    if (begun.size() == most)
      return;
    for (size_t next : layouts) {
      if (is_contained(begun, next))
        continue;
      const std::vector<size_t> *last = !begun.empty() ? &begun : route.layouts.empty() ? nullptr : &route.layouts.back();
      std::vector<size_t> more = begun;
      more.push_back(next);
      extend(route, layouts, most, std::move(more), cost + (last ? moves[last->back()][next] : 0), best);
    }
  }

  const Problem &problem;
  const std::vector<Run> &runs;
  const std::vector<std::vector<double>> &moves;
};

} // namespace

std::vector<Route> search::listRoutes(const Problem &problem, size_t stage, const std::vector<std::vector<double>> &cheapestMoves) {
  if (cheapestMoves.empty())
    return {Route()};
  return RouteMaker(problem, stage, cheapestMoves).make();
}
