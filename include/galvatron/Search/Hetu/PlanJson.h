//===- PlanJson.h - Plan files of Hetu-Galvatron ----------------*- C++ -*-===//
//
// Its "galvatron_config_*.json": one object, with a list for each property of layers. docs/GalvatronPlans.md says what becomes of each key.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_SEARCH_HETU_PLANJSON_H
#define GALVATRON_SEARCH_HETU_PLANJSON_H

#include "galvatron/Plan/Plan.h"
#include "galvatron/Support/Report.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

namespace galvatron::hetu {

/// Reads its plan file as a plan of this project. The number of ranks is `worldSize`, or what the file or its name says. Nothing, after reports,
/// if the file is no such plan, or says what a plan here cannot. `warn` is told what a plan says that no schedule here runs.
std::optional<Plan> readHetuPlan(llvm::StringRef path, std::optional<int64_t> worldSize, Report report, Report warn);

/// The same of an object that is in no file; what is reported begins with `name`.
std::optional<Plan> parseHetuPlan(const llvm::json::Object &object, llvm::StringRef name, std::optional<int64_t> worldSize, Report report, Report warn);

/// Writes a plan that is checked as its file. False, after reports, if the file has no place for what it says.
bool printHetuPlan(const Plan &plan, llvm::raw_ostream &os, Report report);

} // namespace galvatron::hetu

#endif
