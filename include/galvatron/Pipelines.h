//===- Pipelines.h - The stages of a compilation and the passes between them ===//

#ifndef GALVATRON_PIPELINES_H
#define GALVATRON_PIPELINES_H

#include "galvatron/Plan/Plan.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"

#include <optional>
#include <string>

namespace galvatron {

/// What a module is, from the model to what becomes object code. The names are those of --emit.
enum class Stage { Imported, Training, Planned, Partitioned, Scheduled, Lowered };
inline constexpr Stage lastStage = Stage::Lowered;

llvm::StringRef stringifyStage(Stage stage);
std::optional<Stage> parseStage(llvm::StringRef name);

/// The stage of a module, by what is in it.
Stage detectStage(mlir::ModuleOp module);

/// What the user chooses.
struct PipelineOptions {
  std::string loss;                ///< cross-entropy:NAME or output:NAME
  std::string optimizer = "adamw"; ///< adamw or sgd
  Plan plan = *makePlan({}, [](const llvm::Twine &) {}); ///< one rank
  int64_t threads = 1;
  std::string cpu = "native"; ///< native, x86-64-v3 or x86-64-v4
};

/// Adds the passes that make `stage` of the stage before it.
void addStagePasses(mlir::OpPassManager &pm, Stage stage, const PipelineOptions &options);

} // namespace galvatron

#endif
