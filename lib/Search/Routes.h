//===- Routes.h - Ways through the layouts of a stage -----------*- C++ -*-===//

#ifndef GALVATRON_LIB_SEARCH_ROUTES_H
#define GALVATRON_LIB_SEARCH_ROUTES_H

#include "galvatron/Search/Problem.h"

namespace galvatron::search {

/// The layouts that the blocks of each run of a stage may have, in the order in which they come.
struct Route {
  std::vector<std::vector<size_t>> layouts; ///< by run; nothing where moving costs nothing: any, in any order
  double moves = 0;                         ///< time of moving from one to the next

  bool allows(size_t run, size_t layout) const;
};

/// All routes of a stage that may be best: of those that allow the same, the cheapest, the first ones in the order of costs. As moving by way of
/// others is never dearer, no layout comes twice in a run.
std::vector<Route> listRoutes(const Problem &problem, size_t stage, const std::vector<std::vector<double>> &cheapestMoves);

} // namespace galvatron::search

#endif
