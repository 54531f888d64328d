//===- JsonFile.h - JSON that anybody may have written ----------*- C++ -*-===//
//
// LLVM's parser calls itself for each bracket, keeps the last of two equal keys,
// and wants all of a file in memory: what is read here is checked before.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_SUPPORT_JSONFILE_H
#define GALVATRON_SUPPORT_JSONFILE_H

#include "galvatron/Support/Report.h"
#include "llvm/Support/JSON.h"

#include <optional>

namespace galvatron {

/// The value that a text is. Nothing, after a report, if it is none, has brackets more than 32 deep, has a key twice in one object, or is longer
/// than 16 MiB, which no `what` is: "plan".
std::optional<llvm::json::Value> parseJson(llvm::StringRef text, llvm::StringRef what, Report report);

/// The text of a file, a pipe or a device; of at most 16 MiB, too. Reports begin with the path.
std::optional<std::string> readTextFile(llvm::StringRef path, llvm::StringRef what, Report report);

/// Both. Reports begin with the path.
std::optional<llvm::json::Value> readJsonFile(llvm::StringRef path, llvm::StringRef what, Report report);

} // namespace galvatron

#endif
