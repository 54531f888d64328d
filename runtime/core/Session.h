// Session.h: one run of a program: files opened, weights in place, then the steps.
#ifndef GALVATRON_RT_CORE_SESSION_H
#define GALVATRON_RT_CORE_SESSION_H

#include "checkpoint/Weights.h"
#include "core/Checkpoints.h"
#include "core/Executor.h"
#include "core/Options.h"
#include "core/Report.h"
#include "data/Batches.h"

#include <optional>

namespace galvatron_rt {

class Session {
public:
  /// Opens and checks everything that can be wrong before the first step, and allocates everything.
  Session(const galvatron_rt_image *raw, const Options &options, const std::string &ownWeights,
          int64_t rank = 0, bool isShared = false);

  const Arena &arena() const { return context.arena; }
  /// Must come before run() if there are other ranks.
  void join(Transport &transport) { context.join(transport); }

  /// Says on standard output what is about to run.
  void announce(const galvatron_rt_image *images) const;
  /// Runs the steps; rank 0 writes what was asked for, and the first rank of the last stage outputs. Returns 0, or the signal that ended the run
  /// between two steps. Throws an Error.
  int run();
  /// Waits until all ranks have come here: nobody reads another one's arena afterwards.
  void meet() const { context.agree("that all have ended", 0); }

private:
  void checkOutputs() const;
  void loadParameters();
  void loadOwn(LoadScope scope);
  void resume();
  void openLog();
  void openOutputs();
  void publishOutput(int64_t tensor, int64_t microBatch);
  StepReport step(int64_t number);
  void compute(Span<galvatron_rt_row_record> rows, const Batches &batches, int64_t index);
  void checkLoss(const StepReport &report);
  double evaluate();
  void sayThatItEnds(int signal, int64_t step);

  Options options;
  std::string ownWeights;
  std::unique_ptr<galvatron_rt_context> owned;
  galvatron_rt_context &context;
  const Image &image;
  Batches data;
  std::optional<Batches> evalData;
  Log log{""};
  Progress progress;
  Executor executor;
  std::optional<Checkpoints> checkpoints;
  std::unique_ptr<WeightsSaver> saver, gradientSaver;
  std::unique_ptr<SafeTensorsWriter> outputs;
  std::vector<int64_t> outputEntry; // of each tensor, -1 = none
};

} // namespace galvatron_rt

#endif // GALVATRON_RT_CORE_SESSION_H
