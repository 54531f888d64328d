//===- plan-fuzzer.cpp - Any bytes as a plan ------------------------------===//
//
// The reader says what is wrong with a file, or makes a plan that is written and
// read back as the same. Fitting it to a model ends, too.
//
//   plan-fuzzer -max_total_time=60 CORPUS
//
//===----------------------------------------------------------------------===//

#include "galvatron/Plan/PlanFile.h"

using namespace galvatron;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  bool isSilent = true;
  auto report = [&](const llvm::Twine &message) { isSilent &= message.str().empty(); };
  std::optional<Plan> plan = parsePlan(llvm::StringRef(reinterpret_cast<const char *>(data), size), report);
  if (plan.has_value() != isSilent)
    abort();
  if (!plan)
    return 0;
  std::string text;
  llvm::raw_string_ostream stream(text);
  printPlan(*plan, stream);
  std::optional<Plan> again = parsePlan(text, report);
  if (!again || !(*again == *plan))
    abort();
  PlannedModel model;
  model.batch = 48;
  for (const BlockRun &run : plan->blocks)
    model.blocks = std::max<int64_t>(1, plan->blocks.size() == 1 ? run.count : model.blocks + run.count);
  if (std::optional<Plan> resolved = resolvePlan(*plan, model, report))
    checkExecutable(*resolved, report);
  return 0;
}
