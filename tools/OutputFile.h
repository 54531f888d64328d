//===- OutputFile.h - What a tool prints with -o ----------------*- C++ -*-===//

#ifndef GALVATRON_TOOLS_OUTPUTFILE_H
#define GALVATRON_TOOLS_OUTPUTFILE_H

#include "mlir/Support/LLVM.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/LogicalResult.h"
#include "llvm/Support/raw_ostream.h"

#include <csignal>

namespace galvatron {

/// A write beyond the limit on file sizes fails like one on a full disk, instead of ending the
/// tool. Call after InitLLVM, which has a handler of its own.
inline void failOnFileSizeLimit() { std::signal(SIGXFSZ, SIG_IGN); }

/// What `write` prints becomes the file `path` ("-" is stdout), or the file stays what it was. A
/// stream that is destroyed with an error ends the process, so errors are taken out of it here.
/// `report` is told why it could not be written; what `write` itself refuses, it has reported.
inline llvm::LogicalResult
writeOutput(llvm::StringRef path,
            llvm::function_ref<llvm::LogicalResult(llvm::raw_ostream &)> write,
            llvm::function_ref<void(const llvm::Twine &)> report) {
  namespace fs = llvm::sys::fs;
  std::error_code error;
  llvm::SmallString<256> target(path), resolved;
  if (path != "-" && !fs::real_path(path, resolved))
    target = resolved; // a link stays one
  // Devices and pipes are written in place.
  bool inPlace = path == "-" ||
                 (fs::exists(target) && !fs::is_regular_file(target) && !fs::is_directory(target));
  std::string written = inPlace ? target.str().str() : (target + ".tmp").str();
  if (fs::is_directory(target))
    error = std::make_error_code(std::errc::is_a_directory);
  llvm::LogicalResult result = llvm::failure();
  if (!error) {
    llvm::raw_fd_ostream stream(written, error, fs::OF_None);
    if (!error) {
      result = write(stream);
      stream.flush();
      error = stream.error();
      stream.clear_error();
    }
  }
  if (!inPlace) {
    if (!error && llvm::succeeded(result))
      error = fs::rename(written, target);
    if (error || llvm::failed(result))
      fs::remove(written);
  }
  if (!error)
    return result;
  report("cannot write '" + (path == "-" ? llvm::StringRef("stdout") : path) +
         "': " + error.message());
  return llvm::failure();
}

} // namespace galvatron

#endif // GALVATRON_TOOLS_OUTPUTFILE_H
