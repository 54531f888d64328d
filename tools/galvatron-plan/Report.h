//===- Report.h - A page about a plan ---------------------------*- C++ -*-===//

#ifndef GALVATRON_TOOLS_PLAN_REPORT_H
#define GALVATRON_TOOLS_PLAN_REPORT_H

#include "Print.h"

namespace galvatron {

/// A point of the front of time over memory: the best plan within some memory.
struct FrontPoint {
  double gigabytes = 0, samplesPerSecond = 0;
};

/// The best plans with less and with more memory than was asked for, by `search`, as far as they fit.
std::vector<FrontPoint> findFront(const Request &request, llvm::function_ref<Outcome(const Request &)> search);

/// One page of HTML that needs nothing else. `difference` is what another plan has that this one has not, a line each; empty: no other was given.
void printReport(const Request &request, const Outcome &outcome, llvm::ArrayRef<FrontPoint> front, llvm::StringRef difference, llvm::raw_ostream &os);

} // namespace galvatron

#endif
