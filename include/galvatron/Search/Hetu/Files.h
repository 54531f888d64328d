//===- Files.h - Where Hetu-Galvatron keeps its profiles --------*- C++ -*-===//

#ifndef GALVATRON_SEARCH_HETU_FILES_H
#define GALVATRON_SEARCH_HETU_FILES_H

#include "galvatron/Support/Report.h"

#include <cstdint>
#include <optional>
#include <string>

namespace galvatron::hetu {

/// What is known of a model and of where it was measured. Empty, or nothing, where it is not known.
struct ProfileFiles {
  std::string computation, memory; ///< files
  std::string hardware;            ///< a folder
  std::optional<int64_t> layers, hidden;
  std::string configurations[2];   ///< files that may say them
};

/// Finds the files of a model in a folder that has the predecessor's layout: profile_hardware/hardware_configs, models/FOLDER/configs, and the
/// sizes of models in models/FOLDER/meta_configs or, beside it, model_configs_yaml. `model` is NAME or FOLDER/NAME, where NAME is what stands
/// in the files' names between precision and an "_all". Nothing, after a report with the candidates, if it is empty, or there is none or more than one.
std::optional<ProfileFiles> findProfiles(llvm::StringRef folder, llvm::StringRef model, llvm::StringRef precision, Report report);

} // namespace galvatron::hetu

#endif
