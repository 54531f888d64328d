// Options.h: the command line of a compiled program.
#ifndef GALVATRON_RT_CORE_OPTIONS_H
#define GALVATRON_RT_CORE_OPTIONS_H

#include "core/Image.h"
#include "core/Schedule.h"

#include <string>

namespace galvatron_rt {

struct Options {
  std::string data, log, save, saveGradients, load, saveOutputs, evalData, checkpoint;
  Hyper hyper;
  int64_t steps = 0; // 0 = as many as the data has
  int64_t evalEvery = 0;
  int64_t every = 0; // steps between checkpoints, 0 = only one at the end
  bool resume = false;
  bool forwardOnly = false;
  bool nanTrace = false;
  bool profile = false;
  bool ranksAsThreads = false;
  double timeout = 30; // seconds
  double collectiveDelay = 0; // milliseconds
};

/// Thrown when the program should end before it starts: after --help (status 0) or a wrong command
/// line (status 2).
struct CommandLineExit {
  int status;
  std::string text; // for standard output if status is 0, otherwise the error
};

/// Reads the flags; those that do not apply to the image's optimizer are errors.
Options parseOptions(int argc, const char *const *argv, const Image &image);

} // namespace galvatron_rt

#endif // GALVATRON_RT_CORE_OPTIONS_H
